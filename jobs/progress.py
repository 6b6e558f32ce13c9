"""How far a job is: bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from astra.chunk import Written

log = logging.getLogger("astra")


class LineProgress:
    """Writes one line a chunk to the log."""

    def __init__(self) -> None:
        self.files = 0
        self.done = 0

    def begin(self, files: int, total_bytes: int) -> None:
        """Say how much there is."""
        self.files = files
        log.info("%d files, %.1f MB", files, total_bytes / 1e6)

    def chunk(self, path: Path, rows: int, written: Written, seconds: float) -> None:
        """Write the chunk's line."""
        log.info(
            "%s: %d rows in %.2f s (%d inserted, %d updated, %d rejected)",
            path.name, rows, seconds, written.inserted, written.updated, len(written.rejected),
        )  # fmt: skip

    def end_file(self, path: Path, size: int) -> None:
        """Count the file."""
        self.done += 1

    def end(self) -> None:
        """Nothing is left to be said: the summary follows."""


class BarProgress:
    """Draws a bar of bytes, with rows and time left."""

    def __init__(self, bars: Any) -> None:
        self.bars = bars
        self.task: Any = None
        self.rows = 0

    def begin(self, files: int, total_bytes: int) -> None:
        """Draw the bar."""
        self.task = self.bars.add_task("", total=total_bytes, rows=0, name="")

    def chunk(self, path: Path, rows: int, written: Written, seconds: float) -> None:
        """Count the rows."""
        self.rows += rows
        self.bars.update(self.task, rows=self.rows, name=path.name)

    def end_file(self, path: Path, size: int) -> None:
        """Move the bar."""
        self.bars.advance(self.task, size)

    def end(self) -> None:
        """Leave the bar as it is."""


@contextmanager
def progress_for(stream: TextIO) -> Iterator[LineProgress | BarProgress]:
    """Give bars if a stream is a terminal, lines if not."""
    if not stream.isatty():
        yield LineProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bars = Progress(
        TextColumn("{task.fields[name]}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
        console=Console(file=stream),
    )
    log.setLevel(logging.WARNING)
    with bars:
        yield BarProgress(bars)
