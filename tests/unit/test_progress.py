"""What a job says on the way: not too much in a log, and bars on a terminal."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from astra.chunk import Written
from jobs.files import Files
from jobs.plan import plan
from jobs.progress import LineProgress
from jobs.samples import write_samples
from tests.fixtures.databases import SqliteTarget
from tests.fixtures.jobs import DONE, WRONG_USE, says

ROWS = 10_000


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="astra")
    return caplog


def test_a_long_job_says_where_it_is_every_ten_seconds(log: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    progress = LineProgress(clock)
    units = plan(Files([(0, "a.fits", 5_000_000)]))
    progress.begin(units, 100 * ROWS)
    for _ in range(100):
        clock.now += 0.5
        progress.chunk(Path("a.fits"), ROWS, Written(inserted=ROWS), 0.5)
    progress.end_unit(units[0])
    progress.end()

    told = lines_of(log)
    assert told[0] == "1 file, 5.0 MB, 1,000,000 rows"
    assert told[1] == ("a.fits: 0 of 1 file, 200,000 of 1,000,000 rows, 20,000 rows/s, 40.0 s left")
    assert told[-1] == "a.fits: 1 of 1 file, 1,000,000 of 1,000,000 rows, 20,000 rows/s"
    assert len(told) == 7


def test_a_hundred_thousand_files_have_no_line_each(log: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    progress = LineProgress(clock)
    units = plan(Files((0, f"{number}.fits", 10**4) for number in range(100_000)))
    progress.begin(units)
    for number, unit in enumerate(units):
        progress.end_unit(unit)
        if number % ROWS == ROWS - 1:
            clock.now += 4
            progress.chunk(Path("a.fits"), ROWS, Written(inserted=ROWS), 1.0)
    progress.end()

    told = lines_of(log)
    assert len(told) == 5
    assert told[1] == "a.fits: 30,000 of 100,000 files, 30,000 rows, 2,500 rows/s, 28.0 s left"
    assert told[-1] == "100,000 of 100,000 files, 100,000 rows, 2,500 rows/s"


@pytest.fixture
def place(tmp_path: Path) -> SqliteTarget:
    write_samples(tmp_path, ["astraAllStarSlam"], rows=20)
    return SqliteTarget(tmp_path)


def test_verbose_quiet_and_a_log_file(place: SqliteTarget) -> None:
    says(place.ingest("manifest.yml", "-v", "--log-file", "job.log"), DONE, "20 rows in ")
    quiet = place.ingest("manifest.yml", "-q", "--log-file", "job.log")
    nowhere = place.ingest("manifest.yml", "--log-file", "no/job.log")

    says(quiet, DONE)
    assert quiet.stderr == ""
    assert "rows/s" in quiet.stdout
    written = (place.folder / "job.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \S+ - (INFO|DEBUG) - ", line) for line in written)
    assert sum("manifest.yml: 1 file" in line for line in written) == 2
    says(nowhere, WRONG_USE, "the log cannot be written to no/job.log", "--log-file")


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_bars(place: SqliteTarget, no_color: str) -> None:
    shown = on_a_terminal(place, "ingest", "manifest.yml", NO_COLOR=no_color)

    assert "━" in shown
    assert "1 of 1" in shown
    assert "INFO" not in shown
    assert ("\x1b[38;5;" in shown or "\x1b[1;3" in shown) == (not no_color)


def test_a_terminal_without_a_cursor_gets_lines(place: SqliteTarget) -> None:
    shown = on_a_terminal(place, "ingest", "manifest.yml", TERM="dumb")

    assert "━" not in shown
    assert "\x1b" not in shown
    assert "1 of 1 file, 20" in shown


def on_a_terminal(place: SqliteTarget, *args: str, **env: str) -> str:
    """Run a command on a terminal of its own, and return all that it wrote there."""
    ours, theirs = pty.openpty()
    environment = place._environment({"TERM": "xterm-256color", **env})
    with subprocess.Popen(
        [sys.executable, "-m", "jobs", *args], cwd=place.folder, env=environment,
        stdin=theirs, stdout=theirs, stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        written = b""
        while True:
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:  # how Linux says that the other end was closed
                break
            if not piece:
                break
            written += piece
    os.close(ours)
    assert process.returncode == 0, written.decode()
    return written.decode()
