"""From files and folders to kinds of files, each with one path or glob that means just them."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from astra.errors import ProductError
from jobs.manifest.globbing import Unreadable, expand, has_magic

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


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files that are named, and the FITS files in the folders that are.

    Returns
    -------
    list of Path
        Absolute, sorted, each once.

    Raises
    ------
    ProductError
        If there is no such file or folder, or a folder cannot be read.
    """
    found: set[Path] = set()
    for path in paths:
        place = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as they are written
        if place.is_dir():
            found.update(_in_folder(place))
        elif place.exists():
            found.add(place)
        else:
            raise ProductError(f"{path}: no such file or folder")
    return sorted(found)


def _in_folder(folder: Path) -> list[Path]:
    literal = len(folder.parts)
    try:
        every = [path for path in expand(folder / "**" / "*.fit*", literal) if path.is_file()]
    except Unreadable as error:
        raise ProductError(f"{error}; name the folders that can be read") from error
    return [path for path in every if path.name.lower().endswith(_ENDINGS)]


def group(files: Iterable[Path]) -> list[Group]:
    """Put files of one kind together, by what their names begin and end with.

    Returns
    -------
    list of Group
        In the order of their first files; where no glob tells a kind from the others, each of its
        files stands alone.
    """
    kinds: dict[tuple[str, str, str], list[Path]] = {}
    for path in files:
        kinds.setdefault(_kind(path.name), []).append(path)
    names = [path for members in kinds.values() for path in members]
    groups: list[Group] = []
    for members in kinds.values():
        groups += _with_pattern(members, names)
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


def _with_pattern(members: list[Path], everything: Sequence[Path]) -> list[Group]:
    """Return a kind as one group, or if no glob means just it, as one for each file."""
    if len(members) == 1:
        return [Group(_literal(members[0]), tuple(members))]
    folder = Path(os.path.commonpath([path.parent for path in members]))
    deep = any(path.parent != folder for path in members)
    name = _common_name([path.name for path in members])
    others = set(everything) - set(members)
    below = [path for path in others if folder in path.parents]
    if not deep:
        below = [path for path in below if path.parent == folder]
    if any(fnmatch.fnmatchcase(path.name, name) for path in below):
        return [Group(_literal(path), (path,)) for path in members]
    pattern = _escaped(folder) / "**" / name if deep else _escaped(folder) / name
    return [Group(str(pattern), tuple(members))]


def _common_name(names: Sequence[str]) -> str:
    """Return the glob of names: what they begin with, a star, and what they end with."""
    start = os.path.commonprefix(names)
    ending = os.path.commonprefix([name[len(start) :][::-1] for name in names])[::-1]
    # Whole words only: three stars whose numbers begin with the same digit are not all of them.
    while start and start[-1] not in _SEPARATORS and not start[-1].isalpha():
        start = start[:-1]
    place = min((ending.find(c) for c in _SEPARATORS if c in ending), default=len(ending))
    return f"{_escape(start)}*{_escape(ending[place:])}"


def _escape(text: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", text)


def _escaped(folder: Path) -> Path:
    return Path(*(_escape(part) for part in folder.parts))


def _literal(path: Path) -> str:
    """Return a path to one file; magic that a part of it has is meant as it is written."""
    return str(_escaped(path)) if has_magic(str(path.parent)) else str(path)
