"""One job in a process of its own, measured from inside: ``python -m tests.benchmarks.job``."""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import time
from pathlib import Path


def main() -> None:
    """Run the job and print, as JSON in the last line, what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--profile", type=Path)
    parser.add_argument("--shard", default="0/1")
    arguments = parser.parse_args()

    # As `jobs.cli` does.
    gc.set_threshold(200_000)
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from jobs.ingest import WORKERS, Options, ingest
    from jobs.plan import parse_shard
    from jobs.progress import LineProgress

    batch = {} if arguments.batch_size is None else {"batch_rows": arguments.batch_size}
    options = Options(
        shard=parse_shard(arguments.shard),
        report=Path("report.json").absolute(),
        force=True,
        workers=arguments.workers,
        **batch,
    )
    start = time.perf_counter()
    if arguments.profile:
        import cProfile

        profile = cProfile.Profile()
        report = profile.runcall(ingest, arguments.manifest, options, LineProgress())
        profile.dump_stats(arguments.profile)
    else:
        report = ingest(arguments.manifest, options, LineProgress())
    job = time.perf_counter() - start
    if report.status != "done":
        raise SystemExit(f"the job is {report.status}: {report.summary()}")
    own, of_workers = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    # What workers share with this process is counted for each of them.
    workers = arguments.workers or WORKERS
    measured = {
        "job": job,
        "cpu": sum(used.ru_utime + used.ru_stime for used in (own, of_workers)),
        "peak": _peak() + workers * of_workers.ru_maxrss / 1024,
    }
    print(json.dumps(measured))  # noqa: T201


def _peak() -> float:
    """Return the most memory that was resident, in MB; getrusage counts the parent's, too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
