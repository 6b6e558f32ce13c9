"""The one upsert, as SQL, and what a result is known by."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from astra.block import Block, Column

if TYPE_CHECKING:
    from peewee import Model

#: The columns by which a result is known: one for each spectrum and major.minor version.
RESULT_KEY = ("spectrum_pk", "v_astra_major_minor")
#: The database computes these; they are never written.
GENERATED = ("v_astra_major_minor",)


def kept(model: type[Model]) -> tuple[str, str]:
    """Return the fields that a second run of the same pipeline leaves as they are.

    The first is the table's own key, `task_pk`.
    """
    return primary_key(model).name, "created"


def primary_key(model: type[Model]) -> Any:
    """Return the field that is a table's own key."""
    return model._meta.primary_key


def quote(*names: str) -> str:
    """Quote identifiers, joined by dots; a name may hold anything but a NUL."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def table_name(model: type[Model]) -> str:
    """Return the quoted name of a model's table, with its schema where it has one."""
    meta = model._meta
    return quote(*([meta.schema] if meta.schema else []), meta.table_name)


def column_names(model: type[Model], fields: Iterable[str]) -> list[str]:
    """Return the quoted column names of some of a model's fields."""
    return [quote(model._meta.fields[name].column_name) for name in fields]


def insert_sql(model: type[Model], fields: Sequence[str], rows: str) -> str:
    """Return ``INSERT INTO table (columns) rows``, where `rows` is VALUES or a query."""
    return f"INSERT INTO {table_name(model)} ({', '.join(column_names(model, fields))}) {rows}"


def upsert_sql(
    model: type[Model],
    fields: Sequence[str],
    rows: str,
    conflict: Sequence[str],
    update: Sequence[str],
) -> str:
    """Return the upsert that both databases understand.

    Parameters
    ----------
    model : type of Model
    fields : sequence of str
        The fields that `rows` has, in its order.
    rows : str
        ``VALUES (...)`` or a query, as SQL.
    conflict : sequence of str
        The fields of the unique index that tells whether a row is there already.
    update : sequence of str
        The fields to overwrite in a row that is there; if none, the row stays as it is.
    """
    target = ", ".join(column_names(model, conflict))
    if not update:
        action = "NOTHING"
    else:
        names = column_names(model, update)
        action = "UPDATE SET " + ", ".join(f"{name} = EXCLUDED.{name}" for name in names)
    return f"{insert_sql(model, fields, rows)} ON CONFLICT ({target}) DO {action}"


def conflict_keys(block: Block, conflict: Sequence[str]) -> Block:
    """Return the columns of the conflict target, computing those that the database generates."""
    if "v_astra_major_minor" not in conflict:
        return block.select(conflict)
    version = Column(block.integers("v_astra") // 1000)
    return block.with_columns(v_astra_major_minor=version).select(conflict)
