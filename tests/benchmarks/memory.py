"""The most memory that a job takes, for products of several sizes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from isal import igzip

from tests.benchmarks import places, wide
from tests.benchmarks.measure import Result, say
from tests.benchmarks.server_copy import make_tables

_LIMIT = 350.0
_MB = 1_000_000


def run(_repeats: int, scale: float, *, big: bool) -> list[Result]:
    """Measure the job on PostgreSQL, on a plain product, one eight times as large, and gzipped.

    Parameters
    ----------
    big : bool
        Whether the sizes are 0.5 GB and 4 GB; else a tenth of that.
    """
    small = (500 if big else 50) * _MB * scale
    peaks = {}
    with (
        places.postgres() as server,
        tempfile.TemporaryDirectory(prefix="astra-benchmark-") as name,
    ):
        folder = Path(name)
        for label, size, suffix, workers in (
            ("small, two workers", small, "", 2),
            ("large, two workers", 8 * small, "", 2),
            ("small", small, "", 1),
            ("large", 8 * small, "", 1),
            ("large, gzipped", 8 * small, ".gz", 1),
        ):
            peaks[label] = _peak(server, folder, int(size), suffix, workers)
            say(f"    {label}: {peaks[label]:.0f} MB")
    case = f"peak memory, {small / _MB:,.0f} MB and {8 * small / _MB:,.0f} MB"
    most = max(peaks.values())
    two = [peaks.pop(label) for label in list(peaks) if "two" in label]
    return [
        Result(f"{case}: the limit", most, _LIMIT, most / _LIMIT, "<= 1.00", "MB"),
        _spread(f"{case}, one worker: largest to smallest", list(peaks.values())),
        _spread(f"{case}, two workers: largest to smallest", two),
    ]


def _spread(case: str, peaks: Sequence[float]) -> Result:
    note = ", ".join(f"{peak:.0f}" for peak in peaks)
    most, least = max(peaks), min(peaks)
    return Result(case, most, least, most / least, "<= 1.10", "MB", note)


def _peak(server: object, folder: Path, size: int, suffix: str, workers: int) -> float:
    rows = size // wide.dtype().itemsize
    path = folder / f"wide.fits{suffix}"
    write_large(path, rows)
    entry = {"path": str(path), "result": "tests.benchmarks.wide:Wide"}
    manifest = places.write_manifest(folder, [entry])
    with places.schema(server, folder / "place") as place:  # type: ignore[arg-type]
        make_tables(place)
        options = ("--workers", f"{workers}")
        peak = places.run_job(place, manifest, *options, env={"TMPDIR": str(folder)}).peak
    path.unlink()
    return peak


def write_large(path: Path, rows: int) -> None:
    """Write a product of any size: one piece again and again, with other keys."""
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    wide.write(plain, rows, repeat=True)
    if path.suffix == ".gz":
        with plain.open("rb") as source, igzip.open(path, "wb", compresslevel=1) as packed:
            shutil.copyfileobj(source, packed, 1 << 20)
        plain.unlink()
