"""A server that restarts, crashes, is away, or refuses, while a job is at work."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extras import wait_select

from tests.fixtures.databases import DATABASE
from tests.fixtures.faults import (
    BATCH,
    Scene,
    backends,
    held,
    is_waiting,
    rows_done,
    server_of,
    set_role,
    stopping,
    terminate,
    wait_until_blocked,
)
from tests.fixtures.jobs import AWAY, DONE, SOME_FAILED, WRONG_INPUT, read_report

pytestmark = pytest.mark.postgres

#: The job with little patience, as nobody wants to wait for two minutes.
_IMPATIENT = """
import astra.transaction as transaction
transaction.retry.__kwdefaults__["patience"] = transaction.run.__kwdefaults__["patience"] = 1.0
"""


@pytest.fixture
def scene(postgres_scene: Scene) -> Scene:
    """A scene on PostgreSQL alone."""
    return postgres_scene


@pytest.mark.parametrize(("mode", "where"), [("fast", "commit"), ("immediate", "record")])
def test_the_server_restarts(scene: Scene, mode: str, where: str) -> None:
    running = scene.start(code=stopping(**{where: [3]}))
    running.wait_stopped()
    server_of(scene).server.restart(mode)
    running.go_on()

    said = running.end(DONE)

    assert "trying again" in said
    scene.check()


def test_the_server_is_away_for_a_while(scene: Scene) -> None:
    server = server_of(scene).server
    running = scene.stopped(3)
    server.stop("immediate")
    try:
        running.go_on()
        running.wait_for("trying again in")
    finally:
        server.start()
    running.end(DONE)
    scene.check()


def test_the_server_stays_away(scene: Scene) -> None:
    server = server_of(scene).server
    running = scene.stopped(3, code=_IMPATIENT)
    server.stop("fast")
    try:
        running.go_on()
        said = running.end(AWAY)
    finally:
        server.start()
    report = read_report(scene.report)

    assert "is away or busy" in said
    assert "submit again" in said
    assert report["status"] == "failed"
    assert 3 * BATCH == report["totals"]["read"] == rows_done(scene.target)
    scene.finish()
    scene.check()


def test_connections_are_cut_over_and_over(scene: Scene) -> None:
    running = scene.start(code=stopping(commit=range(1, 6), record=range(10, 15)))
    for _ in range(10):
        running.wait_stopped()
        assert terminate(server_of(scene)) == 1
        running.go_on()
    said = running.end(DONE)

    assert said.count("trying again") >= 10
    scene.check()


@pytest.mark.parametrize("table", ["source", "slam", "ingested_chunk"])
def test_a_connection_is_cut_inside_a_statement(scene: Scene, table: str) -> None:
    running = scene.stopped(1)
    with held(scene.target, table):
        running.go_on()
        wait_until_blocked(scene.target, running)
        assert terminate(server_of(scene)) == 1
        running.wait_for("trying again")
    running.end(DONE)
    scene.check()


def test_a_connection_is_cut_while_rows_are_sent(scene: Scene) -> None:
    sending = """
from astra.backends.postgres import _Stream
stop_after(_Stream, "read", [2, 20, 40])
"""
    running = scene.start(code=stopping() + sending)
    for _ in range(3):
        running.wait_stopped()
        assert terminate(server_of(scene)) == 1
        running.go_on()
    said = running.end(DONE)

    assert said.count("trying again") >= 3
    # What the driver cannot tell in any other way, it prints.
    assert "Error" not in said
    scene.check()


def test_a_statement_is_canceled(scene: Scene) -> None:
    running = scene.stopped(1)
    with held(scene.target, "slam"):
        running.go_on()
        wait_until_blocked(scene.target, running)
        (pid,) = backends(server_of(scene))
        server_of(scene).server.execute(f"SELECT pg_cancel_backend({pid})")
        running.wait_for("trying again")
    running.end(DONE)
    scene.check()


def test_a_deadlock(scene: Scene) -> None:
    target = server_of(scene)
    # Stopped when it has locked its entry of the ledger, and before it wants the table.
    running = scene.start(code=stopping(claim=[2]))
    running.wait_stopped()
    other = psycopg2.connect(target.server.dsn(DATABASE), async_=True)
    wait_select(other)
    with closing(other), other.cursor() as cursor:
        # The other one has the table, and waits for the entry until the job gives in: the server
        # looks once for a circle, when the one that waits longer closes it.
        cursor.execute(
            f"BEGIN; SET LOCAL deadlock_timeout = '1h'; "
            f"LOCK TABLE {target.prefix}slam IN EXCLUSIVE MODE; "
            f"SELECT 1 FROM {target.prefix}ingested_table FOR UPDATE"
        )
        pid = other.info.backend_pid
        running.wait_until(lambda: is_waiting(target, pid), "be waited for")
        running.go_on()
        running.wait_for("deadlock detected")
    running.end(DONE)
    scene.check()


def test_two_jobs_update_the_same_rows_in_other_orders(scene: Scene, tmp_path: Path) -> None:
    scene.finish()
    manifests = [tmp_path / f"{number}.yml" for number in range(2)]
    text = scene.manifest.read_text().replace(
        "- path", "- sources: update\n  spectra: update\n  path"
    )
    head, *products = text.partition("- sources")[0], *text.split("- sources")[1:]
    for manifest, order in zip(manifests, (products, products[::-1]), strict=True):
        manifest.write_text(head + "".join(f"- sources{each}" for each in order))

    running = [
        scene.start("--force", manifest=path, report=path.with_suffix(".json"), batch=25)
        for path in manifests
    ]
    for each in running:
        each.end(DONE, SOME_FAILED)  # if the other one has begun a file again meanwhile

    scene.finish()
    scene.check()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_stricter_isolation_than_is_usual(scene: Scene, level: str) -> None:
    set_role(server_of(scene), default_transaction_isolation=level)
    reports = [scene.folder / f"{number}.json" for number in range(3)]
    with held(scene.target):
        running = [scene.start(report=report) for report in reports]
        wait_until_blocked(scene.target, *running)
    for each in running:
        each.end(DONE)

    assert sum(read_report(report)["totals"]["read"] for report in reports) == 400
    scene.check()


def test_a_lock_timeout(scene: Scene) -> None:
    set_role(server_of(scene), lock_timeout="50ms")
    running = scene.stopped(1)
    with held(scene.target, "slam"):
        running.go_on()
        running.wait_for("lock timeout; trying again in")
    running.end(DONE)
    scene.check()


def test_a_statement_timeout(scene: Scene) -> None:
    # So long that on a busy machine nothing else takes longer.
    set_role(server_of(scene), statement_timeout="2s")
    running = scene.stopped(1)
    with held(scene.target, "slam"):
        running.go_on()
        running.wait_for("statement timeout; trying again")
    running.end(DONE)
    scene.check()


def test_a_transaction_that_idles_too_long(scene: Scene) -> None:
    # So long that on a busy machine only the one that is stopped idles longer.
    set_role(server_of(scene), idle_in_transaction_session_timeout="2s")
    running = scene.start(code=stopping(record=[2]))
    running.wait_stopped()
    running.wait_until(lambda: not backends(server_of(scene)), "cut by the server")
    running.go_on()
    said = running.end(DONE)

    assert "trying again" in said
    scene.check()


def test_too_many_connections(scene: Scene) -> None:
    target = server_of(scene)
    running = scene.stopped(2)
    limit = f"ALTER ROLE {target.job_user} CONNECTION LIMIT"
    target.server.execute(f"{limit} 0")
    terminate(target)
    running.go_on()
    running.wait_for("too many connections")
    target.server.execute(f"{limit} -1")
    running.end(DONE)
    scene.check()


def test_too_many_connections_from_the_beginning(scene: Scene) -> None:
    target = server_of(scene)
    target.server.execute(f"ALTER ROLE {target.job_user} CONNECTION LIMIT 0")
    said = scene.start().end(AWAY)
    assert "too many connections" in said
    assert rows_done(target) == 0


def test_a_read_only_database_from_the_beginning(scene: Scene) -> None:
    set_role(server_of(scene), default_transaction_read_only="on")
    said = scene.start().end(WRONG_INPUT)
    assert "read-only" in said
    assert rows_done(scene.target) == 0


def test_a_database_that_becomes_read_only(scene: Scene) -> None:
    running = scene.stopped(2)
    set_role(server_of(scene), default_transaction_read_only="on")
    terminate(server_of(scene))
    running.go_on()
    running.wait_for("read-only transaction; trying again")
    set_role(server_of(scene), default_transaction_read_only="off")
    running.end(DONE)
    scene.check()


def test_no_secret_is_shown(scene: Scene) -> None:
    target = server_of(scene)
    running = scene.stopped(1)
    command = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
    target.server.execute(f"ALTER ROLE {target.job_user} PASSWORD 'another'")
    terminate(target)
    running.go_on()
    said = running.end()
    target.server.execute(
        f"ALTER ROLE {target.job_user} PASSWORD $secret${target.password}$secret$"
    )
    scene.finish()
    scene.check()
    ledger = [
        str(target.fetch(f"SELECT t::text FROM {{schema}}{table} t"))
        for table in ("ingest_run", "ingested_table", "ingested_chunk")
    ]
    for text in (said, command.decode(), scene.report.read_text(), *ledger):
        for secret in (target.password, target.password.replace("\\", "\\\\"), ": secret"):
            assert secret not in text
    assert target.job_user not in command.decode()
