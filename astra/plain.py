"""Values of types that have no form in bulk, one by one: what a field's own `db_value` makes.

What a field takes of a FITS table is settled here, too.  Most take whatever is natural in Python:
a bool, an int, a float, a str, a list for a vector.  Peewee's own are asked for more, since they
would cut what does not fit, or leave it to the database, which may take it or not:

- a date, a time or both is a text in ISO 8601, in UTC where it has no zone; a date has no time of
  day, and a time neither a date nor a zone;
- a decimal is a text, an integer, or a float as the shortest decimal that means it, with no more
  digits than the column has (`auto_round` allows more places);
- text of fixed length is no longer than that, and does not begin with a blank;
- an array's elements are exactly what its column has.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from peewee import Field

#: What a field may raise for a value that it cannot make anything of.
MISFITS = (ValueError, TypeError, ArithmeticError, LookupError, AttributeError, OSError)

#: SQLite keeps a decimal as a double, unless it is a whole number of 64 bits.
_SQLITE_DIGITS = 15

_Maker = Callable[[Any, Any], Any]


def adapt(field: Field, value: Any) -> Any:
    """Return what the driver is given for a value, which the field can read again.

    Raises
    ------
    Exception
        One of `MISFITS`, if the field can make nothing of the value.
    """
    from peewee import DateField, DateTimeField, Node, TimeField

    if value is None:
        return None
    bound = field.db_value(value.item() if isinstance(value, np.generic) else value)
    if isinstance(bound, Node):  # SQL, of which the database makes a value
        return bound
    if isinstance(bound, str) and "\0" in bound:
        raise ValueError("a text with a NUL in it, which PostgreSQL cannot store")
    if isinstance(read(field, bound), str) and isinstance(
        field, DateField | TimeField | DateTimeField
    ):
        raise ValueError(f"{value!r} is neither a date nor a time")
    return bound


def read(field: Field, bound: Any) -> Any:
    """Return what a field makes of a value that the driver is given, as if it were stored."""
    return field.python_value(getattr(bound, "adapted", bound))  # psycopg2 wraps bytes and JSON


def objects(values: list[Any]) -> NDArray[Any]:
    """Return an array of Python objects, whatever they are."""
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        array[row] = value
    return array


def check_type(field: Field, values: NDArray[Any]) -> None:
    """Raise a TypeError if a field takes no value of an array's type, nor of its shape."""
    kinds, _ = _rules(field)
    takes_vectors = kinds == _ANY or _is_array(field)
    if values.ndim > 1 and not takes_vectors:
        raise TypeError(f"a vector of {values.shape[1]} cannot go into a {type(field).__name__}")
    if values.dtype.kind not in kinds:
        found = {"b": "a logical", "i": "an integer", "u": "an integer", "f": "a float"}
        found |= {"S": "text", "c": "a complex number"}
        kind = found.get(values.dtype.kind, str(values.dtype))
        raise TypeError(f"{kind} cannot go into a {type(field).__name__}")


def from_fits(field: Field, value: Any) -> Any:
    """Return what the driver is given for a value of a FITS table.

    Parameters
    ----------
    field : Field
    value : numpy.generic, bytes or ndarray
        Of a type that `check_type` lets pass; bytes are text without its blanks.

    Raises
    ------
    Exception
        One of `MISFITS`.
    """
    _, make = _rules(field)
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    bound = adapt(field, make(field, value))
    length = getattr(field, "max_length", None)
    if length is not None and isinstance(bound, str) and len(bound) > length:
        raise ValueError(f"it is longer than {length} characters")
    if isinstance(bound, int) and not -(2**63) <= bound < 2**63:
        raise OverflowError("it is out of the range of a 64-bit integer")
    return bound


_ANY = "Sbiuf"


def _rules(field: Field) -> tuple[str, _Maker]:
    """Return which kinds of NumPy's types a field takes, and how a Python value is made of one."""
    import peewee

    special: list[tuple[type[Any], str, _Maker]] = [
        (peewee.DateField, "S", _date),
        (peewee.TimeField, "S", _time),
        (peewee.DateTimeField, "S", _moment),
        (peewee.TimestampField, "Siu", _timestamp),
        (peewee.DecimalField, "Siuf", _decimal),
        (peewee.FixedCharField, "S", _fixed_text),
        (peewee.UUIDField, "S", _natural),
    ]
    for kind, kinds, make in special:
        if isinstance(field, kind):
            return kinds, make
    return ("biuf", _array) if _is_array(field) else (_ANY, _natural)


def _is_array(field: Field) -> bool:
    from playhouse.postgres_ext import ArrayField

    return isinstance(field, ArrayField)


def _natural(field: Any, value: Any) -> Any:
    from peewee import BlobField

    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and isinstance(field, BlobField):
        return value.tobytes()
    natural = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    if field.field_type in ("JSON", "JSONB"):
        numbers = natural if isinstance(natural, list) else [natural]
        if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
            raise ValueError("JSON has neither NaN nor infinity")
    return natural


def _date(_field: Any, text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ValueError("it is no date in ISO 8601") from None


def _time(_field: Any, text: str) -> datetime.time:
    try:
        time = datetime.time.fromisoformat(text)
    except ValueError:
        raise ValueError("it is no time of day in ISO 8601") from None
    if time.tzinfo is not None:
        raise ValueError("it has a zone, which the column has not")
    return time


def _moment(field: Any, text: str) -> datetime.datetime:
    try:
        time = datetime.datetime.fromisoformat(text)
        aware = time.astimezone(datetime.UTC) if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    except (ValueError, OverflowError):  # the latter where a zone leads out of the years
        raise ValueError("it is no date and time in ISO 8601") from None
    return aware if field.field_type == "TIMESTAMPTZ" else aware.replace(tzinfo=None)


def _timestamp(field: Any, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    naive = _moment(field, value)
    time = naive.replace(tzinfo=datetime.UTC)
    back = field.python_value(field.db_value(time))
    if (back.replace(tzinfo=datetime.UTC) if field.utc else back.astimezone(datetime.UTC)) != time:
        raise ValueError("it would be rounded")
    return time


def _decimal(field: Any, value: Any) -> decimal.Decimal:
    from peewee import SqliteDatabase

    try:
        number = decimal.Decimal(str(value))
    except decimal.InvalidOperation:
        raise ValueError("it is no number") from None
    if not number.is_finite():
        raise ValueError("it is not finite")
    if number == 0:
        return number
    _check_size(field, number)
    if field.auto_round:
        number = field.db_value(number)
        _check_size(field, number)
    _, digits, exponent = number.as_tuple()
    text = "".join(map(str, digits))
    significant = len(text.rstrip("0"))
    places = significant - len(text) - int(exponent)
    if places > field.decimal_places:
        raise ValueError(f"it has more than {field.decimal_places} decimal places")
    is_sqlite = isinstance(field.model._meta.database, SqliteDatabase)
    if is_sqlite and significant > _SQLITE_DIGITS and (places > 0 or abs(number) >= 2**63):
        raise ValueError(f"it has more than {_SQLITE_DIGITS} digits, which SQLite would round")
    return number


def _check_size(field: Any, number: decimal.Decimal) -> None:
    if number.adjusted() >= field.max_digits - field.decimal_places:
        raise ValueError(f"it is out of the range of {field.max_digits} digits")


def _fixed_text(field: Any, text: str) -> str:
    stored = field.db_value(text)
    if stored != text:
        raise ValueError(f"it would be stored as {stored!r}")
    return text


def _array(field: Any, value: Any) -> list[Any]:
    items = np.atleast_1d(value).tolist()
    element = vars(field)["_ArrayField__field"]
    kind: Any = {"FLOAT": np.float32, "DOUBLE": np.float64}.get(element.field_type)
    if kind is not None:
        with np.errstate(over="ignore"):
            stored = [float(kind(item)) for item in items]
        # Python compares an integer with a float exactly.
        pairs = zip(items, stored, strict=True)
        if any(one != other for one, other in pairs if not math.isnan(other)):
            raise ValueError(f"an element is not exactly a {np.dtype(kind).name}")
    return items
