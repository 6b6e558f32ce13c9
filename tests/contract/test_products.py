"""Every product of both data releases, all tables of it: each value of each column comes in."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from astra.models import ApogeeVisitSpectrumInApStar, Source, find, models
from astra.pixels import pixel_arrays
from jobs.datamodel import HDU, Layout, layout, products, releases
from tests.fixtures.databases import Target
from tests.fixtures.expected import same, stored_as
from tests.fixtures.jobs import Job
from tests.fixtures.products import make_product, read_with_astropy

ROWS = 3
RELEASES = ("DR19", "DR20")
Values = dict[str, list[Any]]


class Tables:
    """What the database holds, each table read once."""

    def __init__(self, target: Target) -> None:
        self._tables = {model: target.table(model) for model in models}
        self._places: dict[tuple[Any, str], dict[Any, int]] = {}

    def values(self, model: Any, name: str, rows: list[int]) -> list[Any]:
        """Return a field's values in some rows."""
        column = self._tables[model][model._meta.fields[name].column_name]
        return [column[row] for row in rows]

    def places(self, model: Any, name: str, keys: list[int]) -> list[int]:
        """Return the rows that have these keys in a field."""
        if (model, name) not in self._places:
            column = self._tables[model][model._meta.fields[name].column_name]
            self._places[model, name] = {key: row for row, key in enumerate(column)}
        return [self._places[model, name][int(key)] for key in keys]


@dataclass
class Table:
    """One HDU of a file, as astropy reads it, and the rows of the tables that are its rows."""

    hdu: HDU
    path: Path
    columns: Values
    models: list[Any]
    rows: dict[Any, list[int]]

    def owner(self, name: str, kind: str) -> Any:
        """Return the model of a column, by its class in the data model."""
        if kind == "source":
            return Source
        if kind == "pipeline":
            return self.models[-1]
        return next(model for model in self.models if has(model, name))


def has(model: Any, name: str) -> bool:
    return name in model._meta.fields or name in pixel_arrays(model)


def field_name(column: str) -> str:
    return column.removesuffix("_id") if column.endswith("_pk_id") else column


@functools.cache
def read(path: Path, hdu: int) -> Values:
    """Read an HDU with astropy, once for both databases."""
    return {field_name(name): values for name, values in read_with_astropy(path, hdu).items()}


def open_table(path: Path, shape: Layout, hdu: HDU, tables: Tables) -> Table:
    """Find the rows of an HDU in all tables, by the keys in the file."""
    columns = read(path, hdu.number)
    named = [find(name) for name in hdu.models if name != "Source"]
    rows: dict[Any, list[int]] = {}
    sdss_id = columns.get("sdss_id")
    if shape.source_cards:
        sdss_id = [primary_header(path)["SDSS_ID"]] * ROWS
    rows[Source] = tables.places(Source, "sdss_id", sdss_id)
    spectrum_pk = columns.get("spectrum_pk", [])
    for model in named:
        if model is ApogeeVisitSpectrumInApStar and named[0] is not model:
            # The row of the visit as it was resampled is made for the visit as it was reduced.
            rows[model] = tables.places(model, "drp_spectrum_pk", spectrum_pk)
            spectrum_pk = tables.values(model, "spectrum_pk", rows[model])
        else:
            rows[model] = tables.places(model, "spectrum_pk", spectrum_pk)
    return Table(hdu, path, columns, named, rows)


def versions(model: Any) -> dict[str, Any]:
    """Return how a model has the versions of the files, which write them in either way."""
    if model._meta.fields["v_astra"].field_type == "TEXT":
        return {"0.6.0": "0.6.0", "0.8.1": "0.8.1"}
    return {"0.6.0": 6000, "0.8.1": 8001}


def primary_header(path: Path) -> Mapping[str, Any]:
    from astropy.io import fits

    return dict(fits.getheader(path, 0))


def differences(table: Table, shape: Layout, tables: Tables) -> Iterator[str]:
    """Tell the first value of each column that is not what the file has."""
    where = f"{shape.product} {shape.release} HDU {table.hdu.number}"
    for column in table.hdu.columns:
        name = field_name(column.name)
        if column.table == "derived" or name in ("source", "source_pk"):
            continue
        model = table.owner(name, column.table)
        if (column.table, name) == ("pipeline", "modified"):
            continue  # the time of this job
        if name in pixel_arrays(model):
            name, expected = "path", [str(table.path)] * ROWS
        elif name == "spectrum_pk" and model is table.models[-1]:
            continue
        elif name == "v_astra":
            expected = [versions(model)[shape.v_astra]] * ROWS
        else:
            expected = stored_as(table.columns[name], model._meta.fields[name])
        found = tables.values(model, name, table.rows[model])
        for row, (value, wanted) in enumerate(zip(found, expected, strict=True)):
            if not same(value, wanted):
                yield f"{where} {model.__name__}.{name}, row {row}: {value!r}, not {wanted!r}"
                break
    source_pk = tables.values(Source, "pk", table.rows[Source])
    for model in table.models:
        key = "source_pk" if "source_pk" in model._meta.fields else "source"
        if tables.values(model, key, table.rows[model]) != source_pk:
            yield f"{where} {model.__name__} is not tied to its sources"


def card_differences(path: Path, shape: Layout, tables: Tables) -> Iterator[str]:
    """Tell the cards of a file of one object that are not in its source."""
    header = primary_header(path)
    (row,) = tables.places(Source, "sdss_id", [header["SDSS_ID"]])
    for keyword, name in shape.source_cards.items():
        value = header[keyword]
        (found,) = tables.values(Source, name, [row])
        wanted = None if value in ("", -1, None) or str(value) == "UNDEFINED" else value
        field = Source._meta.fields[name]
        if field.field_type == "FLOAT" and wanted is not None:
            wanted = type(found)(wanted) if found is not None else wanted
        if isinstance(wanted, str) or wanted is None:
            alike = found == wanted or (wanted is None and found in (None, 0))
        else:
            alike = found == wanted
        if not alike:
            yield f"{shape.product} {shape.release} card {keyword}: {found!r}, not {value!r}"


def flag_differences(table: Table, shape: Layout) -> Iterator[str]:
    """Tell the derived flags that a query computes otherwise than the file has them."""
    for column in table.hdu.columns:
        if column.table != "derived" or not column.name.startswith("flag_"):
            continue
        model = table.models[-1]
        flag = getattr(model, column.name)
        keys = [int(key) for key in table.columns["task_pk"]]
        query = model.select(model.task_pk, flag).where(model.task_pk.in_(keys)).tuples()
        found = {key: bool(value) for key, value in query}
        expected = dict(zip(keys, table.columns[column.name].tolist(), strict=True))
        if found != expected:
            yield f"{shape.product} {shape.release} {model.__name__}.{column.name}: {found}"


File = tuple[Path, Layout, list[HDU]]


def write_files(folder: Path, release: str) -> Iterator[File]:
    """Write all products of a release, with rows in every table; each has stars of its own.

    A source comes in with the first of its rows, so the tables of a file of all objects, which
    would have the same stars, are written to one file each.
    """
    seeds = itertools.count()
    for name in products():
        if release not in releases(name):
            continue
        shape = layout(name, release)
        for number, hdus in enumerate([shape.hdus] if shape.source_cards else zip(shape.hdus)):
            rows = {hdu.number: ROWS if hdu in hdus else 0 for hdu in shape.hdus}
            options = {"seed": next(seeds), "hdus": rows, "name": f"{name}-{number}.fits"}
            yield make_product(folder, name, release, 0, **options), shape, list(hdus)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[File]]:
    """All products of each release, for both databases."""
    return {name: list(write_files(tmp_path_factory.mktemp(name), name)) for name in RELEASES}


@pytest.mark.parametrize("release", RELEASES)
def test_every_column_of_every_product_finds_its_place(
    job: Job, files: dict[str, list[File]], release: str
) -> None:
    report = job.ingest(*({"path": path} for path, _, _ in files[release]))

    assert report["status"] == "done", report
    assert report["totals"]["inserted"] == report["totals"]["read"]
    assert report["totals"]["read"] == ROWS * sum(len(hdus) for _, _, hdus in files[release])
    tables = Tables(job.target)
    found: list[str] = []
    for path, shape, hdus in files[release]:
        for hdu in hdus:
            table = open_table(path, shape, hdu, tables)
            found += differences(table, shape, tables)
            found += flag_differences(table, shape)
        if shape.source_cards:
            found += card_differences(path, shape, tables)
    assert not found, "\n".join(found)
