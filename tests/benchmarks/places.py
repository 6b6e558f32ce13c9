"""Where the benchmarks write: a PostgreSQL server of their own, schemas on it, SQLite files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import yaml

from tests.benchmarks.measure import Seconds, timed
from tests.fixtures import server
from tests.fixtures.databases import DATABASE, PostgresTarget, Target
from tests.fixtures.processes import clean_environment

# As on a server that is used for this, but without waiting for a disk: for both sides.
_SETTINGS = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "1h",
    "maintenance_work_mem": "256MB",
    "work_mem": "64MB",
    "wal_compression": "off",
}


@contextmanager
def postgres() -> Iterator[server.PostgresServer]:
    """Give a server with settings for bulk loads; RuntimeError where there are no programs."""
    programs = server.find_programs()
    if programs is None:
        raise RuntimeError(server.MISSING)
    running = server.PostgresServer(programs)
    try:
        with (running.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in _SETTINGS.items())
        running.start()
        running.execute(f"CREATE DATABASE {DATABASE}")
        yield running
    finally:
        running.remove()


@contextmanager
def schema(running: server.PostgresServer, folder: Path) -> Iterator[PostgresTarget]:
    """Give an empty schema whose owner connects through the Unix socket, as the rivals do."""
    folder.mkdir(parents=True, exist_ok=True)
    place = PostgresTarget(folder, running)
    place.config["database"]["host"] = str(running.folder)
    (folder / "astra.yml").write_text(yaml.safe_dump(place.config))
    try:
        yield place
    finally:
        place.remove()


@contextmanager
def connection(place: PostgresTarget) -> Iterator[Any]:
    """Give a psycopg2 connection of the superuser, whose search path is the place's schema."""
    dsn = place.server.dsn(DATABASE, host=str(place.server.folder))
    with closing(psycopg2.connect(dsn)) as opened:
        with opened.cursor() as cursor:
            cursor.execute(f'SET search_path = "{place.schema}"')
        opened.commit()
        yield opened


def run_sql(place: PostgresTarget, *statements: str) -> None:
    """Run statements, each committed by itself."""
    with connection(place) as opened:
        opened.autocommit = True
        with opened.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def server_cpu(running: server.PostgresServer) -> float:
    """Return the seconds of processor time of the server, once all connections have ended."""
    postmaster = (running.data / "postmaster.pid").read_text().split()[0]
    while _connections(postmaster):
        time.sleep(0.01)
    fields = Path(f"/proc/{postmaster}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _connections(postmaster: str) -> int:
    count = 0
    for child in Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split():
        with suppress(OSError):
            # A process that has ended, and that its parent has not yet counted, has no title.
            title = Path(f"/proc/{child}/cmdline").read_text()
            count += not title or f" {DATABASE} " in title
    return count


@dataclass(frozen=True)
class Run:
    """What one job took.

    Attributes
    ----------
    job : float
        Seconds from the first thing that it does after Python has started and imported, to the
        end.
    cpu : float
        Seconds of processor time of the process.
    peak : float
        Greatest resident memory, in MB.
    """

    job: float
    cpu: float
    peak: float


def run_job(place: Target, manifest: Path, *options: str, env: dict[str, str] | None = None) -> Run:
    """Run a job in a process of its own, and see to it that all rows went in."""
    said = _run(place, ["tests.benchmarks.job", os.fspath(manifest), *options], env or {})
    return Run(**json.loads(said.splitlines()[-1]))


def run_command(place: Target, manifest: Path, *options: str) -> Seconds:
    """Run `astra ingest` as a user does, and return the time from outside, start and all."""
    command = ["jobs", "ingest", "--force", "--quiet", os.fspath(manifest), *options]
    return timed(lambda: _run(place, command, {}))


def _run(place: Target, module: Sequence[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *module],
        env=clean_environment(place.folder / "home", **place.env | env),
        cwd=place.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the job ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def write_manifest(folder: Path, entries: Sequence[dict[str, Any]]) -> Path:
    """Write a manifest of these products."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.yml"
    path.write_text(yaml.safe_dump({"version": 1, "products": list(entries)}), encoding="utf-8")
    return path
