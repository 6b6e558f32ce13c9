"""Rows that were set aside, as they were, in a FITS file beside the report.

One file a product, one table for each layout of rows in it: the product's own columns, byte for
byte, then where each row stood (HDU and ROW, both counted from 0, as astropy and fitsio do, and
FILE) and why it was set aside (REASON).  Mended, it can be ingested as a product of its own: the
four columns are then ignored.

The file is written before the transaction that leaves the rows out is committed.  A job that goes
on where another one was killed reads the file, and drops the rows that it will read again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from jobs.fits import FitsColumn, Rows, TableHDU, read_rows, read_structure
from jobs.headers import PRIMARY, Value, header, table_cards
from jobs.mapping import REJECT_CARD, REJECT_COLUMNS
from jobs.whole import whole_file

#: Cards that say what a table is, and that a mended file needs too.
_KEPT_CARDS = ("INSTRMNT", "OBSRVTRY", "PIPELINE", "V_ASTRA", "CREATED")
#: Keywords of a column that go along with it.
_COLUMN_KEYWORDS = ("TTYPE", "TFORM", "TUNIT", "TNULL", "TSCAL", "TZERO", "TDIM")
#: Cards of the primary header that do not go along.
_NOT_COPIED = {*PRIMARY, "CHECKSUM", "DATASUM", "COMMENT", "HISTORY", ""}

Place = tuple[str, int]
"""File and HDU."""


@dataclass
class _Layout:
    """Rejected rows that have the same columns, by where they stood."""

    cards: dict[str, Value]
    columns: list[FitsColumn]
    primary: dict[str, Any]
    rows: defaultdict[Place, dict[int, tuple[np.void, str]]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    @property
    def dtype(self) -> np.dtype[np.void]:
        return np.dtype([(f"c{n}", c.dtype) for n, c in enumerate(self.columns) if c.width])


class RejectFile:
    """The rejected rows of one product.

    Parameters
    ----------
    path : Path
        Read if it is there; it is written when there are rows to be kept, and removed when the
        last one is dropped.

    Attributes
    ----------
    reasons : Counter of str
        How many rows this job set aside, by reason without the row's own values.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reasons: Counter[str] = Counter()
        self._layouts: dict[Any, _Layout] = {}
        self._changed = False
        if path.exists():
            self._load()

    def add(
        self,
        path: Path,
        table: TableHDU,
        primary: Mapping[str, Any],
        rows: Rows,
        notes: Sequence[tuple[int, str]],
    ) -> None:
        """Set rows aside; a row that is there already is replaced.

        Parameters
        ----------
        path : Path
            The product's file.
        table : TableHDU
        primary : mapping of str to value
            The primary header's cards.
        rows : ndarray, shape (n,)
        notes : sequence of (int, str)
            For each, its number in the table, from 0, and the reason.
        """
        layout, own = self._layout(table, primary)
        packed = np.zeros(len(rows), dtype=layout.dtype)
        for new, old in enumerate(own):
            if table.columns[old].width:
                packed[f"c{new}"] = rows[f"c{old}"]
        there = layout.rows[str(path), table.number]
        for row, (number, reason) in zip(packed, notes, strict=True):
            if number not in there:
                self.reasons[generic(reason)] += 1
            there[number] = (row.copy(), reason)
        self._changed = True

    def forget(self, path: Path, hdu: int, rows: range) -> None:
        """Drop the rows of an HDU that will be read again."""
        for layout in self._layouts.values():
            there = layout.rows.get((str(path), hdu), {})
            again = [number for number in there if number in rows]
            for number in again:
                del there[number]
            self._changed |= bool(again)

    def write(self) -> None:
        """Write the file if it has changed: beside its place, then moved there."""
        if not self._changed:
            return
        self._changed = False
        layouts = [layout for layout in self._layouts.values() if any(layout.rows.values())]
        if not layouts:
            self.path.unlink(missing_ok=True)
            return
        with whole_file(self.path) as out:
            kept = {k: v for k, v in layouts[0].primary.items() if k not in _NOT_COPIED}
            out.write(header({**PRIMARY, **kept}))
            for layout in layouts:
                _write_table(out, layout)

    def _layout(self, table: TableHDU, primary: Mapping[str, Any]) -> tuple[_Layout, list[int]]:
        """Return the layout of a table's rows, and which columns are the product's own."""
        is_reject = table.cards.get(REJECT_CARD) is True
        own = [
            index
            for index, column in enumerate(table.columns)
            if not (is_reject and column.name in REJECT_COLUMNS)
        ]
        columns = [table.columns[index] for index in own]
        key = (
            tuple((c.name, c.form, c.repeat, c.null, c.scale, c.zero) for c in columns),
            str(table.cards.get("INSTRMNT", "")),
            primary.get("SDSS_ID"),
        )
        if key not in self._layouts:
            cards: dict[str, Value] = {}
            for new, old in enumerate(own, start=1):
                cards |= _column_cards(table, old + 1, new)
            cards |= {k: table.cards[k] for k in _KEPT_CARDS if k in table.cards}
            self._layouts[key] = _Layout(cards, columns, dict(primary))
        return self._layouts[key], own

    def _load(self) -> None:
        """Take over the rows of an earlier job."""
        with self.path.open("rb") as stream:
            structure = read_structure(self.path, stream, self.path.stat().st_size)
            for table in structure.tables:
                rows = read_rows(stream.fileno(), self.path, table, 0, table.rows)
                names = {column.name: index for index, column in enumerate(table.columns)}
                hdu, number, reason, file = (rows[f"c{names[n]}"] for n in REJECT_COLUMNS)
                for at in range(len(rows)):
                    place_file = file[at].decode("ascii", "replace")
                    source = TableHDU(int(hdu[at]), table.name, table.cards, table.columns, 0, 0, 0)
                    note = (int(number[at]), reason[at].decode("ascii", "replace"))
                    self.add(Path(place_file), source, structure.primary, rows[at : at + 1], [note])
        self.reasons.clear()
        self._changed = False


def generic(reason: str) -> str:
    """Return a reason without the values of its row, so that reasons can be counted."""
    words = reason.split("; ", maxsplit=1)[0].split()
    return " ".join("…" if any(c.isdigit() for c in w) or w[:1] in "'\"" else w for w in words)


def _write_table(out: BinaryIO, layout: _Layout) -> None:
    rows = [
        (file, hdu, number, *there[number])
        for (file, hdu), there in sorted(layout.rows.items())
        for number in sorted(there)
    ]
    files, hdus, numbers, values, reasons = zip(*rows, strict=True)
    notes: list[tuple[str, str, NDArray[Any]]] = [
        ("HDU", "J", np.array(hdus, dtype=">i4")),
        ("ROW", "K", np.array(numbers, dtype=">i8")),
        ("REASON", "A", np.array([_ascii(reason) for reason in reasons], dtype="S")),
        ("FILE", "A", np.array([_ascii(file) for file in files], dtype="S")),
    ]
    own = layout.dtype
    parts = [(name, own[name]) for name in own.names or ()]
    records = np.zeros(len(rows), dtype=[*parts, *((n, v.dtype) for n, _, v in notes)])
    for at, row in enumerate(values):
        for name in own.names or ():
            records[name][at] = row[name]
    cards = table_cards(records.dtype.itemsize, len(rows), len(layout.columns) + len(notes))
    cards |= layout.cards
    for number, (name, form, column) in enumerate(notes, start=len(layout.columns) + 1):
        records[name] = column
        width = column.dtype.itemsize if form == "A" else 1
        cards |= {f"TTYPE{number}": name, f"TFORM{number}": f"{width}{form}"}
    out.write(header({**cards, REJECT_CARD: True}))
    data = records.tobytes()
    out.write(data + bytes(-len(data) % 2880))


def _column_cards(table: TableHDU, old: int, new: int) -> dict[str, Value]:
    return {
        f"{keyword}{new}": table.cards[f"{keyword}{old}"]
        for keyword in _COLUMN_KEYWORDS
        if f"{keyword}{old}" in table.cards
    }


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")
