"""Pieces of the page: text that is safe, tables, and figures that are part of the file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape


def table(
    head: Sequence[str], rows: Iterable[Sequence[str | int | float]], *, total: bool = False
) -> str:
    """Return a table; a number stands to the right with separators.

    Parameters
    ----------
    head : sequence of str
        Names of the columns; one that begins with ``#`` is of numbers.
    rows : iterable of sequences
        Text that begins with ``<`` is HTML already.
    total : bool
        Whether the last row is the sum.
    """
    lines = list(rows)
    numeric = [name.startswith("#") for name in head]
    cells = "".join(
        f'<th scope="col"{" class=n" if number else ""}>{escape(name.removeprefix("#"))}</th>'
        for name, number in zip(head, numeric, strict=True)
    )
    body = ""
    for place, row in enumerate(lines):
        is_total = total and place == len(lines) - 1
        body += f"<tr{' class=total' if is_total else ''}>"
        body += "".join(
            cell(value, numeric=number) for value, number in zip(row, numeric, strict=True)
        )
        body += "</tr>\n"
    thead = f"<thead><tr>{cells}</tr></thead>"
    return f'<div class="wide"><table>{thead}\n<tbody>\n{body}</tbody></table></div>'


def cell(value: str | int | float, *, numeric: bool) -> str:
    """Return a cell of a table."""
    if isinstance(value, int | float):
        value = f"{value:,}"
    if value.startswith("<td"):
        return value
    text = value if value.startswith("<") else escape(value)
    return f"<td{' class=n' if numeric else ''}>{text}</td>"


def bar(share: float) -> str:
    """Return a cell with a bar; 1 fills it."""
    return f'<td class="bar"><i style="width:{100 * share:.1f}%"></i></td>'


def picture(svg: bytes, text: str, caption: str = "") -> str:
    """Return a figure that is part of the page.

    An image keeps the names inside one SVG apart from those of another.
    """
    data = base64.b64encode(svg).decode("ascii")
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><img alt="{escape(text)}" src="data:image/svg+xml;base64,{data}">{below}</figure>'
    )
