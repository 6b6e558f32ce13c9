"""Results written from Python: inserted or replaced in bulk, on both databases alike."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from peewee import IntegrityError

from astra import bulk_insert_or_replace_pipeline_results
from astra.errors import UsageError
from astra.models import ASPCAP, Rocket, Source, Spectrum
from tests.fixtures.databases import Target
from tests.fixtures.everything import Everything

TABLES = (Source, Spectrum, Rocket, Everything)


@pytest.fixture(autouse=True)
def tables(target: Target) -> Iterator[Target]:
    with target.bind(*TABLES) as database:
        database.create_tables(TABLES)
        yield target


@pytest.fixture
def spectra() -> list[Spectrum]:
    return [Spectrum.create(pk=pk) for pk in range(1, 8)]


def rockets(spectra: list[Spectrum], **fields: Any) -> list[Rocket]:
    return [Rocket.from_spectrum(spectrum, teff=spectrum.pk, **fields) for spectrum in spectra]


def write(results: Any) -> list[Any]:
    return list(bulk_insert_or_replace_pipeline_results(results))


def test_results_come_back_in_order_with_their_keys(spectra: list[Spectrum]) -> None:
    given = rockets(spectra)[::-1]

    written = write(iter(given))

    assert all(one is other for one, other in zip(written, given, strict=True))
    for rocket in written:
        stored = Rocket.get_by_id(rocket.task_pk)
        assert stored.spectrum_pk == rocket.spectrum_pk
        assert stored.teff == rocket.teff == rocket.spectrum_pk
        assert stored.created == rocket.created
        assert stored.modified == rocket.modified
        assert isinstance(rocket.created, datetime.datetime)
        assert not rocket.is_dirty()


def test_it_is_written_though_nobody_looks_at_what_comes_back(spectra: list[Spectrum]) -> None:
    bulk_insert_or_replace_pipeline_results(rockets(spectra))

    assert Rocket.select().count() == len(spectra)


def test_none_at_all_is_fine() -> None:
    assert write([]) == []


def test_again_overwrites_all_but_key_and_creation(spectra: list[Spectrum]) -> None:
    first = write(rockets(spectra, tag="first", logg=4.5))
    before = {row.spectrum_pk: (row.task_pk, row.created, row.modified) for row in first}
    again = [Rocket.from_spectrum(spectrum, teff=-1.5, tag="again") for spectrum in spectra]

    written = write(again)

    assert Rocket.select().count() == len(spectra)
    for rocket in written:
        stored = Rocket.get_by_id(rocket.task_pk)
        task_pk, created, modified = before[stored.spectrum_pk]
        assert (stored.task_pk, stored.created) == (task_pk, created)
        assert (rocket.task_pk, rocket.created) == (task_pk, created)
        assert stored.modified == rocket.modified > modified
        assert (stored.teff, stored.logg, stored.tag) == (-1.5, None, "again")


def test_another_patch_is_the_same_result_and_another_minor_is_not(spectra: list[Spectrum]) -> None:
    write(rockets(spectra[:1], v_astra=8001))
    write(rockets(spectra[:1], v_astra=8002))
    write(rockets(spectra[:1], v_astra=9000))

    found = Rocket.select(Rocket.v_astra, Rocket.v_astra_major_minor).order_by(Rocket.v_astra)
    assert list(found.tuples()) == [(8002, 8), (9000, 9)]


def test_of_one_key_twice_the_last_wins_and_all_come_back(spectra: list[Spectrum]) -> None:
    one, two, three = (Rocket.from_spectrum(spectra[0], teff=teff) for teff in (1.0, 2.0, 3.0))
    other = Rocket.from_spectrum(spectra[1], teff=9.0)

    written = write([one, two, other, three])

    assert written == [one, two, other, three]
    assert one.task_pk == two.task_pk == three.task_pk != other.task_pk
    assert Rocket.get_by_id(one.task_pk).teff == 3.0
    assert Rocket.select().count() == 2


def test_a_key_beyond_32_bits(spectra: list[Spectrum]) -> None:
    source = Source.create(pk=2**40, sdss_id=2**50)
    spectrum = Spectrum.create(pk=2**41)
    rocket = Rocket(spectrum_pk=spectrum.pk, source_pk=source.pk, task_pk=2**42)

    write([rocket, Rocket.from_spectrum(spectra[0])])

    assert rocket.task_pk == 2**42
    stored = Rocket.get_by_id(2**42)
    assert (stored.spectrum_pk, stored.source_pk) == (2**41, 2**40)
    assert Rocket.create(spectrum_pk=spectra[1].pk).task_pk > 2**42


def test_a_given_key_is_kept_by_a_new_row_and_ignored_by_an_old_one(
    spectra: list[Spectrum],
) -> None:
    (old,) = write(rockets(spectra[:1]))
    given = [
        Rocket.from_spectrum(spectra[0], task_pk=500, teff=1.0),
        Rocket.from_spectrum(spectra[1], task_pk=600, teff=2.0),
    ]

    write(given)

    assert [rocket.task_pk for rocket in given] == [old.task_pk, 600]
    assert Rocket.get_by_id(old.task_pk).teff == 1.0
    assert Rocket.select().count() == 2


def test_a_result_that_was_read_can_be_changed_and_written_back(spectra: list[Spectrum]) -> None:
    write(rockets(spectra))
    read = list(Rocket.select().order_by(Rocket.task_pk))
    for rocket in read:
        rocket.teff = 10.0

    write(read)

    assert {rocket.teff for rocket in Rocket.select()} == {10.0}
    assert Rocket.select().count() == len(spectra)


@pytest.mark.parametrize(
    "bad",
    [{"spectrum_pk": 999}, {"source_pk": 999}],
    ids=["no such spectrum", "no such source"],
)
def test_a_failure_leaves_nothing_half_written(
    spectra: list[Spectrum], bad: dict[str, int]
) -> None:
    write(rockets(spectra[:2]))
    given = [*rockets(spectra, tag="new"), Rocket(**{"spectrum_pk": 1, **bad})]

    with pytest.raises(IntegrityError):
        write(given)

    assert Rocket.select().count() == 2
    assert {rocket.tag for rocket in Rocket.select()} == {""}
    write(rockets(spectra))  # and the connection is usable
    assert Rocket.select().count() == len(spectra)


def test_a_task_key_that_another_result_has_is_refused(spectra: list[Spectrum]) -> None:
    write([Rocket.from_spectrum(spectra[0], task_pk=5)])

    with pytest.raises(IntegrityError):
        write([Rocket.from_spectrum(spectra[1], task_pk=5), Rocket.from_spectrum(spectra[2])])

    assert Rocket.select().count() == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"an_integer": 2**31}, "an_integer: 2147483648 is out of the range of a 32-bit integer"),
        ({"an_integer": "many"}, "an_integer"),
        ({"an_integer": 1.5}, "an_integer"),
        ({"a_boolean": "False"}, "a_boolean"),
        ({"some_bits": "text"}, "some_bits"),
        ({"an_integer": 2**31, "some_bits": b"1"}, "an_integer"),
        ({"a_long": 2**63}, "a_long"),
        ({"a_float": 1e39}, "a_float: a value does not go into a 32-bit float"),
        ({"a_float": "hot"}, "a_float"),
        ({"a_text": "a\0b"}, "NUL"),
        ({"a_time": "soon"}, "a_time"),
        ({"v_astra": None}, "v_astra"),
        ({"v_astra": -1}, "v_astra"),
        ({"spectrum_pk": None}, "spectrum_pk"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_field(
    spectra: list[Spectrum], fields: dict[str, Any], said: str
) -> None:
    good = Everything.from_spectrum(spectra[0], some_bits=b"of another length")

    with pytest.raises(UsageError, match="Everything") as raised:
        write([good, Everything(**{"spectrum_pk": 2, **fields})])

    assert said in str(raised.value)
    assert Everything.select().count() == 0


def test_results_of_two_pipelines_are_refused(spectra: list[Spectrum]) -> None:
    with pytest.raises(UsageError, match="Everything, Rocket"):
        write([Rocket.from_spectrum(spectra[0]), Everything.from_spectrum(spectra[0])])


VALUES: list[dict[str, Any]] = [
    {},
    {"a_float": float("nan"), "a_double": float("nan")},
    {"a_float": -0.0, "a_double": -0.0, "an_integer": 0, "a_long": 0, "a_boolean": False},
    {"a_float": float("inf"), "a_double": float("-inf"), "a_boolean": True},
    {"a_float": 0.1, "a_double": 0.1},
    {"a_float": np.float32(0.1), "a_double": np.float64(1e300), "an_integer": np.int16(-1)},
    {"an_integer": -(2**31), "a_long": -(2**63), "a_text": ""},
    {"an_integer": 2**31 - 1, "a_long": 2**63 - 1, "a_text": "  ünïcode \U0001f31f \\N \t\n  "},
    {"a_text": "x" * 5000, "some_bits": b"", "some_floats": []},
    {"some_bits": b"\x00\xff\x00", "some_floats": [0.1, float("nan"), -0.0]},
    {"some_bits": bytes(range(256)), "some_floats": np.arange(7, dtype=np.float64)},
    {"a_time": datetime.datetime(2024, 2, 29, 1, 2, 3, 456789), "flag_bad": True},  # noqa: DTZ001
    {"a_time": datetime.datetime(1970, 1, 1), "result_flags": 2**62},  # noqa: DTZ001
    {"a_time": "2024-02-29T01:02:03+02:00", "tag": "é"},
]


def comparable(row: Everything) -> list[Any]:
    """Return a row's values so that equal ones compare equal."""
    values = {name: getattr(row, name) for name in Everything._meta.fields}
    for name in ("task_pk", "created", "modified", "spectrum_pk"):
        del values[name]
    if values["a_float"] is not None:  # peewee alone would leave it as wide as it is, on SQLite
        values["a_float"] = np.float32(values["a_float"])
    floats = values["some_floats"]
    values["some_floats"] = None if floats is None else floats.tobytes()
    return [repr(value) for value in values.values()]


@pytest.mark.parametrize("reverse", [False, True])
def test_every_type_is_stored_as_peewee_would_one_by_one(
    spectra: list[Spectrum], reverse: bool
) -> None:
    many = [Spectrum.create(pk=100 + n) for n in range(2 * len(VALUES))]
    given = VALUES[::-1] if reverse else VALUES
    bulk = [
        Everything.from_spectrum(spectrum, **values)
        for spectrum, values in zip(many, given, strict=False)
    ]
    single = [
        Everything.from_spectrum(spectrum, **values)
        for spectrum, values in zip(many[len(VALUES) :], given, strict=True)
    ]

    write(bulk)

    for one, other, values in zip(bulk, single, given, strict=True):
        if "+" not in str(values.get("a_time", "")):
            other.save(force_insert=True)
            saved = Everything.get_by_id(other.task_pk)
            stored = Everything.get_by_id(one.task_pk)
            if values.get("a_float") == 0:  # psycopg2 takes the sign from a zero
                saved.a_float, saved.a_double = values["a_float"], values["a_double"]
            if any(isinstance(v, float) and np.isnan(v) for v in values.values()):
                assert stored.a_float is stored.a_double is None
            else:
                assert comparable(stored) == comparable(saved), values
    zone = next(one for one in bulk if one.tag == "é")
    assert Everything.get_by_id(zone.task_pk).a_time == datetime.datetime(  # noqa: DTZ001
        2024, 2, 28, 23, 2, 3
    )


def test_more_than_a_batch(tables: Target) -> None:
    count = 10_005
    Spectrum.insert_many([{"pk": pk} for pk in range(1, count + 1)]).execute()
    given = [Rocket(spectrum_pk=pk, teff=pk) for pk in range(count, 0, -1)]
    given.append(Rocket(spectrum_pk=count, teff=-1.0))  # in the second batch, and in the first

    written = write(given)

    assert len(written) == count + 1
    assert Rocket.select().count() == count
    assert Rocket.get_by_id(written[0].task_pk).teff == -1.0
    assert written[0].task_pk == written[-1].task_pk
    assert len({rocket.task_pk for rocket in written}) == count


def test_a_wide_model_with_columns_of_all_kinds(target: Target) -> None:
    with target.bind(Source, Spectrum, ASPCAP) as database:
        database.create_tables([ASPCAP])
        spectra = [Spectrum.create() for _ in range(3)]
        results = [ASPCAP.from_spectrum(spectrum, teff=spectrum.pk) for spectrum in spectra]

        list(bulk_insert_or_replace_pipeline_results(results))

        assert [row.teff for row in ASPCAP.select().order_by(ASPCAP.task_pk)] == [
            spectrum.pk for spectrum in spectra
        ]


def test_inside_the_callers_transaction_it_is_refused(
    tables: Target, spectra: list[Spectrum]
) -> None:
    with Rocket._meta.database.atomic(), pytest.raises(RuntimeError, match="transaction is open"):
        write(rockets(spectra))
