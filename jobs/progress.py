"""How far a job is: bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from astra.chunk import Written
from jobs.plan import Unit, Units
from jobs.text import count, duration, size

log = logging.getLogger("astra")

#: In a log, a line every so many seconds.
EVERY = 10.0
#: Files up to which the end of each has its line.
_FEW_FILES = 20


@dataclass
class _Pace:
    """What has been done, how fast, and what is left.

    Attributes
    ----------
    files, total_bytes, total_rows : int
        How much there is; rows are 0 where nobody has counted them.
    done, bytes, rows : int
        How much of it is done.
    began : float
        On a clock of seconds.
    """

    files: int = 0
    total_bytes: int = 0
    total_rows: int = 0
    done: int = 0
    bytes: int = 0
    rows: int = 0
    began: float = 0.0
    clock: Callable[[], float] = field(default=time.monotonic)
    _parts: Counter[Path] = field(default_factory=Counter)

    def begin(self, units: Units, total_rows: int) -> None:
        """Begin with units to be read."""
        self.files = len(units.one_of_each_file())
        self.total_bytes = units.bytes
        self.total_rows = total_rows
        self.began = self.clock()
        self._parts = Counter(unit.path for unit in units if unit.parts > 1)

    def end_unit(self, unit: Unit) -> None:
        """Count a unit, and its file if no other part of it is left."""
        self.bytes += unit.size
        if unit.parts > 1:
            self._parts[unit.path] -= 1
        self.done += not self._parts[unit.path]

    @property
    def share(self) -> float:
        """Which part is done: by rows if they are known, by bytes of whole files if not."""
        if self.total_rows:
            return min(self.rows / self.total_rows, 1.0)
        return self.bytes / self.total_bytes if self.total_bytes else 0.0

    @property
    def rate(self) -> float:
        """Rows a second, since the beginning."""
        return self.rows / max(self.clock() - self.began, 1e-3)

    @property
    def left(self) -> str:
        """How long it will take still, in words; empty while nobody knows."""
        if not 0 < self.share < 1:
            return ""
        return f"{duration((self.clock() - self.began) * (1 / self.share - 1))} left"

    def rows_text(self) -> str:
        """Return the rows that are done, and of how many if that is known."""
        if self.total_rows:
            return f"{self.rows:,} of {count(self.total_rows, 'row')}"
        return count(self.rows, "row")


class LineProgress:
    """Writes lines to the log: one every ten seconds, and the end of each of a few files."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._pace = _Pace(clock=clock)
        self._last = 0.0
        self._told = 0

    def begin(self, units: Units, total_rows: int = 0) -> None:
        """Say how much there is."""
        self._pace.begin(units, total_rows)
        self._last = self._pace.began
        rows = f", {count(total_rows, 'row')}" if total_rows else ""
        log.info("%s, %s%s", units, size(self._pace.total_bytes), rows)

    def chunk(self, path: Path, rows: int, written: Written, seconds: float) -> None:
        """Count the rows, and tell if it is time to."""
        self._pace.rows += rows
        log.debug(
            "%s: %s in %s (%s inserted, %s updated, %s rejected)",
            path.name,
            count(rows, "row"),
            duration(seconds),
            f"{written.inserted:,}",
            f"{written.updated:,}",
            f"{len(written.rejected):,}",
        )
        if self._pace.clock() - self._last >= EVERY:
            self._tell(path.name)

    def end_unit(self, unit: Unit) -> None:
        """Count the file, or the part of it."""
        self._pace.end_unit(unit)
        if self._pace.files <= _FEW_FILES:
            self._tell(unit.path.name)

    def end(self) -> None:
        """Tell what has not been told."""
        if self._pace.rows > self._told:
            self._tell("")

    def _tell(self, name: str) -> None:
        pace = self._pace
        self._last, self._told = pace.clock(), pace.rows
        log.info(
            "%s%s of %s, %s, %s rows/s%s",
            f"{name}: " if name else "",
            f"{pace.done:,}",
            count(pace.files, "file"),
            pace.rows_text(),
            f"{pace.rate:,.0f}",
            f", {pace.left}" if pace.left else "",
        )


class BarProgress:
    """Draws two bars: files, and rows with rate and time left."""

    def __init__(self, bars: Any) -> None:
        self.bars = bars
        self._pace = _Pace()
        self._files: Any = None
        self._rows: Any = None

    def begin(self, units: Units, total_rows: int = 0) -> None:
        """Draw the bars."""
        self._pace.begin(units, total_rows)
        self._files = self.bars.add_task("files", total=self._pace.files, text="")
        # Without a count of rows, the bar moves with the bytes of whole files.
        self._rows = self.bars.add_task("rows", total=1.0, text="")
        self._draw("")

    def chunk(self, path: Path, rows: int, *_: object) -> None:
        """Move the bar of rows."""
        self._pace.rows += rows
        self._draw(path.name)

    def end_unit(self, unit: Unit) -> None:
        """Move the bar of files."""
        self._pace.end_unit(unit)
        self._draw(unit.path.name)

    def end(self) -> None:
        """Leave the bars as they are."""

    def _draw(self, name: str) -> None:
        pace = self._pace
        text = f"{pace.done:,} of {pace.files:,}" + (f"  {name}" if name else "")
        self.bars.update(self._files, completed=pace.done, text=text)
        parts = [pace.rows_text(), f"{pace.rate:,.0f} rows/s", pace.left]
        self.bars.update(self._rows, completed=pace.share, text="  ".join(filter(None, parts)))


def wants_bars(stream: TextIO, verbosity: int = 0) -> bool:
    """Tell whether bars are wanted: on a terminal that can move its cursor, unless told not to."""
    return verbosity >= 0 and stream.isatty() and os.environ.get("TERM") != "dumb"


@contextmanager
def progress_for(stream: TextIO, verbosity: int = 0) -> Iterator[LineProgress | BarProgress]:
    """Give bars if a stream is a terminal, lines if not; see `jobs.logs` for the latter."""
    if not wants_bars(stream, verbosity):
        yield LineProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bars = Progress(
        TextColumn("{task.description:>5}"),
        BarColumn(),
        TextColumn("{task.fields[text]}"),
        console=Console(file=stream),
    )
    with bars:
        yield BarProgress(bars)
