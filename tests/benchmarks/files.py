"""Many small files: a job beside a bare loop that opens each with fitsio and reads its rows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from itertools import count as count_from
from pathlib import Path

from jobs.samples import write_sample
from tests.benchmarks import places
from tests.benchmarks.measure import Result, Seconds, alternate, faster, timed
from tests.benchmarks.server_copy import make_tables

_FILES = 1_000
#: Two workers get so many times as many.
_MORE = 4
_PRODUCT, _RELEASE = "mwmVisit", "DR20"

_LOOP = """
import sys, fitsio
for path in sys.argv[1:]:
    with fitsio.FITS(path) as file:
        for hdu in file[1:]:
            if hdu.get_nrows():
                hdu.read()
"""


def run(repeats: int, scale: float) -> list[Result]:
    """Measure one process beside fitsio, and two processes beside one, on PostgreSQL."""
    count = max(20, int(_FILES * scale))
    with (
        places.postgres() as server,
        tempfile.TemporaryDirectory(prefix="astra-benchmark-") as name,
    ):
        folder = Path(name)
        some = [_write(folder, number) for number in range(count)]
        manifest = places.write_manifest(folder, [{"path": str(folder / f"{_PRODUCT}-*.fits")}])
        number = count_from(0)

        def job(workers: int) -> Seconds:
            with places.schema(server, folder / f"place{next(number)}") as place:
                make_tables(place)
                return places.run_command(place, manifest, "--workers", f"{workers}")

        def loop() -> Seconds:
            command = [sys.executable, "-c", _LOOP, *map(str, some)]
            return timed(lambda: subprocess.run(command, check=True))

        beside = alternate({"job": lambda: job(1), "fitsio": loop}, repeats)
        for more in range(count, _MORE * count):
            _write(folder, more)
        shared = alternate({"two": lambda: job(2), "one": lambda: job(1)}, repeats)
    files = f"files of one star ({_PRODUCT})"
    return [
        faster(f"{count:,} {files}: fitsio reads them, one worker ingests them", beside, ">= 3"),
        faster(f"{_MORE * count:,} {files}: two workers beside one", shared, ">= 1.50"),
    ]


def _write(folder: Path, number: int) -> Path:
    path = folder / f"{_PRODUCT}-{number}.fits"
    return write_sample(path, _PRODUCT, _RELEASE, 1, 1, first=number)
