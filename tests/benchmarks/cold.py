# ruff: noqa: E402 - when what is imported is what is measured
"""What a task does until its first row is in, timed by itself: ``python cold.py LAUNCHED``.

It runs in the image, too, so it imports nothing of the tests.  LAUNCHED is when the command was
given, in seconds of the wall's clock; the folder has ``manifest.yml``.  Printed are, as JSON, the
seconds of each step.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

steps: dict[str, float] = {}
moments = [float(sys.argv[1])]


def ended(step: str, *_: Any, **__: Any) -> None:
    """Note that a step has ended."""
    moments.append(time.time())
    steps[step] = moments[-1] - moments[-2]


ended("Python")
gc.set_threshold(200_000)  # this and the next as the command does
os.environ["OPENBLAS_NUM_THREADS"] = "1"

for name in ("click", "numpy", "playhouse.migrations", "psycopg2", "pydantic.main", "sdsstools"):
    import_module(name)
ended("libraries")

from astra import readiness
from astra.models import base, models

ended("models")

import jobs.cli  # noqa: F401
from jobs.ingest import Options, ingest
from jobs.plan import Shard
from jobs.progress import LineProgress

ended("jobs")
readiness.prepare(base.database, base.schema, models)
ended("database")


class FirstRow(LineProgress):
    """Notes when the files have been looked at, and when the first chunk is in."""

    def begin(self, *_: Any, **__: Any) -> None:
        """The checks are done."""
        ended("manifest and headers")

    def chunk(self, *_: Any, **__: Any) -> None:
        """A chunk is in."""
        ended("first row in")


ingest(Path("manifest.yml"), Options(Shard(0, 1), Path("report.json"), force=True), FirstRow())
print(json.dumps(steps))  # noqa: T201
