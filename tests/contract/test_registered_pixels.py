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

ROWS = 2
#: Products with a file for each star, and the tables that get rows: BOSS and APOGEE.
FILES = {
    "mwmStar": (1, 2, 3, 4),
    "mwmVisit": (1, 2, 3, 4),
    "astraStarSnowWhite": (1, 4),
    "astraVisitSnowWhite": (2, 3),
    "astraStarASPCAP": (1, 3),
    "astraVisitThePayne": (2, 4),
}
#: Opening a wide table takes a while, so of a table's columns only so many are read.
COLUMNS = 6


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
    for column, model in itertools.islice(pixel_columns(hdu), COLUMNS):
        for row, key in enumerate(keys.tolist()):
            stored = model.get(model.spectrum_pk == key)
            array = getattr(stored, column.name)
            if array.dtype != np.float32 or array.tobytes() != columns[column.name][row].tobytes():
                yield f"{path.name} HDU {hdu.number} {model.__name__}.{column.name}, row {row}"


def test_pixels_of_files_of_one_star_read_back(job: Job, tmp_path: Path) -> None:
    for seed, (name, hdus) in enumerate(FILES.items()):
        make_product(tmp_path, name, "DR20", 0, seed, hdus=dict.fromkeys(range(1, 5), 0) | dict.fromkeys(hdus, ROWS))
    report = job.ingest({"path": tmp_path / "*.fits"})
    assert report["totals"]["rejected"] == 0, report

    wrong: list[str] = []
    for name, hdus in FILES.items():
        for hdu in layout(name, "DR20").hdus:
            if hdu.number in hdus:
                wrong += wrong_pixels(tmp_path / f"{name}.fits", hdu)
    assert wrong == []
