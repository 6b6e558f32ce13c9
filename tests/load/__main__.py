"""Sixteen array tasks at once, with somebody who ends one of them every few seconds.

``python -m tests.load --minutes 10`` goes on for ten minutes: round after round, each with other
results for the same stars, and each compared row by row with what was in its files.  A task that
was killed is submitted again, as a batch system does.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.fixtures import server
from tests.fixtures.databases import DATABASE, PostgresTarget
from tests.fixtures.faults import check_ledger, terminate
from tests.fixtures.jobs import AWAY, DONE, write_manifest
from tests.fixtures.processes import clean_environment
from tests.fixtures.products import make_product, read_with_astropy

TASKS = 16
#: No round takes so many seconds, unless a task hangs.
_DEADLINE = 900.0
#: Two kinds of product of the same stars, so that tasks meet in the table of sources.
PRODUCTS = {"astraAllStarSlam": "slam", "astraAllVisitCorv": "corv"}


@dataclass
class Load:
    """Rounds of jobs, and what they came to.

    Attributes
    ----------
    target : PostgresTarget
    files, rows : int
        Files of each kind, and rows of each.
    chance : random.Random
        Chooses whom to end, and how.
    ended : Counter of str
        What was done to tasks and server.
    retried : int
        Attempts at transactions after the first.
    """

    target: PostgresTarget
    files: int
    rows: int
    every: float
    chance: random.Random
    ended: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    written: int = 0
    started: int = 0
    retried: int = 0
    seconds: float = 0.0

    def round(self) -> None:
        """Write products, ingest them whatever happens, and compare."""
        products = [
            {"path": self._product(kind, number)}
            for kind in PRODUCTS
            for number in range(self.files)
        ]
        manifest = write_manifest(self.target.folder, *products)
        begun = time.monotonic()
        self._ingest(manifest)
        self.seconds += time.monotonic() - begun
        self.rounds += 1
        self.written += 2 * self.files * self.rows
        self.compare()

    def _product(self, kind: str, number: int) -> Path:
        change = np.float32(self.rounds)
        return make_product(
            self.target.folder, kind, "DR20", self.rows, name=f"{kind}-{number}.fits",
            first=number * self.rows, values={"teff": lambda old: old + change},
        )  # fmt: skip

    def _ingest(self, manifest: Path) -> None:
        """Keep all tasks running until each has come to its end."""
        left = {task: self._start(manifest, task) for task in range(TASKS)}
        try:
            self._attend(manifest, left)
        finally:
            for process in left.values():
                process.kill()
                process.wait()

    def _attend(self, manifest: Path, left: dict[int, subprocess.Popen[bytes]]) -> None:
        begun = time.monotonic()
        strike = begun + self.every
        while left:
            assert time.monotonic() < begun + _DEADLINE, f"tasks {sorted(left)} hang"
            for task, process in list(left.items()):
                status = process.poll()
                if status is None:
                    continue
                self.retried += self._log(task).read_text().count("trying again in")
                if status == DONE:
                    del left[task]
                elif status in (AWAY, -signal.SIGKILL, -signal.SIGTERM):
                    left[task] = self._start(manifest, task)
                else:
                    raise AssertionError(f"task {task}: {status}\n{self._log(task).read_text()}")
            if left and time.monotonic() > strike:
                self._strike(self.chance.choice(list(left.values())))
                strike = time.monotonic() + self.chance.uniform(0.5, 1.5) * self.every
            time.sleep(0.02)

    def _start(self, manifest: Path, task: int) -> subprocess.Popen[bytes]:
        self.started += 1
        slurm = {
            "SLURM_ARRAY_JOB_ID": f"{1000 + self.rounds}",
            "SLURM_JOB_ID": f"{self.started}",
            "SLURM_ARRAY_TASK_ID": f"{task}",
            "SLURM_ARRAY_TASK_MIN": "0",
            "SLURM_ARRAY_TASK_COUNT": f"{TASKS}",
        }
        with self._log(task).open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "jobs", "ingest", manifest, "--batch-size", "50"],
                env=clean_environment(self.target.folder / "home", **self.target.env, **slurm),
                cwd=self.target.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _log(self, task: int) -> Path:
        return self.target.folder / f"task-{task}.log"

    def _strike(self, victim: subprocess.Popen[bytes]) -> None:
        """End a task, all connections, or the server."""
        how = self.chance.choices(("kill -9", "SIGTERM", "cut", "crash"), (6, 3, 6, 1))[0]
        self.ended[how] += 1
        if how == "kill -9":
            victim.kill()
        elif how == "SIGTERM":
            victim.terminate()
        elif how == "cut":
            terminate(self.target)
        else:
            self.target.server.restart("immediate")

    def compare(self) -> None:
        """Compare all rows of all files with the tables.

        Raises
        ------
        AssertionError
            If a row is lost, doubled, or of an earlier round.
        """
        entries = check_ledger(self.target)
        assert len(entries) == 2 * self.files
        stars: set[int] = set()
        for kind, table in PRODUCTS.items():
            stored = dict(self.target.fetch(f"SELECT spectrum_pk, teff FROM {{schema}}{table}"))
            (count,) = self.target.fetch(f"SELECT count(*) FROM {{schema}}{table}")[0]
            assert count == len(stored) == self.files * self.rows, (table, count)
            for number in range(self.files):
                file = read_with_astropy(self.target.folder / f"{kind}-{number}.fits")
                stars.update(file["sdss_id"].tolist())
                for key, teff in zip(file["spectrum_pk"].tolist(), file["teff"], strict=True):
                    found = stored[key]
                    same = np.isnan(teff) if found is None else np.float32(found) == teff
                    assert same, f"{table} {key}: {found}, not {teff}"
        sources = [key for (key,) in self.target.fetch("SELECT sdss_id FROM {schema}source")]
        assert sorted(sources) == sorted(stars)

    def __str__(self) -> str:
        done = ", ".join(f"{count} x {how}" for how, count in sorted(self.ended.items()))
        return (
            f"{self.rounds} rounds of {TASKS} tasks, {self.written:,} rows in {self.seconds:.0f} s "
            f"({self.written / max(self.seconds, 1e-3):,.0f} rows/s); {self.started} tasks "
            f"started; {done or 'nothing'} survived, {self.retried} attempts after the first; "
            "no row lost, doubled or stale"
        )


def run(target: PostgresTarget, seconds: float, *, files: int, rows: int, every: float) -> Load:
    """Run rounds until the time is up; one at least."""
    target.server.execute(f"ALTER ROLE {target.job_user} SET synchronous_commit = on")
    target.migrate()
    load = Load(target, files, rows, every, random.Random(8))
    end = time.monotonic() + seconds
    while not load.rounds or time.monotonic() < end:
        load.round()
        print(load, flush=True)  # noqa: T201 (a long round is watched)
    return load


def main() -> None:
    """Run on a server of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--files", type=int, default=32, help="of each of two kinds")
    parser.add_argument("--rows", type=int, default=500, help="of each file")
    parser.add_argument("--every", type=float, default=3, help="seconds between two blows")
    options = parser.parse_args()
    os.environ["ASTRA_DATABASE_PATH"] = ":memory:"  # this process itself needs none
    programs = server.find_programs()
    if programs is None:
        sys.exit(server.MISSING)
    running = server.PostgresServer(programs)
    try:
        running.start()
        running.execute(f"CREATE DATABASE {DATABASE}")
        with tempfile.TemporaryDirectory(prefix="astra-load-") as folder:
            target = PostgresTarget(Path(folder), running)
            run(
                target, options.minutes * 60,
                files=options.files, rows=options.rows, every=options.every,
            )  # fmt: skip
    finally:
        running.remove()


if __name__ == "__main__":
    main()
