"""`astra inspect`: what is in a FITS file, and where each column would go."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fixtures.jobs import DONE, WRONG_INPUT, WRONG_USE, says
from tests.fixtures.processes import clean_environment, run_python
from tests.fixtures.products import make_product, read_with_astropy, truncate

SLAM = "astraAllStarSlam"


def inspect(folder: Path, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user without any configuration."""
    environment = clean_environment(folder / "home", **env)
    return run_python("-m", "jobs", "inspect", *map(str, args), env=environment, cwd=folder)


def views(folder: Path, *args: object) -> list[dict[str, Any]]:
    done = inspect(folder, "--json", *args)
    says(done, DONE)
    assert done.stderr == ""
    found: list[dict[str, Any]] = json.loads(done.stdout)["files"]
    return found


def columns(hdu: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {column["name"]: column for column in hdu["columns"]}


@pytest.mark.parametrize("ending", ["fits", "fits.gz"])
def test_every_column_is_shown_with_its_place_and_first_rows(tmp_path: Path, ending: str) -> None:
    path = make_product(tmp_path, SLAM, "DR20", 20, name=f"slam.{ending}")
    fits = read_with_astropy(path)

    [view] = views(tmp_path, "--rows", 4, path)

    hdu = view["hdus"][1]
    assert (hdu["kind"], hdu["rows"]) == ("table", 20)
    assert hdu["tables"] == ["Source", "BossCombinedSpectrum", "Slam"]
    shown = columns(hdu)
    assert list(shown) == list(fits)
    assert shown["sdss_id"]["places"][0] == "Source.sdss_id"
    assert shown["sdss_id"]["first"] == fits["sdss_id"][:4].tolist()
    assert shown["teff"]["places"] == ["Slam.teff"]
    assert (shown["teff"]["type"], shown["teff"]["unit"]) == ("float32", "K")
    expected = [float(str(v)) if np.isfinite(v) else str(v) for v in fits["teff"][:4]]
    assert shown["teff"]["first"] == expected
    assert shown["flag_bad"]["note"] == "checked against the flags of Slam"
    assert all(column["places"] or column["note"] for column in shown.values())
    assert "rho_teff_logg" in hdu["lacking"]["Slam"]


def test_a_column_without_a_place_has_the_nearest_names(tmp_path: Path) -> None:
    path = make_product(tmp_path, SLAM, "DR20", 5, rename={"e_teff": "e_tefff"})

    text = inspect(tmp_path, path)
    [view] = views(tmp_path, path)

    says(text, DONE)
    assert "no place; did you mean e_teff?" in text.stdout
    assert columns(view["hdus"][1])["e_tefff"]["nearest"] == ["e_teff"]
    # Not an error to the eye: the same is not told a second time above the table.
    assert "has no place in" not in text.stdout


def test_a_file_of_one_star_is_shown(tmp_path: Path) -> None:
    path = make_product(tmp_path, "astraStarASPCAP", "DR20", 1, hdus={1: 0, 2: 0, 3: 0, 4: 1})

    [view] = views(tmp_path, path)

    assert view["cards"]["SDSS_ID"]
    assert [hdu["rows"] for hdu in view["hdus"]] == [0, 0, 0, 0, 1]
    shown = columns(view["hdus"][4])
    assert shown["model_flux"]["type"] == "float32[8575]"
    assert "stays in the file" in shown["model_flux"]["note"]
    assert shown["teff"]["places"] == ["ASPCAP.teff"]


def test_a_fits_file_of_any_kind_is_shown(tmp_path: Path) -> None:
    from astropy.io import fits

    image = fits.ImageHDU(np.zeros((3, 4), dtype="f4"), name="SKY")
    numbers = fits.Column("counts", "J", array=np.array([40000, 2], dtype="u2"), bzero=0)
    table = fits.BinTableHDU.from_columns([numbers], name="ODD")
    path = tmp_path / "other.fits"
    fits.HDUList([fits.PrimaryHDU(), image, table]).writeto(path)

    done = inspect(tmp_path, path)

    says(done, DONE)
    assert "HDU 1: image, no table" in done.stdout
    assert "HDU 2 ODD: 2 rows, 1 column" in done.stdout
    assert "nothing says which table its rows go to" in done.stdout
    assert "40000, 2" in done.stdout


def test_what_is_no_fits_file_is_told_and_the_others_are_shown(tmp_path: Path) -> None:
    good = make_product(tmp_path, SLAM, "DR20", 5)
    short = make_product(tmp_path, SLAM, "DR20", 5, name="short.fits")
    truncate(short, 3000)
    text = tmp_path / "notes.fits"
    text.write_text("not FITS\n")

    done = inspect(tmp_path, text, short, tmp_path, tmp_path / "missing.fits", good)

    says(done, WRONG_INPUT, "notes.fits: not a FITS file", "short.fits: cut short")
    says(done, WRONG_INPUT, "a folder; name a FITS file in it", "missing.fits: cannot be read")
    assert "astraAllStarSlam.fits: 3 HDUs" in done.stdout


def test_nothing_but_text_goes_into_a_pipe(tmp_path: Path) -> None:
    path = make_product(tmp_path, SLAM, "DR20", 5)

    done = inspect(tmp_path, path, NO_COLOR="")

    says(done, DONE)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    head = next(line for line in lines if line.split()[:1] == ["column"])
    teff = next(line for line in lines if line.split()[:1] == ["teff"])
    assert teff.index("Slam.teff") == head.index("goes to")


def test_a_file_has_to_be_named(tmp_path: Path) -> None:
    says(inspect(tmp_path), WRONG_USE, "FILES")
