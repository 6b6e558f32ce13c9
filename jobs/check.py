"""Looking at all files before the first row is written."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from astra.errors import ProductError
from jobs import scratch
from jobs.fits import FitsFile, TableHDU
from jobs.identify import identify, result_of_name
from jobs.manifest import Manifest, Mistake, Product
from jobs.mapping import TableMapping, map_columns, with_header
from jobs.plan import Units

log = logging.getLogger("astra")

#: So many fields without a column are named.
_TOLD = 12

Classes = Mapping[str, type[Any]]
"""The models that a manifest names; see `jobs.manifest.check_names`."""


@dataclass(frozen=True)
class Checked:
    """What the headers of all files say.

    Attributes
    ----------
    mistakes : list of Mistake
        All problems of all files.
    rows : int
        How many rows there are to be read.
    columns : dict of int to set of str
        The names of the columns that the files of each product have.
    """

    mistakes: list[Mistake]
    rows: int
    columns: dict[int, set[str]]


def check(manifest: Manifest, units: Units, classes: Classes) -> Checked:
    """Look at the headers of all files; a gzipped one is unpacked to its end.

    Parameters
    ----------
    manifest : Manifest
    units : Units
    classes : mapping of str to type
    """
    rows = 0
    mistakes: list[Mistake] = []
    told: set[int] = set()
    columns: dict[int, set[str]] = {}
    mapper = Mapper(classes)
    for (index, path), parts in groupby(units, key=lambda unit: (unit.product, unit.path)):
        product, own = manifest.products[index], list(parts)
        try:
            for mapping in mapper.mappings(scratch.inspect(path), product):
                mistakes += [product.mistake("path", text) for text in mapping.problems]
                rows += sum(len(unit.rows(mapping.table.rows)) for unit in own)
                if id(mapping.kind) not in told:
                    told.add(id(mapping.kind))
                    names = {column.name for column in mapping.table.columns}
                    columns.setdefault(index, set()).update(names)
                    _tell_lacking(product, mapping)
        except ProductError as error:
            mistakes.append(product.mistake("path", str(error)))
    return Checked(mistakes, rows, columns)


def useless_ignores(
    manifest: Manifest, units: Units, checked: Sequence[Checked]
) -> Iterator[Mistake]:
    """Yield the names under `ignore` that no file has, if all files of the product were checked.

    Parameters
    ----------
    manifest : Manifest
    units : Units
        What was checked.
    checked : sequence of Checked
        What came of it, in parts.
    """
    for index in units.whole_products():
        product = manifest.products[index]
        names = {name for part in checked for name in part.columns.get(index, ())}
        for name in product.ignore or ():
            if names and name not in names:
                yield product.mistake("ignore", f"no file of the product has a column {name}")


def _tell_lacking(product: Product, mapping: TableMapping) -> None:
    """Say which fields of its tables a product has no columns for."""
    lacking = mapping.lacking
    if lacking:
        log.info(
            "%s %s has no columns for %d fields, which stay empty: %s%s",
            product.path,
            mapping.table.label,
            len(lacking),
            ", ".join(lacking[::-1][:_TOLD]),
            ", ..." if len(lacking) > _TOLD else "",
        )


class Mapper:
    """Maps the HDUs of files; of files of one kind, the columns only once.

    Parameters
    ----------
    classes : mapping of str to type
        The models that the manifest names.
    """

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self._kinds: dict[Any, TableMapping] = {}

    def mappings(self, file: FitsFile, product: Product) -> Iterator[TableMapping]:
        """Give the mapping of each HDU of a file that the manifest wants.

        Raises
        ------
        ProductError
            If the file has no such HDU.
        """
        for table in _wanted(file, product):
            # Tables of one layout have one and the same tuple of columns; it is kept with the
            # mapping, so its id is not given to another.
            key = (product.index, id(table.columns), *_marks(file, table))
            if key not in self._kinds:
                models = identify(file, table, product, self.classes)
                self._kinds[key] = map_columns(file, table, product, models)
            yield with_header(self._kinds[key], file, table, file.path)


def _marks(file: FitsFile, table: TableHDU) -> Iterator[Any]:
    """Give what tells kinds of files apart that have the same columns."""
    for keyword in ("INSTRMNT", "PIPELINE"):
        yield table.cards.get(keyword)
        yield file.primary.get(keyword)
    yield "SDSS_ID" in file.primary
    yield result_of_name(file.path)
    yield tuple(file.primary) if "SDSS_ID" in file.primary else ()


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
