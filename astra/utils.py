"""Small things that several modules need: version numbers and the time."""

from __future__ import annotations

import datetime
import re

from astra.errors import UsageError

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)", re.ASCII)


def version_string_to_integer(version: str) -> int:
    """Pack ``major.minor.patch`` into one integer that sorts as the versions do.

    Parameters
    ----------
    version : str
        Three numbers, such as ``"0.8.1"``; minor and patch below 1000, and major below 2148, so
        that the integer fits the 32-bit column ``v_astra``.

    Returns
    -------
    int
        ``major * 1_000_000 + minor * 1_000 + patch``: 8001 for ``"0.8.1"``.

    Raises
    ------
    UsageError
        If the text is not such a version.
    """
    match = _VERSION.fullmatch(version.strip())
    if match is None:
        raise UsageError(
            f"{version!r} is not a version: write it as major.minor.patch, as in 0.8.1"
        )
    major, minor, patch = (int(part) for part in match.groups())
    integer = major * 1_000_000 + minor * 1_000 + patch
    if minor > 999 or patch > 999 or integer >= 2**31:
        raise UsageError(
            f"{version!r} has a part that is too large: minor and patch end at 999, major at 2147 "
            "(v_astra is a 32-bit integer)"
        )
    return integer


def version_integer_to_string(version: int) -> str:
    """Undo `version_string_to_integer`: ``"0.8.1"`` for 8001.

    Raises
    ------
    UsageError
        If the integer is negative or has more than 32 bits.
    """
    if not 0 <= version < 2**31:
        raise UsageError(f"{version} is not a packed version: expected 0 to {2**31 - 1}")
    thousands, patch = divmod(int(version), 1000)
    major, minor = divmod(thousands, 1000)
    return f"{major}.{minor}.{patch}"


def utcnow() -> datetime.datetime:
    """Return the time in UTC without a zone, as all tables store it."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
