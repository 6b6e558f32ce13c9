"""Making the tables."""

from __future__ import annotations

from collections.abc import Callable

from astra.backends import backend_for
from astra.transaction import run


def migrate(*, plan_only: bool, echo: Callable[[str], None]) -> None:
    """Create all tables that are missing."""
    from astra.models import base, models

    database = base.database

    def work() -> None:
        if base.schema:
            database.execute_sql(f'CREATE SCHEMA IF NOT EXISTS "{base.schema}"')
        backend_for(database).create_tables(models)

    run(database, work)
    echo("done")
