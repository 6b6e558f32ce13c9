"""Files that are so large that they are taken in parts, by one job, by workers, or by tasks."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.fixtures.faults import (
    BATCH,
    PRODUCTS,
    REJECTED,
    ROWS,
    Scene,
    backends,
    check_ledger,
    contents,
    contents_after,
    held,
    server_of,
    stopping,
    undisturbed,
    write_products,
)
from tests.fixtures.jobs import AWAY, DONE, SOME_FAILED, read_report
from tests.fixtures.products import read_with_astropy

#: Each of the products has eight parts then, of 25 rows.
SMALL_PARTS = """
import jobs.ingest, jobs.plan
jobs.ingest.PART_BYTES = jobs.plan.PART_BYTES = 50_000
"""


def entries_of(scene: Scene) -> list[tuple[int, int, int, int]]:
    """Return part, parts, rows of the part, and rows of the HDU, of the first product."""
    return scene.target.fetch(
        "SELECT part, parts, rows, hdu_rows FROM {schema}ingested_table "
        f"WHERE path = '{scene.path()}' ORDER BY part"
    )


def check_but_sources(scene: Scene) -> None:
    """Compare tables with an undisturbed run's.

    Which product comes first to a star, and so fills its row of sources, depends on how the
    products are shared.
    """
    found, expected = contents(scene.target), undisturbed(scene.odd)
    assert len(found.pop("Source")) == len(expected["Source"])
    assert found == {name: rows for name, rows in expected.items() if name != "Source"}
    check_ledger(scene.target)


def test_each_part_has_its_entry(odd_scene: Scene) -> None:
    report = odd_scene.finish("--workers", "1", code=SMALL_PARTS)

    odd_scene.check()
    entries = entries_of(odd_scene)
    assert [part for part, *_ in entries] == list(range(8))
    assert {tuple(rest) for _, *rest in entries} == {(8, ROWS // 8, ROWS)}
    assert [product["files"] for product in report["products"]] == [1, 1]
    shown = odd_scene.target.run("status", odd_scene.manifest).stdout
    assert f"slam: 1 file, {ROWS} of {ROWS} rows" in shown
    aside = read_with_astropy(Path(report["products"][0]["rejects"]))
    assert aside["ROW"].tolist() == list(REJECTED)


def test_tasks_share_one_file(odd_scene: Scene) -> None:
    reports = [odd_scene.folder / f"{number}.json" for number in range(3)]
    for number, report in enumerate(reports):
        odd_scene.start(
            *("--shard", f"{number}/3"), report=report, batch=100, code=SMALL_PARTS
        ).end(DONE, SOME_FAILED)

    check_but_sources(odd_scene)
    counts = [read_report(report)["totals"]["read"] for report in reports]
    assert sum(counts) == 2 * ROWS
    assert min(counts) >= ROWS // 2
    files = [read_report(report)["products"][0]["files"] for report in reports]
    assert sum(files) == 1


def test_stopped_in_a_part_and_finished_by_more_tasks(scene: Scene) -> None:
    running = scene.start("--workers", "1", code=SMALL_PARTS + stopping(commit=[7]))
    running.wait_stopped()
    running.kill()
    assert sum(1 for _ in entries_of(scene)) == 2  # five chunks of the first, two of the next
    shown = scene.target.run("status", scene.manifest).stdout
    assert f"half in: {scene.path()}: {7 * BATCH} of {ROWS} rows" in shown

    read = 0
    for number in range(2):
        report = scene.finish("--shard", f"{number}/2", code=SMALL_PARTS)
        read += report["totals"]["read"]

    assert read == 2 * ROWS - 7 * BATCH
    check_but_sources(scene)


def test_a_file_that_becomes_shorter_has_fewer_parts(scene: Scene, tmp_path: Path) -> None:
    scene.finish(code=SMALL_PARTS)
    other = tmp_path / "other"
    other.mkdir()
    write_products(other, seed=100, rows=ROWS // 2)
    for product in PRODUCTS:
        (other / f"{product}.fits").replace(scene.path(product))

    scene.finish(code=SMALL_PARTS)

    assert {parts for part, parts, *_ in entries_of(scene) if part < 4} == {4}
    shown = scene.target.run("status", "--json").stdout
    done = {file["path"]: (file["done"], file["rows"]) for file in json.loads(shown)["files"]}
    assert done == {str(scene.path(product)): (ROWS // 2, ROWS // 2) for product in PRODUCTS}
    assert set(contents_after(scene.folder)["Slam"]) <= set(contents(scene.target)["Slam"])


def test_too_many_rejects_over_all_tasks(odd_scene: Scene) -> None:
    # Two tasks have two bad rows each, and three are too many for a file.
    text = odd_scene.manifest.read_text()
    odd_scene.manifest.write_text(text + "defaults: {max_rejects: 3}\n")
    odd_scene.start("--shard", "0/2", code=SMALL_PARTS).end(SOME_FAILED)
    said = odd_scene.start("--shard", "1/2", code=SMALL_PARTS).end(SOME_FAILED)
    assert "more than 3 rows were set aside (max_rejects)" in said
    assert "1 failed" in odd_scene.target.run("status", odd_scene.manifest).stdout


@pytest.mark.postgres
class TestWorkers:
    @pytest.fixture
    def scene(self, postgres_scene: Scene) -> Scene:
        return postgres_scene

    @pytest.mark.parametrize(
        ("slurm", "workers"),
        [
            ({}, min(2, len(os.sched_getaffinity(0)))),
            ({"SLURM_JOB_ID": "7"}, 1),
            ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "8"}, 2),
        ],
    )
    def test_are_two_for_a_large_file(
        self, scene: Scene, slurm: dict[str, str], workers: int
    ) -> None:
        said = scene.start(code=SMALL_PARTS, env=slurm).end(DONE)
        scene.check() if workers == 1 else check_but_sources(scene)
        assert said.count(f"{16 // workers} parts of 2 files, ") == workers
        tasks = scene.target.fetch("SELECT shard_index, shard_count FROM {schema}ingest_run")
        assert tasks == [(0, 1)]
        assert not list(scene.folder.glob("*.worker-*"))

    def test_have_nothing_to_do_in_an_empty_share(self, scene: Scene) -> None:
        said = scene.start("--workers", "2", "--shard", "9/10").end(DONE)
        assert "0 files, 0 rows read" in said

    def test_end_when_their_parent_is_killed(self, scene: Scene) -> None:
        with held(scene.target, "slam"):
            running = scene.start("--workers", "2", code=SMALL_PARTS)
            running.wait_until(lambda: len(backends(server_of(scene), waiting=True)) == 2, "wait")
            running.process.kill()
        running.kill()  # which waits until nobody can say anything any more
        assert not backends(server_of(scene))
        scene.finish("--workers", "2", code=SMALL_PARTS)
        check_but_sources(scene)

    def test_stop_when_they_are_told_to(self, scene: Scene) -> None:
        running = scene.start("--workers", "2", code=SMALL_PARTS + stopping(commit=[4]))
        running.wait_until(lambda: _are_stopped(running.process.pid), "stop themselves")
        running.process.terminate()
        workers = _children(running.process.pid)
        running.wait_until(lambda: all(map(_is_told_to_stop, workers)), "tell its workers")
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        running.end(AWAY)
        scene.finish("--workers", "3", code=SMALL_PARTS)
        check_but_sources(scene)


def _children(pid: int) -> list[int]:
    return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _are_stopped(pid: int) -> bool:
    states = [_status(child)["State"][0] for child in _children(pid)]
    return states == ["T", "T"]


def _is_told_to_stop(pid: int) -> bool:
    return bool(int(_status(pid)["ShdPnd"], 16) >> (signal.SIGTERM - 1) & 1)


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}
