"""SQLite: values become Python objects, but by column, not by row."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peewee import (  # type: ignore[attr-defined] # no stub for it
    Context,
    Database,
    ForeignKeyField,
    Model,
    Node,
    PeeweeException,
    __exception_wrapper__,
)

from astra.backends import driver_error
from astra.block import Block
from astra.column import Column, Run, runs
from astra.upsert import (
    column_names,
    conflict_keys,
    insert_sql,
    primary_key,
    quote,
    table_name,
    upsert_sql,
)

#: Rows that exist as Python objects at a time.
_ROWS = 256

#: SQLite stores a NaN as NULL, and sqlite3 binds it sooner than None, for which it looks for an
#: adapter each time: with 15% NULLs, that is a third of the time that all rows take.
_NAN = float("nan")

_TRANSIENT_WORDS = ("database is locked", "database table is locked", "database schema is locked")


class SqliteBackend:
    """The seam's SQLite side; see `astra.backends.Backend`."""

    #: Inside one, each page that is changed is copied first, which takes a fifth of the time.
    has_cheap_savepoints = False

    def __init__(self, database: Database) -> None:
        self.database = database

    def insert(self, model: type[Model], block: Block) -> None:
        """Insert rows, one prepared statement for all."""
        names, rows = bulk_rows(block)
        self._execute_many(insert_sql(model, names, _placeholders(len(names))), rows)

    def upsert(
        self, model: type[Model], block: Block, conflict: Sequence[str], update: Sequence[str]
    ) -> tuple[int, int]:
        """Update rows that are there, and insert the others.

        That tells how many are there, which an upsert does not, and takes less time.
        """
        if not update:
            names, rows = bulk_rows(block)
            sql = upsert_sql(model, names, _placeholders(len(names)), conflict, update)
            return self._execute_many(sql, rows), 0
        keys = conflict_keys(block, conflict)
        keyed = block.with_columns(**keys.columns)
        changed = [name for name in update if name not in conflict]
        # To set a foreign key takes long, even to what it is: the row it points to is looked up,
        # and its index is written.  So a row is first looked for as one that keeps its own.
        references = [n for n in changed if isinstance(model._meta.fields[n], ForeignKeyField)]
        own = [name for name in changed if name not in references]
        updated = self._update(model, keyed, own, (*conflict, *references)) if own else 0
        if updated < block.rows:
            # The transaction holds the write lock: nobody else can add them.
            there = self.find(model, keys, ())[0]
            if updated < len(there):
                updated = self._update(model, keyed.take(there), changed, conflict)
            missing = np.ones(block.rows, dtype=bool)
            missing[there] = False
            self.insert(model, block.take(missing))
        return block.rows - updated, updated

    def _update(
        self, model: type[Model], block: Block, changed: Sequence[str], match: Sequence[str]
    ) -> int:
        """Update the rows that are there and have what `match` names; return how many."""
        names, rows = bulk_rows(block.select([*changed, *match]))
        return self._execute_many(_update_sql(model, names, match), rows)

    def upsert_returning(
        self,
        model: type[Model],
        block: Block,
        conflict: Sequence[str],
        update: Sequence[str],
        returning: Sequence[str],
    ) -> list[tuple[Any, ...]]:
        """Upsert rows, and ask for each what is stored."""
        names, rows = bulk_rows(block)
        sql = upsert_sql(model, names, _placeholders(len(names)), conflict, update)
        sql += f" RETURNING {', '.join(column_names(model, returning))}"
        stored: list[tuple[Any, ...]] = []
        with __exception_wrapper__:
            cursor = self.database.cursor()
            for row in rows:
                stored += cursor.execute(sql, row).fetchall()
        return stored

    def refused(
        self,
        model: type[Model],  # noqa: ARG002
        block: Block,  # noqa: ARG002
    ) -> list[tuple[int, str]]:
        """Return none: SQLite takes any value in any column."""
        return []

    def _execute_many(self, sql: str, rows: Iterable[list[Any]]) -> int:
        """Run a statement for each row, and return how many rows it wrote."""
        with __exception_wrapper__:
            cursor = self.database.cursor()
            cursor.executemany(sql, rows)
        written: int = cursor.rowcount
        return written

    def find(
        self, model: type[Model], keys: Block, columns: Sequence[str]
    ) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        """Look up rows by key, all keys in one query."""
        # Taking a key of several columns apart takes long, and often only one is not a constant.
        constant = [name for name, column in keys.columns.items() if _is_constant(column)]
        varying = [name for name in keys.columns if name not in constant] or [constant.pop()]
        one = len(varying) == 1
        match = " AND ".join(
            [
                f"t.{name} = " + ("k.value" if one else f"json_extract(k.value, '$[{number}]')")
                for number, name in enumerate(column_names(model, varying))
            ]
            + [f"t.{name} = ?" for name in column_names(model, constant)]
        )
        wanted = "".join(f", coalesce(t.{name}, -1)" for name in column_names(model, columns))
        # CROSS JOIN makes SQLite take the keys one by one, and look each up in the index.
        sql = (
            f"SELECT k.key{wanted} FROM json_each(?) k "
            f"CROSS JOIN {table_name(model)} t WHERE {match}"
        )
        values = (_to_python(keys.columns[name].take(slice(1)))[0] for name in constant)
        parameters = (json.dumps(_keys(keys.select(varying))), *values)
        found = chain.from_iterable(self.database.execute_sql(sql, parameters))
        table = np.fromiter(found, dtype=np.int64).reshape(-1, 1 + len(columns))
        return table[:, 0], list(table[:, 1:].T)

    def next_keys(self, model: type[Model], count: int) -> NDArray[np.int64]:
        """Return keys after the highest there is; the transaction holds the write lock."""
        key = quote(primary_key(model).column_name)
        (highest,) = self.database.execute_sql(
            f"SELECT coalesce(max({key}), 0) FROM {table_name(model)}"
        ).fetchone()
        return np.arange(highest + 1, highest + 1 + count, dtype=np.int64)

    def advance_keys(self, model: type[Model], highest: int) -> None:
        """Do nothing: SQLite numbers a new row after the highest one by itself."""

    def create_tables(self, models: Sequence[type[Model]]) -> None:
        """Create what is missing; the transaction holds the write lock."""
        there = set(self.database.get_tables())
        self.database.create_tables([m for m in models if m._meta.table_name not in there])
        for model in models:
            model._schema.create_indexes(safe=True)  # type: ignore[attr-defined] # no stub

    def problems(self, models: Sequence[type[Model]]) -> list[str]:
        """Compare the tables' columns with the models'."""
        found: list[str] = []
        for model in models:
            name = model._meta.table_name
            # Peewee's get_columns leaves generated ones out.
            rows = self.database.execute_sql(f"PRAGMA table_xinfo({quote(name)})").fetchall()
            stored = {row[1] for row in rows}
            found += [
                f"table {name} has no column {column}: it was made by an older version; run "
                "`astra migrate`"
                for column in model._meta.columns
                if column not in stored
            ]
        return found

    def is_transient(self, error: BaseException) -> bool:
        """Only a lock that another connection holds passes by itself."""
        cause = driver_error(error)
        if not isinstance(cause, sqlite3.OperationalError | PeeweeException):
            return False
        code = getattr(cause, "sqlite_errorcode", None)
        if code is not None:
            return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        return any(words in str(cause) for words in _TRANSIENT_WORDS)


def _update_sql(model: type[Model], fields: Sequence[str], match: Sequence[str]) -> str:
    """Return the update of one row; the parameters are the fields, numbered in their order.

    IS finds a NULL, too, and uses an index as ``=`` does.
    """
    columns = dict(zip(fields, column_names(model, fields), strict=True))
    number = {name: f"?{n}" for n, name in enumerate(fields, start=1)}
    values = ", ".join(f"{columns[n]} = {number[n]}" for n in fields if n not in match)
    where = " AND ".join(f"{columns[n]} IS {number[n]}" for n in match)
    return f"UPDATE {table_name(model)} SET {values} WHERE {where}"


def _placeholders(count: int) -> str:
    return f"VALUES ({', '.join('?' * count)})"


def bulk_rows(block: Block) -> tuple[list[str], Iterator[list[Any]]]:
    """Return a block's rows as lists of what sqlite3 binds.

    All floats of a row are made by one call, and all integers: what takes time is the calls.
    Few rows exist at a time, which takes little memory and stays within a core's cache.

    Returns
    -------
    names : list of str
        The fields, in the order in which the rows have them.
    rows : iterator of list
    """
    kinds: dict[str, list[str]] = {"f": [], "i": [], "": []}
    for name, column in block.columns.items():
        kind = column.values.dtype.kind if column.values.ndim == 1 else ""
        is_bulk = kind == "f" or (kind == "i" and column.null is None)
        kinds[kind if is_bulk else ""].append(name)
    floats, integers, others = ([block.columns[name] for name in names] for names in kinds.values())
    names = [name for group in kinds.values() for name in group]
    return names, _rows(block.rows, runs(floats), runs(integers), others)


def _rows(
    count: int,
    floats: Sequence[Run | Column],
    integers: Sequence[Run | Column],
    others: Sequence[Column],
) -> Iterator[list[Any]]:
    for start in range(0, count, _ROWS):
        part = slice(start, min(start + _ROWS, count))
        size = part.stop - part.start
        objects = [_to_python(column.take(part), null=_NAN) for column in others]
        rest = map(list, zip(*objects, strict=True)) if objects else repeat([], size)
        numbers = zip(
            _numbers(floats, part, np.float64), _numbers(integers, part, np.int64), strict=True
        )
        for (row, more), texts in zip(numbers, rest, strict=True):
            row.extend(more)
            row.extend(texts)
            yield row


def _numbers(
    found: Sequence[Run | Column], part: slice, dtype: type[np.generic]
) -> list[list[Any]]:
    """Return a part's rows of numbers; a NULL is a NaN (see `_NAN`)."""
    widths = [each.values.shape[1] for each in found]
    matrix = np.empty((part.stop - part.start, sum(widths)), dtype=dtype)
    start = 0
    for each, width in zip(found, widths, strict=True):
        place = matrix[:, start : start + width]
        with np.errstate(invalid="ignore"):  # a NaN that signals is one like the others
            place[...] = each.values[part]
        if each.null is not None:
            place[each.null[part]] = np.nan
        start += width
    return matrix.tolist()


def rows_of(block: Block) -> Iterable[tuple[Any, ...]]:
    """Return the block's rows as tuples of what sqlite3 gives back."""
    return zip(*(_to_python(column) for column in block.columns.values()), strict=True)


def _keys(block: Block) -> list[Any]:
    """Return a block's rows as JSON has them: a value where there is one column, else a list."""
    if len(block.columns) > 1:
        return list(rows_of(block))
    (column,) = block.columns.values()
    return _to_python(column)


def _is_constant(column: Column) -> bool:
    values = column.values
    return len(values) > 0 and column.null is None and bool((values == values[0]).all())


def _to_python(column: Column, null: float | None = None) -> list[Any]:
    values, kind = column.values, column.values.dtype.kind
    if len(values) > 1 and values.strides[0] == 0 and column.null is None:
        objects = _to_python(Column(values[:1])) * len(values)  # a constant
    elif kind == "S":
        objects = _texts(values)
    elif kind == "O":
        objects = _evaluated(values.tolist())
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
            objects[row] = null
    return objects


def _evaluated(objects: list[Any]) -> list[Any]:
    """Return objects that sqlite3 binds: of SQL (a call of ``json``, say), what it gives."""
    if not any(isinstance(each, Node) for each in objects):
        return objects
    with closing(sqlite3.connect(":memory:")) as anywhere:
        for place, each in enumerate(objects):
            if isinstance(each, Node):
                sql, parameters = Context().sql(each).query()
                (objects[place],) = anywhere.execute(f"SELECT {sql}", parameters).fetchone()
    return objects


def _texts(values: NDArray[np.generic]) -> list[Any]:
    try:
        return values.astype("U").tolist()
    except UnicodeDecodeError:  # NumPy decodes ASCII only
        return [value.decode("utf-8") for value in values.tolist()]
