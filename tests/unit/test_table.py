"""From a query to an astropy table."""

from __future__ import annotations

from collections.abc import Iterator

import astropy.units as u
import numpy as np
import pytest
from peewee import SqliteDatabase, fn

from astra.models import BossNet, BossVisitSpectrum, Source, Spectrum, models
from astra.table import to_table


@pytest.fixture(autouse=True)
def rows() -> Iterator[None]:
    database = SqliteDatabase(":memory:")
    with database.bind_ctx(models):
        database.create_tables(models)
        for number in (1, 2):
            source = Source.create(sdss_id=2**40 + number, sdss5_target_flags=b"\x03" * number)
            spectrum = BossVisitSpectrum.create(
                spectrum_pk=Spectrum.create().pk,
                source=source,
                mjd=number,
                delta_ra=[0.5] * number,
                fiber_offset=True if number == 1 else None,
            )
            BossNet.from_spectrum(
                spectrum, teff=5000.0 * number, fe_h=None if number == 1 else -0.5, result_flags=2
            ).save()
        yield


def test_columns_have_types_units_and_meanings() -> None:
    table = to_table(BossNet.select(BossNet.task_pk, BossNet.v_astra, BossNet.teff, BossNet.tag))

    assert table.colnames == ["task_pk", "v_astra", "teff", "tag"]
    assert [table[name].dtype.str[1:] for name in ("task_pk", "v_astra", "teff")] == [
        "i8",
        "i4",
        "f4",
    ]
    assert table["tag"].dtype.kind == "U"
    assert table["teff"].unit == u.K
    assert table["teff"].description == "Effective temperature"
    assert table["teff"].tolist() == [5000, 10000]
    assert not table.has_masked_columns


def test_null_is_masked() -> None:
    table = to_table(BossNet.select().order_by(BossNet.task_pk))

    assert table["fe_h"].mask.tolist() == [True, False]
    assert table["fe_h"][1] == -0.5
    assert table["e_fe_h"].mask.all()
    assert len(table.colnames) == len(BossNet._meta.sorted_fields)


def test_arrays_are_as_wide_as_the_longest() -> None:
    table = to_table(BossVisitSpectrum.select().order_by(BossVisitSpectrum.mjd))

    assert table["delta_ra"].dtype == np.float32
    assert table["delta_ra"].unit == u.arcsec
    assert table["delta_ra"].mask.tolist() == [[False, True], [False, False]]
    assert table["delta_dec"].shape == (2, 0)
    assert table["fiber_offset"].dtype == bool
    assert table["fiber_offset"].mask.tolist() == [False, True]
    flags = to_table(Source.select(Source.sdss5_target_flags).order_by(Source.sdss_id))
    assert flags["sdss5_target_flags"].filled(0).tolist() == [[3, 0], [3, 3]]
    assert flags["sdss5_target_flags"].dtype == np.uint8


def test_times_are_text_as_in_the_files() -> None:
    created = to_table(BossNet.select(BossNet.created))["created"]

    assert created.dtype.kind == "U"
    assert created[0] == BossNet.get().created.isoformat()


def test_a_join_keeps_columns_of_one_name_apart() -> None:
    query = (
        BossNet.select(BossNet.teff, BossNet.created, Source.sdss_id, Source.created)
        .join(Source, on=(BossNet.source_pk == Source.pk))
        .order_by(Source.sdss_id)
    )
    table = to_table(query)

    assert table.colnames == ["teff", "created", "sdss_id", "source.created"]
    assert table["sdss_id"].tolist() == [2**40 + 1, 2**40 + 2]


def test_expressions_aliases_and_flags_are_columns_too() -> None:
    other = BossNet.alias()
    query = other.select(
        other.teff, other.teff.alias("t"), fn.MAX(other.teff), other.flag_bad, other.flag_warn
    ).group_by(other.task_pk)
    table = to_table(query.limit(1))

    assert table.colnames == ["teff", "t", "column_2", "flag_bad", "flag_warn"]
    assert table["t"].unit == u.K
    assert table[0].as_void().tolist() == (5000, 5000, 5000, True, False)
    assert table["flag_bad"].dtype == bool
    assert table["flag_bad"].description == "Do not use"


def test_no_rows_are_a_table_with_columns() -> None:
    table = to_table(BossVisitSpectrum.select().where(BossVisitSpectrum.mjd < 0))

    assert len(table) == 0
    assert table["snr"].dtype == np.float32
    assert table["release"].dtype.kind == "U"
    assert table["delta_ra"].shape == (0, 0)


def test_dictionaries_as_rows_of_the_same_query_are_not_in_the_way() -> None:
    assert to_table(BossNet.select(BossNet.teff).dicts())["teff"].tolist() == [5000, 10000]
