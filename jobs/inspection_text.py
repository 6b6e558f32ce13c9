"""What `astra inspect` shows: one line a column, aligned, cut to the width of a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from jobs.inspection import ColumnView, FileView, HDUView
from jobs.text import count, size, styled

#: A column's first values take no more than this where lines are not cut to a terminal.
_MOST_VALUES = 60
_MOST_LACKING = 12


def as_text(file: FileView, width: int | None = None) -> str:
    """Return a file as text.

    Parameters
    ----------
    file : FileView
    width : int or None
        Characters of a line; None where there is no terminal, and nothing is cut.
    """
    return "\n".join(_lines(file, width))


def _lines(file: FileView, width: int | None) -> Iterator[str]:
    unpacked = "" if file.unpacked == file.size else f", {size(file.unpacked)} unpacked"
    yield styled(f"{file.path}: {count(len(file.hdus), 'HDU')}, {size(file.size)}{unpacked}", "b")
    if file.cards:
        yield "  " + ", ".join(f"{name} {value}" for name, value in file.cards.items())
    seen: dict[Any, HDUView] = {}
    for hdu in file.hdus:
        shape = tuple((column.name, column.form, column.places) for column in hdu.columns)
        same = seen.get(shape)
        yield ""
        yield _heading(hdu)
        for problem in hdu.problems:
            yield styled(f"  {problem}", "red")
        if not hdu.columns or not hdu.rows:
            continue
        if same is not None:
            yield f"  the same columns as HDU {same.number}"
            continue
        seen[shape] = hdu
        yield from _table(hdu.columns, width)
        yield from _lacking(hdu)


def _heading(hdu: HDUView) -> str:
    name = f"HDU {hdu.number}" + (f" {hdu.name}" if hdu.name else "")
    if hdu.kind != "table":
        what = "the primary header, without a table" if hdu.number == 0 else f"{hdu.kind}, no table"
        return styled(name, "b") + f": {what}"
    parts = f"{count(hdu.rows, 'row')}, {count(len(hdu.columns), 'column')}"
    if not hdu.rows:
        parts += ": nothing to ingest"
    elif hdu.tables:
        parts += f", to {', '.join(hdu.tables)}"
    return styled(name, "b") + f": {parts}"


def _table(columns: Sequence[ColumnView], width: int | None) -> Iterator[str]:
    has_units = any(column.unit for column in columns)
    head = ["column", "type", *(["unit"] if has_units else []), "goes to", "first rows"]
    rows = [
        [
            column.name,
            column.type,
            *([column.unit] if has_units else []),
            _place(column),
            _first(column.first),
        ]
        for column in columns
    ]
    widths = [max(map(cells, each)) for each in zip(head, *rows, strict=True)]
    for column, row in zip((None, *columns), (head, *rows), strict=True):
        line = "  " + "  ".join(pad(text, wide) for text, wide in zip(row, widths, strict=True))
        line = line.rstrip() if width is None else cut(line.rstrip(), width)
        yield styled(line, "dim" if column is None else "" if column.has_place else "red")


def _place(column: ColumnView) -> str:
    if column.places:
        return ", ".join(column.places)
    if column.note:
        return column.note
    close = " or ".join(column.nearest)
    return "no place" + (f"; did you mean {close}?" if close else "")


def _first(values: Iterable[Any]) -> str:
    return cut(", ".join(map(_value, values)), _MOST_VALUES)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join("..." if each == "..." else _value(each) for each in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and value not in ("nan", "inf", "-inf"):
        printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
        return f'"{printable}"'
    return "none" if value is None else str(value)


def _lacking(hdu: HDUView) -> Iterator[str]:
    for table, names in hdu.lacking.items():
        some = ", ".join(names[:_MOST_LACKING])
        rest = len(names) - _MOST_LACKING
        more = f" and {rest:,} more" if rest > 0 else ""
        yield f"  {table} has {count(len(names), 'field')} without a column here: {some}{more}"


def cells(text: str) -> int:
    """Return how many cells of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def pad(text: str, width: int) -> str:
    """Return a text with blanks up to a width in cells."""
    return text + " " * (width - cells(text))


def cut(text: str, width: int) -> str:
    """Return a text that takes no more cells than `width`; an ellipsis tells that it was cut."""
    if cells(text) <= width:
        return text
    while cells(text) > width - 1:
        text = text[: min(len(text) - 1, width)]
    return text + "…"
