"""How quickly it starts: importing `astra`, ``astra --help``, and a task up to its first row."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.benchmarks import places
from tests.benchmarks.measure import Result, Seconds, alternate, missing, say, slower, timed
from tests.fixtures.processes import clean_environment

_HEAVY = ("astropy", "matplotlib", "fitsio", "scipy", "pandas")

COLD = Path(__file__).with_name("cold.py")

Steps = Mapping[str, Seconds]


def run(repeats: int, _scale: float, image: Path | None = None) -> list[Result]:
    """Measure beside a Python that imports nothing, and beside the libraries that are needed.

    With an image, the task is started in that by Apptainer.
    """
    with tempfile.TemporaryDirectory(prefix="astra-benchmark-") as name:
        folder = Path(name)
        try:
            with places.postgres() as server, places.schema(server, folder / "place") as place:
                task = _task(place, image, 3 * repeats)
        except RuntimeError as error:
            task = [missing("a task up to its first row", "", str(error))]
        return _imports(folder, repeats) + task


def _imports(folder: Path, repeats: int) -> list[Result]:
    environment = clean_environment(folder, ASTRA_DATABASE_PATH=f"{folder}/a.db")

    def side(*command: str) -> Seconds:
        return timed(
            lambda: subprocess.run(
                [sys.executable, *command], env=environment, check=True, capture_output=True
            )
        )

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
        results.append(slower(case, alternate(sides, 3 * repeats), "<= 1.50", note=note))
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


def _task(place: places.PostgresTarget, image: Path | None, repeats: int) -> list[Result]:
    environment = clean_environment(place.folder / "home", **place.env)

    def command(*words: str) -> str:
        return subprocess.run(
            words, cwd=place.folder, env=environment, check=True, capture_output=True, text=True
        ).stdout

    shutil.copy(COLD, place.folder)
    for words in (("sample", ".", "--rows=1", "--product=astraAllStarSlam"), ("migrate",)):
        command(sys.executable, "-m", "jobs", *words)
    container = [] if image is None else ["apptainer", "--silent", "exec", str(image.absolute())]
    python = [*container, "/opt/astra/bin/python", "-I"] if container else [sys.executable]
    cold_start(command, python, container)  # the first time, the row is inserted
    runs = [cold_start(command, python, container) for _ in range(repeats)]
    for steps in runs:
        say("    " + ", ".join(f"{step} {seconds:.3f}" for step, seconds in steps.items()))
    return shares(runs)


def cold_start(
    command: Callable[..., str], python: Sequence[str], container: Sequence[str] = ()
) -> Steps:
    """Start a task and return the seconds of each of its steps.

    Parameters
    ----------
    command : callable
        Runs a command in a folder that has ``cold.py`` and ``manifest.yml``, and returns what it
        said on standard output.
    python, container : sequence of str
        What stands before the name of a program of Python's, and of any other.
    """
    empty = timed(lambda: command(*container, "true")) if container else 0.0
    steps = json.loads(command(*python, COLD.name, str(time.time())).splitlines()[-1])
    # What passes before Python's first line is mostly what an empty container takes.
    inside = steps | {"Python": max(0.0, steps["Python"] - empty)}
    return {"container": empty} | inside if container else inside


def shares(runs: Sequence[Steps]) -> list[Result]:
    """Return what part of the whole each step takes, in the quickest run."""
    best = min(runs, key=lambda steps: sum(steps.values()))
    whole = sum(best.values())
    return [
        Result(f"cold start: {step}", seconds, whole, seconds / whole, runs={step: [seconds]})
        for step, seconds in [*best.items(), ("all of it", whole)]
    ]
