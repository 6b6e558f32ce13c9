"""From the paths and globs of a manifest to files, every one of them there."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jobs.manifest.globbing import Unreadable, expand, has_magic, is_literal
from jobs.manifest.mistakes import as_error, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobs.manifest.mistakes import Mistake
    from jobs.manifest.model import Manifest, Product, Root

_VARIABLE = re.compile(r"\$(?:\{([^}]*)\}|([A-Za-z_]\w*))", re.ASCII)
# Names compared to suggest the nearest: enough for a folder of products, bounded for one of stars.
_MOST_COMPARED = 5000


class InputFile(NamedTuple):
    """A file to ingest; a plain tuple that `jobs.plan.plan` takes as it is.

    Attributes
    ----------
    product : int
        Index of its product in the manifest, from 0.
    path : Path
        Absolute.
    size : int
        Bytes on disk.
    """

    product: int
    path: Path
    size: int


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
        return [path for path, _ in _files(product, manifest_path)]
    except _PathProblem as problem:
        raise as_error([_mistake(product, problem)], manifest_path) from None


def resolve_all(manifest: Manifest, manifest_path: Path) -> list[InputFile]:
    """Return the files of all products, in the manifest's order, sorted within a product.

    One file may be named by several products (for other HDUs, say), but not twice for the same
    HDUs, spectrum and result.

    Raises
    ------
    ManifestError
        As `resolve`, with the mistakes of all products; and if a file is named twice.
    """
    mistakes: list[Mistake] = []
    files: list[InputFile] = []
    for product in manifest.products:
        try:
            files += [InputFile(product.index, *found) for found in _files(product, manifest_path)]
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


def _named_twice(files: list[InputFile], manifest: Manifest) -> Iterator[Mistake]:
    """Yield one mistake for each two products that share files, not one for each file."""
    first: dict[tuple[str, object], int] = {}
    shared: dict[tuple[int, int], list[Path]] = {}
    uses = [(product.hdus, product.spectrum, product.result) for product in manifest.products]
    for file in files:
        earlier = first.setdefault((os.path.normpath(file.path), uses[file.product]), file.product)
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


def _files(product: Product, manifest_path: Path) -> list[tuple[Path, int]]:
    """Return the files of a product with their sizes in bytes."""
    folder = manifest_path.parent.absolute()
    files = _found(product, folder)
    if product.root is not None:
        _refuse_outside([path for path, _ in files], product.root, folder)
    return files


def _refuse_outside(paths: list[Path], root: Root, folder: Path) -> None:
    """Raise if a file does not lie under the root, wherever ``..`` and links lead."""
    top = _top(root, folder)
    outside = [(path, real) for path in paths if not (real := _real(path)).is_relative_to(top)]
    if not outside:
        return
    path, real = outside[0]
    which = "" if path == real else f", which is {real},"
    are = f" and {len(outside) - 1} more files are" if len(outside) > 1 else " is"
    raise _PathProblem(
        f"{path}{which}{are} not under the root {top} (line {root.line}); name files under it, or "
        "correct the root"
    )


def _top(root: Root, folder: Path) -> Path:
    try:
        top = folder / _expanded(root.path)
    except _PathProblem as problem:
        raise _RootProblem(str(problem)) from None
    if not os.path.isdir(top):  # noqa: PTH112 - Path.is_dir raises for names that are too long
        raise _RootProblem(f"there is no folder {top}; make it, or correct the root")
    return _real(top)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _found(product: Product, folder: Path) -> list[tuple[Path, int]]:
    text = _expanded(product.path)
    pattern = folder / text
    if not has_magic(text) or is_literal(pattern):
        return [_one(pattern)]
    try:
        literal = 1 if Path(text).is_absolute() else len(folder.parts)
        found = list(expand(pattern, literal))
    except Unreadable as error:
        raise _PathProblem(f"{error}; the glob {pattern} leads through it") from error
    files = [(path, size) for path, size in map(_size, found) if size is not None]
    if not files:
        raise _PathProblem(_nothing_matches(pattern, literal, len(found)))
    return files


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


def _size(path: Path) -> tuple[Path, int | None]:
    """Return the size of what a glob matched; None for a folder, device or other non-file."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        what = "a link to nothing" if path.is_symlink() else "gone since it was listed"
        raise _PathProblem(f"{path} is {what}; remove it, or make the glob narrower") from error
    except OSError as error:
        raise _PathProblem(f"{path} cannot be read: {error.strerror}") from error
    return path, status.st_size if stat.S_ISREG(status.st_mode) else None


def _one(path: Path) -> tuple[Path, int]:
    """Return the one file that a path without a glob names."""
    try:
        status = path.stat()
    except OSError as error:
        raise _PathProblem(_not_there(path, error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise _PathProblem(f"{path} is a folder; name its files, as in {path / '*.fits'}")
    if not stat.S_ISREG(status.st_mode):
        raise _PathProblem(f"{path} is a device or pipe; expected a file")
    return path, status.st_size


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
