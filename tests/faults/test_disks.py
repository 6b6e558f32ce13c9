"""Disks that are full, read-only, or broken; files that change while they are read."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.databases import SqliteTarget
from tests.fixtures.faults import (
    PRODUCTS,
    ROWS,
    Scene,
    check_ledger,
    contents,
    contents_after,
    fill,
    held,
    mounted,
    rows_done,
    small_disk,
    undisturbed,
    write_products,
)
from tests.fixtures.jobs import AWAY, DONE, SOME_FAILED, WRONG_INPUT, WRONG_USE, read_report
from tests.fixtures.products import truncate

# -- the database's disk -----------------------------------------------------------------------


@pytest.mark.postgres
def test_the_servers_disk_is_full(scene_on_small_disk: tuple[Scene, Path]) -> None:
    scene, disk = scene_on_small_disk
    running = scene.stopped(2)
    ballast = fill(disk)
    running.go_on()
    said = running.end(AWAY)

    assert "the disk is full" in said
    assert "submit again" in said
    assert 0 < rows_done(scene.target) < 2 * ROWS
    ballast.unlink()
    scene.finish()
    scene.check()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def scene_on_small_disk(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Scene, Path]]:
    """A scene whose tables are on a disk that can be filled."""
    from tests.fixtures.databases import DATABASE, PostgresTarget
    from tests.fixtures.faults import scene_on

    if request.param == "sqlite":
        with small_disk(tmp_path / "disk", "16m") as disk:
            target = SqliteTarget(tmp_path)
            target.path = disk / "astra.db"
            target.env = target.owner_env = {"ASTRA_DATABASE_PATH": str(target.path)}
            for scene in scene_on(target, odd=False):
                yield scene, disk
        return
    server = request.getfixturevalue("postgres")
    with small_disk(server.folder / "disk", "24m") as disk:
        place = disk / "tables"
        place.mkdir()
        shutil.chown(place, "postgres", "postgres")
        server.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        on_disk = PostgresTarget(tmp_path, server)
        server.execute(
            f"GRANT CREATE ON TABLESPACE small TO {on_disk.user}",
            f"ALTER ROLE {on_disk.user} SET default_tablespace = small",
            dbname=DATABASE,
        )
        try:
            for scene in scene_on(on_disk, odd=False):
                yield scene, disk
        finally:
            on_disk.remove()
            server.execute("CHECKPOINT", "DROP TABLESPACE small")


def test_a_sqlite_file_that_becomes_read_only(tmp_path: Path) -> None:
    from tests.fixtures.faults import scene_on

    with small_disk(tmp_path / "disk", "16m") as disk:
        target = SqliteTarget(tmp_path)
        target.path = disk / "astra.db"
        target.env = target.owner_env = {"ASTRA_DATABASE_PATH": str(target.path)}
        for scene in scene_on(target, odd=False):
            scene.stopped(2).kill()
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            said = scene.start().end(WRONG_INPUT)
            assert "must be writable" in said
            subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            scene.finish()
            scene.check()


def test_a_sqlite_file_that_somebody_else_writes(tmp_path: Path) -> None:
    from tests.fixtures.faults import scene_on

    for scene in scene_on(SqliteTarget(tmp_path), odd=False):
        running = scene.stopped(2)
        with held(scene.target):
            before = rows_done(scene.target)
            running.go_on()
            with pytest.raises(subprocess.TimeoutExpired):
                running.process.wait(timeout=0.5)
            assert rows_done(scene.target) == before
        running.end(DONE)
        scene.check()


# -- the job's disks ---------------------------------------------------------------------------


def test_the_scratch_folder_is_full(scene: Scene) -> None:
    subprocess.run(["gzip", "--fast", *map(scene.path, PRODUCTS)], check=True)
    text = scene.manifest.read_text().replace(".fits", ".fits.gz")
    scene.manifest.write_text(text)
    with small_disk(scene.folder / "scratch", "256k") as scratch:
        said = scene.start(env={"SLURM_TMPDIR": str(scratch)}).end(SOME_FAILED)
        assert not list(scratch.iterdir())
    assert "set SLURM_TMPDIR or TMPDIR to a folder with more room" in said
    report = read_report(scene.report)
    assert len(report["failed_files"]) == 2
    assert report["totals"]["read"] == 0

    scene.finish()
    scene.check()


def test_the_reports_disk_is_full(odd_scene: Scene) -> None:
    scene = odd_scene
    with small_disk(scene.folder / "reports", "64k") as disk:
        scene.report = disk / "report.json"
        ballast = fill(disk)
        said = scene.start().end(WRONG_USE)
        assert f"cannot be written to {disk}" in said
        assert "--report" in said
        assert [path.name for path in disk.iterdir()] == ["ballast"]
        ballast.unlink()
        scene.report = scene.folder / "report.json"
        scene.finish()
        scene.check()


def test_the_reports_disk_fills_up_in_the_end(scene: Scene) -> None:
    with small_disk(scene.folder / "reports", "64k") as disk:
        scene.report = disk / "report.json"
        running = scene.stopped(1)
        ballast = fill(disk)
        running.go_on()
        said = running.end(WRONG_USE)
        assert f"cannot be written to {disk}" in said
        ballast.unlink()
        report = scene.finish()
    assert report["totals"]["read"] == 0
    assert [product["skipped"] for product in report["products"]] == [1, 1]
    scene.check()


class BreakableDisk:
    """A disk with a product on it, which returns I/O errors from some place on when it is broken.

    The disk is a file, which is cut short under the file system that is on it.
    """

    def __init__(self, folder: Path, product: Path) -> None:
        self.image = folder / "disk.img"
        self.mount = folder / "disk"
        self.path = self.mount / product.name
        self.content = product.read_bytes()
        subprocess.run(["truncate", "--size", "8M", self.image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", self.image], check=True)
        mounted(self.mount, "-o", "loop", str(self.image))
        shutil.copy2(product, self.path)
        self.remove()
        mounted(self.mount, "-o", "loop,ro", str(self.image))

    def break_at(self, share: float) -> None:
        """Make the rest of the product unreadable, and forget what of it is in memory."""
        start = int(len(self.content) * share) // 4096 * 4096
        place = self.image.read_bytes().find(self.content[start : start + 4096])
        assert place > 0
        os.truncate(self.image, place)
        with self.path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    def remove(self) -> None:
        subprocess.run(["umount", self.mount], check=True)


@pytest.fixture
def disk(scene: Scene) -> Iterator[BreakableDisk]:
    """A disk that has the scene's first product, where the manifest names it."""
    made = BreakableDisk(scene.folder, scene.path())
    text = scene.manifest.read_text().replace(str(scene.path()), str(made.path))
    scene.manifest.write_text(text)
    try:
        yield made
    finally:
        scene.close()
        made.remove()


def test_an_input_output_error_half_way(scene: Scene, disk: BreakableDisk) -> None:
    whole = scene.manifest.read_text()
    scene.manifest.write_text(whole + "defaults: {verify: false}\n")
    running = scene.stopped(2)
    disk.break_at(0.5)
    running.go_on()
    said = running.end(SOME_FAILED)

    report = read_report(scene.report)
    assert f"{disk.path} HDU 1" in said
    assert "Input/output error" in said
    assert list(report["failed_files"]) == [str(disk.path)]
    assert ROWS < report["totals"]["read"] < 2 * ROWS
    ((path, done),) = scene.target.fetch(
        "SELECT path, done FROM {schema}ingested_table WHERE status = 'failed'"
    )
    assert (path, done) == (str(disk.path), report["products"][0]["counts"]["read"])

    scene.manifest.write_text(whole.replace(str(disk.path), str(scene.path())))
    scene.finish()
    assert contents(scene.target) == undisturbed(odd=False)


@pytest.mark.parametrize("share", [0.4, 0.99])
def test_an_input_output_error_from_the_beginning(
    scene: Scene, disk: BreakableDisk, share: float
) -> None:
    # The rows, which are summed up before the first of them is stored, or the end of the file.
    disk.break_at(share)
    said = scene.start().end(SOME_FAILED, WRONG_INPUT)
    assert str(disk.path) in said
    assert "Input/output error" in said
    assert not scene.target.fetch(
        f"SELECT 1 FROM {{schema}}ingested_table WHERE done > 0 AND path = '{disk.path}'"
    )


# -- files that change -------------------------------------------------------------------------


def test_a_file_that_is_replaced_while_it_is_read(scene: Scene, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_products(other, seed=100)
    running = scene.stopped(2)
    for product in PRODUCTS:
        (other / f"{product}.fits").replace(scene.path(product))
    running.go_on()
    running.end(SOME_FAILED)

    report = read_report(scene.report)
    assert "changed while it was read" in report["failed_files"][str(scene.path())]

    scene.finish()
    assert contents(scene.target) == contents_after(scene.folder)
    check_ledger(scene.target)
    assert scene.target.run("status", scene.manifest).stdout.startswith("2 in")


def test_a_file_that_is_overwritten_while_it_is_read(scene: Scene, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_products(other, seed=100)
    running = scene.stopped(2)
    with scene.path().open("r+b") as out:  # the same file, of the same size
        out.write((other / f"{PRODUCTS[0]}.fits").read_bytes())
    running.go_on()
    running.end(SOME_FAILED)

    scene.finish()
    assert contents(scene.target) == contents_after(scene.folder)
    check_ledger(scene.target)


def test_a_file_that_is_cut_short_while_it_is_read(scene: Scene) -> None:
    whole = scene.path().read_bytes()
    running = scene.stopped(2)
    truncate(scene.path(), len(whole) // 4)
    running.go_on()
    said = running.end(SOME_FAILED)
    assert "cut short" in said
    assert "it was whole when the job began" in said
    assert scene.target.run("status", scene.manifest).stdout.startswith("1 in, 1 failed")

    scene.path().write_bytes(whole)
    scene.finish()
    scene.check()


def test_a_file_that_is_deleted_while_it_is_read(scene: Scene) -> None:
    running = scene.stopped(2)
    for product in PRODUCTS:
        scene.path(product).unlink()
    running.go_on()
    said = running.end(SOME_FAILED)
    assert "No such file or directory" in said
    report = read_report(scene.report)
    assert str(scene.path(PRODUCTS[1])) in report["failed_files"]
