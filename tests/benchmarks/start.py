"""How quickly it starts: importing `astra`, and ``astra --help``."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measure import Result, Seconds, alternate, slower, timed
from tests.fixtures.processes import clean_environment

_HEAVY = ("astropy", "matplotlib", "fitsio", "scipy", "pandas")


def run(repeats: int, _scale: float) -> list[Result]:
    """Measure beside a Python that imports nothing, and beside the libraries that are needed."""
    with tempfile.TemporaryDirectory(prefix="astra-benchmark-") as name:
        environment = clean_environment(Path(name), ASTRA_DATABASE_PATH=f"{name}/a.db")

        def side(*command: str) -> Seconds:
            return timed(
                lambda: subprocess.run(
                    [sys.executable, *command], env=environment, check=True, capture_output=True
                )
            )

        many = 3 * repeats
        needed = "import numpy, peewee, psycopg2, sdsstools, pydantic, click"
        cases = {
            "astra --help: the libraries alone": ("-m", "jobs", "--help"),
            "import astra: the libraries alone": ("-c", "import astra"),
            "import astra.models: the libraries alone": ("-c", "import astra.models"),
        }
        results = []
        for case, command in cases.items():
            sides = {"ours": lambda c=command: side(*c), "libraries": lambda: side("-c", needed)}
            found = heavy(command, environment)
            note = f"imports {', '.join(found)}" if found else "imports none of the heavy ones"
            results.append(slower(case, alternate(sides, many), "<= 1.50", note=note))
    return results


def heavy(command: tuple[str, ...], environment: dict[str, str]) -> list[str]:
    """Return which heavy libraries a command imports, by ``-X importtime``."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return [name for name in _HEAVY if name in imported]
