"""`astra manifest`: a manifest of what is there, and all that is wrong with one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from jobs.manifest import load_manifest, resolve_all
from tests.fixtures.databases import Target
from tests.fixtures.jobs import DONE, WRONG_INPUT, WRONG_USE, says
from tests.fixtures.processes import clean_environment, run_python
from tests.fixtures.products import make_product

SLAM = "astraAllStarSlam"


def command(folder: Path, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(folder / "home", **env)
    return run_python("-m", "jobs", "manifest", *map(str, args), env=environment, cwd=folder)


@pytest.fixture
def products(tmp_path: Path) -> Path:
    """A folder with a product of all stars, and one with a file for each star."""
    folder = tmp_path / "products"
    make_product(folder, SLAM, "DR20", 10, name=f"{SLAM}-0.8.1.fits.gz")
    for star in range(3):
        make_product(
            folder / "stars" / str(star % 2), "astraStarSnowWhite", "DR20", 0,
            name=f"astraStarSnowWhite-0.8.1-{100 + star}.fits", hdus={1: 1}, first=star,
        )  # fmt: skip
    return folder


def paths_in(manifest: Path) -> list[str]:
    return [product.path for product in load_manifest(manifest).products]


def test_a_manifest_of_a_folder_is_ready_to_ingest(target: Target, products: Path) -> None:
    manifest = target.folder / "new.yml"

    done = target.run("manifest", products, "-o", manifest)

    says(done, DONE)
    assert paths_in(manifest) == [
        f"products/{SLAM}-0.8.1.fits.gz",
        "products/stars/**/astraStarSnowWhite-0.8.1-*.fits",
    ]
    if target.kind == "postgres":
        target.migrate()
    says(target.run("ingest", manifest), DONE)
    assert target.fetch('SELECT count(*) FROM {schema}"slam"') == [(10,)]
    assert target.fetch('SELECT count(*) FROM {schema}"snow_white"') == [(3,)]


def test_the_manifest_goes_to_standard_output_with_comments(products: Path) -> None:
    done = command(products, ".")

    says(done, DONE)
    assert done.stderr == ""
    assert "# 1 file, " in done.stdout
    assert "10 rows for Source, BossCombinedSpectrum, Slam" in done.stdout
    schema = next(line for line in done.stdout.splitlines() if "$schema=" in line)
    assert Path(schema.partition("$schema=")[2]).is_file()


def test_a_glob_means_just_the_files_that_were_named(products: Path) -> None:
    stars = sorted(products.rglob("astraStar*-10[01].fits"))
    one = products / "one"
    one.mkdir()
    for path in products.rglob("astraStar*.fits"):
        (one / path.name).write_bytes(path.read_bytes())
    named = [one / stars[0].name, one / stars[1].name]

    done = command(products, *named, "-o", "some.yml")

    says(done, DONE)
    manifest = products / "some.yml"
    found = [file.path for file in resolve_all(load_manifest(manifest), manifest)]
    assert found == sorted(named)


def test_columns_that_no_table_knows_are_ignored_in_writing(tmp_path: Path) -> None:
    make_product(tmp_path, SLAM, "DR20", 5, rename={"chi2": "CHI SQUARE"})

    says(command(tmp_path, f"{SLAM}.fits", "-o", "m.yml"), DONE)

    [product] = load_manifest(tmp_path / "m.yml").products
    assert product.ignore == ("CHI SQUARE",)
    says(command(tmp_path, "--check", "m.yml"), DONE)


def test_what_cannot_be_ingested_is_left_out_and_told(products: Path) -> None:
    from astropy.io import fits

    fits.PrimaryHDU().writeto(products / "empty.fits")
    (products / "notes.fits").write_text("no\n")

    done = command(products, ".", "-o", "m.yml")

    says(done, DONE, "left out: empty.fits: it has no table", "left out: notes.fits: not a FITS")
    text = (products / "m.yml").read_text()
    assert "#   notes.fits:\n#     not a FITS file" in text
    assert len(paths_in(products / "m.yml")) == 2


def test_a_variable_stands_for_the_survey_s_folder(products: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    done = command(elsewhere, products / f"{SLAM}-0.8.1.fits.gz", MWM_ASTRA=str(products))

    assert f"  - path: $MWM_ASTRA/{SLAM}-0.8.1.fits.gz" in done.stdout.splitlines()


def test_a_manifest_that_is_there_is_kept(products: Path) -> None:
    (products / "m.yml").write_text("mine\n")

    done = command(products, ".", "-o", "m.yml")

    says(done, WRONG_INPUT, "m.yml is there already", "-o")
    assert (products / "m.yml").read_text() == "mine\n"


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    says(command(tmp_path, "nowhere"), WRONG_INPUT, "nowhere: no such file or folder")
    (tmp_path / "empty").mkdir()
    says(command(tmp_path, "empty"), WRONG_INPUT, "no FITS file")
    (tmp_path / "a.fits").write_text("no")
    says(command(tmp_path, "a.fits"), WRONG_INPUT, "nothing here can be ingested", "not a FITS")
    says(command(tmp_path, "--check", "m.yml", "-o", "n.yml"), WRONG_USE, "--check writes no")


def test_check_tells_every_mistake_at_once(products: Path) -> None:
    (products / "bad.yml").write_text(
        "version: 1\n"
        "products:\n"
        "  - path: nothing*.fits\n"
        "    result: Slamm\n"
        f"  - path: {SLAM}-0.8.1.fits.gz\n"
        "    columns: {teff: TEF}\n"
        "    ignore: [nosuch]\n"
    )

    done = command(products, "--check", "bad.yml")

    says(done, WRONG_INPUT, 'bad.yml:4: products[0].result: no result model is called "Slamm"')
    says(done, WRONG_INPUT, "bad.yml:3: products[0].path: no file matches")
    says(done, WRONG_INPUT, "bad.yml:5: products[1].path:", "no column TEF")
    says(done, WRONG_INPUT, "bad.yml:7: products[1].ignore: no file of the product")


def test_check_says_that_a_manifest_is_ready(products: Path) -> None:
    command(products, ".", "-o", "m.yml")

    done = command(products, "--check", "m.yml")

    says(done, DONE)
    assert "m.yml: 2 products, 4 files, " in done.stdout
    assert "ready to ingest" in done.stdout
