"""A short round of fuzzing; ``python -m tests.fuzz --seconds 600`` is a long one."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fixtures.processes import clean_environment, run_python


def test_bytes_that_are_wrong_end_in_clean_errors(tmp_path: Path) -> None:
    done = run_python(
        *("-m", "tests.fuzz", "--folder", tmp_path),
        *("--seconds", os.environ.get("ASTRA_FUZZ_SECONDS", "12"), "--seed", "1"),
        env=clean_environment(tmp_path / "home"),
        cwd=Path(__file__).parents[2],
        timeout=3600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 handled badly" in done.stdout
