"""Numbers, sizes and times as people read them, and colour where it is wanted."""

from __future__ import annotations

import datetime
import os

_STYLES = {"b": "1", "dim": "2", "red": "31", "green": "32"}


def count(number: int, word: str) -> str:
    """Return ``1 file``, ``1,234 files``."""
    return f"{number:,} {word}" + ("" if number == 1 else "s")


def size(number: float) -> str:
    """Return a size in bytes as people say it: ``512 bytes``, ``3.2 MB``, ``16.0 GB``."""
    if number < 1000:
        return count(int(number), "byte")
    for unit in ("kB", "MB", "GB"):
        number /= 1000
        if number < 999.95:
            return f"{number:.1f} {unit}"
    return f"{number / 1000:,.1f} TB"


def duration(seconds: float) -> str:
    """Return a time span as people say it: ``4.2 s``, ``3 min 10 s``, ``2 h 5 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // (24 * 60)} days {minutes // 60 % 24} h"


def moment(time: datetime.datetime) -> str:
    """Return a time in UTC: ``2026-11-24 22:14:05 UTC``."""
    if time.tzinfo is not None:
        time = time.astimezone(datetime.UTC)
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def wants_colour(is_terminal: bool) -> bool:
    """Tell whether colours are wanted: on a terminal, unless NO_COLOR or TERM say no."""
    return is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str) -> str:
    """Return a text in bold (``b``), ``dim``, ``red`` or ``green``, for `plain` to undo."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if style in _STYLES else text


def plain(text: str) -> str:
    """Return a text without what `styled` put into it."""
    for code in (*_STYLES.values(), "0"):
        text = text.replace(f"\x1b[{code}m", "")
    return text
