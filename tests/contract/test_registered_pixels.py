"""Pixels of files of one star: registered by the ingest, read back as astropy reads them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astra.errors import ProductError
from astra.models import ApogeeCombinedSpectrum, ThePayne, find
from astra.pixels import pixel_arrays
from jobs.datamodel import HDU, Column, layout, products, releases
from tests.fixtures.jobs import Job
from tests.fixtures.products import make_product, read_with_astropy

ROWS = 3
FILES = [
    (name, release)
    for name in products()
    for release in releases(name)
    if layout(name, release).source_cards
]


def pixel_columns(hdu: HDU) -> Iterator[tuple[Column, Any]]:
    """Yield the columns of pixels and the model that each belongs to: the last that has it."""
    for column in hdu.columns:
        models = [find(name) for name in reversed(hdu.models)]
        owner = next((model for model in models if column.name in pixel_arrays(model)), None)
        if owner is not None and column.size is not None:
            yield column, owner


def wrong_pixels(path: Path, hdu: HDU) -> Iterator[str]:
    """Tell the columns of pixels that the rows of an HDU read otherwise than astropy does."""
    columns = read_with_astropy(path, hdu.number)
    keys = columns.get("spectrum_pk", columns.get("spectrum_pk_id"))
    assert keys is not None
    for column, model in pixel_columns(hdu):
        for row, key in enumerate(keys.tolist()):
            stored = model.get(model.spectrum_pk == key)
            array = getattr(stored, column.name)
            if array.dtype != np.float32 or array.tobytes() != columns[column.name][row].tobytes():
                yield f"{path.name} HDU {hdu.number} {model.__name__}.{column.name}, row {row}"


def test_all_pixels_of_all_files_of_one_star_read_back(job: Job, tmp_path: Path) -> None:
    """Some rows a telescope, of both instruments."""
    seeds = itertools.count()
    paths = [
        make_product(
            tmp_path,
            name,
            release,
            0,
            next(seeds),
            name=f"{name}-{release}.fits",
            hdus={hdu.number: ROWS for hdu in layout(name, release).hdus},
        )
        for name, release in FILES
    ]
    report = job.ingest({"path": tmp_path / "*-DR??.fits"})
    assert report["totals"]["rejected"] == 0, report

    wrong: list[str] = []
    for path, (name, release) in zip(paths, FILES, strict=True):
        for hdu in layout(name, release).hdus:
            wrong += wrong_pixels(path, hdu)
    assert wrong == []
