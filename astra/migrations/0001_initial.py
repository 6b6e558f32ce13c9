"""All tables, as the first release has them."""

from __future__ import annotations

from typing import Any

from astra.migrations import run_script


def up(migrator: Any, db: Any) -> None:  # noqa: ARG001 (how playhouse.migrations calls it)
    """Run the script beside this file."""
    run_script(__file__, db)
