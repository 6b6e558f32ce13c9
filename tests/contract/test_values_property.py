"""Whatever a FITS table can hold comes into both databases exactly, or is set aside."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from jobs.datamodel import layout
from tests.fixtures.databases import Target
from tests.fixtures.everything import Everything
from tests.fixtures.expected import same
from tests.fixtures.jobs import Job
from tests.fixtures.products import make_product, read_with_astropy

SLAM = "astraAllStarSlam"
KEPT = ("spectrum_pk", "result_flags")
DROPPED = [c.name for c in layout(SLAM, "DR20").hdus[0].columns if c.name not in KEPT]
REFUSED = object()

_numbers = itertools.count()


@dataclass
class Drawn:
    """One column of a table: how it is stored, and in what form."""

    values: Any
    form: str
    cards: dict[str, Any] = field(default_factory=dict)


INTEGERS = {"B": (0, 2**8 - 1), "I": (-(2**15), 2**15 - 1), "J": (-(2**31), 2**31 - 1)}
INTEGERS["K"] = (-(2**63), 2**63 - 1)
DTYPES = {"B": "u1", "I": "i2", "J": "i4", "K": "i8", "E": "f4", "D": "f8"}


@st.composite
def integers(draw: Any, rows: int) -> Drawn:
    form = draw(st.sampled_from("BIJK"))
    low, high = INTEGERS[form]
    edge = st.sampled_from([low, high, low + 1, high - 1, 0, 1, max(low, -1), min(high, 2**24 + 1)])
    values = draw(st.lists(edge | st.integers(low, high), min_size=rows, max_size=rows))
    cards: dict[str, Any] = {}
    unsigned = {"B": -(2**7), "I": 2**15, "J": 2**31, "K": 2**63}
    if draw(st.booleans()):
        cards |= {"TZERO": unsigned[form], "TSCAL": 1}
    if draw(st.booleans()):
        cards["TNULL"] = draw(st.sampled_from(values or [0]) | st.integers(low, high))
    return Drawn(np.array(values, dtype=DTYPES[form]), form, cards)


@st.composite
def scaled(draw: Any, rows: int) -> Drawn:
    low, high = INTEGERS["I"]
    values = draw(st.lists(st.integers(low, high), min_size=rows, max_size=rows))
    cards = {"TSCAL": draw(st.sampled_from([0.5, 2.0, 0.1, -0.001, 3])), "TZERO": 100.0}
    return Drawn(np.array(values, dtype="i2"), "I", cards)


@st.composite
def floats(draw: Any, rows: int, count: int | None = None) -> Drawn:
    form = draw(st.sampled_from("ED"))
    width = 32 if form == "E" else draw(st.sampled_from([32, 64]))
    shape = (rows,) if count is None else (rows, count)
    values = draw(
        st.lists(st.floats(width=width), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    )
    array = np.array(values, dtype=DTYPES[form]).reshape(shape)
    return Drawn(array, form if count is None else f"{count}{form}")


@st.composite
def logicals(draw: Any, rows: int) -> Drawn:
    values = draw(st.lists(st.sampled_from([b"T", b"F", b"\0"]), min_size=rows, max_size=rows))
    return Drawn(np.array(values, dtype="S1"), "L")


@st.composite
def texts(draw: Any, rows: int) -> Drawn:
    text = st.text(max_size=8).map(lambda value: value.encode()) | st.binary(max_size=6)
    values = draw(st.lists(text | st.sampled_from([b"", b"  "]), min_size=rows, max_size=rows))
    width = max([1, *map(len, values)])
    return Drawn(np.array(values, dtype=f"S{width}"), f"{width}A")


@st.composite
def times(draw: Any, rows: int) -> Drawn:
    time = st.datetimes(min_value=datetime.datetime(1, 1, 1)).map(  # noqa: DTZ001
        lambda value: value.isoformat(timespec="microseconds").encode()
    )
    values = draw(st.lists(time | st.just(b"") | st.just(b"soon"), min_size=rows, max_size=rows))
    return Drawn(np.array(values, dtype="S26"), "26A")


@st.composite
def bits(draw: Any, rows: int, count: int) -> Drawn:
    values = draw(st.binary(min_size=rows * count, max_size=rows * count))
    return Drawn(np.frombuffer(values, dtype="u1").reshape(rows, count), f"{count}B")


@st.composite
def tables(draw: Any) -> dict[str, Drawn]:
    rows = draw(st.integers(1, 12))
    count = draw(st.integers(2, 9))
    return {
        "a_float": draw(floats(rows) | integers(rows) | scaled(rows)),
        "a_double": draw(floats(rows) | integers(rows) | scaled(rows)),
        "an_integer": draw(integers(rows)),
        "a_long": draw(integers(rows)),
        "a_boolean": draw(logicals(rows)),
        "a_text": draw(texts(rows)),
        "a_time": draw(times(rows)),
        "some_bits": draw(bits(rows, count)),
        "some_floats": draw(floats(rows, count)),
        "result_flags": draw(integers(rows)),
    }


def meaning(name: str, drawn: Drawn, astropy: Any, row: int) -> Any:
    """Return what must be stored for one value, or REFUSED."""
    value = np.ma.getdata(astropy)[row]
    if np.ndim(astropy) == 1 and np.ma.getmaskarray(astropy)[row]:
        return REFUSED if name == "result_flags" else None
    if drawn.form == "L":
        return None if drawn.values[row] in (b"\0", b"") else bool(value)
    if name == "some_bits":
        return value.tobytes()
    if name == "some_floats":
        with np.errstate(over="ignore"):
            narrow = value.astype(np.float32)
        exact = (narrow.astype(value.dtype) == value) | np.isnan(value)
        return list(narrow) if exact.all() else REFUSED
    if name in ("a_text", "a_time"):
        return meaning_of_text(name, bytes(value))
    if name in ("a_float", "a_double"):
        return meaning_of_float(name, drawn, value)
    low, high = INTEGERS["J" if name == "an_integer" else "K"]
    if value == -1 and name != "result_flags":
        return None
    return int(value) if low <= int(value) <= high else REFUSED


def meaning_of_text(name: str, value: bytes) -> Any:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return REFUSED
    if text == "":
        return None
    if name == "a_text":
        return text
    return REFUSED if text == "soon" else datetime.datetime.fromisoformat(text)


def meaning_of_float(name: str, drawn: Drawn, value: Any) -> Any:
    kind = np.float32 if name == "a_float" else np.float64
    with np.errstate(over="ignore"):
        stored = kind(value)
    if np.isnan(stored):
        return None
    if drawn.cards.get("TSCAL", 1) != 1:  # a grid that is coarser than the floats
        return stored
    number = int(value) if np.asarray(value).dtype.kind in "iu" else float(value)
    same_value = float(stored) == number  # Python compares an int with a float exactly
    return stored if same_value else REFUSED


@pytest.fixture
def everything(job: Job) -> Iterator[Job]:
    with job.target.bind(Everything) as database:
        database.create_tables([Everything])
        yield job
        database.drop_tables([Everything])


@pytest.mark.filterwarnings("ignore:.*contains NULL")  # astropy's of a logical that has none
@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.generate],  # to make a failing table smaller takes minutes
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=tables(), batch_rows=st.sampled_from([3, 100]))
def test_any_table_is_stored_exactly(
    everything: Job, tmp_path: Path, table: dict[str, Drawn], batch_rows: int
) -> None:
    rows = len(table["a_float"].values)
    version = next(_numbers)  # each table beside the others
    path = make_product(
        tmp_path,
        SLAM,
        "DR20",
        rows,
        name=f"table{version}.fits",
        drop=DROPPED,
        add={name: drawn.values for name, drawn in table.items()},
        formats={name: drawn.form for name, drawn in table.items()},
        column_cards={name: drawn.cards for name, drawn in table.items()},
    )
    fits = read_with_astropy(path)
    expected = {
        int(fits["spectrum_pk"][row]): {
            name: meaning(name, drawn, fits[name], row) for name, drawn in table.items()
        }
        for row in range(rows)
    }

    everything.ingest(
        {
            "path": path,
            "result": "tests.fixtures.everything:Everything",
            "v_astra": f"1.{version}.0",
        },
        batch_rows=batch_rows,
    )

    check(everything.target, expected, 1000 + version)


def check(target: Target, expected: dict[int, dict[str, Any]], version: int) -> None:
    stored = target.table(Everything)
    mine = [row for row, v in enumerate(stored["v_astra_major_minor"]) if v == version]
    kept = {
        key: values
        for key, values in expected.items()
        if not any(value is REFUSED for value in values.values())
    }
    assert {stored["spectrum_pk"][row] for row in mine} == set(kept)
    for row in mine:
        for name, value in kept[stored["spectrum_pk"][row]].items():
            found = stored[name][row]
            if name == "a_double" and value is not None:
                found, value = np.float64(found).tobytes(), np.float64(value).tobytes()
            assert same(found, value), f"{name}: {found!r}, not {value!r}"
