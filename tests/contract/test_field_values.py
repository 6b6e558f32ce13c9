"""What goes into a field comes back from it, on both databases."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from astra.models import BossVisitSpectrum, Rocket, Source, Spectrum, models
from tests.fixtures.databases import Target


@pytest.fixture
def tables(target: Target) -> Iterator[Target]:
    """All tables, made by peewee, and the models bound to them."""
    with target.bind(*models) as database:
        database.create_tables(models)
        yield target


VECTORS = [
    [],
    [1.5],
    [0.1, -0.0, float("nan"), float("inf"), float("-inf"), 1e-45, 3.4028235e38],
]


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("numbers", VECTORS)
def test_a_vector_of_floats_comes_back_bit_for_bit(numbers: list[float]) -> None:
    vector = np.array(numbers, dtype=np.float32)
    pk = BossVisitSpectrum.create(spectrum_pk=Spectrum.create().pk, delta_ra=vector).pk

    stored = BossVisitSpectrum.get_by_id(pk)

    assert stored.delta_ra.dtype == np.float32
    assert stored.delta_ra.tobytes() == vector.tobytes()
    assert stored.delta_dec is None


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("value", [None, b"", b"\x00", bytes(range(256)), b"\xff" * 71])
def test_an_array_of_bits_comes_back_byte_for_byte(value: bytes | None) -> None:
    pk = Source.create(sdss_id=1, sdss5_target_flags=value).pk

    assert Source.get_by_id(pk).sdss5_target_flags == value


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("bit", [0, 1, 7, 8, 450, 567, 568])
def test_rows_are_found_by_one_bit_of_an_array(bit: int) -> None:
    number = 1 << 0 | 1 << 8 | 1 << 567
    Source.create(sdss_id=1, sdss5_target_flags=number.to_bytes(71, "little"))
    Source.create(sdss_id=2, sdss5_target_flags=b"")
    Source.create(sdss_id=3, sdss5_target_flags=None)

    found = Source.select().where(Source.sdss5_target_flags.is_set(bit))

    assert [row.sdss_id for row in found] == ([1] if number >> bit & 1 else [])


@pytest.mark.usefixtures("tables")
def test_the_highest_flag_of_a_bit_field_is_kept_and_found() -> None:
    source = Source.create(sdss_id=1, flag_sdss4_apogee_member_carina=True)

    assert source.sdss4_apogee_member_flags == 2**61
    assert Source.get(Source.flag_sdss4_apogee_member_carina).sdss_id == 1


def test_a_bit_field_is_0_where_nobody_sets_it(tables: Target) -> None:
    tables.fetch("INSERT INTO {schema}spectrum DEFAULT VALUES")

    assert Spectrum.get().spectrum_flags == 0


@pytest.mark.usefixtures("tables")
def test_the_version_without_its_patch_is_the_databases_to_compute() -> None:
    rocket = Rocket.create(spectrum_pk=Spectrum.create().pk, v_astra=12034056)
    assert rocket.v_astra_major_minor == 12034

    stored = Rocket.get(Rocket.v_astra_major_minor == 12034)
    stored.teff = 5777
    stored.save()  # writes all columns of the row that was read, but not this one

    assert Rocket.get().teff == 5777
    assert list(Rocket.select(Rocket.v_astra_major_minor).tuples()) == [(12034,)]


def test_all_tables_can_be_made_twice(tables: Target) -> None:
    with tables.bind(*models) as database:
        database.create_tables(models)

    for model in models:
        names = set(tables.table(model))
        assert names == {field.column_name for field in model._meta.sorted_fields}
