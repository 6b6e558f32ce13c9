"""The products that this program is for, with odd values in them: every value comes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astra.models import BossNet, Corv, Slam
from jobs.datamodel import layout
from tests.fixtures.expected import check_product
from tests.fixtures.jobs import Job
from tests.fixtures.products import make_product

ROWS = 60
PRODUCTS = {"astraAllStarSlam": Slam, "astraAllStarBossNet": BossNet, "astraAllVisitCorv": Corv}

INTEGERS = {"int32": (-(2**31), 2**31 - 1, 0, -2, -1), "int64": (-(2**63), 2**63 - 1, 0, -2, -1)}
FLOATS = np.array(
    [
        *(np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38, 3.4028235e38),
        *(-3.4028235e38, 1.0, -1.0, 0.1, 16777217.0),
    ],
    dtype=np.float32,
)
TEXTS = np.array(
    [
        *(b"", b" ", b"a  ", b"  a", b"a\0b", b"\0", b"N", b'"', b"\\N", b"'", b"\t", b"a\nb"),
        *("é".encode(), "Å\u2009".encode(), "\U0001f31f".encode(), b"NULL", b"{}", b"x" * 40),
    ]
)
#: Keys, what the natural key is made of, times, and what is checked against other columns.
SOURCE_KEYS = ("source", "source_pk")
KEYS = (
    *("sdss_id", "spectrum_pk", *SOURCE_KEYS, "task_pk", "catalogid", "created"),
    *("modified", "run2d", "release", "fieldid", "mjd", "filetype", "v_astra", "healpix"),
    *("telescope", "result_flags"),
)


def odd_values(product: str) -> dict[str, Any]:
    """Return new values for all columns that may have any: each gets all odd ones of its type."""
    # A visit's star has other visits; here each has its own, so that it can have its own values.
    values: dict[str, Any] = {name: np.arange(1, ROWS + 1) for name in ("sdss_id", *SOURCE_KEYS)}
    for number, column in enumerate(layout(product, "DR20").hdus[0].columns):
        if column.name in KEYS or column.table == "derived":
            continue
        if column.type in INTEGERS:
            choice = np.array(INTEGERS[column.type])
        elif column.type == "float32":
            choice = FLOATS
        elif column.type == "char":
            choice = TEXTS
        else:
            continue
        size = column.size if column.type == "float32" else None
        shape = (ROWS,) if size is None else (ROWS, size)
        values[column.name] = np.resize(np.roll(choice, number), shape)
    return values


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_value_of_a_sample_comes_in(job: Job, tmp_path: Path, product: str) -> None:
    path = make_product(tmp_path, product, "DR20", ROWS, name=f"{product}.fits.gz")

    report = job.ingest({"path": path})

    assert report["status"] == "done"
    assert report["totals"]["inserted"] == ROWS
    compared = check_product(job.target, path, product)
    assert compared >= ROWS * 170


@pytest.mark.parametrize("product", PRODUCTS)
def test_every_odd_value_comes_in(job: Job, tmp_path: Path, product: str) -> None:
    path = make_product(tmp_path, product, "DR20", ROWS, values=odd_values(product))

    report = job.ingest({"path": path}, batch_rows=17)

    assert report["status"] == "done", report
    check_product(job.target, path, product)
