"""The whole job beside other programs that put the same rows into the same server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from peewee import EXCLUDED

from astra.models import models
from astra.upsert import GENERATED, RESULT_KEY, kept
from tests.benchmarks import places, wide
from tests.benchmarks.measure import Result, Seconds, alternate, faster_by_rate, missing, timed
from tests.benchmarks.server_copy import Stage, wide_stage
from tests.benchmarks.wide import Wide
from tests.fixtures.databases import DATABASE

_CASE = "PostgreSQL, wide, all new"
#: Peewee's rate does not grow with the rows, so it gets fewer.
_PEEWEE_ROWS = 2_000
_PEEWEE_BATCH = 1_000
_JDBC = Path("/usr/share/java/postgresql.jar")


def run(repeats: int, scale: float) -> list[Result]:
    """Measure each rival that is installed, alternating with the job."""
    rows = int(wide.ROWS * scale)
    few = min(_PEEWEE_ROWS, rows)
    with (
        places.postgres() as server,
        tempfile.TemporaryDirectory(prefix="astra-benchmark-") as folder,
        wide_stage(server, Path(folder), rows) as stage,
    ):
        one_row = wide.write(Path(folder) / "one.fits", 1)

        def job() -> Seconds:
            stage.truncate()
            return places.run_job(stage.place, stage.manifest).job

        def command() -> Seconds:
            stage.truncate()
            return places.run_command(stage.place, stage.manifest)

        name = "Peewee insert_many.on_conflict"
        runs = alternate({"job": job, name: _peewee(stage, few)}, repeats)
        results = [faster_by_rate(f"{_CASE}: {name}", runs, (rows, few), ">= 30")]
        for name, limit, program in (
            ("GDAL ogr2ogr, COPY", ">= 4", _ogr2ogr),
            ("STILTS tpipe omode=tosql", ">= 8", _stilts),
        ):
            case = f"{_CASE}: {name}"
            whole = program(stage, stage.product, rows)
            start = program(stage, one_row, 1)
            if isinstance(whole, str) or isinstance(start, str):
                results.append(missing(case, limit, str(whole)))
                continue
            # Without the start of Python, as everywhere here, and so without that of Java, too.
            sides = {"job": job, "command": command, name: whole, "one row": start}
            runs = alternate(sides, repeats)
            started = min(runs["one row"])
            without = {"job": runs["job"], name: [each - started for each in runs[name]]}
            both = {"command": runs["command"], name: runs[name]}
            results.append(faster_by_rate(case, without, (rows, rows), limit))
            results.append(faster_by_rate(f"{case}, whole processes", both, (rows, rows)))
    return results


def _peewee(stage: Stage, count: int) -> Callable[[], Seconds]:
    """Model instances, as Astra has written its results until now."""
    table = wide.rows(count)
    names = table.dtype.names or ()
    with stage.place.bind(*models, Wide):
        rows = [Wide(**dict(zip(names, values, strict=True))) for values in _native(table)]
    for row in rows:
        row.tag, row.telescope = row.tag.decode(), row.telescope.decode()

    def side() -> Seconds:
        stage.truncate()
        with stage.place.bind(*models, Wide) as database:
            database.connect()
            return timed(lambda: insert_many(database, rows))

    return side


def _native(table: object) -> list[tuple[object, ...]]:
    return table.tolist()  # type: ignore[attr-defined]


def insert_many(database: object, rows: list[Wide]) -> None:
    """Upsert instances in the way that Peewee's manual shows."""
    model = type(rows[0])
    fields = [f for f in model._meta.sorted_fields if f.name not in GENERATED]
    update = [f for f in fields if f.name not in kept(model)]
    with database.atomic():  # type: ignore[attr-defined]
        for start in range(0, len(rows), _PEEWEE_BATCH):
            batch = [row.__data__ for row in rows[start : start + _PEEWEE_BATCH]]
            model.insert_many(
                [{f: data.get(f.name) for f in fields if f.name in data} for data in batch]
            ).on_conflict(
                conflict_target=[getattr(model, name) for name in RESULT_KEY],
                update={field: getattr(EXCLUDED, field.column_name) for field in update},
            ).execute()


def _ogr2ogr(stage: Stage, product: Path, count: int) -> Callable[[], Seconds] | str:
    if shutil.which("ogr2ogr") is None:
        return "apt-get install gdal-bin"
    server = stage.place.server
    target = f"PG:dbname={DATABASE} host={server.folder} port={server.port} user={server.user}"
    options = ["-nln", "rival", "-overwrite", "-lco", "GEOMETRY_NAME=none"]
    command = ["ogr2ogr", "-f", "PostgreSQL", target, f"{product}", *options, "-nlt", "NONE"]

    def side() -> Seconds:
        environment = {**os.environ, "PG_USE_COPY": "YES"}
        seconds = timed(
            lambda: subprocess.run(command, env=environment, check=True, capture_output=True)
        )
        _check(stage, count)
        return seconds

    return side


def _stilts(stage: Stage, product: Path, count: int) -> Callable[[], Seconds] | str:
    needed = "apt-get install stilts default-jre-headless libpostgresql-jdbc-java"
    if not all(map(shutil.which, ("stilts", "java"))) or not _JDBC.exists():
        return needed
    server = stage.place.server
    command = [
        "stilts", "-classpath", f"{_JDBC}", "-Djdbc.drivers=org.postgresql.Driver",
        "tpipe", f"in={product}", "omode=tosql", "protocol=postgresql",
        f"host={server.host}:{server.port}", f"db={DATABASE}", "dbtable=rival",
        "write=dropcreate", f"user={server.user}", f"password={server.password}",
    ]  # fmt: skip

    def side() -> Seconds:
        seconds = timed(lambda: subprocess.run(command, check=True, capture_output=True))
        _check(stage, count)
        return seconds

    return side


def _check(stage: Stage, count: int) -> None:
    """See to it that a rival did put all rows in."""
    with places.connection(stage.place) as opened, opened.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM public.rival")
        (found,) = cursor.fetchone()
        if found != count:
            raise RuntimeError(f"{found} rows instead of {count}")
