"""A primary that is gone for good, and its standby that takes over, while a job is at work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures import server
from tests.fixtures.databases import DATABASE, PostgresTarget
from tests.fixtures.faults import (
    BATCH,
    Running,
    Scene,
    backends,
    rows_done,
    scene_on,
    server_of,
    set_role,
    stopping,
)
from tests.fixtures.jobs import DONE, read_report
from tests.fixtures.pooling import env_with
from tests.fixtures.server import PostgresServer

pytestmark = pytest.mark.postgres


@pytest.fixture
def primary() -> Iterator[PostgresServer]:
    """A server that a test may lose."""
    programs = server.find_programs()
    if programs is None:
        pytest.skip(server.MISSING)
    made = PostgresServer(programs)
    try:
        made.start()
        made.execute(f"CREATE DATABASE {DATABASE}")
        yield made
    finally:
        made.remove()


@pytest.fixture
def standby(primary: PostgresServer) -> Iterator[PostgresServer]:
    """Its standby, which has all that it has confirmed."""
    made = primary.make_standby()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def scene(tmp_path: Path, primary: PostgresServer, standby: PostgresServer) -> Iterator[Scene]:
    """A scene on the primary, as long as that is there."""
    del standby
    yield from scene_on(PostgresTarget(tmp_path, primary), odd=False)


def both(scene: Scene, standby: PostgresServer) -> dict[str, str]:
    """Make a job look for the one of the two servers that can be written to."""
    target = server_of(scene)
    return env_with(
        target,
        "both.yml",
        host=f"{target.server.host},{standby.host}",
        port=f"{target.server.port},{standby.port}",
        target_session_attrs="read-write",
    )


def fail_over(scene: Scene, standby: PostgresServer, running: Running) -> None:
    """Lose the primary, and promote the standby when the job has noticed."""
    target = server_of(scene)
    target.server.stop("immediate")
    running.go_on()
    running.wait_for("trying again in")
    standby.promote()
    target.server = standby


@pytest.mark.parametrize("where", ["record", "commit"])
def test_the_standby_takes_over(scene: Scene, standby: PostgresServer, where: str) -> None:
    running = scene.start(env=both(scene, standby), code=stopping(**{where: [3]}))
    running.wait_stopped()
    fail_over(scene, standby, running)
    running.end(DONE)

    assert read_report(scene.report)["totals"]["read"] == rows_done(scene.target)
    scene.check()


def test_the_standby_has_what_nobody_was_told_of(scene: Scene, standby: PostgresServer) -> None:
    # The standby writes down a commit and does not apply it, so the primary goes before the job
    # knows what became of it.
    target = server_of(scene)
    set_role(target, synchronous_commit="remote_apply")
    running = scene.start(env=both(scene, standby), code=stopping(record=[3]))
    running.wait_stopped()
    standby.execute("SELECT pg_wal_replay_pause()")
    running.go_on()
    (pid,) = backends(target)
    waits = f"SELECT wait_event = 'SyncRep' FROM pg_stat_activity WHERE pid = {pid}"
    running.wait_until(lambda: target.server.ask(waits), "wait for the standby")
    written = target.server.ask("SELECT pg_current_wal_flush_lsn()")
    there = f"SELECT pg_last_wal_receive_lsn() >= '{written}'"
    running.wait_until(lambda: standby.ask(there), "be written down")
    assert rows_done(target) == 2 * BATCH

    fail_over(scene, standby, running)
    running.end(DONE)

    assert read_report(scene.report)["totals"]["read"] == rows_done(target)
    scene.check()
