"""An import names things: it connects, prints and creates nothing, and it is quick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.processes import REPOSITORY, clean_environment, run_python

MODULES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for package in ("astra", "jobs")
    for path in (REPOSITORY / package).rglob("*.py")
)

# What takes long to import, and a query or ``--help`` does not need.
SLOW = {"astropy", "fitsio", "isal", "matplotlib", "rich"}

# Imports a module, and writes to a file what a user would not see: what was loaded and opened.
PROBE = """
import importlib, json, sys, warnings

opened = []
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "sqlite3.connect"):
        opened.append(event)
sys.addaudithook(watch)

with warnings.catch_warnings(record=True) as caught:
    importlib.import_module(sys.argv[1])

with open(sys.argv[2], "w") as file:
    messages = [str(warning.message) for warning in caught]
    json.dump({"loaded": list(sys.modules), "opened": opened, "warnings": messages}, file)
"""


def import_freshly(module: str, folder: Path, **env: str) -> dict[str, Any]:
    """Import one module in an interpreter of its own; check that it says and leaves nothing."""
    home, report = folder / "home", folder / "report.json"
    done = run_python("-c", PROBE, module, report, env=clean_environment(home, **env), cwd=home)
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == ""
    assert not list(home.rglob("*"))
    seen: dict[str, Any] = json.loads(report.read_text())
    assert seen["opened"] == []
    return seen


@pytest.mark.parametrize("module", MODULES)
def test_an_import_is_silent_without_any_configuration(module: str, tmp_path: Path) -> None:
    seen = import_freshly(module, tmp_path)

    # The models' module has to choose a database, and tells once that nobody named one.
    if "astra.models.base" in seen["loaded"]:
        [warning] = seen["warnings"]
        assert "no database is configured" in warning
        assert "ASTRA_DATABASE_PATH" in warning
    else:
        assert seen["warnings"] == []


@pytest.mark.parametrize("module", ["astra", "jobs.cli"])
def test_what_takes_long_is_imported_when_it_is_needed(module: str, tmp_path: Path) -> None:
    seen = import_freshly(module, tmp_path)

    assert SLOW.isdisjoint(seen["loaded"])


def test_models_are_imported_while_the_server_is_away(tmp_path: Path) -> None:
    config = tmp_path / "astra.yml"
    config.write_text("database: {dbname: astra, host: 127.0.0.1, port: 1, schema: astra}\n")

    seen = import_freshly("astra.models", tmp_path, ASTRA_CONFIG_PATH=str(config))

    assert seen["warnings"] == []
