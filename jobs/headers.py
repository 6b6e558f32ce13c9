"""Writing FITS headers: cards of 80 characters, in blocks of 2880 (standard 4.0, section 4)."""

from __future__ import annotations

from collections.abc import Mapping

Value = str | bool | int | float | None


def header(cards: Mapping[str, Value]) -> bytes:
    """Return a FITS header with these cards, ended and padded to whole blocks.

    Parameters
    ----------
    cards : mapping of str to str, bool, int, float or None
        In their order; None leaves the value undefined.
    """
    text = "".join(map(card, cards, cards.values())) + f"{'END':<80}"
    return text.encode("ascii", "replace") + b" " * (-len(text) % 2880)


def card(keyword: str, value: Value) -> str:
    """Return one card; a text that is too long for it is cut."""
    if value is None:
        text = ""
    elif isinstance(value, str):
        quoted = value.replace("'", "''")
        while len(quoted) > 68:  # drop whole characters: half an escaped quote would end the text
            value = value[:-1]
            quoted = value.replace("'", "''")
        text = f"'{quoted:<8}'"
    elif isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    else:
        text = f"{value!r:>20}".upper()
    return f"{keyword:<8}= {text}"[:80].rstrip().ljust(80)


def table_cards(row_bytes: int, rows: int, columns: int) -> dict[str, Value]:
    """Return the cards that every binary table begins with (standard 4.0, section 7.3.1)."""
    return {
        "XTENSION": "BINTABLE",
        "BITPIX": 8,
        "NAXIS": 2,
        "NAXIS1": row_bytes,
        "NAXIS2": rows,
        "PCOUNT": 0,
        "GCOUNT": 1,
        "TFIELDS": columns,
    }


PRIMARY: dict[str, Value] = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 0, "EXTEND": True}
"""The cards of a primary header without data."""
