"""What was ingested comes out again: every value, with names, types and units."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astra.errors import SchemaError, UsageError
from jobs.datamodel import Column, Layout, layout, products, releases
from jobs.export import export
from tests.fixtures.jobs import Job
from tests.fixtures.products import make_product, read_with_astropy

ROWS = 4
RELEASES = ("DR19", "DR20")
ALL_OBJECTS = [name for name in products() if not layout(name, releases(name)[0]).source_cards]


def write_files(folder: Path, release: str) -> Iterator[tuple[Path, Layout]]:
    """Write all products of all objects, each with stars of its own."""
    seeds = itertools.count()
    for name in ALL_OBJECTS:
        if release in releases(name):
            shape = layout(name, release)
            rows = {hdu.number: ROWS for hdu in shape.hdus}
            yield make_product(folder, name, release, 0, seed=next(seeds), hdus=rows), shape


@pytest.mark.parametrize("release", RELEASES)
def test_every_value_of_every_product_comes_out_again(
    job: Job, tmp_path: Path, release: str
) -> None:
    files = list(write_files(tmp_path, release))
    for path, shape in files:
        report = job.ingest({"path": path})
        assert report["status"] == "done", report
        output = tmp_path / "out.fits"
        export(shape.product, output, release=release, overwrite=True)
        for hdu in shape.hdus:
            ours, theirs = read_with_astropy(output, hdu.number), read_with_astropy(path, hdu.number)
            assert list(ours)==list(theirs)
            for c in theirs:
                a,b=ours[c],theirs[c]
                if a.dtype!=b.dtype or a.shape!=b.shape or a.tobytes()!=b.tobytes(): print(shape.product,hdu.number,c,a.dtype,b.dtype,a.shape,b.shape,a[:2] if a.ndim==1 else '',b[:2] if b.ndim==1 else '')
        job.clear()
    assert 0
