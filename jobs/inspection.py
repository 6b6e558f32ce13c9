"""What a FITS file holds, and where each of its columns would go: facts, for `astra inspect`.

Nothing here needs a manifest or a database: a file is looked at as a manifest that names nothing
but its path would have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from astra.errors import ProductError
from astra.pixels import pixel_arrays
from jobs import scratch
from jobs.fits import FitsColumn, FitsFile, Rows, TableHDU, column_values
from jobs.identify import identify
from jobs.manifest import Product
from jobs.manifest.mistakes import nearest
from jobs.mapping import REJECT_CARD, REJECT_COLUMNS, TableMapping, map_table

_TYPES = {
    "L": "bool",
    "X": "bit",
    "B": "uint8",
    "I": "int16",
    "J": "int32",
    "K": "int64",
    "A": "text",
    "E": "float32",
    "D": "float64",
    "C": "complex64",
    "M": "complex128",
    "P": "array of varying length",
    "Q": "array of varying length",
}
#: TZERO of the columns that hold unsigned integers (standard 4.0, table 19).
_UNSIGNED = {"I": 2**15, "J": 2**31, "K": 2**63}
#: Elements of an array that are shown.
_ELEMENTS = 3


@dataclass(frozen=True)
class ColumnView:
    """One column: what it is, where it goes, and how it begins.

    Attributes
    ----------
    name, form, type : str
        TTYPE, TFORM, and the latter as NumPy would call it.
    unit : str
        TUNIT, or where the file has none, the unit of the field that the column fills.
    places : tuple of str
        ``Table.field`` for each field that it fills.
    note : str
        What becomes of a column that fills no field; empty if it has no place at all.
    nearest : tuple of str
        For a column without a place, fields with names like its own.
    first : tuple
        Its values in the first rows, as JSON can hold them; None for "no value".
    """

    name: str
    form: str
    type: str
    unit: str
    places: tuple[str, ...] = ()
    note: str = ""
    nearest: tuple[str, ...] = ()
    first: tuple[Any, ...] = ()

    @property
    def has_place(self) -> bool:
        """Whether an ingest takes the column as it is."""
        return bool(self.places or self.note)


@dataclass(frozen=True)
class HDUView:
    """One HDU; what is not a table has no rows and no columns.

    Attributes
    ----------
    number : int
        From 0, the primary HDU.
    name, kind : str
        EXTNAME, and ``table`` or what it is else.
    rows : int
    tables : tuple of str
        The tables that its rows would go to.
    columns : tuple of ColumnView
    problems : tuple of str
        Why an ingest would refuse it, but for columns without a place.
    lacking : dict of str to list of str
        Table -> its fields that the file has no column for.
    """

    number: int
    name: str
    kind: str
    rows: int = 0
    tables: tuple[str, ...] = ()
    columns: tuple[ColumnView, ...] = ()
    problems: tuple[str, ...] = ()
    lacking: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class FileView:
    """A FITS file.

    Attributes
    ----------
    path : str
    size, unpacked : int
        Bytes on disk, and without compression.
    cards : dict of str to value
        Those of the primary header that tell where the file comes from.
    hdus : tuple of HDUView
    """

    path: str
    size: int
    unpacked: int
    cards: dict[str, Any]
    hdus: tuple[HDUView, ...]


_CARDS = ("PIPELINE", "V_ASTRA", "CREATED", "SDSS_ID", "INSTRMNT", "OBSRVTRY")


def inspect_file(path: Path, rows: int = 3) -> FileView:
    """Look at a FITS file.

    Parameters
    ----------
    path : Path
    rows : int
        How many of the first rows of each table to read.

    Raises
    ------
    ProductError
        If the file cannot be read, is not FITS, or is damaged.
    """
    if path.is_dir():
        raise ProductError(f"{path}: a folder; name a FITS file in it")
    file = scratch.inspect(path)
    product = Product(path=str(path))
    heads = _heads(path, [table for table in file.tables if table.rows], rows)
    views = {number: HDUView(number, "", kind.lower()) for number, kind in file.others}
    for table in file.tables:
        views[table.number] = _table_view(file, table, product, heads.get(table.number))
    return FileView(
        path=str(path),
        size=path.stat().st_size,
        unpacked=file.size,
        cards={name: file.primary[name] for name in _CARDS if name in file.primary},
        hdus=tuple(views[number] for number in sorted(views)),
    )


def _heads(path: Path, tables: Sequence[TableHDU], count: int) -> dict[int, Rows]:
    """Return the first rows of each table, by HDU; of a gzipped file too, without unpacking it."""
    if scratch.is_gzipped(path):
        from isal import igzip

        unpack: Any = igzip.open  # the package has no types
        with unpack(path, "rb") as stream:
            return _read_heads(stream, tables, count)
    with path.open("rb") as stream:
        return _read_heads(stream, tables, count)


def _read_heads(stream: BinaryIO, tables: Sequence[TableHDU], count: int) -> dict[int, Rows]:
    heads = {}
    for table in tables:
        wanted = min(count, table.rows)
        stream.seek(table.start)
        content = stream.read(wanted * table.row_bytes)
        heads[table.number] = np.frombuffer(content, dtype=table.dtype, count=wanted)
    return heads


def _table_view(file: FitsFile, table: TableHDU, product: Product, rows: Rows | None) -> HDUView:
    models = identify(file, table, product, {})
    mapping = map_table(file, table, product, models, file.path)
    columns = tuple(
        _column_view(mapping, index, column, rows) for index, column in enumerate(table.columns)
    )
    lacking: dict[str, list[str]] = {}
    for each in mapping.lacking:
        model, _, name = each.partition(".")
        lacking.setdefault(model, []).append(name)
    return HDUView(
        number=table.number,
        name=table.name,
        kind="table",
        rows=table.rows,
        tables=tuple(target.model.__name__ for target in mapping.targets),
        columns=columns,
        problems=_other_problems(mapping, columns) if table.rows else (),
        lacking=lacking,
    )


def _other_problems(mapping: TableMapping, columns: Sequence[ColumnView]) -> tuple[str, ...]:
    """Return the problems that the table of columns does not show, without the file's name."""
    shown = tuple(f"column {column.name} (" for column in columns if not column.has_place)
    texts = [problem.split(f" {mapping.table.label}: ", 1)[-1] for problem in mapping.problems]
    return tuple(
        text for text in texts if not (text.startswith(shown) and " has no place in " in text)
    )


def _column_view(
    mapping: TableMapping, index: int, column: FitsColumn, rows: Rows | None
) -> ColumnView:
    fields = [
        (target.model, name)
        for target in mapping.targets
        for name, place in target.fields.items()
        if place == index
    ]
    places = [f"{model.__name__}.{name}" for model, name in fields]
    units = (model._meta.fields[name].unit for model, name in fields)
    note = "" if places else _note(mapping, index, column)
    close: list[str] = []
    if not places and not note:
        known = [name for target in mapping.targets for name in target.model._meta.fields]
        close = nearest(column.name, known)
    return ColumnView(
        name=column.name,
        form=column.label,
        type=describe_type(column),
        unit=column.unit or next(units, ""),
        places=tuple(places),
        note=note,
        nearest=tuple(close),
        first=() if rows is None else tuple(_values(rows, index, column)),
    )


def _note(mapping: TableMapping, index: int, column: FitsColumn) -> str:
    """Say what becomes of a column that fills no field."""
    for place, target, _ in mapping.checks:
        if place == index:
            return f"checked against the flags of {target.model.__name__}"
    if index in mapping.source_keys:
        return "the key that the source had where the file was made"
    if index in mapping.versions:
        return "checked against v_astra"
    if column.name in REJECT_COLUMNS and mapping.table.cards.get(REJECT_CARD):
        return "says why the row was set aside"
    for target in reversed(mapping.targets):
        if column.name.lower() in pixel_arrays(target.model):
            return f"stays in the file: {target.model.__name__}.{column.name.lower()} reads it"
    return ""


def describe_type(column: FitsColumn) -> str:
    """Return a column's type as NumPy would call it: ``text[26]``, ``float32[4648]``."""
    word = _TYPES[column.form]
    if column.form == "A":
        return f"text[{column.repeat}]"
    if column.form in _UNSIGNED and column.zero == _UNSIGNED[column.form] and column.scale == 1:
        word = f"u{word}"
    elif column.form in "BIJKED" and (column.scale != 1 or column.zero != 0):
        word = f"scaled {word}"
    return word if column.form in "PQ" or column.repeat == 1 else f"{word}[{column.repeat}]"


def _values(rows: Rows, index: int, column: FitsColumn) -> list[Any]:
    """Return values as JSON can hold them: NaN, infinity and TNULL as text or None."""
    if column.form in "PQCMX":
        return [None] * len(rows)
    read = column_values(rows, index, column)
    values = [_plain(value) for value in read.values]
    if read.null is None:
        return values
    return [None if null else value for null, value in zip(read.null, values, strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        more = ["..."] if len(value) > _ELEMENTS else []
        return [_plain(element) for element in value[:_ELEMENTS]] + more
    if isinstance(value, bytes):
        return value.split(b"\0")[0].decode("utf-8", "replace").rstrip(" ")
    if isinstance(value, np.floating):
        # The shortest decimal that means this float32, not that of the double which equals it.
        return float(str(value)) if np.isfinite(value) else str(value)
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    return value.item() if isinstance(value, np.generic) else value
