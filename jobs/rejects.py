"""Rows that were set aside, as they were, in a FITS file beside the report.

One file a product, one table for each layout of rows in it: the product's own columns, byte for
byte, then where each row stood (FILE, HDU, ROW, counted from 0) and why it was set aside
(REASON).  Mended, it can be ingested as a product of its own: the four columns are then ignored.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.fits import Rows, TableHDU
from jobs.headers import PRIMARY, Value, header, table_cards
from jobs.mapping import REJECT_CARD, REJECT_COLUMNS

#: Cards that say what a table is, and that a mended file needs too.
_KEPT_CARDS = ("INSTRMNT", "OBSRVTRY", "PIPELINE", "V_ASTRA", "CREATED")
#: Keywords of a column that go along with it.
_COLUMN_KEYWORDS = ("TTYPE", "TFORM", "TUNIT", "TNULL", "TSCAL", "TZERO", "TDIM")
#: Beyond so many rows, the file is written anew only each time that so many have been added.
_WRITE_EACH = 10_000


@dataclass
class _Table:
    """Rejected rows of one layout."""

    table: TableHDU
    primary: dict[str, Any]
    rows: list[Rows] = field(default_factory=list)
    notes: list[tuple[str, int, int, str]] = field(default_factory=list)


class RejectFile:
    """The rejected rows of one product.

    Parameters
    ----------
    path : Path
        Written when there is a first row, and whole after each call of `add`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self.reasons: Counter[str] = Counter()
        self._tables: dict[Any, _Table] = {}
        self._written = 0

    def add(
        self,
        path: Path,
        table: TableHDU,
        primary: dict[str, Any],
        rows: Rows,
        numbers: Sequence[int],
        reasons: Sequence[str],
    ) -> None:
        """Set rows aside.

        Parameters
        ----------
        path : Path
            The product's file.
        table : TableHDU
        primary : dict
            The primary header's cards.
        rows : ndarray, shape (n,)
        numbers : sequence of int
            The rows' numbers in the table, from 0.
        reasons : sequence of str
        """
        layout = (table.columns, primary.get("SDSS_ID"))
        entry = self._tables.setdefault(layout, _Table(table, dict(primary)))
        entry.rows.append(rows.copy())
        for number, reason in zip(numbers, reasons, strict=True):
            entry.notes.append((str(path), table.number, number, reason))
            self.reasons[generic(reason)] += 1
        self.count += len(rows)
        if self.count <= _WRITE_EACH or self.count - self._written >= _WRITE_EACH:
            self.write()

    def write(self) -> None:
        """Write the file: beside its place, then moved there."""
        if self.count == self._written:
            return
        beside = self.path.with_name(self.path.name + ".part")
        with beside.open("wb") as out:
            first = next(iter(self._tables.values()))
            kept = {k: v for k, v in first.primary.items() if k not in _NOT_COPIED}
            out.write(header({**PRIMARY, **kept}))
            for entry in self._tables.values():
                _write_table(out, entry)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(self.path)
        self._written = self.count


_NOT_COPIED = {*PRIMARY, "CHECKSUM", "DATASUM", "COMMENT", "HISTORY", "", "END"}


def generic(reason: str) -> str:
    """Return a reason without the values of its row, so that reasons can be counted."""
    words = reason.split("; ")[0].split()
    return " ".join("…" if any(c.isdigit() for c in w) or w[:1] in "'\"" else w for w in words)


def _write_table(out: Any, entry: _Table) -> None:
    records, cards = _records(entry)
    out.write(header(cards))
    data = records.tobytes()
    out.write(data)
    out.write(bytes(-len(data) % 2880))


def _records(entry: _Table) -> tuple[NDArray[np.void], dict[str, Value]]:
    """Return rows with their notes, and the header of their table."""
    rows = np.concatenate(entry.rows)
    own = [
        (index, column)
        for index, column in enumerate(entry.table.columns)
        if column.name not in REJECT_COLUMNS or not entry.table.cards.get(REJECT_CARD)
    ]
    files, reasons = ([n[0].encode() for n in entry.notes], [_ascii(n[3]) for n in entry.notes])
    notes: list[tuple[str, str, Any]] = [
        ("HDU", "J", np.array([note[1] for note in entry.notes], dtype=">i4")),
        ("ROW", "K", np.array([note[2] for note in entry.notes], dtype=">i8")),
        ("REASON", "A", np.array(reasons, dtype="S")),
        ("FILE", "A", np.array(files, dtype="S")),
    ]
    dtype = [(f"c{index}", column.dtype) for index, column in own if column.width]
    dtype += [(name, values.dtype) for name, _, values in notes]
    records = np.zeros(len(rows), dtype=dtype)
    for index, column in own:
        if column.width:
            records[f"c{index}"] = rows[f"c{index}"]
    for name, _, values in notes:
        records[name] = values
    cards = table_cards(records.dtype.itemsize, len(rows), len(own) + len(notes))
    for number, (index, _) in enumerate(own, start=1):
        cards |= _column_cards(entry.table, index + 1, number)
    for number, (name, form, values) in enumerate(notes, start=len(own) + 1):
        width = values.dtype.itemsize if form == "A" else 1
        cards |= {f"TTYPE{number}": name, f"TFORM{number}": f"{width}{form}"}
    cards |= {k: entry.table.cards[k] for k in _KEPT_CARDS if k in entry.table.cards}
    return records, {**cards, REJECT_CARD: True}


def _column_cards(table: TableHDU, old: int, new: int) -> dict[str, Value]:
    return {
        f"{keyword}{new}": table.cards[f"{keyword}{old}"]
        for keyword in _COLUMN_KEYWORDS
        if f"{keyword}{old}" in table.cards
    }


def _ascii(text: str) -> bytes:
    return text.encode("ascii", "backslashreplace")
