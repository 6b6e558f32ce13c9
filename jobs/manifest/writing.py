"""A manifest for files that are there: commented, and ready to be submitted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from astra.errors import ManifestError, ProductError
from jobs.manifest.grouping import Group, find_files, group
from jobs.text import count, size

SCHEMA = Path(__file__).parents[1] / "manifest.schema.json"
"""The JSON Schema that editors complete and check a manifest by."""


@dataclass(frozen=True)
class Look:
    """What a file is, as far as a manifest needs to know.

    Attributes
    ----------
    text : str
        In words: rows, and the tables that they go to.
    ignore : tuple of str
        Columns that no table has a field for.
    problem : str
        Why it cannot be ingested as it is; empty if it can.
    """

    text: str = ""
    ignore: tuple[str, ...] = ()
    problem: str = ""


@dataclass
class Draft:
    """A manifest, and what is not in it.

    Attributes
    ----------
    text : str
    files : int
        Files that it names.
    left_out : dict of str to str
        Path or glob of each kind of file that cannot be ingested, and why.
    """

    text: str
    files: int
    left_out: dict[str, str] = field(default_factory=dict)


def draft(paths: Sequence[Path], folder: Path, look: Callable[[Path], Look]) -> Draft:
    """Return a manifest of files, and of the FITS files in folders and all folders below.

    Parameters
    ----------
    paths : sequence of Path
    folder : Path
        Where the manifest will be; what is below it is named relative to it.
    look : callable
        Tells what a file is; is asked for one file of each kind, the smallest.

    Raises
    ------
    ProductError
        If a path is not there, or nothing of what is there can be ingested.
    """
    files = find_files(paths)
    if not files:
        raise ProductError(f"{', '.join(map(str, paths))}: no FITS file (*.fits, *.fits.gz) there")
    entries: list[str] = []
    left_out: dict[str, str] = {}
    taken = 0
    for each in group(files):
        name = _spell(each.pattern, folder)
        seen = look(min(each.files, key=lambda path: (path.stat().st_size, path)))
        if seen.problem:
            left_out[name] = seen.problem
        else:
            entries.append("\n".join(_entry(each, name, seen)))
            taken += len(each.files)
    if not entries:
        lines = [f"  {name}: {why}" for name, why in left_out.items()]
        raise ProductError("\n".join(["nothing here can be ingested:", *lines]))
    return Draft(
        _HEAD.format(schema=SCHEMA) + "\n\n".join(entries) + _tail(left_out), taken, left_out
    )


_HEAD = """\
# yaml-language-server: $schema={schema}
#
# What `astra ingest` takes in, written by `astra manifest`; change it as you like, then run
#   astra manifest --check FILE     every mistake in it, at once
#   astra ingest FILE --dry-run     read and check every row, and write none
#   astra ingest FILE
# Paths are relative to this file; ~, $VARIABLE and globs (*, ?, [abc], **) work.
version: 1

# Keys for every product below that has none of its own; these are the values they have anyway.
# defaults:
#   tag: ""               # text for the results' tag column, where the file has none
#   sources: create       # create: add what is missing, update: overwrite, too, require: add none
#   spectra: create       # the same for spectra
#   new_columns: error    # error, or ignore: columns that no table has a field for
#   max_rejects: 1000     # rows that may be set aside before a product counts as failed

products:
"""


def _entry(each: Group, name: str, seen: Look) -> Iterator[str]:
    total = sum(path.stat().st_size for path in each.files)
    example = "such as one with " if len(each.files) > 1 else ""
    yield f"  # {count(len(each.files), 'file')}, {size(total)}: {example}{seen.text}"
    yield f"  - path: {scalar(name)}"
    if seen.ignore:
        yield "    # No table has a field of these names.  Take a name out to be told of it again,"
        yield "    # or give the column a field, as in  columns: {teff: TEFF_RAW}"
        yield f"    ignore: [{', '.join(map(scalar, seen.ignore))}]"


def _tail(left_out: dict[str, str]) -> str:
    if not left_out:
        return "\n"
    lines = ["", "", "# Left out:"]
    for name, why in left_out.items():
        lines += [f"#   {name}:", *(f"#     {line}" for line in why.splitlines())]
    return "\n".join(lines) + "\n"


def _spell(pattern: str, folder: Path) -> str:
    """Return a path as the manifest has it: relative if it is below, by a variable if it can."""
    path = Path(pattern)
    if path.is_relative_to(folder):
        return str(path.relative_to(folder))
    for variable in ("MWM_ASTRA", "SAS_BASE_DIR"):
        root = os.environ.get(variable, "").rstrip("/")
        if root and path.is_relative_to(root):
            return f"${variable}/{path.relative_to(root)}"
    return pattern


def scalar(text: str) -> str:
    """Return a text as YAML, in quotes if it needs them."""
    line: str = yaml.safe_dump(text, allow_unicode=True, width=10**6, default_flow_style=True)
    return line.strip().removesuffix("...").strip()


def write_new(text: str, path: Path) -> None:
    """Write a manifest where there is none.

    Raises
    ------
    ManifestError
        If the file is there already, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError:
        raise ManifestError(
            f"{path} is there already; name another file with -o, or remove it"
        ) from None
    except OSError as error:
        raise ManifestError(f"{path} cannot be written: {error.strerror}") from error
