"""A clock that steps back, between two jobs and in the middle of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.faults import ROWS, Scene
from tests.fixtures.jobs import DONE, read_report

#: Sets the clock back before the third chunk: libfaketime looks at the variable each time that it
#: is asked.
_STEP = """
import os
from jobs.commit import Committer

commit, done = Committer.commit, []

def step(self, batch):
    if len(done) == 2:
        os.environ["FAKETIME"] = "-2d"
    done.append(batch)
    return commit(self, batch)

Committer.commit = step
"""


@pytest.fixture
def clock() -> dict[str, str]:
    """What makes a job's clock one that can be set."""
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.skip("they need libfaketime: apt-get install faketime")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME": "+0",
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def times(scene: Scene, column: str, table: str) -> list[str]:
    """Return a column of times in the order of the rows."""
    rows = scene.target.fetch(f"SELECT {column} FROM {{schema}}{table} ORDER BY pk")
    return [str(time) for (time,) in rows]


def test_between_two_jobs(scene: Scene, clock: dict[str, str]) -> None:
    scene.stopped(2).kill()

    report = scene.finish(env=clock | {"FAKETIME": "-2d"}, batch=100)

    created = times(scene, "created", "ingested_chunk")
    assert created[0] > created[-1]
    assert report["seconds"] > 0
    scene.check()


def test_in_the_middle_of_a_job(scene: Scene, clock: dict[str, str]) -> None:
    said = scene.start(env=clock, code=_STEP, batch=50).end(DONE)

    created = times(scene, "created", "ingested_chunk")
    assert created[1] > created[2]
    assert times(scene, "started", "ingest_run") > times(scene, "finished", "ingest_run")
    assert read_report(scene.report)["seconds"] > 0
    assert "rows/s" in said
    scene.check()
    assert scene.target.run("status", scene.manifest).stdout.startswith("2 in")
    assert scene.finish("--force")["totals"]["updated"] == 2 * ROWS
