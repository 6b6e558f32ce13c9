"""Whether the time grows with the rows and files, and no faster."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import places, wide
from tests.benchmarks.measure import Result, Seconds, alternate, say, slower
from tests.benchmarks.server_copy import make_tables
from tests.fixtures.databases import PostgresTarget
from tests.fixtures.processes import clean_environment

_ROWS = 50_000
_THERE = 5_000_000
_FILES = 200_000
_FOLDERS = 8
_SLOPE = "<= 1.15"

_PLAN = """
import json, sys, time
from pathlib import Path
from jobs.manifest import load_manifest, resolve_all
from jobs.plan import deal, plan
start = time.perf_counter()
path = Path(sys.argv[1])
units = deal(plan(resolve_all(load_manifest(path), path)), 8)[3]
seconds = time.perf_counter() - start
(line,) = (l for l in open("/proc/self/status") if l.startswith("VmHWM"))
print(json.dumps([seconds, int(line.split()[1]) / 1024]))
"""


def run(repeats: int, scale: float) -> list[Result]:
    """Measure the plan of many files, jobs of three sizes, and a job into a full table."""
    with tempfile.TemporaryDirectory(prefix="astra-benchmark-") as name:
        results = _plans(Path(name), max(1_000, int(_FILES * scale)))
    with places.postgres() as server:
        with tempfile.TemporaryDirectory(prefix="astra-benchmark-") as name:
            results.append(_sizes(server, Path(name), int(_ROWS * scale), repeats))
        with tempfile.TemporaryDirectory(prefix="astra-benchmark-") as name:
            folder = Path(name)
            results.append(_full(server, folder, int(_ROWS * scale), int(_THERE * scale), repeats))
    return results


def _plans(folder: Path, most: int) -> list[Result]:
    """Plan a quarter of the files, a half, and all."""
    places_of = [folder / f"{part}" for part in range(_FOLDERS)]
    for part in places_of:
        part.mkdir()
        for number in range(most // _FOLDERS):
            (part / f"star-{number}.fits").touch()
    counts, seconds, peaks = [], [], []
    for parts in (_FOLDERS // 4, _FOLDERS // 2, _FOLDERS):
        manifest = places.write_manifest(
            folder, [{"path": str(part / "*.fits")} for part in places_of[:parts]]
        )
        environment = clean_environment(folder / "home", ASTRA_DATABASE_PATH="unused.db")
        command = [sys.executable, "-c", _PLAN, str(manifest)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True)
        second, peak = json.loads(done.stdout)
        counts.append(parts * (most // _FOLDERS))
        seconds.append(second)
        peaks.append(peak)
        say(f"    plan {counts[-1]}: {second:.2f} s, {peak:.0f} MB")
    case = f"plan a manifest of {counts[-1]:,} files"
    most_memory = (peaks[-1], peaks[0], peaks[-1] / peaks[0])
    return [
        Result(f"{case}: 10 s", seconds[-1], 10.0, seconds[-1] / 10, "<= 1.00"),
        _slope(f"{case}: slope over three sizes", counts, seconds),
        Result(f"{case}: peak memory of {counts[0]:,}", *most_memory, "<= 1.25", unit="MB"),
    ]


def _slope(case: str, counts: Sequence[int], seconds: Sequence[float]) -> Result:
    """Return the power of the size with which the time grows."""
    slope = math.log(seconds[-1] / seconds[0]) / math.log(counts[-1] / counts[0])
    note = "time grows as size to this power"
    runs = {str(count): [second] for count, second in zip(counts, seconds, strict=True)}
    return Result(case, seconds[-1], seconds[0], slope, _SLOPE, note=note, runs=runs)


def _sizes(server: Any, folder: Path, rows: int, repeats: int) -> Result:
    counts = [rows, 2 * rows, 4 * rows]
    sides = {}
    for count in counts:
        path = wide.write(folder / f"{count}.fits", count, repeat=True)
        sides[str(count)] = _side(server, folder / str(count), path)
    runs = alternate(sides, repeats)
    seconds = [min(values) for values in runs.values()]
    return _slope(f"jobs of {rows:,} to {4 * rows:,} rows: slope", counts, seconds)


def _side(server: Any, folder: Path, path: Path, there: int = 0) -> Any:
    """Return a job into a fresh schema whose table has some rows."""
    entry = {"path": str(path), "result": "tests.benchmarks.wide:Wide"}
    manifest = places.write_manifest(folder, [entry])

    def side() -> Seconds:
        with places.schema(server, folder / "place") as place:
            make_tables(place)
            if there:
                _fill(place, there)
            places.run_sql(place, "CHECKPOINT")
            return places.run_job(place, manifest).job

    return side


def _fill(place: PostgresTarget, rows: int) -> None:
    """Put rows into the table of results, with floats of which most are NULL."""
    places.run_sql(
        place,
        # Together, as the setting ends with the connection.
        "SET session_replication_role = replica; "
        f"INSERT INTO spectrum (pk) SELECT n FROM generate_series(1, {rows}) n; "
        "INSERT INTO wide (task_pk, spectrum_pk, v_astra, created, modified, tag, telescope, x000) "
        f"SELECT n, n, 8001, now(), now(), '', '', n FROM generate_series(1, {rows}) n; "
        "ANALYZE",
    )


def _full(server: Any, folder: Path, rows: int, there: int, repeats: int) -> Result:
    path = wide.write(folder / "more.fits", rows, first=there, repeat=True)
    sides = {
        f"into {there:,} rows": _side(server, folder / "full", path, there),
        "into none": _side(server, folder / "empty", path),
    }
    runs = alternate(sides, repeats)
    return slower(f"{rows:,} rows into a table of {there:,}: into an empty one", runs, "<= 1.25")
