"""A short round of load; ``python -m tests.load --minutes 10`` is a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.databases import PostgresTarget
from tests.fixtures.server import PostgresServer
from tests.load.__main__ import TASKS, run

pytestmark = pytest.mark.postgres


def test_sixteen_tasks_at_once_and_somebody_who_ends_them(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    target = PostgresTarget(tmp_path, postgres)
    try:
        load = run(target, 0, files=16, rows=100, every=1.0)
    finally:
        target.remove()
    assert load.started >= TASKS
