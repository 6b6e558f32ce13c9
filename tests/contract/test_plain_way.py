"""A row with a value that has no form in bulk goes in one by one, and just as exactly."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astra import bulk_insert_or_replace_pipeline_results
from astra.models import Source, Spectrum
from tests.fixtures.databases import PostgresTarget, Target
from tests.fixtures.drawn import (
    DTYPES,
    INTEGERS,
    UNSIGNED,
    Drawn,
    check,
    check_alike,
    ingest_both_ways,
    meanings,
    write_table,
)
from tests.fixtures.everything import MODELS, Everything, EverythingAndADay
from tests.fixtures.jobs import Job
from tests.fixtures.products import read_with_astropy
from tests.fixtures.server import PostgresServer

DAY = datetime.date(2026, 1, 2)

# -- every FITS type, pattern of NULLs and edge ----------------------------------------------


@dataclass
class Case:
    """A FITS type with its edges, as they are stored in the file.

    Attributes
    ----------
    form, cards
        The column's TFORM, and more of its cards.
    edges, nulls : ndarray
        Values of which each has a row of its own, and values that all mean "missing".
    usual : value
        What stands in all other rows.
    """

    form: str
    edges: Any
    nulls: Any
    usual: Any
    cards: dict[str, Any] = field(default_factory=dict)


def integer_cases() -> Iterator[Case]:
    for form, is_unsigned, has_null in itertools.product("BIJK", (False, True), (False, True)):
        low, high = INTEGERS[form]
        zero = UNSIGNED[form] if is_unsigned else 0
        cards = {"TZERO": zero, "TSCAL": 1} if is_unsigned else {}
        cards |= {"TNULL": low + 5} if has_null else {}
        edges = {low, high, low + 1, high - 1, 0, 1, 2**24, 2**24 + 1, 2**53 + 1, 2**31}
        nulls = [low + 5] * has_null + [-1 - zero] * (low <= -1 - zero <= high)
        dtype = DTYPES[form]
        inside = sorted(value for value in edges if low <= value <= high)
        yield Case(form, np.array(inside, dtype), np.array(nulls, dtype), 1 - zero, cards)


def scaled_cases() -> Iterator[Case]:
    edges = np.array([-(2**15), 2**15 - 1, -1, 0, 1, 2], dtype="i2")
    for scale in (0.5, 2.0, 0.1, -0.001, 3):
        yield Case("I", edges, edges[:0], 7, {"TSCAL": scale, "TZERO": 100.0})


def float_cases() -> Iterator[Case]:
    for form, integer, nans in (
        ("E", "u4", [0x7FC00000, 0xFFC00001, 0x7F800001, 0x7FFFFFFF]),
        ("D", "u8", [0x7FF8 << 48, 0xFFF8 << 48 | 1, 0x7FF0 << 48 | 1, 2**63 - 1]),
    ):
        kind = np.dtype(DTYPES[form])
        limits = np.finfo(kind)
        edges = [0.0, -0.0, 0.1, 1 / 3, 2**24 + 1, 2**53, np.inf, -1, 1e-45, 3.4028234663852886e38]
        edges += [limits.max, limits.tiny, limits.smallest_subnormal, np.pi]
        both = np.array(edges, dtype=kind)
        yield Case(form, np.r_[both, -both], np.array(nans, dtype=integer).view(kind), kind.type(4))


def vector_cases() -> Iterator[Case]:
    for each, count in itertools.product(float_cases(), (2, 9)):
        elements = np.r_[
            each.edges.view(f"u{each.edges.itemsize}"),
            each.nulls.view("u8" if each.form == "D" else "u4"),
        ]
        rows = np.resize(elements, (len(elements) // count + 1, count)).view(each.edges.dtype)
        yield Case(f"{count}{each.form}", rows, rows[:0], np.full(count, 0.5))


def bit_cases() -> Iterator[Case]:
    for count in (2, 9):
        edges = np.array([[0] * count, [255] * count, range(count)], dtype="u1")
        yield Case(f"{count}B", edges, edges[:0], np.full(count, 0x80))


def text_cases() -> Iterator[Case]:
    texts = [
        "x",
        "  x ",
        "naïve \U0001f31f",
        "'\"\\\\N\\t%s{},NULL",
        "\t\n\r",
        "y" * 300,
        "NaN",
        "-0",
    ]
    raw = [*(text.encode() for text in texts), b"a\0b", b"\xff", b"a\xc3", b"\xed\xa0\x80"]
    yield Case("300A", np.array(raw, "S300"), np.array([b"", b"   ", b"\0a"], "S300"), b"usual")


def time_cases() -> Iterator[Case]:
    times = ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999", "1970-01-01", "2000-01-01T00:00"]
    times += ["2024-02-29T01:02:03+02:00", "0001-01-01T00:00:00+14:00", "soon", "2023-02-29"]
    times += ["1858-11-17T00:00:00.000001"]
    raw = np.array(times, dtype="S32")
    yield Case("32A", raw, np.array([b"", b" "], dtype="S32"), b"2026-01-02T03:04:05.678901")


def logical_cases() -> Iterator[Case]:
    yield Case("L", np.array([b"T", b"F"]), np.array([b"\0"], dtype="S1"), b"T")


def numbers() -> list[Case]:
    return [*float_cases(), *integer_cases(), *scaled_cases()]


CASES: dict[str, Sequence[Case]] = {
    "a_float": numbers(),
    "a_double": numbers()[::-1],
    "an_integer": list(integer_cases()),
    "a_long": list(integer_cases())[::-1],
    "a_boolean": list(logical_cases()),
    "a_text": list(text_cases()),
    "a_time": list(time_cases()),
    "some_bits": list(bit_cases()),
    "some_floats": list(vector_cases()),
    "result_flags": list(integer_cases()),
}


def patterns(name: str, case: Case) -> Iterator[tuple[Case, str]]:
    """Yield a case with each pattern of NULLs that its column can have."""
    yield case, "none"
    if len(case.nulls) and name != "result_flags":
        yield case, "some"
        yield case, "all"


def every_table() -> Iterator[dict[str, Drawn]]:
    """Yield tables that have each case and pattern of each field in one of them at least.

    In a row, one field has an edge and the others are as usual: a row that is refused for one
    value would hide what becomes of another.
    """
    cases = {name: [p for case in CASES[name] for p in patterns(name, case)] for name in CASES}
    for number in range(max(map(len, cases.values()))):
        chosen = {name: each[number % len(each)] for name, each in cases.items()}
        edges = {
            name: np.concatenate([case.edges, case.nulls]) for name, (case, _) in chosen.items()
        }
        rows = sum(map(len, edges.values()))
        table, start = {}, 0
        for name, (case, pattern) in chosen.items():
            values = np.empty((rows, *case.edges.shape[1:]), dtype=case.edges.dtype)
            values[:] = case.usual
            if pattern != "none":
                step = 1 if pattern == "all" else 2
                values[::step] = np.resize(case.nulls, len(values[::step]))
            if pattern != "all":
                values[start : start + len(edges[name])] = edges[name]
            start += len(edges[name])
            table[name] = Drawn(values, case.form, case.cards)
        yield table


@pytest.mark.filterwarnings("ignore:.*contains NULL")  # astropy's of a logical that has none
def test_every_type_and_pattern_and_edge_is_stored_exactly_both_ways(
    both_ways: Job, tmp_path: Path
) -> None:
    expected = []
    for number, table in enumerate(every_table()):
        path = write_table(tmp_path, f"table{number}.fits", table)
        ingest_both_ways(both_ways, path, number)
        expected.append(meanings(read_with_astropy(path), table))

    fast, plain = (both_ways.target.table(model) for model in MODELS)
    for number, each in enumerate(expected):
        check(fast, each, 1000 + number)
    check_alike(fast, plain)
    assert set(plain["a_day"]) in ({DAY}, {str(DAY)})


# -- which way it is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "job", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_only_what_has_no_form_in_bulk_goes_in_without_copy(
    both_ways: Job, postgres: PostgresServer, tmp_path: Path
) -> None:
    path = write_table(tmp_path, "table.fits", next(every_table()))
    assert isinstance(both_ways.target, PostgresTarget)
    user = both_ways.target.user
    postgres.execute(f"ALTER ROLE {user} SET log_statement = 'all'")
    Everything._meta.database.close()
    start = postgres.log.stat().st_size

    ingest_both_ways(both_ways, path, 0)

    postgres.execute(f"ALTER ROLE {user} RESET log_statement")
    log = postgres.log.read_text(errors="replace")[start:]
    fast, plain = (f'{both_ways.target.prefix}"{model._meta.table_name}"' for model in MODELS)
    assert f"COPY {fast} (" in log
    assert f"INSERT INTO {fast} (" not in log
    assert f"COPY {plain} (" not in log
    assert f"INSERT INTO {plain} (" in log


# -- from Python -----------------------------------------------------------------------------

EDGES: dict[str, list[Any]] = {
    "a_float": [0.0, -0.0, 0.1, float("inf"), -float("inf"), float("nan"), 1e-45, 3.4028235e38],
    "a_double": [0.0, -0.0, 0.1, float("inf"), -float("inf"), float("nan"), 5e-324, 2**53 + 1],
    "an_integer": [-(2**31), 2**31 - 1, -1, 0],
    "a_long": [-(2**63), 2**63 - 1, -1, 0],
    "a_boolean": [False, True],
    "a_text": ["", "  x ", "naïve \U0001f31f", "'\"\\\\N\\t%s{},NULL", "y" * 300],
    "a_time": ["0001-01-01T00:00:00", "9999-12-31T23:59:59.999999", "2024-02-29T01:02:03+02:00"],
    "some_bits": [b"\0\xff\0", b"\0\0\0"],
    "some_floats": [[0.1, float("nan"), -0.0], [float("inf"), 1e-45, 3.4028235e38]],
    "result_flags": [0, 2**62, -1],
}
USUAL = {name: edges[0] for name, edges in EDGES.items()}


def results(model: Any, usual: dict[str, Any], **more: Any) -> list[Any]:
    """Return instances with each edge in one, beside the usual values or NULL."""
    rows = [{**usual, name: edge} for name, edges in EDGES.items() for edge in edges]
    return [model(spectrum_pk=pk, **row, **more) for pk, row in enumerate(rows, start=1)]


@pytest.mark.parametrize("usual", [USUAL, {}], ids=["no NULL", "NULLs"])
def test_instances_are_stored_exactly_both_ways(target: Target, usual: dict[str, Any]) -> None:
    tables = (Source, Spectrum, *MODELS)
    with target.bind(*tables) as database:
        database.create_tables(tables)
        fast, plain = results(Everything, usual), results(EverythingAndADay, usual, a_day=DAY)
        Spectrum.insert_many([{"pk": row.spectrum_pk} for row in fast]).execute()

        for _ in range(2):  # new rows, and rows that are there
            bulk_insert_or_replace_pipeline_results(fast)
            bulk_insert_or_replace_pipeline_results(plain)

            stored = target.table(Everything)
            check_alike(stored, target.table(EverythingAndADay))
            where = dict(zip(stored["spectrum_pk"], range(len(fast)), strict=True))
            for name, kind in (("a_float", np.float32), ("a_double", np.float64)):
                for row in fast:
                    given, found = getattr(row, name), stored[name][where[row.spectrum_pk]]
                    is_null = given is None or np.isnan(given)
                    assert (found is None) == is_null
                    assert is_null or kind(found).tobytes() == kind(given).tobytes()


def test_lengths_that_differ_are_as_exact_as_the_same(target: Target) -> None:
    """Byte strings and vectors of one length have a form in bulk, and others have none."""
    tables = (Source, Spectrum, *MODELS)
    with target.bind(*tables) as database:
        database.create_tables(tables)
        lengths = [[], [-0.0], [0.1, float("nan")], None]
        rows = [
            {"spectrum_pk": pk, "a_float": -0.0, "some_floats": each, "some_bits": bytes(pk)}
            for pk, each in enumerate(lengths)
        ]
        Spectrum.insert_many([{"pk": row["spectrum_pk"]} for row in rows]).execute()

        bulk_insert_or_replace_pipeline_results([Everything(**row) for row in rows])
        for row in rows:
            bulk_insert_or_replace_pipeline_results([EverythingAndADay(**row)])

        stored = target.table(Everything)
        check_alike(stored, target.table(EverythingAndADay))
        assert [str(value) for value in stored["a_float"]] == ["-0.0"] * 4
        assert stored["some_bits"] == [bytes(pk) for pk in range(4)]
