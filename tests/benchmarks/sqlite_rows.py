"""The whole job on SQLite beside the bare driver, with the rows ready made as tuples."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astra.models import models
from astra.models.apogee import ApogeeCoaddedSpectrumInApStar
from astra.models.aspcap import ASPCAP
from astra.models.base import SQLITE_PRAGMAS
from astra.models.source import Source
from astra.models.spectrum import Spectrum
from astra.readiness import prepare
from astra.upsert import RESULT_KEY, column_names, kept, upsert_sql
from astra.utils import utcnow
from jobs.samples import write_sample
from tests.benchmarks import places, wide
from tests.benchmarks.measure import Result, Seconds, alternate, faster_by_rate, slower, timed
from tests.benchmarks.rivals import insert_many
from tests.benchmarks.server_copy import fields
from tests.benchmarks.wide import Wide
from tests.fixtures.databases import SqliteTarget

_PEEWEE_ROWS = 2_000
_ROWS = {"wide": wide.ROWS, "ASPCAP": 200_000}

#: By what a row of each table is known.
_KEYS = {Source: ("sdss_id",), Spectrum: ("pk",), ApogeeCoaddedSpectrumInApStar: ("spectrum_pk",)}


@dataclass
class Stage:
    """A folder with a product, and the rows that it makes as tuples, by table.

    Attributes
    ----------
    place : SqliteTarget
    manifest : Path
    before : Path
        The file of the database before a job.
    after : Path
        The same after it.
    written : sequence of type of Model
    """

    place: SqliteTarget
    manifest: Path
    before: Path
    after: Path
    written: Sequence[Any]

    def reset(self, origin: Path) -> None:
        """Make the database a copy of another one."""
        for suffix in ("-wal", "-shm"):
            Path(f"{self.place.path}{suffix}").unlink(missing_ok=True)
        self.place.path.write_bytes(origin.read_bytes())

    def job(self, origin: Path) -> Callable[[], Seconds]:
        """Return the job as a side."""

        def side() -> Seconds:
            self.reset(origin)
            return places.run_job(self.place, self.manifest).job

        return side

    def bare(self, origin: Path) -> Callable[[], Seconds]:
        """Return the bare driver as a side: for each table its upsert, all tuples made.

        As in the job, `modified` of the results moves: of a row that is there and stays the same
        byte for byte, SQLite writes nothing at all.
        """
        now = str(utcnow())
        ready = []
        with closing(sqlite3.connect(self.after)) as connection:
            for model in self.written:
                names = fields(model)
                conflict = _KEYS.get(model, RESULT_KEY)
                moves = conflict is RESULT_KEY
                columns = [
                    "?1" if moves and name == "modified" else column
                    for name, column in zip(names, column_names(model, names), strict=True)
                ]
                rows = connection.execute(
                    f'SELECT {", ".join(columns)} FROM "{model._meta.table_name}"',
                    [now] * moves,
                ).fetchall()
                key = model._meta.primary_key.name
                keep = kept(model) if moves else (*conflict, key)
                update = [name for name in names if name not in keep]
                if not moves:
                    update = []  # sources and spectra that are there stay as they are
                values = f"VALUES ({', '.join('?' * len(names))})"
                ready.append((upsert_sql(model, names, values, conflict, update), rows))

        def side() -> Seconds:
            self.reset(origin)
            with closing(sqlite3.connect(self.place.path, isolation_level=None)) as connection:
                for name, value in SQLITE_PRAGMAS.items():
                    connection.execute(f"PRAGMA {name} = {value}")

                def work() -> None:
                    connection.execute("BEGIN IMMEDIATE")
                    for sql, rows in ready:
                        connection.executemany(sql, rows)
                    connection.execute("COMMIT")

                return timed(work)

        return side


@contextmanager
def stage(name: str, rows: int) -> Iterator[Stage]:
    """Give a workload: ``wide`` or ``ASPCAP``."""
    with tempfile.TemporaryDirectory(prefix="astra-benchmark-") as folder_name:
        folder = Path(folder_name)
        place = SqliteTarget(folder)
        with place.bind(*models, Wide) as database:
            prepare(database, None, [*models, Wide])
        written: list[Any] = [Wide]
        if name == "wide":
            path = wide.write(folder / "wide.fits", rows)
            entry = {"path": str(path), "result": "tests.benchmarks.wide:Wide"}
            _add_spectra(place.path, rows)
        else:
            product = "astraAllStarASPCAP"
            entry = {
                "path": str(write_sample(folder / f"{product}.fits", product, "DR20", rows, 1))
            }
            written = [Source, Spectrum, ApogeeCoaddedSpectrumInApStar, ASPCAP]
        before, after = folder / "before.db", folder / "after.db"
        _copy(place.path, before)
        manifest = places.write_manifest(folder, [entry])
        places.run_job(place, manifest)
        _copy(place.path, after)
        yield Stage(place, manifest, before, after, written)


def _copy(origin: Path, copy: Path) -> None:
    """Copy a database with what is in its write-ahead log."""
    with closing(sqlite3.connect(origin)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    copy.write_bytes(origin.read_bytes())


def _add_spectra(path: Path, rows: int) -> None:
    numbers = "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {}) "
    now = "datetime('now')"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO source (pk, sdss_id, created, modified) "
            f"{numbers.format(rows // 2 + 1)} SELECT n, n, {now}, {now} FROM s"
        )
        connection.execute(f"INSERT INTO spectrum (pk) {numbers.format(rows)} SELECT n FROM s")


def run(repeats: int, scale: float) -> list[Result]:
    """Measure both workloads beside the bare driver, and one beside Peewee."""
    results = []
    for name, most in _ROWS.items():
        rows = int(most * scale)
        with stage(name, rows) as each:
            for state, origin in (("all new", each.before), ("all there", each.after)):
                sides = {"job": each.job(origin), "executemany": each.bare(origin)}
                case = f"SQLite, {name}, {rows:,} rows, {state}: executemany"
                results.append(slower(case, alternate(sides, repeats), "<= 1.15"))
            if name == "wide":
                results.append(_peewee(each, rows, repeats))
    return results


def _peewee(each: Stage, rows: int, repeats: int) -> Result:
    count = min(_PEEWEE_ROWS, rows)
    table = wide.rows(count)
    names = table.dtype.names or ()
    with each.place.bind(*models, Wide):
        instances = [Wide(**dict(zip(names, values, strict=True))) for values in table.tolist()]
    for instance in instances:
        instance.tag, instance.telescope = "", instance.telescope.decode()

    def side() -> Seconds:
        each.reset(each.before)
        with each.place.bind(*models, Wide) as database:
            database.connect()
            return timed(lambda: insert_many(database, instances))

    runs = alternate({"job": each.job(each.before), "Peewee": side}, repeats)
    case = "SQLite, wide, all new: Peewee insert_many.on_conflict"
    return faster_by_rate(case, runs, (rows, count), ">= 15")
