"""The two databases, behind one small seam: what peewee does not cover, once for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from peewee import Database, Model

    from astra.block import Block


class Backend(Protocol):
    """What a database does beside running peewee's queries.

    All but `is_transient` run inside a transaction that the caller has begun.

    Attributes
    ----------
    has_cheap_savepoints : bool
        Whether a savepoint costs nothing that one would notice.
    """

    has_cheap_savepoints: bool

    def insert(self, model: type[Model], block: Block) -> None:
        """Insert rows that are new; a key that is there already is peewee's IntegrityError.

        A value that the database does not take is its DataError, here and below.
        """

    def upsert(
        self,
        model: type[Model],
        block: Block,
        conflict: Sequence[str],
        update: Sequence[str],
    ) -> tuple[int, int]:
        """Insert rows, or update the columns `update` of those whose `conflict` columns are there.

        Returns
        -------
        inserted, updated : int
            With nothing to update, rows that are there stay as they are and count in neither.
        """

    def upsert_returning(
        self,
        model: type[Model],
        block: Block,
        conflict: Sequence[str],
        update: Sequence[str],
        returning: Sequence[str],
    ) -> list[tuple[Any, ...]]:
        """Upsert as `upsert` does, and return columns of each row as it is stored, in any order."""

    def refused(self, model: type[Model], block: Block) -> list[tuple[int, str]]:
        """Return the rows with a value that the database does not take, and what it says of each.

        Only those of a block with Python objects: of all others, `astra.storage` knows it.
        """

    def find(
        self, model: type[Model], keys: Block, columns: Sequence[str]
    ) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        """Look up rows by key.

        Parameters
        ----------
        keys : Block
            The key columns (field names), a key a row.
        columns : sequence of str
            Integer fields to return, NULL as -1.

        Returns
        -------
        position : ndarray of int64, shape (n_found,)
            Which keys were found, as indices into `keys`.
        values : list of ndarray of int64, shape (n_found,)
            An array for each of `columns`.
        """

    def next_keys(self, model: type[Model], count: int) -> NDArray[np.int64]:
        """Reserve fresh primary keys, ascending."""

    def advance_keys(self, model: type[Model], highest: int) -> None:
        """Move the table's own numbering past a key that was given explicitly."""

    def create_tables(self, models: Sequence[type[Model]]) -> None:
        """Create tables and indexes that are missing; safe when many processes do it at once."""

    def problems(self, models: Sequence[type[Model]]) -> list[str]:
        """Return what keeps rows of these models from being written: tables, columns, rights."""

    def is_transient(self, error: BaseException) -> bool:
        """Tell whether the same transaction can succeed if it is run again."""


def backend_for(database: Database) -> Backend:
    """Return the backend of a peewee database, of this package's or a plain one."""
    from peewee import PostgresqlDatabase

    if isinstance(database, PostgresqlDatabase):
        from astra.backends import postgres

        return postgres.PostgresBackend(database)
    from astra.backends import sqlite

    return sqlite.SqliteBackend(database)


def driver_error(error: BaseException) -> BaseException:
    """Return what the driver raised: peewee wraps it, and twice where it connected by itself."""
    while (inner := getattr(error, "orig", None)) is not None:
        error = inner
    return error
