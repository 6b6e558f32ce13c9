"""PgBouncer in transaction mode between the jobs and the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fixtures.faults import Scene, backends, server_of, stopping, terminate
from tests.fixtures.jobs import DONE, read_report
from tests.fixtures.pooling import PgBouncer

pytestmark = pytest.mark.postgres


@pytest.fixture
def pooler(postgres_scene: Scene) -> Iterator[PgBouncer]:
    """A pooler of the scene's server."""
    made = PgBouncer(server_of(postgres_scene))
    try:
        yield made
    finally:
        made.stop()


def test_more_jobs_than_connections(postgres_scene: Scene, pooler: PgBouncer) -> None:
    reports = [postgres_scene.folder / f"{number}.json" for number in range(4)]
    running = [postgres_scene.start(report=each, env=pooler.env) for each in reports]
    for each in running:
        each.end(DONE)
    assert sum(read_report(report)["totals"]["read"] for report in reports) == 400
    postgres_scene.check()


def test_connections_behind_the_pooler_are_cut(postgres_scene: Scene, pooler: PgBouncer) -> None:
    code = stopping(commit=range(2, 5), record=range(10, 13))
    running = postgres_scene.start(env=pooler.env, code=code)
    for _ in range(6):
        running.wait_stopped()
        terminate(server_of(postgres_scene))
        running.go_on()
    running.end(DONE)
    postgres_scene.check()


def test_the_pooler_restarts(postgres_scene: Scene, pooler: PgBouncer) -> None:
    running = postgres_scene.stopped(2, env=pooler.env)
    pooler.stop()
    running.go_on()
    running.wait_for("trying again")
    pooler.start()
    running.end(DONE)
    postgres_scene.check()


def test_the_server_behind_the_pooler_restarts(postgres_scene: Scene, pooler: PgBouncer) -> None:
    running = postgres_scene.stopped(2, env=pooler.env)
    server_of(postgres_scene).server.restart("immediate")
    running.go_on()
    running.end(DONE)
    postgres_scene.check()
    assert len(backends(server_of(postgres_scene))) <= 3
