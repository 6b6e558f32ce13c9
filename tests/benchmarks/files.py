"""Many small files: a job beside a bare loop that opens each with fitsio and reads its rows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from jobs.samples import write_sample
from tests.benchmarks import places
from tests.benchmarks.measure import Result, Seconds, alternate, faster, timed
from tests.benchmarks.server_copy import make_tables

_FILES = 1_000
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
    """Measure one process on PostgreSQL."""
    count = max(20, int(_FILES * scale))
    with (
        places.postgres() as server,
        tempfile.TemporaryDirectory(prefix="astra-benchmark-") as name,
    ):
        folder = Path(name)
        paths = [
            write_sample(folder / f"{_PRODUCT}-{n}.fits", _PRODUCT, _RELEASE, 1, 1, first=n)
            for n in range(count)
        ]
        manifest = places.write_manifest(folder, [{"path": str(folder / f"{_PRODUCT}-*.fits")}])
        number = iter(range(repeats))

        def job() -> Seconds:
            with places.schema(server, folder / f"place{next(number)}") as place:
                make_tables(place)
                return places.run_job(place, manifest).process

        def loop() -> Seconds:
            command = [sys.executable, "-c", _LOOP, *map(str, paths)]
            return timed(lambda: subprocess.run(command, check=True))

        runs = alternate({"job": job, "fitsio": loop}, repeats)
    case = f"{count:,} files of one star ({_PRODUCT}): fitsio reads them, we ingest them"
    return [faster(case, runs, ">= 3")]
