"""Everything in the README is run: as its reader would, in one folder, from top to bottom.

The first two commands are left to `.ci/run`, which runs them in a fresh clone; the cluster's are
run by `tests/cluster/run`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.fixtures.processes import REPOSITORY
from tests.fixtures.readme import README, pieces

#: Kinds of blocks that are not run here, and those that are, by what follows the fence.
ELSEWHERE = {"sh setup", "sh tests", "sh cluster", "yaml cluster", "text"}


def test_every_block_is_of_a_kind_that_is_run() -> None:
    known = {*ELSEWHERE, "sh", "python", "yaml config", "yaml manifest"}
    strange = [
        f"line {piece.line}: {piece.info!r}"
        for piece in pieces()
        if piece.info not in known and " file=" not in piece.info
    ]

    assert strange == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the README's first command has been run."""
    folder = tmp_path_factory.mktemp("readme")
    command = folder / "bin" / "astra"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m jobs "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    (setup,) = (piece for piece in pieces() if piece.info == "sh setup")
    # All but the installation: the rest of the line is the job itself.
    job = setup.text.split("&&", 2)[2].replace(".venv/bin/", "")
    run(folder, ["bash", "-euo", "pipefail", "-c", job])
    return folder


def run(folder: Path, command: list[str], **environment: str) -> str:
    environ = {
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "HOME": str(folder / "home"),
        "NO_COLOR": "1",
        **environment,
    }
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_commands_and_programs_work_in_their_order(folder: Path) -> None:
    for piece in pieces():
        if piece.info == "sh":
            run(folder, ["bash", "-euo", "pipefail", "-c", piece.text])
        elif piece.info == "python":
            said = run(
                folder, [sys.executable, "-c", piece.text], ASTRA_DATABASE_PATH="demo/astra.db"
            )
            assert said, f"line {piece.line}"


def test_the_configuration_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from astra.config import database_config

    monkeypatch.delenv("ASTRA_DATABASE_PATH", raising=False)
    (piece,) = (piece for piece in pieces() if piece.info == "yaml config")
    where = database_config(yaml.safe_load(piece.text))

    assert (where.dbname, where.schema) == ("sdss5db", "astra_081")


def test_the_manifest_is_ingested(folder: Path) -> None:
    (piece,) = (piece for piece in pieces() if piece.info == "yaml manifest")
    (folder / "shown.yml").write_text(piece.text, encoding="utf-8")

    said = run(folder, ["astra", "ingest", "shown.yml"], ASTRA_DATABASE_PATH="shown.db")

    assert "slam: 3,000 read, 3,000 inserted" in said


def test_every_key_of_the_manifest_is_explained() -> None:
    from jobs.manifest import Product

    explained = set(re.findall(r"^\| `(\w+)` \|", README.read_text(encoding="utf-8"), re.MULTILINE))

    assert set(Product.model_fields) == explained


def test_every_exit_status_is_explained() -> None:
    from astra import errors

    statuses = {
        error.exit_status
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.AstraError)
    }
    explained = re.findall(r"^\| (\d+) \|", README.read_text(encoding="utf-8"), re.MULTILINE)

    assert {0, 1, *statuses} == set(map(int, explained))


def test_the_pipeline_of_ones_own_is_ingested(folder: Path) -> None:
    from astropy.table import Table

    for piece in pieces():
        if " file=" in piece.info:
            name = piece.info.split("file=")[1]
            (folder / name).write_text(piece.text, encoding="utf-8")
    Table(
        {
            "sdss_id": np.array([71, 72], dtype=np.int64),
            "spectrum_pk": np.array([901, 902], dtype=np.int64),
            "inclination": np.array([12.5, np.nan], dtype=np.float32),
            "result_flags": np.array([0, 1], dtype=np.int64),
        }
    ).write(folder / "saturn.fits")

    run(folder, ["astra", "ingest", "saturn.yml"], ASTRA_DATABASE_PATH="saturn.db")
    query = "[(s.spectrum_pk, s.inclination, s.flag_no_ring) for s in Saturn.select()]"
    program = f"from mine import Saturn; print({query})"
    said = run(folder, [sys.executable, "-c", program], ASTRA_DATABASE_PATH="saturn.db")

    assert said.strip() == "[(901, 12.5, False), (902, None, True)]"
