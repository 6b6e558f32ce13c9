"""SQLite: values become Python objects, but by column, not by row."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peewee import Database, Model, PeeweeException, __exception_wrapper__

from astra.block import Block, Column
from astra.upsert import (
    column_names,
    conflict_keys,
    insert_sql,
    quote,
    table_name,
    upsert_sql,
)

_TRANSIENT_WORDS = ("database is locked", "database table is locked", "database schema is locked")


class SqliteBackend:
    """The seam's SQLite side; see `astra.backends.Backend`."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def insert(self, model: type[Model], block: Block) -> None:
        """Insert rows, one prepared statement for all."""
        names = list(block.columns)
        self._execute_many(insert_sql(model, names, _placeholders(len(names))), block)

    def upsert(
        self, model: type[Model], block: Block, conflict: Sequence[str], update: Sequence[str]
    ) -> tuple[int, int]:
        """Upsert rows, one prepared statement for all."""
        names = list(block.columns)
        sql = upsert_sql(model, names, _placeholders(len(names)), conflict, update)
        there = len(self.find(model, conflict_keys(block, conflict), ())[0])
        self._execute_many(sql, block)
        return block.rows - there, there if update else 0

    def upsert_returning(
        self,
        model: type[Model],
        block: Block,
        conflict: Sequence[str],
        update: Sequence[str],
        returning: Sequence[str],
    ) -> list[tuple[Any, ...]]:
        """Upsert rows, and ask for each what is stored."""
        names = list(block.columns)
        sql = upsert_sql(model, names, _placeholders(len(names)), conflict, update)
        sql += f" RETURNING {', '.join(column_names(model, returning))}"
        rows: list[tuple[Any, ...]] = []
        with __exception_wrapper__:
            cursor = self.database.cursor()
            for row in rows_of(block):
                rows += cursor.execute(sql, row).fetchall()
        return rows

    def _execute_many(self, sql: str, block: Block) -> None:
        with __exception_wrapper__:
            self.database.cursor().executemany(sql, rows_of(block))

    def find(
        self, model: type[Model], keys: Block, columns: Sequence[str]
    ) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        """Look up rows by key, all keys in one query."""
        fields = [model._meta.fields[name] for name in keys.columns]
        match = " AND ".join(
            f"t.{quote(field.column_name)} = json_extract(k.value, '$[{number}]')"
            for number, field in enumerate(fields)
        )
        wanted = "".join(f", coalesce(t.{name}, -1)" for name in column_names(model, columns))
        # CROSS JOIN makes SQLite take the keys one by one, and look each up in the index.
        sql = (
            f"SELECT k.key{wanted} FROM json_each(?) k "
            f"CROSS JOIN {table_name(model)} t WHERE {match}"
        )
        found = self.database.execute_sql(sql, (json.dumps(list(rows_of(keys))),)).fetchall()
        table = np.array(found, dtype=np.int64).reshape(-1, 1 + len(columns))
        return table[:, 0], list(table[:, 1:].T)

    def next_keys(self, model: type[Model], count: int) -> NDArray[np.int64]:
        """Return keys after the highest there is; the transaction holds the write lock."""
        key = quote(model._meta.primary_key.column_name)
        (highest,) = self.database.execute_sql(
            f"SELECT coalesce(max({key}), 0) FROM {table_name(model)}"
        ).fetchone()
        return np.arange(highest + 1, highest + 1 + count, dtype=np.int64)

    def advance_keys(self, model: type[Model], highest: int) -> None:
        """Do nothing: SQLite numbers a new row after the highest one by itself."""

    def create_tables(self, models: Sequence[type[Model]]) -> None:
        """Create what is missing; the transaction holds the write lock."""
        self.database.create_tables(models, safe=True)

    def problems(self, models: Sequence[type[Model]]) -> list[str]:
        """Compare the tables' columns with the models'."""
        found: list[str] = []
        for model in models:
            name = model._meta.table_name
            stored = {column.name for column in self.database.get_columns(name)}
            # get_columns leaves out generated ones.
            rows = self.database.execute_sql(f"PRAGMA table_xinfo({quote(name)})").fetchall()
            stored |= {row[1] for row in rows}
            for column in model._meta.columns:
                if column not in stored:
                    found.append(
                        f"table {name} has no column {column}: it was made by an older version; "
                        "run `astra migrate`"
                    )
        return found

    def is_transient(self, error: BaseException) -> bool:
        """Only a lock that another connection holds passes by itself."""
        cause = getattr(error, "orig", None) or error
        if not isinstance(cause, sqlite3.OperationalError | PeeweeException):
            return False
        code = getattr(cause, "sqlite_errorcode", None)
        if code is not None:
            return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        return any(words in str(cause) for words in _TRANSIENT_WORDS)


def _placeholders(count: int) -> str:
    return f"VALUES ({', '.join('?' * count)})"


def rows_of(block: Block) -> Iterable[tuple[Any, ...]]:
    """Return the block's rows as tuples of what sqlite3 binds."""
    return zip(*(_to_python(column) for column in block.columns.values()), strict=True)


def _to_python(column: Column) -> list[Any]:
    values, kind = column.values, column.values.dtype.kind
    if kind == "S":
        objects = _texts(values)
    elif kind == "M":
        objects = [str(time) for time in values.tolist()]
    elif values.ndim == 2:
        packed = np.ascontiguousarray(values.astype("<f4") if kind == "f" else values)
        width = packed.shape[1] * packed.itemsize
        objects = packed.view(f"V{width}")[:, 0].tolist() if width else [b""] * len(values)
    else:
        objects = values.astype(values.dtype.newbyteorder("="), copy=False).tolist()
    if column.null is not None:
        for row in np.flatnonzero(column.null).tolist():
            objects[row] = None
    return objects


def _texts(values: NDArray[np.generic]) -> list[Any]:
    try:
        return values.astype("U").tolist()
    except UnicodeDecodeError:  # NumPy decodes ASCII only
        return [value.decode("utf-8") for value in values.tolist()]
