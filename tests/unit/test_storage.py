"""What a column can hold: stored exactly, NULL, or a misfit with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from peewee import CharField, DecimalField, Model

from astra.fields import (
    BigIntegerField,
    BitField,
    BooleanField,
    DateTimeField,
    DoubleField,
    FloatArrayField,
    FloatField,
    IntegerField,
    TextField,
)
from astra.models import Slam, Source
from astra.storage import Storage, fit, storage_of, trim


class Anything(Model):
    a_float = FloatField(null=True)
    float_needed = FloatField()
    a_double = DoubleField(null=True)
    an_integer = IntegerField(null=True)
    integer_needed = IntegerField()
    a_long = BigIntegerField(null=True)
    a_boolean = BooleanField(null=True)
    a_text = TextField(null=True)
    text_needed = TextField()
    a_short = CharField(max_length=3, null=True)
    a_time = DateTimeField(null=True)
    floats = FloatArrayField(null=True)
    flags = BitField()
    money = DecimalField()


def of(name: str) -> Storage:
    return storage_of(getattr(Anything, name))


def outcome(name: str, values: Any, null: Any = None) -> list[Any]:
    """Return each value as it is stored, None for NULL, or its reason as text in a set."""
    fitted = fit(of(name), np.asarray(values), None if null is None else np.array(null))
    stored: list[Any] = fitted.column.values.tolist()
    for row, is_null in enumerate([] if fitted.column.null is None else fitted.column.null):
        if is_null:
            stored[row] = None
    for bad, reason in fitted.misfits:
        for row in np.flatnonzero(bad):
            stored[row] = {reason(int(row))}
    return stored


def test_keys_and_metadata_have_a_storage() -> None:
    key = storage_of(Source.pk)
    assert (key.kind, key.dtype, key.is_key, key.nullable) == ("integer", ">i8", True, False)
    foreign = storage_of(Slam.source_pk)
    assert (foreign.dtype, foreign.nullable, foreign.is_key) == (">i8", True, False)
    needed = storage_of(Slam.spectrum_pk)
    assert needed.is_key
    assert (storage_of(Anything.money).kind, storage_of(Anything.money).label) == (
        "plain",
        "DecimalField",
    )


@pytest.mark.parametrize(
    ("name", "values", "stored"),
    [
        ("an_integer", np.array([1, -1, -2], dtype=">i4"), [1, None, -2]),
        ("integer_needed", np.array([1, -1], dtype=">i4"), [1, -1]),
        ("an_integer", np.array([2**31 - 1, -(2**31)], dtype="i8"), [2**31 - 1, -(2**31)]),
        ("an_integer", np.array([255], dtype="u1"), [255]),
        ("an_integer", np.array([True, False]), [1, 0]),
        ("a_long", np.array([2**63 - 1], dtype="u8"), [2**63 - 1]),
        ("flags", np.array([0, -1], dtype="i8"), [0, -1]),
        ("a_double", np.array([0.1], dtype="f8"), [0.1]),
        ("a_double", np.array([2**53], dtype="i8"), [2.0**53]),
        ("a_float", np.array([np.nan, np.inf, -0.0], dtype=">f4"), [None, np.inf, -0.0]),
        ("a_float", np.array([2**24, -1], dtype="i4"), [2.0**24, -1.0]),
        ("a_boolean", np.array([1, 0, -1], dtype="i4"), [True, False, None]),
        ("a_text", np.array([b"a ", b"", b" a", b"a\0b"]), [b"a", None, b" a", b"a"]),
        ("text_needed", np.array([b"", b" "]), [b"", b""]),
        ("a_text", np.array(["é".encode()]), ["é".encode()]),
        ("a_short", np.array([b"abc", b"abc "]), [b"abc", b"abc"]),
        ("a_short", np.array(["é€🌟".encode()]), ["é€🌟".encode()]),
    ],
)
def test_what_fits(name: str, values: Any, stored: list[Any]) -> None:
    found = outcome(name, values)

    assert found == stored
    assert [str(value) for value in found] == [str(value) for value in stored]  # -0.0 is not 0.0


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("an_integer", np.array([2**31], dtype="i8"), "2147483648 is out of the range of a 32-bit"),
        ("an_integer", np.array([2**31], dtype="u4"), "2147483648 is out of the range"),
        ("a_long", np.array([2**63], dtype="u8"), "9223372036854775808 is out of the range"),
        ("a_float", np.array([0.1], dtype="f8"), "0.1 is not exactly a 32-bit float"),
        ("a_float", np.array([1e300], dtype="f8"), "1e+300 is not exactly a 32-bit float"),
        ("a_float", np.array([2**24 + 1], dtype="i4"), "16777217 is not exactly a 32-bit float"),
        ("a_double", np.array([2**53 + 1], dtype="i8"), "9007199254740993 is not exactly"),
        ("a_double", np.array([2**63 - 1], dtype="i8"), "9223372036854775807 is not exactly"),
        ("a_boolean", np.array([2], dtype="i4"), "2 is neither 0 nor 1"),
        ("a_text", np.array([b"\xff"]), r"'\xff' is not text in UTF-8"),
        ("a_text", np.array([b"\xed\xa0\x80"]), "is not text in UTF-8"),  # a lone surrogate
        ("a_short", np.array([b"abcd"]), "'abcd' is longer than 3 characters"),
        ("a_short", np.array(["é€🌟x".encode()]), "is longer than 3 characters"),
        ("a_time", np.array([b"soon"]), "'soon' is not a date and time in ISO 8601"),
        ("a_time", np.array([b"0001-01-01T00:00:00+14:00"]), "is not a date and time"),
        ("float_needed", np.array([np.nan], dtype="f4"), "is missing"),
        ("floats", np.array([[0.5, 0.1]], dtype="f8"), "not exactly a 32-bit float"),
    ],
)
def test_what_does_not_fit_is_told(name: str, values: Any, reason: str) -> None:
    (found,) = outcome(name, values)

    assert isinstance(found, set)
    assert reason in next(iter(found))


def test_each_row_is_told_its_own_reason() -> None:
    too_long, other, good = outcome("a_short", np.array([b"abcd", b"\xff", b"abc"]))

    assert (too_long, other) == (
        {"'abcd' is longer than 3 characters"},
        {r"'\xff' is not text in UTF-8"},
    )
    assert good == b"abc"


def test_the_files_own_null_is_null_whatever_the_value() -> None:
    assert outcome("an_integer", np.array([5, 2**40]), null=[False, True]) == [5, None]
    assert outcome("integer_needed", np.array([5]), null=[True]) == [
        {"is missing, and the table needs a value"}
    ]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("an_integer", np.zeros(0, dtype="f4")),
        ("an_integer", np.zeros(0, dtype="S3")),
        ("a_float", np.zeros(0, dtype="S3")),
        ("a_float", np.zeros(0, dtype="c8")),
        ("a_text", np.zeros(0, dtype="i4")),
        ("a_boolean", np.zeros(0, dtype="f4")),
        ("a_time", np.zeros(0, dtype="i4")),
        ("floats", np.zeros((0, 3), dtype="c8")),
        ("a_float", np.zeros((0, 3), dtype="f4")),
    ],
)
def test_a_type_that_can_never_fit_is_told_before_there_is_a_row(name: str, values: Any) -> None:
    with pytest.raises(TypeError):
        fit(of(name), values)


def test_a_scaled_value_fits_where_its_stored_integer_can_be_told_again() -> None:
    stored = np.array([1, 2, 30000])
    values = stored * 0.1
    fitted = fit(of("a_float"), values, grid=(0.1, 0.0))
    assert fitted.misfits == []
    assert fitted.column.values.tolist() == values.astype("f4").tolist()

    ((bad, _),) = fit(of("a_float"), stored * 0.1 + 2.0**30, grid=(0.1, 2.0**30)).misfits
    assert bad.tolist() == [True, True, False] or bad.any()


def test_text_ends_at_nul_and_loses_blanks() -> None:
    text, high = trim(np.array([b"a b ", b"a\0 b", b"   ", b"\0a", "é".encode(), b"x\0\xff"]))

    assert text.tolist() == [b"a b", b"a", b"", b"", "é".encode(), b"x"]
    assert high.tolist() == [False, False, False, False, True, False]
