"""Measuring two ways side by side, and telling what came of it."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

Seconds = float


@dataclass(frozen=True)
class Result:
    """What one comparison gave.

    Attributes
    ----------
    case : str
    ours, other : float
        In `unit`; None where the other side could not be run.
    ratio : float or None
        How many times the other side's time we take (`limit` begins with ``<=``), or how many
        times as fast we are (``>=``).
    limit : str
        Such as ``<= 1.10`` or ``>= 30``; empty where nothing is demanded.
    unit, note : str
    runs : dict of str to list of float
        Every single measurement.
    """

    case: str
    ours: float | None
    other: float | None
    ratio: float | None
    limit: str = ""
    unit: str = "s"
    note: str = ""
    runs: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Whether the limit holds: ``ok``, ``MISSED``, or nothing where there is none."""
        if not self.limit or self.ratio is None:
            return ""
        relation, bound = self.limit.split()
        holds = self.ratio <= float(bound) if relation == "<=" else self.ratio >= float(bound)
        return "ok" if holds else "MISSED"


def alternate(sides: Mapping[str, Callable[[], Seconds]], repeats: int) -> dict[str, list[Seconds]]:
    """Measure all sides in turn, several times, so that a busy machine is busy for each.

    Each side's function sets the stage by itself and returns the seconds that count.
    """
    runs: dict[str, list[Seconds]] = {name: [] for name in sides}
    for number in range(repeats):
        order = list(sides.items())
        for name, side in order if number % 2 == 0 else reversed(order):
            runs[name].append(side())
            say(f"    {name}: {runs[name][-1]:.2f}")
    return runs


def timed(work: Callable[[], object]) -> Seconds:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def slower(
    case: str, runs: Mapping[str, Sequence[Seconds]], limit: str = "", *, note: str = ""
) -> Result:
    """Return how many times the other's time `ours` takes: the best run of each side.

    What disturbs a run makes it longer, never shorter, so the best one is nearest to the truth.
    """
    ours, other = (min(values) for values in runs.values())
    return Result(case, ours, other, ours / other, limit, note=note, runs=runs)


def faster(
    case: str, runs: Mapping[str, Sequence[Seconds]], limit: str = "", *, note: str = ""
) -> Result:
    """Return how many times as fast as the other `ours` is: the best run of each side."""
    ours, other = (min(values) for values in runs.values())
    return Result(case, ours, other, other / ours, limit, note=note, runs=runs)


def faster_by_rate(
    case: str,
    runs: Mapping[str, Sequence[Seconds]],
    rows: tuple[int, int],
    limit: str = "",
    *,
    note: str = "",
) -> Result:
    """Return how many times as many rows a second `ours` writes, where the numbers differ."""
    ours, other = (count / min(values) for count, values in zip(rows, runs.values(), strict=True))
    return Result(case, ours, other, ours / other, limit, "rows/s", note, runs)


def missing(case: str, limit: str, why: str) -> Result:
    """Return that a comparison could not be run."""
    return Result(case, None, None, None, limit, note=f"not run: {why}")


def say(text: str) -> None:
    """Tell how far it is, beside the results."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def table(results: Sequence[Result]) -> str:
    """Return the results as a person reads them."""
    head = ("case", "ours", "other", "ratio", "limit", "")
    lines = [
        (
            result.case,
            _number(result.ours, result.unit),
            _number(result.other, result.unit),
            "" if result.ratio is None else f"{result.ratio:.2f}",
            result.limit,
            "  ".join(part for part in (result.verdict, result.note) if part),
        )
        for result in results
    ]
    widths = [max(len(line[n]) for line in (head, *lines)) for n in range(5)]
    rows = []
    for line in (head, *lines):
        cells = [line[0].ljust(widths[0]), *(line[n].rjust(widths[n]) for n in range(1, 5))]
        rows.append("  ".join([*cells, line[5]]).rstrip())
    return "\n".join(rows)


def _number(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"


def write_json(path: Path, results: Sequence[Result]) -> None:
    """Write all results, with the machine that they are from."""
    machine = {"processor": _processor(), "cores": os.cpu_count(), "system": platform.platform()}
    versions = {"python": platform.python_version()}
    content = {
        "machine": machine,
        "versions": versions,
        "results": [asdict(result) | {"verdict": result.verdict} for result in results],
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
