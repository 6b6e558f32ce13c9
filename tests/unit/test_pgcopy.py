"""The encoder of PostgreSQL's binary COPY, against a decoder that is written from its manual."""

from __future__ import annotations

import datetime
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astra.backends.pgcopy import encode
from astra.block import Column

EPOCH = datetime.datetime(2000, 1, 1)  # noqa: DTZ001 (PostgreSQL's, of times without a zone)


def decode(stream: bytes) -> list[list[bytes | None]]:
    """Return the fields of each row of a COPY stream."""
    assert stream.startswith(b"PGCOPY\n\xff\r\n\0" + bytes(8))
    at, rows = 19, []
    while (count := struct.unpack_from(">h", stream, at)[0]) != -1:
        at += 2
        fields: list[bytes | None] = []
        for _ in range(count):
            (size,) = struct.unpack_from(">i", stream, at)
            at += 4
            fields.append(None if size == -1 else stream[at : at + size])
            at += max(size, 0)
        rows.append(fields)
    assert at + 2 == len(stream)
    return rows


def vector(content: bytes) -> bytes:
    """Return the items of a one-dimensional array of real, as big-endian bytes."""
    dimensions, nulls, kind = struct.unpack_from(">iii", content)
    assert (nulls, kind) == (0, 700)
    if dimensions == 0:
        assert len(content) == 12
        return b""
    length, first = struct.unpack_from(">ii", content, 12)
    assert (dimensions, first) == (1, 1)
    items = [content[20 + 8 * n : 28 + 8 * n] for n in range(length)]
    assert all(item[:4] == b"\0\0\0\4" for item in items)
    return b"".join(item[4:] for item in items)


def expected(column: Column, row: int) -> bytes | None:
    """Return the bytes of one value, made of it alone."""
    if column.null is not None and column.null[row]:
        return None
    value, kind = column.values[row], column.values.dtype.kind
    if kind == "S":
        return bytes(value)
    if kind == "b":
        return b"\1" if value else b"\0"
    if kind == "M":
        micros = (value.item() - EPOCH) // datetime.timedelta(microseconds=1)
        return struct.pack(">q", micros)
    return np.asarray(value).astype(np.asarray(value).dtype.newbyteorder(">")).tobytes()


def check(columns: Sequence[Column]) -> None:
    rows = decode(b"".join(encode(columns)))
    assert len(rows) == len(columns[0].values)
    for row, fields in enumerate(rows):
        assert len(fields) == len(columns)
        for column, content in zip(columns, fields, strict=True):
            is_vector = column.values.dtype.kind == "f" and column.values.ndim == 2
            found = vector(content) if is_vector and content is not None else content
            assert found == expected(column, row)


@st.composite
def columns(draw: Any, rows: int) -> Column:
    kind = draw(
        st.sampled_from([">i2", ">i4", ">i8", ">f4", ">f8", "?", "S", "M", "bytes", "vector"])
    )
    width = draw(st.integers(1, 9))
    seed = draw(st.binary(min_size=rows * 8 * width, max_size=rows * 8 * width))
    raw = np.frombuffer(seed, dtype=np.uint8)
    if kind == "S":
        texts = draw(st.lists(st.text(max_size=width), min_size=rows, max_size=rows))
        encoded = [text.encode().replace(b"\0", b"") for text in texts]
        values: Any = np.array(encoded, dtype=f"S{max([1, *map(len, encoded)])}")
    elif kind == "M":
        moments = draw(st.lists(st.datetimes(), min_size=rows, max_size=rows))
        values = np.array(moments, dtype="datetime64[us]")
    elif kind == "?":
        values = raw[:rows] > 127
    elif kind == "bytes":
        values = raw[: rows * width].reshape(rows, width)
    elif kind == "vector":
        values = raw[: rows * width * 4].view(">f4").reshape(rows, width)
    else:
        dtype = np.dtype(kind)
        values = raw[: rows * dtype.itemsize].view(dtype)
    if draw(st.booleans()):
        return Column(values)
    null = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    return Column(values, np.array(null, dtype=bool))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_columns_decode_to_what_they_are(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 20))
    check(data.draw(st.lists(columns(rows), min_size=1, max_size=6)))


def test_columns_that_lie_side_by_side_as_in_a_file() -> None:
    dtype = np.dtype([("a", ">f4"), ("b", ">f4"), ("c", ">i8"), ("d", "S3"), ("e", ">f4", (2,))])
    table = np.frombuffer(bytes(range(27)) * 50, dtype=np.uint8)[: dtype.itemsize * 50].view(dtype)
    null = np.arange(50) % 3 == 0
    texts = np.array([value.split(b"\0")[0] for value in table["d"].tolist()], dtype="S3")

    check(
        [
            Column(table["a"], null),
            Column(table["b"]),
            Column(table["c"], ~null),
            Column(texts, null),
            Column(table["e"], null),
            Column(np.broadcast_to(np.array(7, dtype=">i4"), (50,))),
        ]
    )


@pytest.mark.parametrize("rows", [1, 1000, 70_000])
def test_more_rows_than_a_piece(rows: int) -> None:
    number = np.arange(rows, dtype=">i8")
    text = np.char.mod("%d", np.arange(rows) % 1000).astype("S")
    decoded = decode(b"".join(encode([Column(number), Column(text, number % 7 == 0)])))

    assert [struct.unpack(">q", row[0] or b"")[0] for row in decoded] == number.tolist()
    assert [row[1] for row in decoded] == [
        None if n % 7 == 0 else str(n % 1000).encode() for n in range(rows)
    ]


@pytest.mark.parametrize("width", [0, 1, 3])
def test_bytes_and_vectors_of_any_width(width: int) -> None:
    check([Column(np.zeros((3, width), dtype=np.uint8)), Column(np.zeros((3, width), dtype=">f4"))])
