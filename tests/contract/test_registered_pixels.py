"""Pixels of files of one star: registered by the ingest, read back as astropy reads them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astra.errors import ProductError
from astra.models import BossCombinedSpectrum, find, spectrum_models
from astra.pixels import LogLambdaArrayAccessor, pixel_arrays
from jobs.datamodel import HDU, Column, layout
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


#: Wavelengths are computed from their grid, in double precision.
COMPUTED = {
    model: [
        name
        for name, field in pixel_arrays(model).items()
        if issubclass(field.accessor_class, LogLambdaArrayAccessor)
    ]
    for model in spectrum_models
}


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
            if column.name in COMPUTED.get(model, ()):
                array = array.astype(np.float32)
            if array.dtype != np.float32 or array.tobytes() != columns[column.name][row].tobytes():
                yield f"{path.name} HDU {hdu.number} {model.__name__}.{column.name}, row {row}"


def test_pixels_of_files_of_one_star_read_back(job: Job, tmp_path: Path) -> None:
    for seed, (name, hdus) in enumerate(FILES.items()):
        make_product(
            tmp_path,
            name,
            "DR20",
            0,
            seed,
            hdus=dict.fromkeys(range(1, 5), 0) | dict.fromkeys(hdus, ROWS),
        )
    report = job.ingest({"path": tmp_path / "*.fits"})
    assert report["totals"]["rejected"] == 0, report

    wrong: list[str] = []
    for name, hdus in FILES.items():
        for hdu in layout(name, "DR20").hdus:
            if hdu.number in hdus:
                wrong += wrong_pixels(tmp_path / f"{name}.fits", hdu)
    assert wrong == []


def test_a_file_that_has_moved_is_told(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, "mwmStar", "DR20", 0, hdus={1: 1, 2: 0, 3: 0, 4: 0})
    job.ingest({"path": path})
    spectrum = BossCombinedSpectrum.get()
    path.rename(tmp_path / "moved.fits")

    with pytest.raises(ProductError, match=r"mwmStar\.fits: there is no such file; it should have"):
        _ = spectrum.flux

    spectrum.path = str(tmp_path / "moved.fits")
    assert spectrum.flux.shape == spectrum.ivar.shape == spectrum.wavelength.shape
    assert np.isinf(spectrum.e_flux[spectrum.ivar == 0]).all()
