"""`bulk_insert_or_replace_pipeline_results` beside Peewee's `insert_many`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from astra.instances import bulk_insert_or_replace_pipeline_results
from astra.models import models
from tests.benchmarks import places, wide
from tests.benchmarks.measure import Result, Seconds, alternate, faster_by_rate, timed
from tests.benchmarks.rivals import insert_many
from tests.benchmarks.server_copy import wide_stage
from tests.benchmarks.sqlite_rows import stage as sqlite_stage
from tests.benchmarks.wide import Wide

_ROWS = 10_000
_PEEWEE_ROWS = 2_000


def make_instances(count: int) -> list[Wide]:
    """Return results without a key of their own, as a pipeline makes them."""
    table = wide.rows(count)
    names = table.dtype.names or ()
    made = []
    for values in table.tolist():
        data = dict(zip(names, values, strict=True))
        data |= {"tag": data["tag"].decode(), "telescope": data["telescope"].decode()}
        del data["task_pk"]
        made.append(Wide(**data))
    return made


def run(repeats: int, scale: float) -> list[Result]:
    """Measure on both databases."""
    rows = max(_PEEWEE_ROWS, int(_ROWS * scale))
    results = []
    for name, limit, place in (("PostgreSQL", ">= 10", _postgres), ("SQLite", ">= 5", _sqlite)):
        with place(rows) as (target, empty):
            sides = {
                "ours": _side(target, empty, rows, bulk_insert_or_replace_pipeline_results),
                "Peewee": _side(target, empty, _PEEWEE_ROWS, _peewee),
            }
            runs = alternate(sides, repeats)
        case = f"{name}, {rows:,} instances of 213 columns: Peewee insert_many"
        results.append(faster_by_rate(case, runs, (rows, _PEEWEE_ROWS), limit))
    return results


def _peewee(instances: Sequence[Wide]) -> None:
    insert_many(Wide._meta.database, instances)


def _side(target: Any, empty: Any, rows: int, write: Any) -> Any:
    def side() -> Seconds:
        empty()
        instances = make_instances(rows)
        with target.bind(*models, Wide) as database:
            database.connect()
            return timed(lambda: write(instances))

    return side


@contextmanager
def _postgres(rows: int) -> Iterator[tuple[Any, Any]]:
    with (
        places.postgres() as server,
        tempfile.TemporaryDirectory(prefix="astra-benchmark-") as folder,
        wide_stage(server, Path(folder), rows) as each,
    ):
        yield each.place, each.truncate


@contextmanager
def _sqlite(rows: int) -> Iterator[tuple[Any, Any]]:
    with sqlite_stage("wide", rows) as each:
        yield each.place, lambda: each.reset(each.before)
