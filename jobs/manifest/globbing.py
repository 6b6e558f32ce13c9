"""Globs over large trees, where a folder that cannot be read is an error and not an absence.

The standard library's glob skips such folders silently, which would lose their files; it also
follows links in circles.
"""

from __future__ import annotations

import fnmatch
import heapq
import os
import re
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = re.compile(r"[*?\[]")

_Identity = tuple[int, int]


class Unreadable(Exception):
    """A folder on the way cannot be listed."""


def has_magic(text: str) -> bool:
    """Tell whether a path or a part of it is a glob."""
    return _MAGIC.search(text) is not None


def is_literal(path: Path) -> bool:
    """Tell whether the path exists as it is written, whatever magic its name seems to hold."""
    try:
        return os.path.lexists(path)
    except OSError:
        return False


def expand(pattern: Path, literal: int) -> Iterator[str]:
    """Yield what an absolute glob matches, sorted as text, each once.

    One folder after the other is listed, so that a large tree takes little memory.

    ``*``, ``?`` and ``[...]`` match within a name, ``**`` any number of folders, links included;
    a name that begins with a dot is matched only by a pattern that does.

    Parameters
    ----------
    pattern : Path
        The glob.
    literal : int
        How many of its parts are taken as they are, whatever magic they seem to hold.

    Raises
    ------
    Unreadable
        If a folder that the glob leads through cannot be listed.
    """
    parts: list[str] = []
    for part in pattern.parts[literal:]:
        if not (part == "**" and parts and parts[-1] == "**"):
            parts.append(part)
    for path, _ in groupby(_walk(str(Path(*pattern.parts[:literal])), parts, ())):
        yield path


def _walk(folder: str, parts: list[str], above: tuple[_Identity, ...]) -> Iterator[str]:
    """Yield what `parts` match below a folder, sorted; some of it can come twice.

    `above` are the folders that ``**`` came through.
    """
    if not parts:
        yield folder
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _any_depth(folder, rest, above)
    elif not has_magic(part):
        path = os.path.join(folder, part)  # noqa: PTH118 - Path is slow by the hundred thousand
        if os.path.lexists(path):
            yield from _walk(path, rest, above)
    else:
        matches = re.compile(fnmatch.translate(part)).match
        for name, is_folder in _entries(folder, as_folders=bool(rest)):
            if not matches(name) or (name.startswith(".") and not part.startswith(".")):
                continue
            if is_folder or not rest:
                yield from _walk(os.path.join(folder, name), rest, above)  # noqa: PTH118


def _any_depth(folder: str, rest: list[str], above: tuple[_Identity, ...]) -> Iterator[str]:
    """Yield what `rest` matches in a folder and all below it."""
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError as error:
        raise Unreadable(f"{folder} cannot be read: {error.strerror}") from error
    identity = (status.st_dev, status.st_ino)
    if identity in above:  # a link leads back up
        return
    above = (*above, identity)
    # A glob that ends in ** means every file below.
    here = _walk(folder, rest or ["*"], above)
    below = (
        path
        for name, is_folder in _entries(folder, as_folders=True)
        if is_folder and not name.startswith(".")
        for path in _any_depth(os.path.join(folder, name), rest, above)  # noqa: PTH118
    )
    yield from heapq.merge(here, below)


def _entries(folder: str, *, as_folders: bool) -> list[tuple[str, bool]]:
    """Return the names in a folder, sorted, each with whether it is a folder (a link to one, too).

    With `as_folders`, folders are sorted as what is in them will be: ``a-b/c`` before ``a/c``.
    """
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, _is_folder(entry)) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise Unreadable(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(found, key=lambda entry: entry[0] + "/" * (as_folders and entry[1]))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in circles: no folder, and told when it is opened as a file
        return False
