"""From files and folders to kinds of files, each with one path or glob that means just them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from astra.errors import ProductError
from jobs.manifest.globbing import Unreadable, expand

#: What FITS files are called; a gzipped one has the whole of it.
_ENDINGS = (".fits", ".fits.gz", ".fit", ".fit.gz")
_SUFFIX = re.compile(r"(\.fits?(?:\.gz)?)$", re.IGNORECASE)
#: What tells kinds of files apart: the letters that a name begins with, and the version.
_KIND = re.compile(r"[A-Za-z]*")
_VERSION = re.compile(r"(?<![\w.])v?\d+\.\d+\.\d+(?![\w])")
_SEPARATORS = "-_."


@dataclass(frozen=True)
class Group:
    """Files of one kind.

    Attributes
    ----------
    pattern : str
        A path, or a glob that matches these files and none of the others; absolute.
    files : tuple of Path
    """

    pattern: str
    files: tuple[Path, ...]


def find_files(paths: Sequence[Path]) -> dict[Path, Path]:
    """Return the files that are named, and the FITS files in the folders that are.

    Returns
    -------
    dict of Path to Path
        Each file, absolute and sorted, and the folder that it was found by.

    Raises
    ------
    ProductError
        If there is no such file or folder, or a folder cannot be read.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        place = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are written
        if place.is_dir():
            found |= {file: found.get(file, place) for file in _in_folder(place)}
        elif place.exists():
            found.setdefault(place, place.parent)
        else:
            raise ProductError(f"{path}: no such file or folder")
    return dict(sorted(found.items()))


def _in_folder(folder: Path) -> list[Path]:
    literal = len(folder.parts)
    try:
        every = [Path(path) for path in expand(folder / "**" / "*.fit*", literal)]
    except Unreadable as error:
        raise ProductError(f"{error}; name the folders that can be read") from error
    return [path for path in every if path.name.lower().endswith(_ENDINGS) and path.is_file()]


def group(files: Mapping[Path, Path]) -> list[Group]:
    """Put files of one kind together, by what their names begin and end with.

    Parameters
    ----------
    files : mapping of Path to Path
        As `find_files` returns them.

    Returns
    -------
    list of Group
        In the order of their first files; where no glob means just the files of a kind, each of
        them stands alone.
    """
    kinds: dict[tuple[Path | str, ...], list[Path]] = {}
    for path, folder in files.items():
        kinds.setdefault((folder, *_kind(path.name)), []).append(path)
    groups = [each for members in kinds.values() for each in _with_pattern(members)]
    return sorted(groups, key=lambda each: each.files[0])


def _kind(name: str) -> tuple[str, str, str]:
    start = _KIND.match(name)
    version = _VERSION.search(name)
    ending = _SUFFIX.search(name)
    return (
        start[0] if start else "",
        version[0] if version else "",
        ending[0] if ending else Path(name).suffix,
    )


def _with_pattern(members: list[Path]) -> list[Group]:
    """Return a kind as one group, or if no glob means just it, as one for each file."""
    alone = [Group(str(path), (path,)) for path in members]
    if len(members) == 1:
        return alone
    folder = Path(os.path.commonpath([path.parent for path in members]))
    below = ["**"] if any(path.parent != folder for path in members) else []
    name = _common_name([path.name for path in members])
    matched = expand(folder.joinpath(*below, name), len(folder.parts))
    if sorted(map(Path, matched)) != members:
        return alone
    return [Group(str(Path(*map(_escape, folder.parts), *below, name)), tuple(members))]


def _common_name(names: Sequence[str]) -> str:
    """Return the glob of names: what they begin with, a star, and what they end with."""
    if len(set(names)) == 1:
        return _escape(names[0])
    start = _common_start(names)
    ending = _common_start([name[len(start) :][::-1] for name in names])[::-1]
    # Whole words only: three stars whose numbers begin with the same digit are not all of them.
    while start and start[-1] not in _SEPARATORS and not start[-1].isalpha():
        start = start[:-1]
    place = min((ending.find(c) for c in _SEPARATORS if c in ending), default=len(ending))
    return f"{_escape(start)}*{_escape(ending[place:])}"


def _common_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    same = (n for n, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1])
    return first[: next(same, len(first))]


def _escape(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)
