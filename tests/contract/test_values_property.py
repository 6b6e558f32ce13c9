"""Whatever a FITS table can hold comes into both databases exactly, or is set aside.

The fast way and the plain way alike; `test_plain_way` has the edges of each type.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fixtures.drawn import (
    Drawn,
    check,
    check_alike,
    ingest_both_ways,
    meanings,
    tables,
    write_table,
)
from tests.fixtures.everything import MODELS
from tests.fixtures.jobs import Job
from tests.fixtures.products import read_with_astropy

_numbers = itertools.count()


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
    both_ways: Job, tmp_path: Path, table: dict[str, Drawn], batch_rows: int
) -> None:
    version = next(_numbers)  # each table beside the others
    path = write_table(tmp_path, f"table{version}.fits", table)
    expected = meanings(read_with_astropy(path), table)

    ingest_both_ways(both_ways, path, version, batch_rows)

    fast, plain = (both_ways.target.table(model) for model in MODELS)
    check(fast, expected, 1000 + version)
    check_alike(fast, plain)
