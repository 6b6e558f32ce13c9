"""PostgreSQL: blocks go in by binary COPY, straight into the table or through a temporary one.

A block with a column of Python objects goes in by INSERT, which takes some thirty times as long.
"""

from __future__ import annotations

import decimal
import io
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import psycopg2
import psycopg2.extensions
import psycopg2.extras
from numpy.typing import NDArray
from peewee import (  # type: ignore[attr-defined] # no stub for it
    Database,
    DataError,
    Model,
    PeeweeException,
    __exception_wrapper__,
)

from astra.backends import driver_error, pgcopy
from astra.block import Block, Column
from astra.storage import storage_of
from astra.upsert import column_names, primary_key, quote, table_name, upsert_sql

# Classes and codes of https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_CLASSES = ("08",)  # connection exceptions
_TRANSIENT_CODES = frozenset(
    {
        "25006",  # read_only_sql_transaction: a standby, which may become the primary
        "25P03",  # idle_in_transaction_session_timeout
        "25P04",  # transaction_timeout
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "53300",  # too_many_connections
        "55P03",  # lock_not_available
        "57014",  # query_canceled: a statement timeout on a busy server, or somebody's decision
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P05",  # idle_session_timeout
    }
)

# An error while connecting carries no SQLSTATE in psycopg2, only libpq's or the server's words.
_TRANSIENT_WORDS = (
    *("Connection refused", "could not connect to server", "timeout expired", "timed out"),
    *("starting up", "shutting down", "recovery mode", "not yet accepting connections"),
    *("too many clients", "remaining connection slots", "too many connections"),
    *("server closed the connection", "connection to server was lost", "Connection reset"),
    *("terminating connection", "connection already closed", "could not receive data"),
    *("could not send data", "SSL SYSCALL error", "Broken pipe", "no connection to the server"),
    *("server conn crashed", "server login has been failing", "pgbouncer cannot connect"),
    *("query_wait_timeout", "client_login_timeout", "No such file or directory"),
    "Temporary failure in name resolution",
    *("session is read-only", "server is in hot standby mode"),
)

_STAGE = quote("astra_stage")
#: A chunk is always few rows beside those of a table: the planner, which has no statistics of a
#: temporary table, must not think that reading all of the other one is quicker.
_BY_INDEX = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
_LOCK_TABLES = 0x6173_7472_6101  # advisory locks' numbers: "astra", then which
_LOCK_SEQUENCES = 0x6173_7472_6102
_GRANT = "its owner gives it with `astra migrate --grant ROLE`"
_INT8 = 20
#: Rows in a statement of values.
_PAGE = 500


def is_connection_parameter(key: str) -> bool:
    """Tell whether libpq knows a connection parameter of this name."""
    try:
        psycopg2.extensions.make_dsn(**{key: "1"})
    except psycopg2.ProgrammingError:
        return False
    return True


def _exact_float4(text: str | None, _cursor: object) -> float | None:
    # The server writes a 4-byte float as the shortest decimal that is nearest to it; read as a
    # double, 0.1 would not equal the value of the file, nor what SQLite returns.
    if text is None:
        return None
    exact: float = _FLOAT4.unpack(_FLOAT4.pack(float(text)))[0]
    return exact


_FLOAT4 = struct.Struct("f")
_FLOAT4_TYPE = psycopg2.extensions.new_type((700,), "FLOAT4", _exact_float4)
_FLOAT4_ARRAY_TYPE = psycopg2.extensions.new_array_type((1021,), "FLOAT4ARRAY", _FLOAT4_TYPE)


def prepare_connection(connection: Any) -> Any:
    """Make a new connection read 4-byte floats as exactly the value that is stored."""
    psycopg2.extensions.register_type(_FLOAT4_TYPE, connection)
    psycopg2.extensions.register_type(_FLOAT4_ARRAY_TYPE, connection)
    return connection


class _Stream(io.RawIOBase):
    """Lets COPY read what a generator makes, each piece made while the server takes the last."""

    def __init__(self, pieces: Iterable[bytes], executor: Executor) -> None:
        self._pieces = iter(pieces)
        self._executor = executor
        self._next = self._submit()

    def _submit(self) -> Future[bytes]:
        return self._executor.submit(next, self._pieces, b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002 # libpq takes pieces of any size
        piece = self._next.result()
        if piece:
            self._next = self._submit()
        return piece


@contextmanager
def _unprinted() -> Iterator[None]:
    """Keep psycopg2 from printing what it raises, too, when a connection is lost in a COPY."""
    hook, sys.excepthook = sys.excepthook, lambda *_: None
    try:
        yield
    finally:
        sys.excepthook = hook


class PostgresBackend:
    """The seam's PostgreSQL side; see `astra.backends.Backend`."""

    has_cheap_savepoints = True

    def __init__(self, database: Database) -> None:
        self.database = database

    def insert(self, model: type[Model], block: Block) -> None:
        """Copy rows straight into the table."""
        names = list(block.columns)
        columns = ", ".join(column_names(model, names))
        self._put_in(f"{table_name(model)} ({columns})", block)

    def upsert(
        self, model: type[Model], block: Block, conflict: Sequence[str], update: Sequence[str]
    ) -> tuple[int, int]:
        """Copy rows into a temporary table, and merge that."""
        self._stage(model, block)
        updated = inserted = 0
        if update:
            updated = self.database.execute_sql(_update_sql(model, conflict, update)).rowcount
        if updated < block.rows:
            inserted, merged = self._merge(_insert_sql(model, block, conflict, update))
            if update and updated + merged < block.rows:
                # Between the two, another transaction has added rows.
                inserted += self._merge(_upsert_sql(model, block, conflict, update))[0]
            updated = block.rows - inserted if update else 0
        self.database.execute_sql(f"DROP TABLE {_STAGE}")
        return inserted, updated

    def _merge(self, sql: str) -> tuple[int, int]:
        """Run an upsert, and return how many rows are new, and how many it wrote."""
        # A row version that no transaction has deleted or updated before has no xmax: it is new.
        cursor = self.database.execute_sql(
            f"WITH merged AS ({sql} RETURNING (xmax = 0) AS is_new) "
            "SELECT count(*) FILTER (WHERE is_new), count(*) FROM merged"
        )
        inserted, merged = cursor.fetchone()
        return inserted, merged

    def upsert_returning(
        self,
        model: type[Model],
        block: Block,
        conflict: Sequence[str],
        update: Sequence[str],
        returning: Sequence[str],
    ) -> list[tuple[Any, ...]]:
        """Copy rows into a temporary table, merge that, and return what is stored."""
        self._stage(model, block)
        names = column_names(model, returning)
        of_table = ", ".join(f"t.{name}" for name in names)
        sql = f"{_update_sql(model, conflict, update)} RETURNING {of_table}"
        rows: list[tuple[Any, ...]] = self.database.execute_sql(sql).fetchall()
        for make_sql in (_insert_sql, _upsert_sql):  # the second one as in `upsert`
            if len(rows) < block.rows:
                sql = make_sql(model, block, conflict, update)
                rows += self.database.execute_sql(f"{sql} RETURNING {', '.join(names)}").fetchall()
        self.database.execute_sql(f"DROP TABLE {_STAGE}")
        return rows

    def _stage(self, model: type[Model], block: Block) -> None:
        """Fill the temporary table."""
        self._make_stage(model, block)
        self._put_in(_STAGE, block)

    def _make_stage(self, model: type[Model], block: Block) -> None:
        columns = ", ".join(column_names(model, block.columns))
        self.database.execute_sql(
            f"CREATE TEMPORARY TABLE {_STAGE} ON COMMIT DROP AS "
            f"SELECT {columns} FROM {table_name(model)} WITH NO DATA; {_BY_INDEX}"
        )

    def _put_in(self, target: str, block: Block) -> None:
        """Put rows in by COPY, or by INSERT if a column has Python objects."""
        if block.is_plain:
            self._insert_values(target, _parameters(block))
            return
        sql = f"COPY {target} FROM STDIN (FORMAT binary)"
        pieces = pgcopy.encode(list(block.columns.values()))
        with (
            __exception_wrapper__,
            self.database.cursor() as cursor,
            ThreadPoolExecutor(1, "astra-encode") as executor,
            _unprinted(),
        ):
            cursor.copy_expert(sql, _Stream(pieces, executor))

    def _insert_values(self, target: str, rows: Iterable[Sequence[Any]]) -> None:
        sql = f"INSERT INTO {target.replace('%', '%%')} VALUES %s"
        with __exception_wrapper__, self.database.cursor() as cursor:
            psycopg2.extras.execute_values(cursor, sql, rows, page_size=_PAGE)

    def refused(self, model: type[Model], block: Block) -> list[tuple[int, str]]:
        """Return the rows with a value that the server does not take, and what it says of each."""
        if not block.is_plain:
            return []
        self._make_stage(model, block)
        found = self._refused(list(_parameters(block)), 0)
        self.database.execute_sql(f"DROP TABLE {_STAGE}")
        return found

    def _refused(self, rows: Sequence[Sequence[Any]], first: int) -> list[tuple[int, str]]:
        """Halve what is refused, until it is one row; they are numbered from `first`."""
        try:
            with self.database.atomic():
                self._insert_values(_STAGE, rows)
        except DataError as error:
            if len(rows) == 1:
                return [(first, str(error).splitlines()[0])]
            half = len(rows) // 2
            return self._refused(rows[:half], first) + self._refused(rows[half:], first + half)
        return []

    def find(
        self, model: type[Model], keys: Block, columns: Sequence[str]
    ) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
        """Look up rows by key, all keys in one query."""
        fields = [model._meta.fields[name] for name in keys.columns]
        aliases = [quote(f"k{number}") for number in range(len(fields))]
        arrays = ", ".join(f"%s::{_array_type(column)}" for column in keys.columns.values())
        match = " AND ".join(
            f"t.{quote(field.column_name)} = k.{alias}"
            for field, alias in zip(fields, aliases, strict=True)
        )
        wanted = "".join(
            f", coalesce(t.{name}, -1)::bigint" for name in column_names(model, columns)
        )
        sql = (
            f"SELECT k.n{wanted} FROM unnest({arrays}) WITH ORDINALITY "
            f"AS k ({', '.join(aliases)}, n) JOIN {table_name(model)} t ON {match}"
        )
        parameters = [_array_literal(column) for column in keys.columns.values()]
        found = self._copy_out(sql, parameters, 1 + len(columns))
        return found[0] - 1, found[1:]

    def _copy_out(
        self, sql: str, parameters: Sequence[object], width: int
    ) -> list[NDArray[np.int64]]:
        """Run a query whose columns are all 64-bit integers, and return them as arrays."""
        out = io.BytesIO()
        with __exception_wrapper__, self.database.cursor() as cursor, _unprinted():
            query = cursor.mogrify(sql, parameters).decode()
            cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", out)
        body = out.getbuffer()[len(pgcopy.SIGNATURE) : -len(pgcopy.TRAILER)]
        row = [("n", ">i2")]
        for number in range(width):
            row += [(f"size{number}", ">i4"), (f"value{number}", ">i8")]
        records = np.frombuffer(body, dtype=np.dtype(row))
        return [records[f"value{number}"].astype(np.int64) for number in range(width)]

    def next_keys(self, model: type[Model], count: int) -> NDArray[np.int64]:
        """Draw keys from the table's sequence."""
        sql = "SELECT nextval(%s::regclass) FROM generate_series(1, %s)"
        rows = self.database.execute_sql(sql, (self._sequence(model), count)).fetchall()
        return np.array([key for (key,) in rows], dtype=np.int64)

    def advance_keys(self, model: type[Model], highest: int) -> None:
        """Set the table's sequence past a key; never back."""
        sequence = self._sequence(model)
        # Between reading the sequence and setting it, another task could set it higher.  It is
        # set at once and for good, so the lock need not be held until the transaction ends.
        self.database.execute_sql(
            "SELECT pg_advisory_lock(%s); "
            f"SELECT setval(%s::regclass, %s) FROM {sequence} WHERE last_value <= %s; "
            "SELECT pg_advisory_unlock(%s)",
            (_LOCK_SEQUENCES, sequence, highest, highest, _LOCK_SEQUENCES),
        )

    def _sequence(self, model: type[Model]) -> str | None:
        """Return the quoted name of the sequence that numbers a table's primary key, if any."""
        key = primary_key(model).column_name
        (name,) = self.database.execute_sql(
            "SELECT pg_get_serial_sequence(%s, %s)", (table_name(model), key)
        ).fetchone()
        return None if name is None else str(name)

    def create_tables(self, models: Sequence[type[Model]]) -> None:
        """Create what is missing, one process at a time.

        ``CREATE TABLE IF NOT EXISTS`` alone is not safe: of several processes that run it at
        once, all but one fail.
        """
        self.database.execute_sql("SELECT pg_advisory_xact_lock(%s)", (_LOCK_TABLES,))
        self.database.create_tables(models, safe=True)

    def problems(self, models: Sequence[type[Model]]) -> list[str]:
        """Compare schema, tables, columns and rights with what the models need."""
        (read_only,) = self.database.execute_sql("SHOW transaction_read_only").fetchone()
        if read_only == "on":
            return ["it is read-only: a standby, or default_transaction_read_only is on"]
        schema = models[0]._meta.schema
        if schema is not None:
            there = self.database.execute_sql(
                "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = %s",
                (schema,),
            ).fetchone()
            if there is None:
                how = "its owner makes it with `astra migrate`, or correct `schema` in astra.yml"
                return [f'there is no schema "{schema}": {how}']
            if not there[0]:
                return [f'no right to use the schema "{schema}": {_GRANT}']
        stored = self._columns(models)
        missing = [model._meta.table_name for model in models if not stored[table_name(model)]]
        there = [model for model in models if stored[table_name(model)]]
        found = [
            text for model in there for text in _column_problems(model, stored[table_name(model)])
        ]
        found += self._right_problems(there)
        if missing:
            own = any(not model.__module__.startswith("astra.models") for model in models)
            how = "astra migrate --manifest MANIFEST" if own else "astra migrate"
            found.insert(0, f"tables are missing ({_some(missing)}): run `{how}`")
        if not self._may_make_temporary_tables():
            found.append(
                "the role may not make temporary tables: GRANT TEMPORARY ON DATABASE to it"
            )
        return found

    def _may_make_temporary_tables(self) -> bool:
        sql = "SELECT has_database_privilege(current_database(), 'TEMPORARY')"
        return bool(self.database.execute_sql(sql).fetchone()[0])

    def _columns(self, models: Sequence[type[Model]]) -> dict[str, dict[str, str]]:
        """Return the type of each column of each model's table; nothing where there is none."""
        found: dict[str, dict[str, str]] = {table_name(model): {} for model in models}
        rows = self.database.execute_sql(
            "SELECT t.name, a.attname, format_type(a.atttypid, NULL) "
            "FROM unnest(%s::text[]) AS t (name) "
            "JOIN pg_attribute a ON a.attrelid = to_regclass(t.name) "
            "WHERE a.attnum > 0 AND NOT a.attisdropped",
            (list(found),),
        )
        for table, column, kind in rows.fetchall():
            found[table][column] = kind
        return found

    def _right_problems(self, models: Sequence[type[Model]]) -> list[str]:
        """Return which rights are lacking on tables that are there."""
        rights = ("SELECT", "INSERT", "UPDATE", "SELECT on its sequence", "UPDATE on its sequence")
        rows = self.database.execute_sql(
            # The server answers for each right, and NULL for a table without a sequence.
            "SELECT t.label, has_table_privilege(t.name, 'SELECT'), "
            "has_table_privilege(t.name, 'INSERT'), has_table_privilege(t.name, 'UPDATE'), "
            "has_sequence_privilege(pg_get_serial_sequence(t.name, t.key), 'SELECT'), "
            "has_sequence_privilege(pg_get_serial_sequence(t.name, t.key), 'UPDATE') "
            "FROM unnest(%s::text[], %s::text[], %s::text[]) AS t (label, name, key)",
            (
                [model._meta.table_name for model in models],
                [table_name(model) for model in models],
                [primary_key(model).column_name for model in models],
            ),
        )
        lacking: dict[str, list[str]] = {}
        for table, *has in rows.fetchall():
            without = [right for right, it_has in zip(rights, has, strict=True) if it_has is False]
            if without:
                lacking.setdefault(", ".join(without), []).append(table)
        return [
            f"the role may not {without} on {_some(tables)}: {_GRANT}"
            for without, tables in lacking.items()
        ]

    def is_transient(self, error: BaseException) -> bool:
        """Judge by SQLSTATE, and by libpq's words where there is none."""
        cause = driver_error(error)
        if not isinstance(cause, psycopg2.Error | PeeweeException):
            return False
        code = getattr(cause, "pgcode", None)
        if code:
            return code in _TRANSIENT_CODES or code.startswith(_TRANSIENT_CLASSES)
        if isinstance(cause, psycopg2.InterfaceError):
            return "closed" in str(cause)
        return isinstance(cause, psycopg2.OperationalError | psycopg2.DatabaseError) and any(
            words in str(cause) for words in _TRANSIENT_WORDS
        )


#: peewee's field_type -> the type of the server's column, as format_type spells it
_TYPE_NAMES = {
    "AUTO": "integer",
    "BIGAUTO": "bigint",
    "INT": "integer",
    "BIGINT": "bigint",
    "SMALLINT": "smallint",
    "FLOAT": "real",
    "DOUBLE": "double precision",
    "BOOL": "boolean",
    "TEXT": "text",
    "DATETIME": "timestamp without time zone",
    "BLOB": "bytea",
    "FLOAT_ARRAY": "real[]",
}


def _some(names: Sequence[str], most: int = 4) -> str:
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _column_problems(model: type[Model], stored: dict[str, str]) -> list[str]:
    """Return the columns that a table lacks, or has with another type than the model."""
    name = model._meta.table_name
    found = []
    for column, field in model._meta.columns.items():
        target = field.rel_field if hasattr(field, "rel_field") else field
        kind = target.field_type.replace("AUTO", "INT") if target is not field else field.field_type
        expected = _TYPE_NAMES.get(kind)
        if column not in stored:
            found.append(f"table {name} has no column {column}: run `astra migrate`")
        elif expected not in (None, stored[column]) and storage_of(field).kind != "plain":
            found.append(
                f"table {name}: column {column} is {stored[column]}, expected {expected}: the "
                "schema was made by something else; use another schema"
            )
    return found


def _update_sql(model: type[Model], conflict: Sequence[str], update: Sequence[str]) -> str:
    """Return the statement that overwrites the rows that are there.

    It takes two thirds of the time of ``INSERT ... ON CONFLICT DO UPDATE``, which locks each row
    before it updates it, and draws a key for it.
    """
    values = ", ".join(f"{name} = s.{name}" for name in column_names(model, update))
    return (
        f"UPDATE {table_name(model)} t SET {values} FROM {_STAGE} s WHERE {_match(model, conflict)}"
    )


def _insert_sql(
    model: type[Model], block: Block, conflict: Sequence[str], update: Sequence[str]
) -> str:
    """Return the statement that inserts the rows that are not there."""
    there = f"SELECT FROM {table_name(model)} t WHERE {_match(model, conflict)}"
    where = f" WHERE NOT EXISTS ({there})" if update else ""
    return _upsert_sql(model, block, conflict, update, where)


def _upsert_sql(
    model: type[Model],
    block: Block,
    conflict: Sequence[str],
    update: Sequence[str],
    where: str = "",
) -> str:
    """Return the statement that inserts rows, or updates those that are there."""
    columns = ", ".join(column_names(model, block.columns))
    rows = f"SELECT {columns} FROM {_STAGE} s{where}"
    return upsert_sql(model, list(block.columns), rows, conflict, update)


def _match(model: type[Model], conflict: Sequence[str]) -> str:
    """Return the condition that a row of the temporary table has a key of the other one."""
    return " AND ".join(f"t.{name} = {_staged(name)}" for name in column_names(model, conflict))


def _staged(name: str) -> str:
    """Return a key column of the temporary table, which has none that are computed."""
    return "s.v_astra / 1000" if name == quote("v_astra_major_minor") else f"s.{name}"


def _parameters(block: Block) -> Iterator[tuple[Any, ...]]:
    """Yield a block's rows as psycopg2 binds them, each number as the text that means it.

    As a number it would pass through NUMERIC, and -0.0 lose its sign; as text the server reads it
    as its column's type.
    """
    for start in range(0, block.rows, _PAGE):
        page = (column.take(slice(start, start + _PAGE)) for column in block.columns.values())
        yield from zip(*map(_column_parameters, page), strict=True)


def _column_parameters(column: Column) -> Iterator[Any]:
    values, null = column.values, column.null
    kind = values.dtype.kind
    bound: Iterable[Any]
    if kind == "S":
        bound = (text.decode("utf-8") for text in values.tolist())
    elif kind == "u":
        bound = (psycopg2.Binary(row.tobytes()) for row in values)
    else:
        bound = map(_exact, values.tolist())
    for row, value in enumerate(bound):
        yield None if null is not None and null[row] else value


def _exact(value: Any) -> Any:
    """Return a number, or a list of them, as text; anything else as it is."""
    if isinstance(value, float):
        return float.__repr__(value)  # NumPy's own type of float, too, which has another one
    if isinstance(value, int | decimal.Decimal):
        return str(value)
    if isinstance(value, list) and all(isinstance(each, int | float | list) for each in value):
        return "{" + ",".join(map(_exact, value)) + "}"
    return value


def _array_type(column: Column) -> str:
    return "text[]" if column.values.dtype.kind == "S" else "bigint[]"


def _array_literal(column: Column) -> str:
    """Return a key column as text that the server reads as an array.

    It reads that ten times as fast as an expression with a constant for each element.
    """
    if column.values.dtype.kind != "S":
        return "{" + ",".join(map(str, column.values.tolist())) + "}"
    texts = [value.decode("utf-8") for value in column.values.tolist()]
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "{" + ",".join(f'"{text}"' for text in quoted) + "}"
