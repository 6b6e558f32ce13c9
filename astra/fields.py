"""What a column can be: the fields that models are made of.

The ordinary ones are peewee's.  Three are ours, because both databases must give back what went
in: `BitField` (flags that carry their meaning), `BitArrayField` (an array of bits of any length)
and `FloatArrayField` (a short vector of float32).  `PixelArray` is no column at all: the pixels
of a spectrum stay in its FITS file and are read when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import peewee
from peewee import (
    BigAutoField,
    BlobField,
    BooleanField,
    DateTimeField,
    Expression,
    Field,
    FieldAccessor,
    FieldDatabaseHook,
    ForeignKeyField,
    SqliteDatabase,
    TextField,
    fn,
)

from astra.flags import BitField, DerivedFlag, Flag
from astra.pixels import (
    LogLambdaArrayAccessor,
    PixelArray,
    PixelArrayAccessor,
    PixelArrayAccessorFITS,
)

__all__ = [
    "BigAutoField",
    "BigIntegerField",
    "BitArrayField",
    "BitField",
    "BooleanField",
    "DateTimeField",
    "DerivedFlag",
    "DoubleField",
    "Flag",
    "FloatArrayField",
    "FloatField",
    "ForeignKeyField",
    "GeneratedField",
    "IntegerField",
    "LogLambdaArrayAccessor",
    "PixelArray",
    "PixelArrayAccessor",
    "PixelArrayAccessorFITS",
    "TextField",
    "add_floats",
    "words",
]


class _WithUnit(Field):
    """A field that can be given its unit, where the glossary does not know the name."""

    def __init__(self, *args: Any, unit: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if unit is not None:
            self.unit = unit


class FloatField(_WithUnit, peewee.FloatField):
    """A float32.

    Parameters
    ----------
    unit : str, optional
        In astropy's spelling, such as ``km/s``.
    """


class DoubleField(_WithUnit, peewee.DoubleField):
    """A float64; `unit` as in `FloatField`."""


class IntegerField(_WithUnit, peewee.IntegerField):
    """A 32-bit integer; `unit` as in `FloatField`."""


class BigIntegerField(_WithUnit, peewee.BigIntegerField):
    """A 64-bit integer; `unit` as in `FloatField`."""


class BitArrayField(BlobField):
    """An array of bits of any length, kept byte for byte; its Python value is `bytes`.

    Bit ``n`` is the bit of value ``2 ** (n % 8)`` in byte ``n // 8``: the least significant bit
    of the first byte is bit 0.
    """

    def python_value(self, value: Any) -> bytes | None:
        """Return bytes, whatever the driver gave (psycopg2: a memoryview)."""
        return None if value is None else bytes(value)

    def is_set(self, bit: int) -> Expression:
        """Return the SQL expression that is true where a bit is set.

        Examples
        --------
        >>> Source.select().where(Source.sdss5_target_flags.is_set(12))
        """
        # No function for one bit is common to both databases; for a part of the bytes there is.
        byte, offset = divmod(bit, 8)
        having_bit = [bytes([value]) for value in range(256) if value >> offset & 1]
        return fn.substr(self, byte + 1, 1).in_(having_bit)

    @staticmethod
    def bits(value: bytes | None) -> list[int]:
        """Return the numbers of the bits that are set in a value, in rising order."""
        array = np.frombuffer(value or b"", dtype=np.uint8)
        return np.flatnonzero(np.unpackbits(array, bitorder="little")).tolist()


class FloatArrayField(FieldDatabaseHook, Field):
    """A short vector of float32 of any length; its Python value is a float32 `numpy.ndarray`.

    PostgreSQL keeps it as ``REAL[]``, SQLite as a BLOB of little-endian float32.  NaN, infinity
    and negative zero come back as they went in; a NULL element of an array comes back as NaN.
    """

    field_type = "FLOAT_ARRAY"  # the database classes say what that is in theirs

    def _db_hook(self, database: Any) -> None:
        self._stored_as_blob = database is None or isinstance(database, SqliteDatabase)

    def db_value(self, value: Any) -> bytes | str | None:
        """Return what the driver is given for any sequence of numbers."""
        if value is None:
            return None
        array = np.asarray(value, dtype="<f4").ravel()
        if self._stored_as_blob:
            return array.tobytes()
        # As text: in ARRAY[-0.0], the number would pass through NUMERIC and lose its sign.
        return "{" + ",".join(repr(float(number)) for number in array) + "}"

    def python_value(self, value: Any) -> np.ndarray | None:
        """Return a float32 array of what the driver gave."""
        if value is None:
            return None
        if isinstance(value, bytes | bytearray | memoryview):
            return np.frombuffer(value, dtype="<f4").astype(np.float32)
        return np.array(value, dtype=np.float32)


class _GeneratedAccessor(FieldAccessor):
    """Gives what the database will compute, and never marks the column as something to write."""

    def __get__(self, instance: Any, instance_type: type | None = None) -> Any:
        return self.field if instance is None else self.field.compute(instance)

    def __set__(self, instance: Any, value: Any) -> None:
        """Ignore the value that a query brings: it is the one that `__get__` computes."""


class GeneratedField(IntegerField):
    """An integer that the database computes and stores, and that no statement of ours writes.

    Parameters
    ----------
    compute : callable
        Takes an instance and returns what the database will compute for it, or None.
    constraints : list of peewee.SQL
        The ``GENERATED ALWAYS AS (...) STORED`` clause.
    """

    accessor_class = _GeneratedAccessor

    def __init__(self, compute: Any = None, constraints: Iterable[Any] = (), **kwargs: Any) -> None:
        self.compute = compute
        super().__init__(constraints=list(constraints), **kwargs)


def add_floats(namespace: dict[str, Any], names: Iterable[str]) -> None:
    """Put nullable float columns into the body of a model: ``add_floats(locals(), names)``.

    In a class body `locals` can be written to, so a family of columns that differ in one part of
    their name can be made in a loop, and each of them is a field like any other.
    """
    for name in names:
        namespace[name] = FloatField(null=True)


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text: a long list of names that is still easy to read."""
    return tuple(text.split())
