"""From the paths and globs of a manifest to files, every one of them there."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jobs.files import Files, InputFile
from jobs.manifest.globbing import Unreadable, expand, has_magic, is_literal
from jobs.manifest.mistakes import as_error, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobs.manifest.mistakes import Mistake
    from jobs.manifest.model import Manifest, Product, Root

_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|([A-Za-z_]\w*))", re.ASCII)
# Names compared to suggest the nearest: enough for a folder of products, bounded for one of stars.
_MOST_COMPARED = 5000


class _PathProblem(Exception):
    """A path that leads to no file; its text lacks the line that only the manifest knows."""


class _RootProblem(_PathProblem):
    """The same of the manifest's root."""


def resolve(product: Product, manifest_path: Path) -> list[Path]:
    """Return the files of one product, absolute, sorted by path, each once.

    ``~`` and ``$VAR`` are expanded, a relative path starts at the manifest's folder, and a glob
    keeps files only, behind links too.

    Raises
    ------
    ManifestError
        If a variable is not set, there is no such file, a glob matches none, a folder that it
        leads through cannot be read, or a file does not lie under the manifest's root.
    """
    try:
        return [Path(path) for path, _ in _files(product, manifest_path)]
    except _PathProblem as problem:
        raise as_error([_mistake(product, problem)], manifest_path) from None


def resolve_all(manifest: Manifest, manifest_path: Path) -> Files:
    """Return the files of all products, in the manifest's order, sorted within a product.

    One file may be named by several products (for other HDUs, say), but not twice for the same
    HDUs, spectrum and result.

    Raises
    ------
    ManifestError
        As `resolve`, with the mistakes of all products; and if a file is named twice.
    """
    mistakes: list[Mistake] = []
    files = Files()
    for product in manifest.products:
        try:
            for path, size in _files(product, manifest_path):
                files.add(product.index, path, size)
        except _PathProblem as problem:
            mistakes.append(_mistake(product, problem))
    mistakes += _named_twice(files, manifest)
    if mistakes:
        raise as_error(mistakes, manifest_path)
    return files


def _mistake(product: Product, problem: _PathProblem) -> Mistake:
    if isinstance(problem, _RootProblem) and product.root is not None:
        return product.root.mistake(str(problem))
    return product.mistake("path", str(problem))


def _named_twice(files: Files, manifest: Manifest) -> Iterator[Mistake]:
    """Yield one mistake for each two products that share files, not one for each file."""
    first: dict[tuple[str, object], int] = {}
    shared: dict[tuple[int, int], list[Path]] = {}
    for file, use in _perhaps_twice(files, manifest):
        earlier = first.setdefault(use, file.product)
        if earlier != file.product:
            shared.setdefault((earlier, file.product), []).append(file.path)
    for (earlier, later), paths in shared.items():
        more = f" and {len(paths) - 1} more files are" if len(paths) > 1 else " is"
        before = manifest.products[earlier]
        yield manifest.products[later].mistake(
            "path",
            f"{paths[0]}{more} named by {before.place} (line {before.line}), too, with the same "
            "hdus, spectrum and result; remove one of the two, or tell them apart by hdus",
        )


def _perhaps_twice(
    files: Files, manifest: Manifest
) -> Iterator[tuple[InputFile, tuple[str, object]]]:
    """Yield each file whose path and use another one may have, too, with the two.

    All are compared by a hash, which takes eight bytes a file.
    """
    if len(manifest.products) == 1:
        return
    of_product = [(product.hdus, product.spectrum, product.result) for product in manifest.products]

    def use_of(file: InputFile) -> tuple[str, object]:
        return os.path.normpath(file.path), of_product[file.product]

    hashes = np.fromiter((hash(use_of(file)) for file in files), dtype=np.int64, count=len(files))
    ordered = np.sort(hashes)
    twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    for place in np.flatnonzero(np.isin(hashes, list(twice))).tolist() if twice else ():
        yield files[place], use_of(files[place])


def _files(product: Product, manifest_path: Path) -> Iterator[tuple[str, int]]:
    """Yield the files of a product with their sizes in bytes."""
    folder = manifest_path.parent.absolute()
    files = _found(product, folder)
    return files if product.root is None else _inside(files, product.root, folder)


def _inside(
    files: Iterator[tuple[str, int]], root: Root, folder: Path
) -> Iterator[tuple[str, int]]:
    """Yield files; raise if one does not lie under the root, wherever ``..`` and links lead."""
    top = _top(root, folder)
    first, number = "", 0
    for path, size in files:
        if Path(os.path.realpath(path)).is_relative_to(top):
            yield path, size
        else:
            first, number = first or path, number + 1
    if number:
        real = os.path.realpath(first)
        which = "" if first == real else f", which is {real},"
        are = f" and {number - 1} more files are" if number > 1 else " is"
        raise _PathProblem(
            f"{first}{which}{are} not under the root {top} (line {root.line}); name files under "
            "it, or correct the root"
        )


def _top(root: Root, folder: Path) -> Path:
    try:
        top = folder / _expanded(root.path)
    except _PathProblem as problem:
        raise _RootProblem(str(problem)) from None
    if not os.path.isdir(top):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        raise _RootProblem(f"there is no folder {top}; make it, or correct the root")
    return Path(os.path.realpath(top))


def _found(product: Product, folder: Path) -> Iterator[tuple[str, int]]:
    text = _expanded(product.path)
    pattern = folder / text
    if not has_magic(text) or is_literal(pattern):
        yield str(pattern), _one(pattern)
        return
    files = others = 0
    try:
        literal = 1 if Path(text).is_absolute() else len(folder.parts)
        for path in expand(pattern, literal):
            size = _size(path)
            if size is None:
                others += 1
            else:
                files += 1
                yield path, size
    except Unreadable as error:
        raise _PathProblem(f"{error}; the glob {pattern} leads through it") from error
    if not files:
        raise _PathProblem(_nothing_matches(pattern, literal, others))


def _expanded(text: str) -> str:
    """Return a path with ``~`` and variables expanded."""

    def value(match: re.Match[str]) -> str:
        name = match[1] if match[1] is not None else match[2]
        content = os.environ.get(name)
        if content:
            return content
        state = "is not set" if content is None else "is empty"
        raise _PathProblem(
            f"the environment variable {name or '${}'} {state} (in {text}); "
            "set it, or write the path out"
        )

    home = os.path.expanduser(text)  # noqa: PTH111 - a Path would not keep what is written
    if text.startswith("~") and home == text:
        user = text.partition("/")[0]
        raise _PathProblem(f"there is no home folder for {user}; write the path out")
    return _VARIABLE.sub(value, home)


def _size(path: str) -> int | None:
    """Return the size of what a glob matched; None for a folder, device or other non-file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - Path is slow by the hundred thousand
    except FileNotFoundError as error:
        what = "a link to nothing" if os.path.islink(path) else "gone since it was listed"  # noqa: PTH114
        raise _PathProblem(f"{path} is {what}; remove it, or make the glob narrower") from error
    except OSError as error:
        raise _PathProblem(f"{path} cannot be read: {error.strerror}") from error
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _one(path: Path) -> int:
    """Return the size of the one file that a path without a glob names."""
    try:
        status = path.stat()
    except OSError as error:
        raise _PathProblem(_not_there(path, error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise _PathProblem(f"{path} is a folder; name its files, as in {path / '*.fits'}")
    if not stat.S_ISREG(status.st_mode):
        raise _PathProblem(f"{path} is a device or pipe; expected a file")
    return status.st_size


def _not_there(path: Path, error: OSError) -> str:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{path} cannot be read: {error.strerror}"
    if path.is_symlink():
        return f"{path} is a link to nothing ({path.readlink()}); mend the link"
    return f"no such file: {path}{_what_is_there(path)}"


def _nothing_matches(pattern: Path, literal: int, others: int) -> str:
    if others:
        return f"{pattern} matches {others} folders or devices, but no file; add a file name to it"
    while not has_magic(pattern.parts[literal]):
        literal += 1
    fixed = Path(*pattern.parts[:literal])
    hint = "; check it with ls" if fixed.is_dir() else _what_is_there(fixed / "*")
    return f"no file matches {pattern}{hint}"


def _what_is_there(path: Path) -> str:
    """Return the first folder that is missing on the way to a path, and the nearest names."""
    for folder in reversed(path.parents):
        if not folder.is_dir():
            missing = folder
            break
    else:
        missing = path
    sort = "" if missing == path else f"; there is no folder {missing}"
    try:
        with os.scandir(missing.parent) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST_COMPARED), strict=False)]
    except OSError:
        names = []
    close = nearest(missing.name, names)
    if close:
        return f"{sort}; did you mean {' or '.join(str(missing.parent / name) for name in close)}?"
    return f"{sort}; check the path"
