"""Every product of both data releases, all tables of it: each value of each column comes in."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astra.models import ApogeeVisitSpectrumInApStar, Source, find, models
from astra.pixels import pixel_arrays
from jobs.datamodel import HDU, Layout
from tests.fixtures.databases import Target
from tests.fixtures.expected import same, stored_as
from tests.fixtures.jobs import Job
from tests.fixtures.products import read_with_astropy
from tests.fixtures.releases import RELEASES, ReleaseFile, write_release

ROWS = 3
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

    def untold(self) -> set[tuple[str, str]]:
        """Return the columns, by model, whose values are the database's own affair.

        Keys of sources and spectra tie rows together, which is checked by itself; a result's
        `modified` is the time of the job.
        """
        if not self.models:
            return set()
        last = self.models[-1].__name__
        keys = {(model.__name__, "source") for model in self.models}
        return keys | {(last, "source_pk"), (last, "spectrum_pk"), (last, "modified")}


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
        if column.table == "derived":
            continue
        model = table.owner(name, column.table)
        if (model.__name__, name) in table.untold():
            continue
        if name in pixel_arrays(model):
            name, expected = "path", [str(table.path)] * ROWS
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
        field, value = Source._meta.fields[name], header[keyword]
        if not isinstance(value, str | int | float) or value in ("", -1):
            wanted: Any = None  # a card without a value
        else:
            wanted = np.float32(value) if field.field_type == "FLOAT" else value
        (found,) = tables.values(Source, name, [row])
        if found != wanted and not (wanted is None and found == field.default):
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


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[ReleaseFile]]:
    """All products of each release, for both databases."""
    return {
        name: list(write_release(tmp_path_factory.mktemp(name), name, ROWS)) for name in RELEASES
    }


@pytest.mark.parametrize("release", RELEASES)
def test_every_column_of_every_product_finds_its_place(
    job: Job, files: dict[str, list[ReleaseFile]], release: str
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
