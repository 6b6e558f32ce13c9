"""What holds for every test: an environment without the user's own, and no silent gaps in CI."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest

pytest_plugins = ["tests.fixtures.databases", "tests.fixtures.jobs"]

_home = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Hide the user's configuration before any test imports a model, which reads it."""
    for name in list(os.environ):
        if name.startswith(("ASTRA_", "PG", "SLURM_")):
            del os.environ[name]
    config.stash[_home] = home = tempfile.TemporaryDirectory(prefix="astra-home-")
    os.environ["HOME"] = home.name
    settings = Path(home.name) / "astra.yml"
    settings.write_text("TESTING: true\n")
    os.environ["ASTRA_CONFIG_PATH"] = str(settings)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Delete the empty home."""
    config.stash[_home].cleanup()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let nothing be skipped in CI."""
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"not run, where nothing may be left out: {_reason(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was not run and why, a line a reason."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason, count in Counter(map(_reason, skipped)).items():
        terminalreporter.write_line(f"{count} tests were not run: {reason}")


def _reason(report: pytest.TestReport) -> str:
    """Text that the skip was given."""
    _, _, reason = report.longrepr  # file, line, "Skipped: " and the text
    return reason.removeprefix("Skipped: ")
