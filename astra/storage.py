"""What a column can hold: one answer for both databases.

SQLite would take ``2**40`` in a 32-bit column, and PostgreSQL would not; PostgreSQL would keep a
NaN, and SQLite would make it NULL.  So that a row is taken or set aside alike, `fit` decides
before either sees it: a value is stored exactly, or it is NULL by the rules below, or it is a
misfit with a reason.  Nothing is rounded, wrapped or cut.  A field whose type has no form in bulk
takes values one by one; see `astra.plain`.

NULL, in a column that may be NULL, is what Astra writes for "missing": NaN in floats, -1 in
integers, the empty string in text and times; not in bit fields, where 0 means no bit.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astra import plain
from astra.block import Column

if TYPE_CHECKING:
    from peewee import Field

Mask = NDArray[np.bool_]

_NOT_UTF8 = "{} is not text in UTF-8"

#: peewee's field_type -> (kind, dtype of a block's column)
_KINDS = {
    "SMALLINT": ("integer", ">i2"),
    "INT": ("integer", ">i4"),
    "AUTO": ("integer", ">i4"),
    "BIGINT": ("integer", ">i8"),
    "BIGAUTO": ("integer", ">i8"),
    "FLOAT": ("float", ">f4"),
    "DOUBLE": ("float", ">f8"),
    "BOOL": ("boolean", "?"),
    "TEXT": ("text", "S"),
    "VARCHAR": ("text", "S"),
    "DATETIME": ("time", "datetime64[us]"),
    "BLOB": ("bytes", "u1"),
    "FLOAT_ARRAY": ("vector", ">f4"),
}


@dataclass(frozen=True)
class Storage:
    """How a field is stored.

    Attributes
    ----------
    kind : str
        ``integer``, ``float``, ``boolean``, ``text``, ``time``, ``bytes`` or ``vector``; ``plain``
        if the type has no form in bulk.
    dtype : str
        NumPy's dtype of a block's column.
    nullable : bool
        Whether NULL is allowed.
    missing : bool
        Whether the values that mean "missing" become NULL (bit fields: no).
    is_key : bool
        Whether a missing value is an error, as rows are found by it.
    max_length : int or None
        Characters that a text column takes; None where there is no limit.
    field : Field or None
        The field that makes a ``plain`` column's values.
    """

    kind: str
    dtype: str
    nullable: bool
    missing: bool
    is_key: bool = False
    max_length: int | None = None
    field: Field | None = attribute(default=None, compare=False)

    @property
    def label(self) -> str:
        """The type in words, for messages: ``32-bit integer``."""
        if self.field is not None:
            return type(self.field).__name__
        bits = {">i2": 16, ">i4": 32, ">i8": 64, ">f4": 32, ">f8": 64}.get(self.dtype)
        names = {"float": "float", "integer": "integer", "time": "date and time"}
        words = names.get(self.kind, {"bytes": "byte string"}.get(self.kind, self.kind))
        return f"{bits}-bit {words}" if bits and self.kind != "vector" else words


def storage_of(field: Field) -> Storage:
    """Return how a field is stored."""
    from peewee import BitField, CharField, ForeignKeyField

    target = field.rel_field if isinstance(field, ForeignKeyField) else field
    kind: Any = type(target)
    has_form = target.field_type in _KINDS and not _converts(kind)
    is_bits = isinstance(field, BitField)
    return Storage(
        *(_KINDS[target.field_type] if has_form else ("plain", "O")),
        nullable=bool(field.null),
        missing=not is_bits,
        is_key=not field.null and (field.primary_key or field is not target or field.unique),
        max_length=field.max_length if isinstance(field, CharField) else None,
        field=None if has_form else target,
    )


@functools.cache
def _converts(kind: Any) -> bool:
    """Tell whether fields of a class make values of their own of those that they are given."""
    import peewee

    from astra.fields import FloatArrayField

    makers: list[Any] = [peewee.Field, peewee.BlobField, peewee.BigBitField, FloatArrayField]
    adapters: list[Any] = [peewee.Field, peewee.IntegerField, peewee.FloatField]
    adapters += [peewee.BooleanField, peewee.TextField, peewee.DateTimeField]
    return not (
        kind.db_value in [each.db_value for each in makers]
        and kind.adapt in [each.adapt for each in adapters]
    )


@dataclass
class Fitted:
    """A column that fits, and the rows that do not.

    Attributes
    ----------
    column : Column
        Misfits hold anything.
    misfits : list of (ndarray of bool, reason)
        Which rows do not fit, and why.
    """

    column: Column
    misfits: list[tuple[Mask, Callable[[int], str]]]


def fit(
    storage: Storage,
    values: NDArray[Any],
    null: Mask | None = None,
    grid: tuple[float, float] | None = None,
) -> Fitted:
    """Turn an array as a file has it into a column as the databases take it.

    Parameters
    ----------
    storage : Storage
    values : ndarray, shape (n_rows,) or (n_rows, width)
        Any byte order; text as bytes (dtype S).
    null : ndarray of bool, shape (n_rows,), optional
        Where the file itself says that there is no value (TNULL).
    grid : (scale, zero), optional
        For a scaled column, whose values are ``zero + scale * stored``: a value may go into a
        32-bit float if the stored integer can be told from it again.

    Raises
    ------
    TypeError
        If no value of this dtype can go into such a column; the caller finds that out for an
        empty array, before any row is read.
    """
    fitters: dict[str, Callable[..., _Parts]] = {
        "integer": _fit_integer,
        "float": _fit_float,
        "boolean": _fit_boolean,
        "text": _fit_text,
        "time": _fit_time,
        "bytes": _fit_bytes,
        "vector": _fit_vector,
        "plain": _fit_plain,
    }
    if storage.kind in ("bytes", "vector"):
        if values.ndim != 2:
            values = values.reshape(len(values), math.prod(values.shape[1:]))
    elif values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    elif values.ndim != 1 and storage.kind != "plain":
        raise TypeError(f"a vector of {values.shape[1]} cannot go into one {storage.label}")
    extra = {"grid": grid} if storage.kind == "float" else {}
    # What overflows is not the same then; and a NaN that signals is one like the others.
    with np.errstate(over="ignore", invalid="ignore"):
        parts = fitters[storage.kind](storage, values, **extra)
    return _with_nulls(storage, values, parts, null)


class _Parts(NamedTuple):
    """What a column's values are in its dtype, and which of them are something else.

    The reason is the same for all, with the value in its braces, or there is one for each row.
    """

    fitted: NDArray[Any]
    missing: Mask
    bad: Mask | None
    reason: str | dict[int, str]


def _with_nulls(storage: Storage, values: NDArray[Any], parts: _Parts, null: Mask | None) -> Fitted:
    """Decide what is NULL and what is a misfit."""
    fitted, missing, bad, reason = parts
    misfits: list[tuple[Mask, Callable[[int], str]]] = []
    if storage.nullable:
        is_null = missing if storage.missing else np.zeros(len(values), dtype=bool)
        if null is not None:
            is_null = is_null | null
        if bad is not None:
            bad = bad & ~is_null
        column = Column(fitted, is_null if is_null.any() else None)
    else:
        is_needed = storage.is_key or storage.kind == "time" or values.dtype.kind == "f"
        gone = missing if is_needed else None
        if null is not None:
            gone = null if gone is None else gone | null
        if gone is not None and gone.any():
            misfits.append((gone, lambda _: "is missing, and the table needs a value"))
            bad = None if bad is None else bad & ~gone
        column = Column(fitted)
    if bad is not None and bad.any():
        misfits.append((bad, lambda row: _tell(reason, row, values[row])))
    return Fitted(column, misfits)


def _tell(reason: str | dict[int, str], row: int, value: object) -> str:
    template = reason if isinstance(reason, str) else reason[row]
    return template.format(_show(value))


def _show(value: object) -> str:
    if isinstance(value, bytes):
        return repr(bytes(value))[1:]
    return repr(value.tolist() if isinstance(value, np.generic | np.ndarray) else value)


def _require(values: NDArray[Any], kinds: str, storage: Storage) -> None:
    if values.dtype.kind not in kinds:
        names = {"b": "a logical", "i": "an integer", "u": "an integer", "f": "a float"}
        names |= {"S": "text", "c": "a complex number"}
        found = names.get(values.dtype.kind, str(values.dtype))
        raise TypeError(f"{found} cannot go into a {storage.label}")


def _fit_integer(storage: Storage, values: NDArray[Any]) -> _Parts:
    _require(values, "iub", storage)
    dtype = np.dtype(storage.dtype)
    bad = None
    if values.dtype.kind == "u" and values.dtype.itemsize >= dtype.itemsize:
        bad = values > np.iinfo(dtype).max
    elif values.dtype.itemsize > dtype.itemsize:
        limits = np.iinfo(dtype)
        bad = (values < limits.min) | (values > limits.max)
    fitted = values.astype(dtype, copy=False)
    is_signed = values.dtype.kind == "i"
    missing = values == -1 if is_signed else np.zeros(len(values), dtype=bool)
    return _Parts(fitted, missing, bad, "{} is out of the range of a " + storage.label)


def _fit_float(
    storage: Storage, values: NDArray[Any], grid: tuple[float, float] | None = None
) -> _Parts:
    _require(values, "fiub", storage)
    dtype = np.dtype(storage.dtype)
    bad = None
    if values.dtype.kind == "f" and values.dtype.itemsize <= dtype.itemsize:
        fitted = values.astype(dtype, copy=False)
    else:
        fitted = values.astype(dtype)
        if grid is None:
            bad = ~_same(values, fitted)
        else:
            scale, zero = grid
            wide = values.astype(np.float64)
            stored = np.rint((wide - zero) / scale)
            bad = np.rint((fitted.astype(np.float64) - zero) / scale) != stored
            bad &= ~np.isnan(wide)
    missing = np.isnan(fitted)
    if bad is not None:
        bad &= ~missing
    reason = "{} is not exactly a " + storage.label + " (it would be rounded)"
    return _Parts(fitted, missing, bad, reason)


def _same(values: NDArray[Any], fitted: NDArray[Any]) -> Mask:
    """Tell where a conversion to float kept the value."""
    if values.dtype.kind == "f":
        back = fitted.astype(values.dtype)
        return (back == values) | (np.isnan(values) & np.isnan(back))
    # Of integers, all up to 2**53 are exact in a double; beyond, only the way back tells, and
    # that way must not overflow.
    limits = np.iinfo(values.dtype) if values.dtype.kind in "iu" else np.iinfo(np.int8)
    wide = fitted.astype(np.float64)
    inside = (wide >= float(limits.min)) & (wide < float(limits.max) + 1.0)
    back = np.where(inside, fitted, 0).astype(values.dtype)
    return inside & (back == values)


def _fit_boolean(storage: Storage, values: NDArray[Any]) -> _Parts:
    _require(values, "biu", storage)
    none = np.zeros(len(values), dtype=bool)
    if values.dtype.kind == "b":
        return _Parts(values, none, None, "")
    missing = values == -1 if values.dtype.kind == "i" else none
    bad = (values != 0) & (values != 1) & ~missing
    return _Parts(values != 0, missing, bad, "{} is neither 0 nor 1")


def _fit_text(storage: Storage, values: NDArray[Any]) -> _Parts:
    _require(values, "S", storage)
    text, high = trim(values)
    reasons: dict[int, str] = {}
    most = storage.max_length
    if most is not None and text.dtype.itemsize > most:
        # A character is one byte or several.
        for row in np.flatnonzero(np.char.str_len(text) > most).tolist():
            if len(text[row].decode("utf-8", "replace")) > most:
                reasons[row] = f"{{}} is longer than {most} characters"
    for row in np.flatnonzero(high).tolist():
        if not _is_utf8(text[row]):
            reasons[row] = _NOT_UTF8
    return _Parts(text, text == b"", _rows_of(reasons, len(text)), reasons)


def _rows_of(reasons: dict[int, str], rows: int) -> Mask | None:
    if not reasons:
        return None
    found = np.zeros(rows, dtype=bool)
    found[list(reasons)] = True
    return found


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def trim(values: NDArray[Any]) -> tuple[NDArray[Any], Mask]:
    """End each text at its first NUL, and drop its trailing blanks (FITS standard 4.0, 7.3.3.1).

    Parameters
    ----------
    values : ndarray of dtype S, shape (n_rows,)

    Returns
    -------
    text : ndarray of dtype S, shape (n_rows,)
        Zero beyond the end of each text.
    high : ndarray of bool, shape (n_rows,)
        Where a byte above 127 occurs.
    """
    width = values.dtype.itemsize
    if width == 0 or len(values) == 0:
        return values.astype("S1"), np.zeros(len(values), dtype=bool)
    matrix = _bytes(values)
    # To NumPy, text ends before its last NULs: only text with one inside is looked at byte by byte.
    if np.count_nonzero(matrix) != np.char.str_len(values).sum():
        before = np.logical_and.accumulate(matrix != 0, axis=1)
        values = np.where(before, matrix, np.uint8(0)).view(f"S{width}")[:, 0]
    text = np.char.rstrip(values, b" ")
    is_high = _bytes(text) > 127
    high: Any = is_high.any(axis=1) if is_high.any() else np.zeros(len(text), dtype=bool)
    return text, high


def _bytes(text: NDArray[Any]) -> NDArray[np.uint8]:
    width = text.dtype.itemsize
    return np.ascontiguousarray(text).view(np.uint8).reshape(len(text), width)


def _fit_time(storage: Storage, values: NDArray[Any]) -> _Parts:
    if values.dtype.kind == "M":
        return _Parts(values, np.isnat(values), None, "")
    _require(values, "S", storage)
    text, _ = trim(values)
    missing = text == b""
    times = np.array([_parse_time(value) for value in text.tolist()], dtype="datetime64[us]")
    bad = np.isnat(times) & ~missing
    return _Parts(times, missing, bad, "{} is not a date and time in ISO 8601")


def _parse_time(value: bytes) -> datetime.datetime | None:
    try:
        time = datetime.datetime.fromisoformat(value.decode("ascii", "strict"))
        return time.astimezone(datetime.UTC).replace(tzinfo=None) if time.tzinfo else time
    except (ValueError, OverflowError):  # the latter where a zone leads out of the years
        return None


def _fit_bytes(storage: Storage, values: NDArray[Any]) -> _Parts:
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if values.dtype != np.uint8:
        raise TypeError(f"an array of {values.dtype} cannot go into a {storage.label}")
    return _Parts(values, np.zeros(len(values), dtype=bool), None, "")


def _fit_vector(storage: Storage, values: NDArray[Any]) -> _Parts:
    _require(values, "fiub", storage)
    fitted = values.astype(storage.dtype, copy=False)
    bad = None
    if fitted is not values and values.dtype.newbyteorder(">") != fitted.dtype:
        same: Any = _same(values, fitted)
        bad = ~same.all(axis=1)
    reason = "{} has an element that is not exactly a 32-bit float"
    return _Parts(fitted, np.zeros(len(values), dtype=bool), bad, reason)


def _fit_plain(storage: Storage, values: NDArray[Any]) -> _Parts:
    field: Any = storage.field
    plain.check_type(field, values)
    missing = np.zeros(len(values), dtype=bool)
    given: Any = values
    if values.dtype.kind == "S":
        given, _ = trim(values)
        missing = given == b""
        given = given.tolist()
    elif values.ndim == 1 and values.dtype.kind in "if":
        missing = np.isnan(values) if values.dtype.kind == "f" else values == -1
    made: list[Any] = []
    reasons: dict[int, str] = {}
    for row, value in enumerate(given):
        try:
            made.append(plain.from_fits(field, value))
        except plain.MISFITS as error:
            made.append(None)
            reasons[row] = _why(storage, error)
    return _Parts(plain.objects(made), missing, _rows_of(reasons, len(values)), reasons)


def _why(storage: Storage, error: Exception) -> str:
    """Return a reason as a template, in which braces that are not the value's are doubled."""
    if isinstance(error, UnicodeDecodeError):
        return _NOT_UTF8
    text = (str(error) or type(error).__name__).replace("{", "{{").replace("}", "}}")
    return f"{{}} does not go into a {storage.label}: {text}"
