"""The whole job beside the server's own COPY of data that is ready made."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astra.backends import backend_for
from astra.models import models
from astra.models.apogee import ApogeeCoaddedSpectrumInApStar
from astra.models.aspcap import ASPCAP
from astra.models.source import Source
from astra.models.spectrum import Spectrum
from astra.upsert import GENERATED, RESULT_KEY, column_names, kept, table_name, upsert_sql
from jobs.samples import write_sample
from tests.benchmarks import places, wide
from tests.benchmarks.measure import Result, Seconds, alternate, slower, timed
from tests.benchmarks.wide import Wide
from tests.fixtures.databases import PostgresTarget

_BUFFER = 1 << 20


@dataclass(frozen=True)
class Stage:
    """A schema with tables, a product, and the binary data that its rows are on the server.

    Attributes
    ----------
    place : PostgresTarget
    manifest : Path
    product : Path
    written : sequence of type of Model
        The tables that a job fills, in the order in which foreign keys want them.
    dumps : sequence of Path
        Their rows in COPY's binary form, in the server's folder.
    """

    place: PostgresTarget
    manifest: Path
    product: Path
    written: Sequence[Any]
    dumps: Sequence[Path]

    def truncate(self) -> None:
        """Empty the tables that a job fills, and let the server finish what it has to."""
        with self._bound():
            tables = ", ".join(table_name(model) for model in self.written)
        places.run_sql(self.place, f"TRUNCATE {tables} CASCADE", "CHECKPOINT")

    def fill(self) -> None:
        """Put all rows in, fresh."""
        self.truncate()
        self.copy()
        places.run_sql(self.place, "ANALYZE", "CHECKPOINT")

    def copy(self) -> None:
        """Let the server copy the ready-made data into the tables."""
        with places.connection(self.place) as opened, opened.cursor() as cursor, self._bound():
            for model, dump in zip(self.written, self.dumps, strict=True):
                columns = ", ".join(column_names(model, fields(model)))
                _copy_in(cursor, f"{table_name(model)} ({columns})", dump)
            opened.commit()

    def merge(self) -> None:
        """Let the server copy the results into a temporary table and merge that."""
        model, dump = self.written[-1], self.dumps[-1]
        names = fields(model)
        update = [name for name in names if name not in kept(model)]
        with places.connection(self.place) as opened, opened.cursor() as cursor, self._bound():
            columns = ", ".join(column_names(model, names))
            cursor.execute(
                "CREATE TEMPORARY TABLE ready ON COMMIT DROP AS "
                f"SELECT {columns} FROM {table_name(model)} WITH NO DATA"
            )
            _copy_in(cursor, "ready", dump)
            cursor.execute(
                upsert_sql(model, names, f"SELECT {columns} FROM ready", RESULT_KEY, update)
            )
            opened.commit()

    @contextmanager
    def _bound(self) -> Iterator[None]:
        with self.place.bind(*models, Wide):
            yield


def fields(model: Any) -> list[str]:
    """Return the fields of a table that are written."""
    return [field.name for field in model._meta.sorted_fields if field.name not in GENERATED]


def _copy_in(cursor: Any, target: str, dump: Path) -> None:
    with dump.open("rb") as stream:
        cursor.copy_expert(f"COPY {target} FROM STDIN (FORMAT binary)", stream, _BUFFER)


def make_tables(place: PostgresTarget) -> None:
    """Make all tables, and that of the wide workload."""
    with place.bind(*models, Wide) as database, database.atomic():
        backend_for(database).create_tables([*models, Wide])


@contextmanager
def wide_stage(server: Any, folder: Path, rows: int = wide.ROWS) -> Iterator[Stage]:
    """Give the wide workload; its spectra and sources are there already."""
    path = wide.write(folder / "wide.fits", rows)
    entry = {"path": str(path), "result": "tests.benchmarks.wide:Wide"}
    manifest = places.write_manifest(folder, [entry])
    with places.schema(server, folder / "place") as place:
        make_tables(place)
        places.run_sql(
            place,
            "INSERT INTO source (pk, sdss_id, created, modified) "
            f"SELECT n, n, now(), now() FROM generate_series(1, {rows // 2 + 1}) n",
            f"INSERT INTO spectrum (pk) SELECT n FROM generate_series(1, {rows}) n",
            "ANALYZE",
        )
        yield _with_dumps(place, manifest, path, [Wide])


@contextmanager
def aspcap_stage(server: Any, folder: Path, rows: int = 200_000) -> Iterator[Stage]:
    """Give DR20's astraAllStarASPCAP with all of its tables."""
    path = write_sample(folder / "astraAllStarASPCAP.fits", "astraAllStarASPCAP", "DR20", rows, 1)
    manifest = places.write_manifest(folder, [{"path": str(path)}])
    with places.schema(server, folder / "place") as place:
        make_tables(place)
        tables = [Source, Spectrum, ApogeeCoaddedSpectrumInApStar, ASPCAP]
        yield _with_dumps(place, manifest, path, tables)


def _with_dumps(
    place: PostgresTarget, manifest: Path, product: Path, written: Sequence[Any]
) -> Stage:
    """Run the job once, and keep what it has put into the tables in COPY's binary form."""
    places.run_job(place, manifest)
    dumps = []
    with (
        places.connection(place) as opened,
        opened.cursor() as cursor,
        place.bind(*models, Wide),
    ):
        for model in written:
            dump = place.folder / f"{model._meta.table_name}.copy"
            columns = ", ".join(column_names(model, fields(model)))
            with dump.open("wb") as out:
                query = f"SELECT {columns} FROM {table_name(model)} ORDER BY 1"
                cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", out, _BUFFER)
            dumps.append(dump)
    return Stage(place, manifest, product, written, dumps)


def measure(stage: Stage, *, there: bool, repeats: int) -> tuple[dict[str, list[Seconds]], str]:
    """Measure the job and the server alone, all rows there already or none.

    Returns
    -------
    runs : dict of str to list of float
    note : str
        The processor time of both sides, which a busy machine disturbs less than the time on the
        wall: the job can hide behind the server if the server's is the same and its own is less.
    """
    prepare = stage.fill if there else stage.truncate
    used: dict[str, list[float]] = {"job": [], "server in it": [], "server": []}

    def job() -> Seconds:
        prepare()
        before = places.server_cpu(stage.place.server)
        done = places.run_job(stage.place, stage.manifest)
        used["server in it"].append(places.server_cpu(stage.place.server) - before)
        used["job"].append(done.cpu)
        return done.job

    def server() -> Seconds:
        prepare()
        before = places.server_cpu(stage.place.server)
        seconds = timed(stage.merge if there else stage.copy)
        used["server"].append(places.server_cpu(stage.place.server) - before)
        return seconds

    runs = alternate({"job": job, "server": server}, repeats)
    note = ", ".join(f"{name} {min(seconds):.2f}" for name, seconds in used.items())
    return runs, f"processor time: {note} s"


def run(repeats: int, scale: float) -> list[Result]:
    """Measure both workloads, both ways."""
    results = []
    stages = {
        "wide": (wide_stage, int(wide.ROWS * scale)),
        "ASPCAP": (aspcap_stage, int(200_000 * scale)),
    }
    with places.postgres() as server:
        for name, (make, rows) in stages.items():
            with (
                tempfile.TemporaryDirectory(prefix="astra-benchmark-") as folder,
                make(server, Path(folder), rows) as stage,
            ):
                size = f"{name}, {rows:,} rows"
                for there, case in ((False, "all new: COPY"), (True, "all there: COPY, merge")):
                    runs, note = measure(stage, there=there, repeats=repeats)
                    title = f"PostgreSQL, {size}, {case}"
                    results.append(slower(title, runs, "<= 1.10", note=note))
    return results
