"""A product that is no longer what the tables expect: all of it told before the first row."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from astra.errors import ManifestError
from astra.models import Slam, Source, Spectrum
from tests.fixtures.jobs import Job
from tests.fixtures.products import make_product

PRODUCT = "astraAllStarSlam"


def complaints(job: Job, *paths: Path) -> str:
    """Ingest products that do not fit, and return what is said; nothing is written."""
    with pytest.raises(ManifestError) as raised:
        job.ingest(*({"path": path} for path in paths))
    assert [model.select().count() for model in (Source, Spectrum, Slam)] == [0, 0, 0]
    return str(raised.value)


def test_all_that_drifted_is_told_at_once(job: Job, tmp_path: Path) -> None:
    """Ten rows each, in two files; the first of the rows would fit."""
    first = make_product(
        tmp_path,
        PRODUCT,
        "DR20",
        10,
        name="first.fits",
        rename={"rchi2": "rchi", "e_teff": "e_tef"},
        add={"brand_new": np.arange(10)},
        formats={"brand_new": "K"},
    )
    second = make_product(
        tmp_path,
        PRODUCT,
        "DR20",
        10,
        name="second.fits",
        values={
            "teff": np.array([b"5777"] * 10),
            "logg": np.ones((10, 3)),
            "status": np.full(10, 1.5),
            "fe_h": np.zeros(10, dtype=np.int64),
            "lead": np.arange(10),
        },
        formats={"teff": "4A", "logg": "3E", "status": "D", "fe_h": "K", "lead": "K"},
        column_cards={"fe_h": {"TFORM": "1PE(3)"}},
    )

    said = complaints(job, first, second)

    for expected in (
        "first.fits HDU 1: column rchi (1E) has no place in Source, BossCombinedSpectrum, Slam",
        'did you mean "rchi2"',
        "first.fits HDU 1: column e_tef (1E) has no place in",
        'did you mean "e_teff"',
        "first.fits HDU 1: column brand_new (1K) has no place in",
        "second.fits HDU 1: column teff (4A) does not fit Slam.teff: text cannot go into a 32-bit",
        "second.fits HDU 1: column logg (3E) does not fit Slam.logg: a vector of 3 cannot go into",
        "second.fits HDU 1: column status (1D) does not fit Slam.status: a float cannot go into",
        "second.fits HDU 1: column fe_h (1P) does not fit Slam.fe_h: an array of varying length",
        "second.fits HDU 1: column lead (1K) does not fit Source.lead: an integer cannot go into",
    ):
        assert expected in said, said


def test_columns_that_are_lacking_are_a_notice_and_null(
    job: Job, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_product(
        tmp_path, PRODUCT, "DR20", 3, drop=["teff", "lead", "telescope", "w1uflags"]
    )

    with caplog.at_level(logging.INFO, logger="astra"):
        report = job.ingest({"path": path})

    assert report["status"] == "done"
    notices = [r.getMessage() for r in caplog.records if "has no columns for" in r.getMessage()]
    assert len(notices) == 1
    for name in ("Slam.teff", "Source.lead", "BossCombinedSpectrum.telescope", "Source.w1uflags"):
        assert name in notices[0]
    row = Slam.get()
    assert (row.teff, Source.get().lead, Source.get().w1uflags) == (None, None, 0)
    assert row.logg is not None


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("spectrum_pk", "neither a column spectrum_pk nor the natural key of BossCombinedSpectrum"),
        ("sdss_id", "no column sdss_id, by which sources are known"),
    ],
)
def test_columns_of_keys_must_not_be_lacking(
    job: Job, tmp_path: Path, key: str, expected: str
) -> None:
    natural = ["release", "filetype", "healpix", "telescope", "run2d", "v_astra"]
    drop = [key, *(natural if key == "spectrum_pk" else []), "sdss_id"]
    path = make_product(tmp_path, PRODUCT, "DR20", 3, drop=list(dict.fromkeys(drop)))

    assert expected in complaints(job, path)
