"""Before the first row: whether the database is there, has the tables, and lets us write."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peewee import Database, ImproperlyConfigured, PeeweeException, SqliteDatabase

from astra import schema as versions
from astra.backends import backend_for, pgschema
from astra.errors import AstraError, ConfigError, DatabaseUnavailable, SchemaError
from astra.transaction import run

#: A server that is away when the job begins is waited for so many seconds.
_FIRST_PATIENCE = 5.0
_DISK_FULL = "53100"  # PostgreSQL's


def describe(database: Database, schema: str | None) -> str:
    """Return where the tables are, for people; without user and password."""
    if isinstance(database, SqliteDatabase):
        return f"SQLite {database.database}"
    host = database.connect_params.get("host") or database.connect_params.get("service")
    where = f" on {host}" if host else ""
    return f"PostgreSQL {database.database}{where}" + (f", schema {schema}" if schema else "")


def sqlite_path(database: Database) -> Path | None:
    """Return the file of a SQLite database; None for PostgreSQL and for one in memory."""
    if not isinstance(database, SqliteDatabase) or database.database == ":memory:":
        return None
    return Path(database.database)


def prepare(database: Database, schema: str | None, models: Sequence[type[Any]]) -> None:
    """Make sure that rows of these models can be written.

    On SQLite, missing and older tables are brought up to date; on PostgreSQL that is left to
    `astra migrate`.

    Raises
    ------
    DatabaseUnavailable
        If the server is away.
    ConfigError
        If it refuses the connection.
    SchemaError
        If the schema is older or newer than this program, or a table, a column or a right is
        missing; all of it in one message.
    """
    refuse_memory(database)
    with explained(database, schema):
        problems = versions.ready(database, schema, models, patience=_FIRST_PATIENCE)
        if not problems:
            problems = run(database, lambda: _prepare(database, models), patience=_FIRST_PATIENCE)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        where = describe(database, schema)
        raise SchemaError(f"{where} is not ready to be written to:\n{lines}")


def is_readable(database: Database, schema: str | None) -> bool:
    """Tell whether the tables are there to be read: a dry run does not need them."""
    from astra.models import models

    path = sqlite_path(database)
    if isinstance(database, SqliteDatabase) and (path is None or not path.exists()):
        return False
    with explained(database, schema):
        tables = set(database.get_tables(schema))
        return all(model._meta.table_name in tables for model in models)


def refuse_memory(database: Database) -> None:
    """Raise ConfigError if the database is gone with the process."""
    if getattr(database, "database", None) == ":memory:":
        raise ConfigError(
            "no database: rows would go to memory and be lost; set ASTRA_DATABASE_PATH=astra.db "
            "for SQLite, or write `database:` with dbname into ~/.config/sdss/astra/astra.yml"
        )


def _prepare(database: Database, models: Sequence[type[Any]]) -> list[str]:
    backend = backend_for(database)
    if isinstance(database, SqliteDatabase):
        backend.create_tables(models)
        return backend.problems(models)
    return backend.problems(models)


@contextmanager
def explained(database: Database, schema: str | None) -> Iterator[None]:
    """Raise what `explain` makes of a database's error, instead of that."""
    try:
        yield
    except (PeeweeException, ImproperlyConfigured) as error:
        raise explain(database, schema, error) from error


def explain(database: Database, schema: str | None, error: Exception) -> AstraError:
    """Return what a database's refusal means to the user."""
    where = describe(database, schema)
    text = " ".join(str(error).split())
    if _is_full(error):
        return DatabaseUnavailable(
            f"{where}: the disk is full: {text}; make room, then submit again: what is in stays in"
        )
    if backend_for(database).is_transient(error):
        return DatabaseUnavailable(f"{where} is away or busy: {text}; submit again later")
    if isinstance(database, SqliteDatabase):
        return SchemaError(
            f"{where} cannot be written: {text}; the file and its folder must be writable, and "
            "the file a SQLite database"
        )
    if pgschema.is_denied(error):
        return SchemaError(
            f"{where}: {text}; the schema's owner gives the rights that a job needs with "
            "`astra migrate --grant ROLE`"
        )
    return ConfigError(
        f"{where} refuses the job: {text}; see `database` in ~/.config/sdss/astra/astra.yml"
    )


def _is_full(error: Exception) -> bool:
    """Tell whether the database's disk has no room left."""
    cause: Any = getattr(error, "orig", None) or error
    return getattr(cause, "pgcode", None) == _DISK_FULL or (
        getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    )
