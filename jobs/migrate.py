"""Making the tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from peewee import Database, ImproperlyConfigured, PeeweeException

from astra.backends import backend_for
from astra.transaction import run
from astra.upsert import quote
from jobs.database import explain


def migrate(*, plan_only: bool, echo: Callable[[str], None]) -> None:
    """Create all tables that are missing.

    Raises
    ------
    AstraError
        If the database is away, or does not let the role make them.
    """
    from astra.models import base, models

    database: Any = base.database

    def work() -> None:
        # Who owns a schema may have no right to make one, not even IF NOT EXISTS.
        if base.schema and not _has_schema(database, base.schema):
            database.execute_sql(f"CREATE SCHEMA IF NOT EXISTS {quote(base.schema)}")
        backend_for(database).create_tables(models)

    try:
        run(database, work)
    except (PeeweeException, ImproperlyConfigured) as error:
        raise explain(database, base.schema, error) from error
    echo("done")


def _has_schema(database: Database, schema: str) -> bool:
    sql = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
    return database.execute_sql(sql, (schema,)).fetchone() is not None
