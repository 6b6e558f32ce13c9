"""Run benchmarks, print a table, and write JSON: ``python -m tests.benchmarks [CASE...]``."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path

from tests.benchmarks.measure import Result, say, table, write_json

_CASES: Mapping[str, str] = {
    "start": "import and --help beside the libraries that they need; a task up to its first row",
    "postgres": "the job beside the server's own COPY and merge of ready-made data",
    "rivals": "the job beside Peewee, GDAL and STILTS",
    "sqlite": "the job beside the bare driver with ready-made tuples, and Peewee",
    "instances": "results as model instances beside Peewee",
    "files": "many small files beside a bare fitsio loop",
    "growth": "files to plan, rows to write, and a table that is full",
    "memory": "the most memory that a job takes",
}
_MODULES = {
    "postgres": "server_copy",
    "sqlite": "sqlite_rows",
    "instances": "model_instances",
}


def main() -> int:
    """Run what the command line names; 1 if a limit is missed."""
    cases = "\n".join(f"  {name:10} {text}" for name, text in _CASES.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=f"{__doc__}\n\ncases (default: all):\n{cases}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", choices=[[], *_CASES])
    parser.add_argument("--repeats", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the rows and files")
    parser.add_argument("--big", action="store_true", help="memory: products of 0.5 GB and 4 GB")
    parser.add_argument("--image", type=Path, help="start: Apptainer's image to start the task in")
    parser.add_argument("--json", type=Path, help="also write all measurements there")
    arguments = parser.parse_args()

    with tempfile.NamedTemporaryFile("w", suffix=".yml") as settings:
        # The models choose their database when they are imported.
        settings.write("TESTING: true\n")
        settings.flush()
        os.environ["ASTRA_CONFIG_PATH"] = settings.name
        results = _run(arguments)
    print(table(results))  # noqa: T201
    if arguments.json:
        write_json(arguments.json, results)
    return int(any(result.verdict == "MISSED" for result in results))


def _run(arguments: argparse.Namespace) -> list[Result]:
    results: list[Result] = []
    for name in arguments.cases or _CASES:
        say(f"{name}: {_CASES[name]}")
        run: Callable[..., list[Result]]
        run = import_module(f"tests.benchmarks.{_MODULES.get(name, name)}").run
        if name == "memory":
            run = partial(run, big=arguments.big)
        if name == "start":
            run = partial(run, image=arguments.image)
        results += run(arguments.repeats, arguments.scale)
    return results


if __name__ == "__main__":
    raise SystemExit(main())
