"""The upsert of model instances, for pipelines that write their results from Python."""

from __future__ import annotations

import dataclasses
import datetime
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astra.backends import backend_for
from astra.block import Block, Column
from astra.errors import UsageError
from astra.plain import MISFITS, adapt, objects
from astra.storage import Storage, fit, storage_of
from astra.transaction import run
from astra.upsert import GENERATED, RESULT_KEY, kept
from astra.utils import utcnow

if TYPE_CHECKING:
    from peewee import Database, Field, Model

    from astra.models.pipeline import PipelineOutputMixin

#: Instances are sent so many at a time.
_BATCH = 10_000
#: A text column is laid out at the width of its longest value; up to so many bytes in all.
_WIDEST = 1 << 26

_Key = tuple[int, int]
_Stored = dict[_Key, tuple[int, datetime.datetime]]


def bulk_insert_or_replace_pipeline_results(
    results: Iterable[PipelineOutputMixin],
) -> Iterator[PipelineOutputMixin]:
    """Write results of one pipeline: new ones are inserted, old ones replaced.

    A result is known by its spectrum and the major.minor part of its version; one that is there
    already is overwritten in all columns but `task_pk` and `created`, and `modified` moves.  If
    two of the results have the same key, the last one wins.  All is written before the function
    returns, in one transaction.

    Parameters
    ----------
    results : iterable of PipelineOutputMixin
        Instances of one model; none at all is fine.  A float that a 32-bit column cannot hold
        exactly is rounded to the nearest one that it can; NaN is stored as NULL.

    Returns
    -------
    iterator of PipelineOutputMixin
        Each instance, in the order given, with `task_pk`, `created` and `modified` as stored.

    Raises
    ------
    UsageError
        If the results are of several models, or a value does not fit its column.
    peewee.PeeweeException
        If the database refuses a row.  In either case none of the results is written.
    """
    instances = list(results)
    models = {type(instance) for instance in instances}
    if len(models) > 1:
        names = ", ".join(sorted(model.__name__ for model in models))
        raise UsageError(f"results of one model at a time, not of several: {names}")
    if instances:
        (model,) = models
        database = model._meta.database
        now = utcnow()
        stored = run(database, lambda: _write(database, model, instances, now))
        instance: Any
        for instance in instances:
            instance._pk, instance.created = stored[_key(instance)]
            instance.modified = now
            instance._dirty.clear()
    return iter(instances)


def _key(instance: PipelineOutputMixin) -> _Key:
    data, name = instance.__data__, type(instance).__name__
    if data.get("spectrum_pk") is None:
        raise UsageError(f"{name}.spectrum_pk: a result needs one")
    version = data.get("v_astra")
    if not isinstance(version, int | np.integer) or version < 0:
        raise UsageError(f"{name}.v_astra is {version!r}, expected a packed version such as 8001")
    return int(data["spectrum_pk"]), int(version) // 1000


def _write(
    database: Database,
    model: type[Model],
    instances: Sequence[PipelineOutputMixin],
    now: datetime.datetime,
) -> _Stored:
    """Write all instances in batches, and return what is stored, by key."""
    stored: _Stored = {}
    for start in range(0, len(instances), _BATCH):
        last = {_key(instance): instance for instance in instances[start : start + _BATCH]}
        rows = [{**instance.__data__, "modified": now} for instance in last.values()]
        key, _ = kept(model)
        numbered = [row for row in rows if row.get(key) is not None]
        for group in (numbered, [row for row in rows if row.get(key) is None]):
            if group:
                stored |= _write_rows(database, model, group)
    return stored


def _write_rows(database: Database, model: type[Model], rows: Sequence[dict[str, Any]]) -> _Stored:
    """Upsert rows that all have a `task_pk`, or all have none."""
    key, _ = kept(model)
    fields = [field for field in model._meta.sorted_fields if field.name not in GENERATED]
    update = [field.name for field in fields if field.name not in kept(model)]
    if rows[0].get(key) is None:
        fields = [field for field in fields if not field.primary_key]
    returning = (*RESULT_KEY, *kept(model))
    block = block_of(fields, rows)
    backend = backend_for(database)
    found = backend.upsert_returning(model, block, RESULT_KEY, update, returning)
    if key in block.columns:
        backend.advance_keys(model, int(block.integers(key).max()))
    return _as_stored(model, found)


def _as_stored(model: type[Model], rows: Iterable[tuple[Any, ...]]) -> _Stored:
    python_value = model._meta.fields["created"].python_value
    return {
        (spectrum_pk, major_minor): (task_pk, python_value(created))
        for spectrum_pk, major_minor, task_pk, created in rows
    }


def block_of(fields: Sequence[Field], rows: Sequence[dict[str, Any]]) -> Block:
    """Turn rows into a block."""
    columns = {
        field.name: _column(field, storage_of(field), [row.get(field.name) for row in rows])
        for field in fields
    }
    return Block(columns, len(rows))


def _column(field: Field, storage: Storage, values: list[Any]) -> Column:
    """Turn Python values into a column; of Python objects where they have no form in bulk."""
    null = np.array([value is None for value in values], dtype=bool)
    try:
        if storage.kind == "plain":
            array = objects([adapt(field, value) for value in values])
        else:
            array = _array(field, storage, values)
    except MISFITS as error:
        raise UsageError(
            f"{field.model.__name__}.{field.name}: a value does not go into a {storage.label}: "
            f"{error}"
        ) from error
    if storage.kind == "float":
        null = np.isnan(array)  # the same on both databases: SQLite knows no NaN
        return Column(array, null if null.any() else None)
    if storage.kind != "text" and not array.dtype.hasobject:
        exact = dataclasses.replace(storage, nullable=True, missing=False, is_key=False)
        array = _fitted(field, exact, array, null).values
    return Column(array, null if null.any() else None)


def _fitted(field: Field, storage: Storage, array: NDArray[Any], null: NDArray[np.bool_]) -> Column:
    fitted = fit(storage, array, null)
    for bad, reason in fitted.misfits:
        row = int(np.flatnonzero(bad)[0])
        raise UsageError(f"{field.model.__name__}.{field.name}: {reason(row)}")
    return fitted.column


def _array(field: Field, storage: Storage, values: list[Any]) -> NDArray[Any]:
    if storage.kind == "float":
        wide = np.array(values, dtype=np.float64)
        with np.errstate(over="ignore"):
            floats = wide.astype(storage.dtype)
        if (np.isinf(floats) & np.isfinite(wide)).any():
            raise OverflowError(f"{wide[np.isinf(floats) & np.isfinite(wide)][0]} is too large")
        return floats
    if storage.kind == "integer":
        return np.array([0 if value is None else _whole(value) for value in values], dtype=np.int64)
    if storage.kind == "boolean":
        return np.array([value is not None and _truth(value) for value in values], dtype=bool)
    if storage.kind == "time":
        return np.array([_naive(value) for value in values], dtype="datetime64[us]")
    if storage.kind == "text":
        return _texts([b"" if value is None else str(value).encode() for value in values])
    return _byte_rows(field, storage, values)


def _whole(value: Any) -> int:
    if isinstance(value, float | np.floating) and value.is_integer():
        return int(value)
    return operator.index(value)


def _truth(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{value!r} is neither True nor False")
    return bool(value)


def _naive(value: Any) -> Any:
    if isinstance(value, str):
        value = datetime.datetime.fromisoformat(value)
    if isinstance(value, datetime.datetime) and value.tzinfo:
        return value.astimezone(datetime.UTC).replace(tzinfo=None)
    return value


def _texts(values: list[bytes]) -> NDArray[Any]:
    """Lay out texts side by side; as Python objects if that would take too much memory."""
    if any(b"\0" in value for value in values):
        raise ValueError("a text with a NUL in it, which PostgreSQL cannot store")
    width = max(map(len, values), default=0)
    if width * len(values) > _WIDEST:
        return objects([value.decode() for value in values])
    return np.array(values, dtype=f"S{max(width, 1)}")


def _byte_rows(field: Field, storage: Storage, values: list[Any]) -> NDArray[Any]:
    """Lay out byte strings or vectors side by side; as Python objects if they differ in length."""
    given = [value for value in values if value is not None]
    dtype = np.dtype(np.uint8 if storage.kind == "bytes" else np.float32)
    if storage.kind == "bytes":
        given = [np.frombuffer(memoryview(value), dtype=np.uint8) for value in given]
    rows = [np.asarray(value, dtype=dtype).ravel() for value in given]
    present = iter(rows)
    if len({len(row) for row in rows}) > 1:
        each = (None if value is None else next(present) for value in values)
        is_bytes = storage.kind == "bytes"
        return objects(
            [field.db_value(row.tobytes() if is_bytes and row is not None else row) for row in each]
        )
    filler = np.zeros(len(rows[0]) if rows else 0, dtype=dtype)
    return np.array(
        [filler if value is None else next(present) for value in values], dtype=dtype
    ).reshape(len(values), len(filler))
