"""The versions of the tables: numbered steps, each applied once to every database there is.

A step is three files of one name.  ``0002_add_metallicity.py`` is what `playhouse.migrations`
runs; it defines ``up(migrator, db)``, which as a rule applies one of the two scripts beside it,
``0002_add_metallicity.postgres.sql`` or ``0002_add_metallicity.sqlite.sql``.  The names of the
steps that a schema has had stand in its table ``schema_migration``.

After a change of a model, the next step is drafted with

    python -m astra.migrations draft add_metallicity

which compares the models with what the steps make so far, and writes the three files; read them
and correct them.  The tests hold the steps, from first to last, against the models.

Rules:

- A step that was released is never changed: databases that had it will not have it again.  So it
  imports no model, whose columns change with time.
- It keeps the rows that are there.  A new column is nullable, or has a DEFAULT in the database.
- It names no schema: tables are found, and made, in the configured one.
- All that is pending is applied in one transaction, so nothing that cannot run inside of one
  (``CREATE INDEX CONCURRENTLY``) can be in a step.
- A statement ends with a semicolon at the end of a line; a comment has a line of its own.
- ``up`` changes the database through `db` and `migrator` only: ``astra migrate --plan`` shows what
  they are told, and tells the database nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from peewee import Database

#: Where the steps are.
DIRECTORY = Path(__file__).parent


def run_script(step: str, db: Database) -> None:
    """Run the script that lies beside a step, the one for the kind of database at hand.

    Parameters
    ----------
    step : str
        The step's ``__file__``.
    db : peewee.Database
        In a transaction that the caller has begun.
    """
    from peewee import PostgresqlDatabase

    is_postgres = isinstance(db, PostgresqlDatabase)
    script = Path(step).with_suffix(".postgres.sql" if is_postgres else ".sqlite.sql")
    for statement in statements(script.read_text(encoding="utf-8")):
        # psycopg2 takes a percent sign for the place of a parameter, even if there are none.
        db.execute_sql(statement.replace("%", "%%") if is_postgres else statement)


def statements(script: str) -> list[str]:
    """Return the statements of a script, without their semicolons and the comments."""
    lines = (line for line in script.splitlines() if not line.lstrip().startswith("--"))
    parts = ("\n".join(lines) + "\n").split(";\n")
    return [part.strip() for part in parts if part.strip()]
