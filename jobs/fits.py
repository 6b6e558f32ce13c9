"""Reading FITS binary tables as they lie in the file.

This program moves table rows by the million and opens files by the hundred thousand, and needs
little of what a general FITS library offers: where each table's rows begin, and what their
columns are.  So headers are read here, as the FITS standard 4.0 lays them down
(https://fits.gsfc.nasa.gov/fits_standard.html), and rows are read as one array of bytes, whose
columns NumPy sees in place: big-endian, which is what PostgreSQL takes.

Every size that a header states is checked against the file before it is believed.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from astra.errors import ProductError

BLOCK = 2880
CARD = 80
#: A header longer than this is no header: the widest product has 0.1 MB.
_MAX_HEADER = 16 << 20
_MAX_HDUS = 10_000

#: TFORM letter -> (bytes of one element, NumPy dtype); standard, table 18.
_FORMS = {
    "L": (1, "u1"),
    "B": (1, "u1"),
    "I": (2, ">i2"),
    "J": (4, ">i4"),
    "K": (8, ">i8"),
    "A": (1, "S"),
    "E": (4, ">f4"),
    "D": (8, ">f8"),
    "C": (8, ">c8"),
    "M": (16, ">c16"),
    "P": (8, ">i4"),
    "Q": (16, ">i8"),
}
_TFORM = re.compile(r"\s*(\d*)([LXBIJKAEDCMPQ])")
_VALUE = re.compile(r"\s*(?:'((?:[^']|'')*)'|([TF])(?=[ /]|$)|([^\s/']+))?")

#: Cards that differ between files of one kind.
_DIFFERING = re.compile(rb"(?:NAXIS2  |CREATED |CHECKSUM|DATASUM )= .{70}", re.DOTALL)
_END = b"END     "

Rows = NDArray[np.void]


@dataclass(frozen=True)
class FitsColumn:
    """One column of a binary table.

    Attributes
    ----------
    name : str
        TTYPEn, without trailing blanks.
    form : str
        The letter of TFORMn.
    repeat : int
        Elements a row; for text, bytes.
    offset : int
        Where the column begins in a row, in bytes.
    unit : str
        TUNITn.
    null : int or None
        TNULLn: the stored integer that means "no value".
    scale, zero : float or int
        TSCALn and TZEROn.
    dim : str
        TDIMn.
    """

    name: str
    form: str
    repeat: int
    offset: int
    unit: str = ""
    null: int | None = None
    scale: float = 1
    zero: float = 0
    dim: str = ""

    @property
    def width(self) -> int:
        """Bytes of a row that the column takes."""
        if self.form == "X":
            return (self.repeat + 7) // 8
        return self.repeat * _FORMS[self.form][0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype of the column as it lies in the file."""
        if self.form == "A":
            return np.dtype(f"S{self.repeat}") if self.repeat else np.dtype("V0")
        base = np.dtype("u1" if self.form == "X" else _FORMS[self.form][1])
        count = self.width // base.itemsize
        return base if count == 1 else np.dtype((base, (count,)))

    @property
    def label(self) -> str:
        """TFORM, for messages."""
        return f"{self.repeat}{self.form}"


@dataclass(frozen=True)
class TableHDU:
    """A binary table: what its header says, and where its rows are.

    Attributes
    ----------
    number : int
        Counted from 0, the primary HDU, as `hdus` in a manifest and fitsio do.
    name : str
        EXTNAME.
    cards : mapping of str to value
    columns : tuple of FitsColumn
    rows : int
    row_bytes : int
    start : int
        Where the first row begins in the (uncompressed) file, in bytes.
    header_start : int
        Where its header begins.
    data_bytes : int
        Bytes of its data: the rows, and a heap for arrays of varying length.
    """

    number: int
    name: str
    cards: Mapping[str, Any]
    columns: tuple[FitsColumn, ...]
    rows: int
    row_bytes: int
    start: int
    header_start: int = 0
    data_bytes: int = 0

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """A row as it lies in the file; columns are named c0, c1, ... as names may repeat."""
        columns = [(n, c) for n, c in enumerate(self.columns) if c.width]
        return np.dtype(
            {
                "names": [f"c{number}" for number, _ in columns],
                "formats": [column.dtype for _, column in columns],
                "offsets": [column.offset for _, column in columns],
                "itemsize": self.row_bytes,
            }
        )

    @property
    def label(self) -> str:
        """The HDU for messages: ``HDU 1 (BOSS/APO)``."""
        return f"HDU {self.number}" + (f" ({self.name})" if self.name else "")


@dataclass(frozen=True)
class FitsFile:
    """The structure of a FITS file.

    Attributes
    ----------
    path : Path
        The file as the user knows it.
    primary : mapping of str to value
        The primary header's cards.
    tables : tuple of TableHDU
    others : tuple of (int, str)
        Number and kind of HDUs that are no binary tables.
    size : int
        Bytes of the whole (uncompressed) file.
    """

    path: Path
    primary: Mapping[str, Any]
    tables: tuple[TableHDU, ...]
    others: tuple[tuple[int, str], ...]
    size: int

    def table(self, which: int | str) -> TableHDU | None:
        """Return the table of a number or an EXTNAME, None if there is none."""
        for table in self.tables:
            if table.number == which or (table.name and table.name == which):
                return table
        return None


def read_structure(path: Path, stream: BinaryIO, size: int | None) -> FitsFile:
    """Read all headers of a FITS file.

    Parameters
    ----------
    path : Path
        For messages.
    stream : binary file
        At the beginning of the file; the data are skipped by `seek` where `size` is given, and
        by reading (as a compressed stream must) where it is not.
    size : int or None
        Bytes of the file.

    Raises
    ------
    ProductError
        If it is not FITS, is cut short, or a header contradicts itself.
    """
    reader = _Reader(path, stream, size)
    primary: Mapping[str, Any] = {}
    tables: list[TableHDU] = []
    others: list[tuple[int, str]] = []
    for number, cards in enumerate(reader.headers()):
        kind = str(cards.get("XTENSION", "IMAGE")).strip()
        if number == 0:
            primary = cards
        if kind == "BINTABLE" and not cards.get("ZIMAGE"):
            place = (reader.begin, reader.position)
            tables.append(_table(path, number, cards, place))
        else:
            others.append((number, kind))
        reader.skip_data(number, cards)
    return FitsFile(path, primary, tuple(tables), tuple(others), reader.position)


class _Reader:
    """Walks from header to header."""

    def __init__(self, path: Path, stream: BinaryIO, size: int | None) -> None:
        self.path = path
        self.stream = stream
        self.size = size
        self.position = 0
        self.begin = 0

    def headers(self) -> Iterator[Cards]:
        for number in range(_MAX_HDUS):
            cards = self._header(number)
            if cards is None:
                return
            yield cards
        raise ProductError(f"{self.path}: more than {_MAX_HDUS} HDUs: not one of Astra's files")

    def _header(self, number: int) -> Cards | None:
        self.begin = self.position
        block = self._read(BLOCK)
        wanted = b"XTENSION" if number else b"SIMPLE  ="
        if not block.startswith(wanted):
            if number == 0:
                raise ProductError(_not_fits(self.path, block))
            if block.strip(b"\0 "):
                raise ProductError(
                    f"{self.path}: what follows HDU {number - 1} is no HDU: it begins with "
                    f"{block[:8]!r} instead of XTENSION: the file is damaged"
                )
            return None
        blocks = []
        while len(block) == BLOCK:
            blocks.append(block)
            if _has_end(block):
                return _parse(b"".join(blocks))
            if (len(blocks) + 1) * BLOCK > _MAX_HEADER:
                raise ProductError(
                    f"{self.path} HDU {number}: the header goes on for more than "
                    f"{_MAX_HEADER >> 20} MB without END: the file is damaged"
                )
            block = self._read(BLOCK)
        raise ProductError(_cut_short(self.path, f"in the header of HDU {number}"))

    def skip_data(self, number: int, cards: Mapping[str, Any]) -> None:
        length = _data_bytes(self.path, number, cards)
        padded = -(-length // BLOCK) * BLOCK
        if self.size is not None:
            if self.position + length > self.size:
                missing = self.position + length - self.size
                raise ProductError(
                    _cut_short(self.path, f"{missing:,} bytes before the end of HDU {number}")
                )
            self.position += padded
            self.stream.seek(self.position)
            return
        left = padded
        while left:
            block = self.stream.read(min(left, 1 << 20))
            if not block:
                break
            left -= len(block)
        if left > padded - length:
            missing = left - (padded - length)
            raise ProductError(
                _cut_short(self.path, f"{missing:,} bytes before the end of HDU {number}")
            )
        self.position += padded - left

    def _read(self, count: int) -> bytes:
        block = self.stream.read(count)
        self.position += len(block)
        return block


def _cut_short(path: Path, where: str) -> str:
    return f"{path}: cut short: it ends {where}; copy or make the file again"


def _not_fits(path: Path, block: bytes) -> str:
    if not block:
        return f"{path}: empty, not a FITS file"
    return f"{path}: not a FITS file: it begins with {block[:8]!r} instead of SIMPLE"


def _has_end(block: bytes) -> bool:
    """Tell whether the END card is in a block of a header."""
    # Few cards begin with an E, and to look for the whole word everywhere takes longer.
    return b"E" in block[::CARD] and any(
        block.startswith(_END, at) for at in range(0, len(block), CARD)
    )


class Cards(dict[str, Any]):
    """The cards of a header, by keyword.

    Attributes
    ----------
    layout : bytes
        The header without the cards that differ from file to file of one kind: two tables with
        the same layout have the same columns.
    """

    layout: bytes = b""

    @classmethod
    def parse(cls, header: bytes) -> Cards:
        """Parse a header of whole blocks; of files of one kind, only what differs."""
        own: dict[str, Any] = {}

        def take(match: re.Match[bytes]) -> bytes:
            if match.start() % CARD:
                return match[0]  # words inside another card
            _parse_cards(match[0], own)
            return b""

        layout = _DIFFERING.sub(take, header)
        cards = cls(_parse_layout(layout))
        cards.update(own)
        cards.layout = layout
        return cards


@lru_cache(maxsize=64)
def _parse(header: bytes) -> Cards:
    """Parse a header; the tables without rows of many files have one and the same."""
    return Cards.parse(header)


@lru_cache(maxsize=256)
def _parse_layout(layout: bytes) -> dict[str, Any]:
    cards: dict[str, Any] = {}
    _parse_cards(layout, cards)
    return cards


def _parse_cards(header: bytes, cards: dict[str, Any]) -> None:
    """Add the cards up to END to a dictionary."""
    text = header.decode("latin-1")
    for start in range(0, len(text), CARD):
        keyword = text[start : start + 8].rstrip()
        if text[start + 8 : start + 10] == "= ":
            # The first of two cards with one keyword counts, as in CFITSIO.
            cards.setdefault(keyword, _value(text[start + 10 : start + CARD]))
        elif keyword == "END":
            return


def _value(text: str) -> Any:
    """Return the value of a card's text after the equals sign; None where there is none."""
    match = _VALUE.match(text)
    string, logical, number = match.groups() if match else (None, None, None)
    if string is not None:
        return string.replace("''", "'").rstrip()
    if logical is not None:
        return logical == "T"
    for kind in (int, lambda word: float(word.replace("D", "E").replace("d", "e"))):
        with contextlib.suppress(ValueError):
            return None if number is None else kind(number)
    return number


def _integer(path: Path, number: int, cards: Mapping[str, Any], key: str, default: int) -> int:
    value = cards.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ProductError(
            f"{path} HDU {number}: {key} is {value!r}, expected a whole number from 0: "
            "the header is damaged"
        )
    return value


def _data_bytes(path: Path, number: int, cards: Mapping[str, Any]) -> int:
    """Return the length of an HDU's data (standard, equation 2)."""
    axes = _integer(path, number, cards, "NAXIS", 0)
    if axes > 999:
        raise ProductError(f"{path} HDU {number}: NAXIS is {axes}: the header is damaged")
    if axes == 0:
        return 0
    lengths = [_integer(path, number, cards, f"NAXIS{n}", 0) for n in range(1, axes + 1)]
    if cards.get("GROUPS") is True and lengths[0] == 0:
        lengths = lengths[1:]
    bitpix = cards.get("BITPIX", 8)
    if bitpix not in (8, 16, 32, 64, -32, -64):
        raise ProductError(f"{path} HDU {number}: BITPIX is {bitpix!r}: the header is damaged")
    extra = _integer(path, number, cards, "PCOUNT", 0)
    groups = _integer(path, number, cards, "GCOUNT", 1)
    return abs(bitpix) // 8 * groups * (extra + math.prod(lengths))


def _table(path: Path, number: int, cards: Cards, place: tuple[int, int]) -> TableHDU:
    if cards.get("ZTABLE") is True:
        raise ProductError(
            f"{path} HDU {number}: a tile-compressed table; uncompress it with funpack"
        )
    row_bytes = _integer(path, number, cards, "NAXIS1", 0)
    count = _integer(path, number, cards, "TFIELDS", 0)
    if count > 999:
        raise ProductError(f"{path} HDU {number}: TFIELDS is {count}, and FITS ends at 999")
    try:
        columns = _columns(cards.layout, count)
    except ValueError as error:
        raise ProductError(f"{path} HDU {number}: {error}: the header is damaged") from None
    width = columns[-1].offset + columns[-1].width if columns else 0
    if width != row_bytes:
        raise ProductError(
            f"{path} HDU {number}: the columns take {width} bytes a row, but NAXIS1 is "
            f"{row_bytes}: the header is damaged"
        )
    name = str(cards.get("EXTNAME", "")).strip()
    rows = _integer(path, number, cards, "NAXIS2", 0)
    header_start, start = place
    length = _data_bytes(path, number, cards)
    return TableHDU(number, name, cards, columns, rows, row_bytes, start, header_start, length)


@lru_cache(maxsize=256)
def _columns(layout: bytes, count: int) -> tuple[FitsColumn, ...]:
    """Return the columns of a table; the same object for tables of the same layout."""
    cards = _parse_layout(layout)
    columns: list[FitsColumn] = []
    offset = 0
    for index in range(1, count + 1):
        column = _column(cards, index, offset)
        columns.append(column)
        offset += column.width
    return tuple(columns)


def _column(cards: Mapping[str, Any], index: int, offset: int) -> FitsColumn:
    form = cards.get(f"TFORM{index}")
    match = _TFORM.match(form) if isinstance(form, str) else None
    if match is None:
        raise ValueError(f"TFORM{index} is {form!r}, which is no column type of FITS")
    repeat, letter = match.groups()
    name = str(cards.get(f"TTYPE{index}", "")).strip() or f"column {index}"
    null = cards.get(f"TNULL{index}")
    return FitsColumn(
        name=name,
        form=letter,
        repeat=int(repeat) if repeat else 1,
        offset=offset,
        unit=str(cards.get(f"TUNIT{index}", "")).strip(),
        null=null if isinstance(null, int) and not isinstance(null, bool) else None,
        scale=_number(cards.get(f"TSCAL{index}"), 1),
        zero=_number(cards.get(f"TZERO{index}"), 0),
        dim=str(cards.get(f"TDIM{index}", "")).strip(),
    )


def _number(value: Any, default: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default


def read_rows(descriptor: int, path: Path, table: TableHDU, first: int, count: int) -> Rows:
    """Read rows of a table, as `read_bytes` does, and return them with `TableHDU.dtype`."""
    raw = read_bytes(descriptor, path, table, first, count)
    return np.frombuffer(raw, dtype=table.dtype, count=count)


def read_bytes(descriptor: int, path: Path, table: TableHDU, first: int, count: int) -> bytes:
    """Read rows of a table as they lie in the file.

    Parameters
    ----------
    descriptor : int
        Of the uncompressed file.
    path : Path
        For messages.
    table : TableHDU
    first, count : int
        Rows, counted from 0.

    Returns
    -------
    bytes
        ``count * table.row_bytes`` of them.

    Raises
    ------
    ProductError
        If the file became shorter meanwhile, or cannot be read.
    """
    length = count * table.row_bytes
    start = table.start + first * table.row_bytes
    pieces: list[bytes] = []
    done = 0
    while done < length:
        try:
            piece = os.pread(descriptor, length - done, start + done)
        except OSError as error:
            raise ProductError(
                f"{path} {table.label}: cannot be read at row {first + done // table.row_bytes}: "
                f"{error.strerror}"
            ) from error
        if not piece:
            raise ProductError(
                _cut_short(path, f"at row {first + done // table.row_bytes} of {table.label}")
                + " (it was whole when the job began)"
            )
        pieces.append(piece)
        done += len(piece)
    return b"".join(pieces)  # of one piece, as it nearly always is, that piece and no copy


@dataclass(frozen=True)
class Values:
    """A column's values, as they are meant.

    Attributes
    ----------
    values : ndarray, shape (n_rows,) or (n_rows, width)
    null : ndarray of bool, shape (n_rows,), or None
        Where the file itself says that there is no value.
    grid : (scale, zero) or None
        For a scaled column that cannot be an integer.
    """

    values: NDArray[np.generic]
    null: NDArray[np.bool_] | None = None
    grid: tuple[float, float] | None = field(default=None)


def column_values(rows: Rows, index: int, column: FitsColumn) -> Values:
    """Return a column's values: logicals as bool, scaled and unsigned columns as meant.

    Parameters
    ----------
    rows : ndarray
        As `read_rows` returns them.
    index : int
        The column's place in `TableHDU.columns`.
    column : FitsColumn
    """
    if column.width == 0:
        empty = np.zeros((len(rows), 0), dtype=_FORMS.get(column.form, (1, "u1"))[1])
        return Values(np.zeros(len(rows), dtype="S1") if column.form == "A" else empty)
    raw = rows[f"c{index}"]
    if column.form == "L":
        null = raw == 0
        return Values(
            (raw == ord("T")) | (raw == 1), null if raw.ndim == 1 and null.any() else None
        )
    if column.form not in "BIJKED" or (column.scale == 1 and column.zero == 0):
        return Values(raw, _null(raw, column))
    if column.form in "ED":
        wide = raw.astype(np.float64) * column.scale + column.zero
        return Values(wide.astype(raw.dtype) if column.form == "E" else wide)
    return _scaled_integers(raw, column)


def _null(raw: NDArray[np.generic], column: FitsColumn) -> NDArray[np.bool_] | None:
    if column.null is None or column.form not in "BIJK" or raw.ndim != 1:
        return None
    null = raw == column.null
    return null if null.any() else None


def _scaled_integers(raw: NDArray[np.generic], column: FitsColumn) -> Values:
    null = _null(raw, column)
    if column.form == "K" and column.scale == 1 and column.zero == 2.0**63:
        return Values(raw.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63), null)
    scale, zero = column.scale, column.zero
    if float(scale).is_integer() and float(zero).is_integer() and column.form != "K":
        ends = [int(end) * int(scale) + int(zero) for end in (-(2**31), 2**31)]
        if all(abs(end) < 2**63 for end in ends):
            return Values(raw.astype(np.int64) * int(scale) + int(zero), null)
    return Values(raw.astype(np.float64) * scale + zero, null, (float(scale), float(zero)))
