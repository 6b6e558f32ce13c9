"""Looking at all files before the first row is written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from astra.errors import ProductError
from jobs import scratch
from jobs.fits import FitsFile, TableHDU
from jobs.identify import identify
from jobs.manifest import Manifest, Mistake, Product
from jobs.mapping import TableMapping, map_table
from jobs.plan import Unit

log = logging.getLogger("astra")

Classes = Mapping[str, type[Any]]
"""The models that a manifest names; see `jobs.manifest.check_names`."""


def check(manifest: Manifest, units: Sequence[Unit], classes: Classes) -> list[Mistake]:
    """Look at the headers of all files; a gzipped one is unpacked to its end.

    Returns
    -------
    list of Mistake
        All problems of all files.
    """
    mistakes: list[Mistake] = []
    told: set[str] = set()
    columns: dict[int, set[str]] = {}
    for unit in units:
        product = manifest.products[unit.product]
        try:
            for mapping in mappings(scratch.inspect(unit.path), product, classes):
                mistakes += [product.mistake("path", text) for text in mapping.problems]
                names = {column.name for column in mapping.table.columns}
                columns.setdefault(unit.product, set()).update(names)
                _tell_lacking(product, mapping, told)
        except ProductError as error:
            mistakes.append(product.mistake("path", str(error)))
    for index, names in columns.items():
        product = manifest.products[index]
        mistakes += [
            product.mistake("ignore", f"no file of the product has a column {name}")
            for name in product.ignore or ()
            if name not in names
        ]
    return mistakes


def _tell_lacking(product: Product, mapping: TableMapping, told: set[str]) -> None:
    """Say once for each product which fields of its tables it has no columns for."""
    lacking = [name for name in mapping.lacking if f"{product.index} {name}" not in told]
    told.update(f"{product.index} {name}" for name in lacking)
    if lacking:
        log.info(
            "%s %s has no columns for these fields, which stay empty: %s",
            product.path,
            mapping.table.label,
            ", ".join(lacking),
        )


def mappings(file: FitsFile, product: Product, classes: Classes) -> Iterator[TableMapping]:
    """Give the mapping of each HDU of a file that the manifest wants.

    Raises
    ------
    ProductError
        If the file has no such HDU.
    """
    for table in _wanted(file, product):
        models = identify(file, table, product, classes)
        yield map_table(file, table, product, models, file.path)


def _wanted(file: FitsFile, product: Product) -> list[TableHDU]:
    if product.hdus is None:
        return [table for table in file.tables if table.rows]
    tables = []
    for which in product.hdus:
        table = file.table(which)
        if table is None:
            there = ", ".join(each.label for each in file.tables) or "none"
            others = ", ".join(f"HDU {number} is {kind}" for number, kind in file.others[1:])
            raise ProductError(
                f"{file.path}: there is no table HDU {which}, which `hdus` names; its tables are "
                f"{there}" + (f" ({others})" if others else "")
            )
        tables.append(table)
    return tables
