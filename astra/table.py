"""From a query to an astropy table, with units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from peewee import Alias, Field, FieldAlias, ForeignKeyField, ModelSelect

from astra.flags import Condition, Flag

if TYPE_CHECKING:
    from astropy.table import Table

_DTYPES = {
    "SMALLINT": "int16",
    "INT": "int32",
    "AUTO": "int32",
    "BIGINT": "int64",
    "BIGAUTO": "int64",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "BOOL": "bool",
}
_VECTOR_DTYPES = {"FLOAT_ARRAY": "float32", "BLOB": "uint8"}


def to_table(query: ModelSelect) -> Table:
    """Run a query and return its rows as an astropy table.

    Parameters
    ----------
    query : peewee.ModelSelect
        Such as ``Corv.select().where(Corv.teff > 10_000)``.

    Returns
    -------
    astropy.table.Table
        One column for each that is selected, in the type of its field (float32, int64, bool, str,
        ...), with the field's unit and meaning; NULL is masked.  Times are ISO 8601 text in UTC.
        Arrays have shape (n_rows, width of the longest), shorter ones masked beyond their end.
        Where two tables have a name, the later column is called ``table.name``.

    Examples
    --------
    >>> to_table(Corv.select(Corv.teff, Source.ra).join(Source, on=Corv.source_pk == Source.pk))
    """
    from astropy.table import Column, MaskedColumn, Table

    rows: list[Any] = list(query.tuples())
    table = Table()
    for number, node in enumerate(query.selected_columns):
        field = _field(node)
        values, mask = _array([row[number] for row in rows], field)
        kwargs = {
            "name": _name(node, field, number, table.colnames),
            "unit": getattr(field, "unit", None) or None,
            "description": getattr(field, "help_text", None),
        }
        if mask.any():
            table.add_column(MaskedColumn(values, mask=mask, **kwargs))
        else:
            table.add_column(Column(values, **kwargs))
    return table


def _unwrap(node: Any) -> Any:
    return node.node if isinstance(node, Alias) else node


def _field(node: Any) -> Any:
    """Return the field, flag or derived flag that is selected, or None."""
    node = _unwrap(node)
    if isinstance(node, FieldAlias):
        node = node.field
    return node if isinstance(node, Field | Flag | Condition) else None


def _name(node: Any, field: Any, number: int, taken: Sequence[str]) -> str:
    if isinstance(node, Alias):
        return str(node.name)
    if field is None:
        return f"column_{number}"
    return f"{field.model._meta.table_name}.{field.name}" if field.name in taken else field.name


def _array(values: list[Any], field: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the values of one column, and where they are masked."""
    null = np.array([value is None for value in values], dtype=bool)
    if isinstance(field, ForeignKeyField):
        field = field.rel_field
    if isinstance(field, Flag | Condition):
        return np.array([bool(value) for value in values], dtype=bool), null
    if field is None:
        some = next((value for value in values if value is not None), 0.0)
        return np.array([type(some)() if v is None else v for v in values]), null
    if field.field_type in _VECTOR_DTYPES:
        return _vectors(values, _VECTOR_DTYPES[field.field_type])
    if field.field_type in _DTYPES:
        known = [0 if value is None else value for value in values]
        return np.array(known, dtype=_DTYPES[field.field_type]), null
    return np.array([_text(value) for value in values], dtype=str), null


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def _vectors(values: list[Any], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    vectors = [
        np.frombuffer(value, dtype=dtype) if isinstance(value, bytes) else value for value in values
    ]
    width = max((len(vector) for vector in vectors if vector is not None), default=0)
    array = np.zeros((len(vectors), width), dtype=dtype)
    mask = np.ones(array.shape, dtype=bool)
    for row, vector in enumerate(vectors):
        if vector is not None:
            array[row, : len(vector)] = vector
            mask[row, : len(vector)] = False
    return array, mask
