"""Bad input ends in one clear message, with the place and the mend, and nothing is written."""

from __future__ import annotations

import gzip
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest

from tests.fixtures.databases import SqliteTarget, Target
from tests.fixtures.jobs import (
    SOME_FAILED,
    WRONG_INPUT,
    WRONG_USE,
    Job,
    says,
    write_manifest,
)
from tests.fixtures.products import make_product, overwrite, truncate

SLAM = "astraAllStarSlam"


def is_empty(target: Target) -> bool:
    """Tell whether no row is in any table, if there are tables at all."""
    from astra.models import models

    if target.kind == "sqlite" and not target.path.exists():  # type: ignore[attr-defined]
        return True
    for model in models:
        try:
            rows = target.fetch(f'SELECT 1 FROM {{schema}}"{model._meta.table_name}" LIMIT 1')
        except (sqlite3.OperationalError, psycopg2.errors.UndefinedTable):
            continue
        if rows:
            return False
    return True


@pytest.fixture
def place(target: Target) -> Target:
    """A place with its tables, so that a command has nothing to say of them."""
    if target.kind == "postgres":
        target.migrate()
    return target


# -- files -------------------------------------------------------------------------------------
# Each writes what is wrong into a folder, and returns the manifest's entry and what must be said.

Case = tuple[dict[str, Any], list[str]]


def no_such_file(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3, name="astraAllStarSlam-0.8.1.fits")
    wanted = folder / "astraAllStarSlan-0.8.1.fits"
    return {"path": wanted}, ["astraAllStarSlan-0.8.1.fits", "astraAllStarSlam-0.8.1.fits"]


def empty_glob(folder: Path) -> Case:
    return {"path": "none/**/*.fits"}, ["none/**/*.fits"]


def unset_variable(folder: Path) -> Case:
    return {"path": "$NOT_SET_ANYWHERE/*.fits"}, ["NOT_SET_ANYWHERE"]


def not_fits(folder: Path) -> Case:
    (folder / "notes.fits").write_text("Dear diary,\n" * 400)
    return {"path": "notes.fits"}, ["notes.fits", "not a FITS file", "Dear dia"]


def empty_file(folder: Path) -> Case:
    (folder / "empty.fits").touch()
    return {"path": "empty.fits"}, ["empty.fits", "empty, not a FITS file"]


def a_folder(folder: Path) -> Case:
    (folder / "folder.fits").mkdir()
    return {"path": "folder.fits"}, ["folder.fits"]


def truncated(folder: Path) -> Case:
    truncate(make_product(folder, SLAM, "DR20", 40), 2880 * 3)
    return {"path": f"{SLAM}.fits"}, [f"{SLAM}.fits", "cut short", "HDU", "copy or make the file"]


def truncated_in_a_header(folder: Path) -> Case:
    path = make_product(folder, SLAM, "DR20", 1)
    truncate(path, path.stat().st_size - 2880 * 2)
    return {"path": path.name}, [path.name, "cut short", "header of HDU 1"]


def truncated_gzip(folder: Path) -> Case:
    truncate(make_product(folder, SLAM, "DR20", 40, name="cut.fits.gz"), 200)
    return {"path": "cut.fits.gz"}, ["cut.fits.gz", "gzip stream is damaged or cut short"]


def damaged_gzip(folder: Path) -> Case:
    path = make_product(folder, SLAM, "DR20", 40, name="bent.fits.gz")
    overwrite(path, path.stat().st_size // 2, b"\xff" * 64)
    return {"path": "bent.fits.gz"}, ["bent.fits.gz", "damaged"]


def gzip_of_text(folder: Path) -> Case:
    (folder / "text.fits.gz").write_bytes(gzip.compress(b"no FITS at all"))
    return {"path": "text.fits.gz"}, ["text.fits.gz", "not a FITS file"]


def damaged_header(folder: Path) -> Case:
    path = make_product(folder, SLAM, "DR20", 3)
    path.write_bytes(path.read_bytes().replace(b"TFORM3  = 'K", b"TFORM3  = 'W", 1))
    return {"path": path.name}, [path.name, "HDU 1", "TFORM3", "damaged"]


def row_width_that_is_wrong(folder: Path) -> Case:
    path = make_product(folder, SLAM, "DR20", 3)
    content = path.read_bytes()
    card = re.search(rb"NAXIS1  = +(\d+)", content)
    assert card is not None
    wrong = card[0].replace(card[1], b"%d" % (int(card[1]) - 4))
    path.write_bytes(content.replace(card[0], wrong.rjust(len(card[0])), 1))
    return {"path": path.name}, [path.name, "HDU 1", "NAXIS1"]


def hdu_out_of_range(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3)
    return {"path": f"{SLAM}.fits", "hdus": [1, 7]}, [f"{SLAM}.fits", "HDU 7", "HDU 1"]


def hdu_without_such_a_name(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3, cards={"EXTNAME": "BOSS"})
    return {"path": f"{SLAM}.fits", "hdus": ["BOSSE"]}, [f"{SLAM}.fits", "BOSSE", "BOSS"]


def the_primary_hdu(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3)
    return {"path": f"{SLAM}.fits", "hdus": [0]}, ["hdus", "primary", "run1.yml:6:"]


def column_that_is_not_there(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3, rename={"teff": "teff_raw"})
    entry = {"path": f"{SLAM}.fits", "columns": {"teff": "TEFF_RAW"}, "new_columns": "ignore"}
    return entry, [f"{SLAM}.fits HDU 1", "TEFF_RAW", "teff_raw", "did you mean"]


def ignored_column_that_is_not_there(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3)
    return {"path": f"{SLAM}.fits", "ignore": ["snr_medain"]}, ["ignore", "snr_medain"]


def field_that_is_not_there(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3)
    entry = {"path": f"{SLAM}.fits", "columns": {"tef": "teff"}}
    return entry, [f"{SLAM}.fits HDU 1", "tef", "teff", "Slam"]


def new_column(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3, add={"tefff": np.ones(3, dtype=">f4")})
    said = [f"{SLAM}.fits HDU 1", "column tefff (1E)", "teff", "`ignore`", "new_columns"]
    return {"path": f"{SLAM}.fits"}, said


def column_of_a_wrong_type(folder: Path) -> Case:
    make_product(
        folder, SLAM, "DR20", 3,
        values={"teff": np.array([b"hot"] * 3), "snr": np.ones((3, 2), dtype=">f4")},
        formats={"teff": "3A", "snr": "2E"},
    )  # fmt: skip
    said = ["column teff (3A) does not fit Slam.teff", "column snr (2E) does not fit"]
    return {"path": f"{SLAM}.fits"}, said


def flag_without_its_bits(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3)
    entry = {"path": f"{SLAM}.fits", "ignore": ["result_flags"]}
    return entry, [f"{SLAM}.fits HDU 1", "flag_warn", "result_flags", "`ignore`"]


def flag_of_a_wrong_type(folder: Path) -> Case:
    make_product(
        folder, SLAM, "DR20", 3,
        values={"flag_warn": np.array([b"yes"] * 3)}, formats={"flag_warn": "3A"},
    )  # fmt: skip
    return {"path": f"{SLAM}.fits"}, [f"{SLAM}.fits HDU 1", "flag_warn (3A)", "logical"]


def version_of_a_wrong_type(folder: Path) -> Case:
    make_product(
        folder, "astraAllVisitCorv", "DR20", 3, values={"v_astra": 0.8}, formats={"v_astra": "D"}
    )
    return {"path": "astraAllVisitCorv.fits"}, ["astraAllVisitCorv.fits HDU 1", "v_astra (1D)"]


def card_that_is_no_version(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3, cards={"V_ASTRA": "main-dirty"})
    return {"path": f"{SLAM}.fits"}, [f"{SLAM}.fits HDU 1", "V_ASTRA", "main-dirty", "`v_astra`"]


def without_sdss_id_or_key(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3, drop=["spectrum_pk", "sdss_id"])
    return {"path": f"{SLAM}.fits"}, [f"{SLAM}.fits HDU 1", "no column sdss_id", "`columns`"]


def damaged_second_hdu(folder: Path) -> Case:
    path = make_product(folder, SLAM, "DR20", 3)
    content = path.read_bytes()
    path.write_bytes(content[::-1].replace(b"XTENSION"[::-1], b"YTENSION"[::-1], 1)[::-1])
    return {"path": path.name}, [path.name, "what follows HDU 1 is no HDU", "YTENSION", "damaged"]


def unknown_pipeline(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3, cards={"PIPELINE": "Slamm"})
    return {"path": f"{SLAM}.fits"}, [
        f"{SLAM}.fits HDU 1",
        "PIPELINE",
        "Slamm",
        "Slam",
        "`result:`",
    ]


def unknown_model(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3)
    return {"path": f"{SLAM}.fits", "result": "Slamm"}, ["Slamm", "Slam", "run1.yml:5:"]


def unknown_module(folder: Path) -> Case:
    make_product(folder, SLAM, "DR20", 3)
    return {"path": f"{SLAM}.fits", "result": "no_such.module:Comet"}, [
        "no_such.module",
        "run1.yml:5:",
    ]


def table_of_something_else(folder: Path) -> Case:
    from astropy.io import fits

    columns = [fits.Column("RA", "D", array=[1.0]), fits.Column("DEC", "D", array=[2.0])]
    fits.BinTableHDU.from_columns(columns).writeto(folder / "other.fits")
    return {"path": "other.fits"}, ["other.fits HDU 1"]


FILES: list[Callable[[Path], Case]] = [
    *(no_such_file, empty_glob, unset_variable, not_fits, empty_file, a_folder, truncated),
    *(truncated_in_a_header, truncated_gzip, damaged_gzip, gzip_of_text, damaged_header),
    *(row_width_that_is_wrong, hdu_out_of_range, hdu_without_such_a_name, the_primary_hdu),
    *(column_that_is_not_there, ignored_column_that_is_not_there, field_that_is_not_there),
    *(new_column, column_of_a_wrong_type, flag_without_its_bits, flag_of_a_wrong_type),
    *(version_of_a_wrong_type, card_that_is_no_version, without_sdss_id_or_key),
    *(damaged_second_hdu, unknown_pipeline, unknown_model, unknown_module, table_of_something_else),
]


@pytest.mark.parametrize("case", FILES, ids=lambda case: case.__name__)
def test_a_bad_file_is_told_before_a_row_is_written(
    job: Job, tmp_path: Path, case: Callable[[Path], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    from astra.errors import AstraError

    monkeypatch.chdir(tmp_path)
    good = make_product(tmp_path, "astraAllStarBossNet", "DR20", 3)
    entry, said = case(tmp_path)

    with pytest.raises(AstraError) as raised:
        job.ingest({"path": good}, entry)

    message = str(raised.value)
    assert raised.value.exit_status == WRONG_INPUT
    for text in [*said, "run1.yml"]:
        text = text.replace("run1.yml:5:", ":5:")  # the line of the key
        assert text in message, f"{text!r} is not in:\n{message}"
    assert "Traceback" not in message
    assert len(message) < 4000
    assert is_empty(job.target)
    assert not list(tmp_path.glob("*.report.json*"))


def test_all_that_is_wrong_is_told_at_once(place: Target, tmp_path: Path) -> None:
    cases = [truncated_gzip, hdu_out_of_range, new_column, unknown_pipeline]
    said: list[str] = []
    entries = []
    for number, case in enumerate(cases):
        folder = tmp_path / f"case{number}"
        folder.mkdir()
        entry, texts = case(folder)
        entries.append({**entry, "path": folder / entry["path"]})
        said += texts

    done = place.ingest(write_manifest(tmp_path, *entries))

    says(done, WRONG_INPUT, *said)
    assert is_empty(place)


# -- manifests, wrong use and SQLite files: told before any server is asked ------------------------


@pytest.fixture
def sqlite(tmp_path: Path) -> SqliteTarget:
    return SqliteTarget(tmp_path)


MANIFESTS = {
    "not_yaml": ("version: 1\nproducts: [\n  - path: a\n", WRONG_INPUT, ["manifest.yml:"]),
    "tabs": ("version: 1\nproducts:\n\t- path: a\n", WRONG_INPUT, ["manifest.yml:3"]),
    "empty": ("", WRONG_INPUT, ["manifest.yml", "products"]),
    "misspelt": (
        "version: 1\nproducts:\n  - path: a.fits\n    igonre: [b]\n    spectre: x\n",
        WRONG_INPUT,
        ["manifest.yml:4", "igonre", "ignore", "manifest.yml:5", "spectre", "spectra"],
    ),
    "python": (
        "version: 1\nproducts: !!python/object/apply:os.system ['touch {folder}/pwned']\n",
        WRONG_INPUT,
        ["manifest.yml:2", "python"],
    ),
    "python_tuple": (
        "version: 1\nproducts:\n  - path: !!python/object:os.PathLike {}\n",
        WRONG_INPUT,
        ["manifest.yml:3", "python"],
    ),
    "binary": ("\0\1\2", WRONG_INPUT, ["manifest.yml"]),
    "version": ("version: 2\nproducts: [{path: a}]\n", WRONG_INPUT, ["manifest.yml:1", "version"]),
    "policy": (
        "version: 1\nproducts:\n  - path: a\n    sources: maybe\n",
        WRONG_INPUT,
        ["manifest.yml:4", "create", "update", "require"],
    ),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_bad_manifest_is_told_with_its_line(
    sqlite: SqliteTarget, tmp_path: Path, name: str
) -> None:
    text, status, said = MANIFESTS[name]
    (tmp_path / "manifest.yml").write_text(text.replace("{folder}", str(tmp_path)))

    done = sqlite.ingest("manifest.yml")

    says(done, status, *said)
    assert not (tmp_path / "pwned").exists()
    assert is_empty(sqlite)


def test_a_manifest_that_is_not_there(sqlite: SqliteTarget) -> None:
    says(sqlite.ingest("manifest.yml"), WRONG_INPUT, "manifest.yml", "no such file")


@pytest.mark.parametrize(
    "options",
    [
        ["--shard", "3/3"],
        ["--shard", "1"],
        ["--batch-size", "0"],
        ["--batch-size", "many"],
        ["--what"],
        ["--report", "no/such/folder/r.json"],
    ],
)
def test_wrong_use_is_told(sqlite: SqliteTarget, tmp_path: Path, options: list[str]) -> None:
    manifest = write_manifest(tmp_path, {"path": make_product(tmp_path, SLAM, "DR20", 3)})

    said = options[-1].removesuffix("/r.json")
    says(sqlite.ingest(manifest, *options), WRONG_USE, said)
    assert is_empty(sqlite)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path, {"path": make_product(tmp_path, SLAM, "DR20", 3)})


@pytest.mark.parametrize("path", ["no/such/folder/astra.db", "/proc/astra.db", "."])
def test_a_sqlite_path_that_cannot_be_written(
    sqlite: SqliteTarget, manifest: Path, path: str
) -> None:
    done = sqlite.run("ingest", manifest, env={"ASTRA_DATABASE_PATH": path})

    says(done, WRONG_INPUT, path, "writ")


def test_a_sqlite_path_that_holds_something_else(sqlite: SqliteTarget, manifest: Path) -> None:
    sqlite.path.write_text("these are my notes\n" * 100)

    says(sqlite.ingest(manifest), WRONG_INPUT, "astra.db", "not a database")
    assert sqlite.path.read_text().startswith("these are my notes")


def test_a_sqlite_file_with_other_tables(sqlite: SqliteTarget, manifest: Path) -> None:
    with closing(sqlite3.connect(sqlite.path)) as connection:
        connection.execute("CREATE TABLE source (pk INTEGER PRIMARY KEY, name TEXT)")

    says(sqlite.ingest(manifest), WRONG_INPUT, "source", "sdss_id")


def test_nothing_is_ingested_into_memory(sqlite: SqliteTarget, manifest: Path) -> None:
    done = sqlite.run("ingest", manifest, env={"ASTRA_DATABASE_PATH": ""})

    says(done, WRONG_INPUT, "ASTRA_DATABASE_PATH", "astra.yml")


def test_one_file_that_fails_later_is_told_and_the_rest_goes_in(
    place: Target, tmp_path: Path
) -> None:
    first = make_product(tmp_path, SLAM, "DR20", 20)
    second = make_product(tmp_path, "astraAllStarBossNet", "DR20", 5)
    manifest = write_manifest(tmp_path, {"path": first}, {"path": second})
    # It is whole when it is checked, and gone when it is to be read: a FIFO can be both.
    hook = tmp_path / "sitecustomize.py"
    hook.write_text(
        "import sys, os\n"
        "from jobs import ingest\n"
        "check = ingest.check\n"
        "def check_and_remove(*args):\n"
        "    models = check(*args)\n"
        f"    os.unlink({str(first)!r})\n"
        "    return models\n"
        "ingest.check = check_and_remove\n"
    )
    python_path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])

    done = place.run("ingest", manifest, env={"PYTHONPATH": python_path})

    says(done, SOME_FAILED, str(first), "No such file")
    assert f"failed: {first}" in done.stdout
    assert len(place.fetch("SELECT 1 FROM {schema}boss_net")) == 5
