"""The database that all models share, and their base class.

Importing this module reads the configuration and chooses a database; it connects to nothing.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

from peewee import FieldAccessor, Model, ModelBase, PostgresqlDatabase, SqliteDatabase

from astra.config import HINT, database_config, read_config
from astra.glossary import describe
from astra.transaction import ResilientDatabase

#: Set on every SQLite connection.  With `synchronous` off a power cut can lose what SQLite was
#: told last, but a crash of the program can not; a dry run or a laptop's copy wants the speed.
SQLITE_PRAGMAS = {
    "journal_mode": "wal",
    "cache_size": -64 * 1000,  # negative: in KiB, so 64 MB
    "synchronous": 0,
    "foreign_keys": 1,
    "wal_autocheckpoint": 16_000,  # pages: a chunk or two, each of which is written twice
}


class ResilientPostgresqlDatabase(ResilientDatabase, PostgresqlDatabase):
    """PostgreSQL, with transactions that survive faults that pass."""

    # peewee's FLOAT would be eight bytes here; the pipelines' floats have four.
    field_types = {**PostgresqlDatabase.field_types, "FLOAT": "REAL", "FLOAT_ARRAY": "REAL[]"}

    def _connect(self) -> Any:
        from astra.backends.postgres import prepare_connection

        return prepare_connection(super()._connect())


class ResilientSqliteDatabase(ResilientDatabase, SqliteDatabase):
    """SQLite, with transactions that survive a locked file."""

    # A column declared REAL stores -0.0 as the integer 0; one without a type keeps the float.
    field_types = {**SqliteDatabase.field_types, "FLOAT": "", "DOUBLE": "", "FLOAT_ARRAY": "BLOB"}


def get_database_and_schema(
    config: Mapping[str, Any] | None,
) -> tuple[ResilientDatabase, str | None]:
    """Return the database that a configuration means, not connected, and the schema's name.

    Parameters
    ----------
    config : mapping or None
        As `astra.config.read_config` returns it.  In this order: ``ASTRA_DATABASE_PATH`` in the
        environment is a SQLite file; ``TESTING: true`` is SQLite in memory; ``database`` with
        ``dbname`` is PostgreSQL, with ``path`` SQLite; nothing is SQLite in memory, with a
        warning.

    Returns
    -------
    database : ResilientDatabase
    schema : str or None
        The PostgreSQL schema; None on SQLite, or if the search path decides.

    Raises
    ------
    ConfigError
        If the ``database`` entry has an unknown key, or contradicts itself.
    """
    where = database_config(config)
    if where.path is not None:
        if not where.configured:
            warnings.warn(
                f"astra: no database is configured, so tables are in memory only; {HINT}",
                stacklevel=2,
            )
        return open_sqlite(where.path), None
    # Whatever the role's default is: rows that other jobs add meanwhile must come into sight.
    parameters = {
        "application_name": "astra",
        "isolation_level": "READ COMMITTED",
        **where.parameters,
    }
    return ResilientPostgresqlDatabase(where.dbname, **parameters), where.schema


def open_sqlite(path: str) -> ResilientSqliteDatabase:
    """Return a SQLite database with this package's pragmas, not connected."""
    return ResilientSqliteDatabase(
        path,
        pragmas=SQLITE_PRAGMAS,
        returning_clause=True,
        timeout=30,
        # A transaction that reads first and writes later fails at once if another one has
        # written meanwhile; one that takes the lock at its begin waits.
        lock_type="immediate",
    )


class _ModelBase(ModelBase):
    """Lets a base be named that another base has already, as in ``(BaseModel, Mixin)``.

    And makes models quickly: a program that imports them all has made two thousand fields.
    """

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any], **kwargs: Any):
        needed = tuple(
            base
            for base in bases
            if not any(other is not base and issubclass(other, base) for other in bases)
        )
        # peewee would copy inherited fields with all that hangs on them, which takes longer; what a
        # field shares with its copy then (constraints, say) is never changed.
        for base in needed:
            for key, value in vars(base).items():
                if isinstance(value, FieldAccessor) and not value.field.primary_key:
                    attrs.setdefault(key, copy.copy(value.field))
        return super().__new__(cls, name, needed, attrs, **kwargs)


database, schema = get_database_and_schema(read_config())


class BaseModel(Model, metaclass=_ModelBase):
    """Base of all models.

    Each field tells its meaning and unit: ``Corv.teff.help_text``, ``Corv.teff.unit``.
    """

    class Meta:
        database = database
        schema = schema
        legacy_table_names = False

    @classmethod
    def validate_model(cls) -> None:
        """Give each field the meaning and unit that the glossary has for its name."""
        super().validate_model()
        for field in cls._meta.sorted_fields:
            meaning = describe(field.name)
            field.help_text = field.help_text or meaning.text
            field.unit = getattr(field, "unit", None) or meaning.unit
            field.__doc__ = f"{field.help_text} ({field.unit})".removesuffix(" ()")
