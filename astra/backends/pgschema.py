"""What the owner of a PostgreSQL schema does: making it, and giving rights on what is in it."""

from __future__ import annotations

import logging
from typing import Any

from peewee import Database

from astra.errors import SchemaError
from astra.upsert import quote

log = logging.getLogger("astra")

#: The table that names the steps that a schema has had.
HISTORY = "schema_migration"
_INSUFFICIENT_PRIVILEGE = "42501"
_LOCK_MIGRATIONS = 0x6173_7472_6103  # an advisory lock's number: "astra", then which


def enter(database: Database, schema: str | None) -> str:
    """Make the rest of the transaction work in a schema, and let nobody else migrate meanwhile.

    Parameters
    ----------
    database : peewee.Database
        In a transaction that the caller has begun.
    schema : str or None
        Is made if it is missing; None is the first of the search path.

    Returns
    -------
    str
        The schema's name.
    """
    database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK_MIGRATIONS,))
    if schema is None:
        (schema,) = database.execute_sql("SELECT current_schema()").fetchone()
        if schema is None:
            raise SchemaError(
                "no schema of the search path is there: set `schema` under `database` in astra.yml"
            )
    elif not _is_there(database, schema):
        database.execute_sql(f"CREATE SCHEMA {quote(schema)}")
    # Ends with the transaction.
    database.execute_sql(f"SET LOCAL search_path TO {quote(schema)}")
    return schema


def _is_there(database: Database, schema: str) -> bool:
    query = "SELECT 1 FROM pg_namespace WHERE nspname = %s"
    return database.execute_sql(query, (schema,)).fetchone() is not None


def is_denied(error: Exception) -> bool:
    """Tell whether the server said that the role lacks a right."""
    cause: Any = error
    while getattr(cause, "orig", None) is not None:  # peewee's error in peewee's error
        cause = cause.orig
    return getattr(cause, "pgcode", None) == _INSUFFICIENT_PRIVILEGE


def denied(database: Database, schema: str | None, error: Exception) -> SchemaError:
    """Return what a right that the role lacks means to the user, after the transaction."""
    text = str(error).strip().partition("\n")[0]
    name, role, owner = database.execute_sql(
        "SELECT current_database(), current_user, (SELECT pg_get_userbyid(nspowner) "
        "FROM pg_namespace WHERE nspname = coalesce(%s, current_schema()))",
        (schema,),
    ).fetchone()
    if owner is None:
        return SchemaError(
            f'there is no schema "{schema}", and the role {role} may not make it ({text}): correct '
            f"`schema` in astra.yml, or let the owner of database {name} run: CREATE SCHEMA "
            f"{quote(str(schema))} AUTHORIZATION {quote(role)};"
        )
    return SchemaError(
        f"the role {role} may not do that ({text}), and nothing was changed; the schema belongs to "
        f"the role {owner}: run `astra migrate` as the owner of schema and tables (`user` in "
        "astra.yml)"
    )


def may_read(database: Database, schema: str | None, table: str) -> bool | None:
    """Tell whether the role may read a table of a schema that it may use; None if it may not."""
    row = database.execute_sql(
        "SELECT has_table_privilege(c.oid, 'SELECT') "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = coalesce(%s, current_schema()) AND c.relname = %s "
        "AND has_schema_privilege(n.oid, 'USAGE')",
        (schema, table),
    ).fetchone()
    return None if row is None else bool(row[0])


def grant(database: Database, schema: str, role: str, *, write: bool) -> None:
    """Give a role what a job needs, or what reading needs, on all tables of a schema.

    It holds for tables that the current role makes later, too.

    Parameters
    ----------
    database : peewee.Database
        In a transaction that the caller has begun.
    schema : str
    role : str
        Who is given the rights; it may not be the one who has them from owning the tables.
    write : bool
        A job: SELECT, INSERT and UPDATE, and use of the sequences; else only SELECT.

    Raises
    ------
    SchemaError
        If there is no such role, or it owns tables of the schema.
    """
    _check_role(database, schema, role)
    to, within = f"TO {quote(role)}", f"IN SCHEMA {quote(schema)}"
    on_tables = "SELECT, INSERT, UPDATE" if write else "SELECT"
    rights = [(on_tables, "TABLES")] + ([("USAGE, SELECT, UPDATE", "SEQUENCES")] if write else [])
    database.execute_sql(f"GRANT USAGE ON SCHEMA {quote(schema)} {to}")
    for what, kind in rights:
        database.execute_sql(f"GRANT {what} ON ALL {kind} {within} {to}")
        database.execute_sql(f"ALTER DEFAULT PRIVILEGES {within} GRANT {what} ON {kind} {to}")
    if write:
        # A job tells versions apart; it does not make them.
        history = quote(schema, HISTORY)
        database.execute_sql(f"REVOKE INSERT, UPDATE ON {history} FROM {quote(role)}")
        _tell_temporary(database, role)


def _check_role(database: Database, schema: str, role: str) -> None:
    if not database.execute_sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
        raise SchemaError(f"there is no role {role} to grant to: CREATE ROLE makes it")
    owners = database.execute_sql(
        "SELECT current_user UNION SELECT tableowner FROM pg_tables WHERE schemaname = %s",
        (schema,),
    )
    if role in {owner for (owner,) in owners}:
        raise SchemaError(f"the role {role} owns the tables: grant to the role that runs the jobs")


def _tell_temporary(database: Database, role: str) -> None:
    name, may = database.execute_sql(
        "SELECT current_database(), has_database_privilege(%s, current_database(), 'TEMP')",
        (role,),
    ).fetchone()
    if not may:
        log.warning(
            "%s may make no temporary tables, which a job needs; let the owner of the database "
            "run: GRANT TEMPORARY ON DATABASE %s TO %s;", role, quote(name), quote(role),
        )  # fmt: skip
