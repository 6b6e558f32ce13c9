"""A job that is killed, or told to stop, at any moment."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.fixtures.databases import PostgresTarget
from tests.fixtures.faults import (
    BATCH,
    PRODUCTS,
    REJECTED,
    ROWS,
    Scene,
    held,
    rows_done,
    stopping,
    terminate,
    wait_until_blocked,
    wait_until_gone,
)
from tests.fixtures.jobs import AWAY, DONE, SOME_FAILED, read_report
from tests.fixtures.products import read_with_astropy

#: How often a job is killed; more often for a long round.
KILLS = int(os.environ.get("ASTRA_TEST_KILLS", "8"))


def test_killed_over_and_over(odd_scene: Scene) -> None:
    # Half of the kills come right after a chunk, half at a moment that nothing chooses.
    moments = random.Random(5)
    progress = []
    for number in range(KILLS):
        # One that is started has a chunk to do at least.
        running = odd_scene.start(batch=2, code=stopping(commit=[1]) if number % 2 else "")
        if number % 2:
            running.wait_stopped()
            running.go_on()
        running.run_for(moments.uniform(0, 0.05 if number % 2 else 1.2))
        running.kill()
        wait_until_gone(odd_scene.target)
        progress.append(rows_done(odd_scene.target))
        if progress[-1] == 2 * ROWS:
            break

    report = odd_scene.finish(batch=2)

    assert progress == sorted(progress)
    assert len(set(progress)) >= min(3, KILLS // 2) or progress[-1] == 2 * ROWS, progress
    assert report["totals"]["read"] == 2 * ROWS - progress[-1]
    odd_scene.check()
    aside = read_with_astropy(Path(report["products"][0]["rejects"] or _rejects(odd_scene)))
    assert aside["ROW"].tolist() == [3, 77, 78, 150]


def _rejects(scene: Scene) -> Path:
    (path,) = scene.folder.glob("*.rejects-0-*.fits")
    return path


@pytest.mark.parametrize("table", ["ingested_table", "spectrum", "slam"])
def test_killed_inside_a_chunk(odd_scene: Scene, table: str) -> None:
    # While it waits for the table's lock, all that it wrote before lies in an open transaction.
    if odd_scene.target.kind == "sqlite" and table != "ingested_table":
        return  # which has one lock for all tables
    running = odd_scene.stopped(2)
    with held(odd_scene.target, table):
        running.go_on()
        wait_until_blocked(odd_scene.target, running)
        running.kill()
    before = rows_done(odd_scene.target)

    report = odd_scene.finish()

    assert before == 2 * BATCH
    assert report["totals"]["read"] == 2 * ROWS - before
    odd_scene.check()


@pytest.mark.parametrize("inside", ["claim", "record"])
def test_killed_before_and_after_the_rows_of_a_chunk(odd_scene: Scene, inside: str) -> None:
    running = odd_scene.start(code=stopping(**{inside: [5]}))
    running.wait_stopped()
    running.kill()
    before = rows_done(odd_scene.target)

    report = odd_scene.finish()

    assert before == 4 * BATCH
    assert report["totals"]["read"] == 2 * ROWS - before
    odd_scene.check()


def test_rows_that_were_set_aside_before_are_told_of(odd_scene: Scene) -> None:
    chunks = REJECTED[-1] // BATCH + 1
    odd_scene.stopped(chunks).kill()

    told = f"{len(REJECTED)} rows rejected by earlier jobs"
    assert told in odd_scene.start().end(SOME_FAILED)
    report = read_report(odd_scene.report)

    assert report["totals"]["rejected"] == 0
    assert report["status"] == "rejects"
    product = report["products"][0]
    assert product["set_aside"] == len(REJECTED)
    assert Path(product["rejects"]) == _rejects(odd_scene)
    odd_scene.check()
    # Nothing is left to do, and nothing more has failed.
    assert told in odd_scene.start().end(DONE)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_told_to_stop(scene: Scene, number: signal.Signals) -> None:
    running = scene.stopped(2)
    running.signal(number)
    running.go_on()
    said = running.end(AWAY)

    stopped = read_report(scene.report)
    done = rows_done(scene.target)
    assert f"{number.name}: stopping after this chunk" in said
    assert stopped["status"] == "stopped"
    assert 2 * BATCH <= stopped["totals"]["read"] == done < 2 * ROWS
    assert scene.target.fetch("SELECT status FROM {schema}ingest_run") == [("stopped",)]

    again = scene.finish()

    assert again["status"] == "done"
    assert again["totals"]["read"] == 2 * ROWS - done
    scene.check()


def test_told_to_stop_while_it_waits_for_a_lock(scene: Scene) -> None:
    running = scene.stopped(1)
    with held(scene.target):
        running.go_on()
        wait_until_blocked(scene.target, running)
        # Neither driver looks up from its waiting: it is noticed when the lock is free.
        running.signal(signal.SIGTERM)
    running.end(AWAY)
    scene.finish()
    scene.check()


def test_a_task_that_is_requeued_has_one_line_in_the_ledger(scene: Scene) -> None:
    slurm = {"SLURM_ARRAY_JOB_ID": "77", "SLURM_JOB_ID": "78"}
    scene.stopped(1, env=slurm).kill()

    report = scene.finish(env=slurm)

    assert report["run"] == "slurm-77"
    runs = scene.target.fetch("SELECT run, job, status, finished IS NULL FROM {schema}ingest_run")
    assert [tuple(run)[:3] for run in runs] == [("slurm-77", "78", "done")]
    scene.check()


def test_two_jobs_at_once_do_each_row_once(odd_scene: Scene) -> None:
    reports = [odd_scene.folder / f"{number}.json" for number in range(4)]
    with held(odd_scene.target):  # until all of them want to begin
        running = [odd_scene.start(report=report) for report in reports]
        for each in running:
            each.wait_for("has no columns for")
        wait_until_blocked(odd_scene.target, *running)
    for each in running:
        each.end(0, SOME_FAILED)

    counts = [read_report(report)["totals"] for report in reports]

    assert sum(count["read"] for count in counts) == 2 * ROWS
    assert sum(count["inserted"] for count in counts) == 2 * ROWS - 4 - 1
    odd_scene.check()
    report = odd_scene.start(report=reports[0])
    report.end(0)
    assert read_report(reports[0])["totals"]["read"] == 0


def test_killed_and_overtaken_by_another_job(scene: Scene) -> None:
    if isinstance(scene.target, PostgresTarget):
        first = scene.start(code=stopping(record=[4]))  # a node that hangs
        first.wait_stopped()
        terminate(scene.target)  # as the server does when it notices
    else:
        # What is locked in a file stays so until the process ends.
        first = scene.stopped(3)
    second = scene.folder / "second.json"
    scene.start(report=second).end(0)
    first.go_on()
    first.end(0)

    read = [read_report(path)["totals"]["read"] for path in (scene.report, second)]
    assert sum(read) == 2 * ROWS
    scene.check()


def test_a_status_in_the_middle(scene: Scene) -> None:
    scene.stopped(2).kill()

    shown = scene.target.run("status", scene.manifest)

    assert shown.returncode == 0, shown.stderr
    assert f"half in: {scene.path(PRODUCTS[0])}" in shown.stdout
    assert f"not begun: {scene.path(PRODUCTS[1])}" in shown.stdout
    scene.finish()
    assert scene.target.run("status", scene.manifest).stdout.startswith("2 in")
