"""`astra manifest`: a manifest from files, and every mistake of one that is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from astra.errors import ManifestError, ProductError
from jobs.check import check, useless_ignores
from jobs.files import Files
from jobs.inspection import FileView, HDUView, inspect_file
from jobs.manifest import (
    Manifest,
    Product,
    as_error,
    check_names,
    load_manifest,
    resolve,
    resolve_all,
)
from jobs.manifest.writing import Draft, Look, draft
from jobs.mapping import REJECT_CARD
from jobs.plan import plan
from jobs.text import count, size

P = TypeVar("P", Manifest, Product)
T = TypeVar("T")


def draft_manifest(paths: Sequence[Path], output: Path | None) -> Draft:
    """Return a manifest of files and folders, checked as an ingest would check it.

    Parameters
    ----------
    paths : sequence of Path
    output : Path or None
        Where it will be; None: in the current folder.

    Raises
    ------
    AstraError
        If a path is not there, or nothing can be ingested.
    """
    folder = (output.parent if output else Path()).absolute()
    made = draft(paths, folder, look)
    with TemporaryDirectory() as scratch:
        # Where it will be there may be none yet, or nobody may write.
        copy = Path(scratch) / "manifest.yml"
        copy.write_text(made.text, encoding="utf-8")
        manifest = load_manifest(copy)
    path = output or folder / "manifest.yml"
    check_names(manifest, path)
    resolve_all(manifest, path)
    return made


def look(path: Path) -> Look:
    """Tell what a file is, for the manifest that is to name it."""
    try:
        view = inspect_file(path, rows=0)
    except ProductError as error:
        return Look(problem=str(error).removeprefix(f"{path}: "))
    tables = [hdu for hdu in view.hdus if hdu.kind == "table" and hdu.rows]
    if not tables:
        return Look(problem=_without_rows(view))
    problems = [f"HDU {hdu.number}: {text}" for hdu in tables for text in hdu.problems]
    if problems:
        return Look(problem="\n".join(dict.fromkeys(problems)))
    unknown = {c.name: None for hdu in tables for c in hdu.columns if not c.has_place}
    return Look(text=_describe(tables, view), ignore=tuple(unknown))


def _without_rows(view: FileView) -> str:
    kinds = {hdu.kind for hdu in view.hdus[1:]}
    if "table" in kinds:
        return "its tables have no rows"
    return "it has no table" + (f" (but {', '.join(sorted(kinds))})" if kinds else "")


def _describe(tables: Sequence[HDUView], view: FileView) -> str:
    names = dict.fromkeys(name for hdu in tables for name in hdu.tables)
    rows = count(sum(hdu.rows for hdu in tables), "row")
    version = f", Astra {view.cards['V_ASTRA']}" if view.cards.get("V_ASTRA") else ""
    rejects = ", mended rejects" if REJECT_CARD in view.cards else ""
    return f"{rows} for {', '.join(names)}{version}{rejects}"


def check_manifest(path: Path) -> str:
    """Find every mistake of a manifest and its files, as an ingest would before it begins.

    Returns
    -------
    str
        If there is none: what it holds.

    Raises
    ------
    ManifestError
        With all mistakes, a line a mistake.
    """
    manifest = load_manifest(path)
    classes: dict[str, type] = {}
    files = Files()
    told: list[str] = []
    for product in manifest.products:
        names, why_not = _try(check_names, _only(product, manifest), path)
        found, why_none = _try(resolve, product, path)
        told += [*why_not, *why_none]
        if names is not None and found is not None:
            classes |= names
            for file in found:
                files.add(product.index, file, file.stat().st_size)
    if not told:
        resolve_all(manifest, path)  # tells of files that several products name
    units = plan(files)
    checked = check(manifest, units, classes)
    mistakes = [*checked.mistakes, *useless_ignores(manifest, units, [checked])]
    if mistakes:
        told += str(as_error(mistakes, path)).splitlines()
    if told:
        raise ManifestError("\n".join(dict.fromkeys(told)))
    total = size(sum(files.sizes))
    products = count(len(manifest.products), "product")
    return f"{path}: {products}, {count(len(files), 'file')}, {total}: ready to ingest"


def _only(product: Product, manifest: Manifest) -> Manifest:
    return manifest.model_copy(update={"products": (product,)})


def _try(work: Callable[[P, Path], T], of: P, path: Path) -> tuple[T | None, list[str]]:
    """Return what a function returns, or the mistakes that it raises."""
    try:
        return work(of, path), []
    except ManifestError as error:
        return None, str(error).splitlines()
