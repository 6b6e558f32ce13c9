"""A block as bytes of PostgreSQL's binary COPY format.

A row is a 16-bit count of columns, then for each column a 32-bit length and as many bytes, or the
length -1 and no bytes for NULL; all of it big-endian, as FITS is
(https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format").

So rows are laid out as one array of fixed width: lengths come from a template, values are copied
to their places as they are, and a mask marks the bytes that a NULL or a short text leaves out.
One boolean index then squeezes the rows together.  No Python object is made for any value.

Every column begins at a multiple of four bytes, so that lengths, values and mask can be written
a word at a time; the bytes between are masked, too.  Columns that lie side by side in memory, as
those of a FITS table do, are written as one matrix: what counts with hundreds of columns is how
often NumPy is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from astra.column import Column, Run, runs

SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"

#: Rows are encoded so many bytes at a time: few calls, and yet within a core's cache.
PIECE = 1 << 20

#: Microseconds from 1970, where NumPy's times begin, to 2000, where PostgreSQL's do.
_EPOCH = 946_684_800_000_000

_FLOAT4_OID = 700
_WORD = 4
_KEPT = np.uint32(0x01010101)  # four bytes of a mask, all True

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint32]


def encode(columns: Sequence[Column]) -> Iterator[bytes]:
    """Encode columns as a COPY stream, piece by piece.

    Parameters
    ----------
    columns : sequence of Column
        In the order of the COPY statement's column list; all of the same length.

    Yields
    ------
    bytes
        Signature, pieces of whole rows, trailer.
    """
    yield SIGNATURE
    rows = len(columns[0].values)
    layout = _Layout(columns, max(rows, 1))
    for start in range(0, rows, layout.step):
        yield layout.encode(slice(start, min(start + layout.step, rows)))
    yield TRAILER


class _Layout:
    """Rows of full width, and which of their bytes are sent; used again for each piece."""

    def __init__(self, columns: Sequence[Column], rows: int) -> None:
        self.fields = _fields(columns)
        width = 1 + sum(field.words for field in self.fields)
        self.step = min(rows, max(1, PIECE // (_WORD * width)))
        self.row = np.zeros((self.step, width), dtype=np.uint32)
        self.keep = np.full(self.row.shape, _KEPT, dtype=np.uint32)
        _bytes_of(self.row)[:, 2:4] = np.array([len(columns)], dtype=">i2").view(np.uint8)
        _bytes_of(self.keep)[:, :2] = 0
        start = 1
        for field in self.fields:
            place = slice(start, start + field.words)
            field.prepare(self.row[:, place], self.keep[:, place])
            start += field.words

    def encode(self, rows: slice) -> bytes:
        """Return the bytes of some of the rows, at most `step`."""
        count = rows.stop - rows.start
        for field in self.fields:
            field.fill(rows, count)
        sent = self.keep[:count].reshape(-1).view(bool)
        return self.row[:count].reshape(-1).view(np.uint8)[sent].tobytes()


def _bytes_of(words: Words) -> Bytes:
    return words.view(np.uint8)


class _Field(Protocol):
    """One column or several, and their place in the rows.

    Attributes
    ----------
    words : int
        Words of a row that they take, with their lengths.
    """

    words: int

    def prepare(self, row: Words, keep: Words) -> None:
        """Take the place, and write what is the same in every row."""

    def fill(self, rows: slice, count: int) -> None:
        """Write some of the rows to the first `count` of the place."""


class _Numbers:
    """Columns of numbers of four or eight bytes, side by side.

    Parameters
    ----------
    values : ndarray, shape (n_rows, n_columns), big-endian
    null : ndarray of bool, shape (n_rows, n_columns), or None
    """

    def __init__(self, values: NDArray[Any], null: NDArray[np.bool_] | None) -> None:
        self.size = values.dtype.itemsize
        self.values = values[:, :, None].view(np.uint32)
        self.null = null
        self.columns = values.shape[1]
        self.words = self.columns * (1 + self.size // _WORD)
        self.is_constant = values.strides[0] == 0 and null is None

    def prepare(self, row: Words, keep: Words) -> None:
        shape = (len(row), self.columns, 1 + self.size // _WORD)
        self.row, self.keep = row.reshape(shape), keep.reshape(shape)
        self.length = np.array(self.size, dtype=">u4").view(np.uint32)
        self.row[:, :, 0] = self.length
        if self.is_constant and len(self.values):
            self.row[:, :, 1:] = self.values[:1]

    def fill(self, rows: slice, count: int) -> None:
        if self.is_constant:
            return
        self.row[:count, :, 1:] = self.values[rows]
        if self.null is not None:
            # Zero where it is NULL, and all bits where it is not: as masks, quicker than np.where.
            kept = np.subtract(self.null[rows], np.uint32(1), dtype=np.uint32)
            np.bitwise_or(~kept, self.length, out=self.row[:count, :, 0])
            np.bitwise_and(kept[:, :, None], _KEPT, out=self.keep[:count, :, 1:])


class _Strings:
    """A column that is sent as bytes: text without its trailing zeros, or all of fixed width.

    Parameters
    ----------
    values : ndarray, shape (n_rows,), or of uint8, shape (n_rows, width)
    null : ndarray of bool, shape (n_rows,), or None
    """

    def __init__(self, values: NDArray[Any], null: NDArray[np.bool_] | None) -> None:
        self.text = values if values.dtype.kind == "S" else None
        self.values = values if values.ndim == 2 else values[:, None].view(np.uint8)
        self.null = null
        self.width = self.values.shape[1]
        self.words = 1 + -(-self.width // _WORD)
        self.is_constant = self.values.strides[0] == 0 and null is None

    def prepare(self, row: Words, keep: Words) -> None:
        place = slice(_WORD, _WORD + self.width)
        self.lengths = _bytes_of(row)[:, :_WORD].view(">i4")[:, 0]
        self.row = _bytes_of(row)[:, place]
        self.keep = _bytes_of(keep)[:, place]
        _bytes_of(keep)[:, _WORD + self.width :] = 0
        self.lengths[:] = self.width
        if self.is_constant and len(self.values):
            self._write(slice(0, 1), len(row))

    def fill(self, rows: slice, count: int) -> None:
        if not self.is_constant:
            self._write(rows, count)

    def _write(self, rows: slice, count: int) -> None:
        self.row[:count] = self.values[rows]
        if self.text is not None:
            lengths = np.char.str_len(self.text[rows])
            self.lengths[:count] = lengths
            self.keep[:count] = np.arange(self.width) < lengths[:, None]
        elif self.null is not None:
            self.lengths[:count] = self.width
            self.keep[:count] = True
        if self.null is not None:
            null = self.null[rows]
            self.lengths[:count][null] = -1
            self.keep[:count][null] = False


def _fields(columns: Sequence[Column]) -> list[_Field]:
    """Put columns that lie side by side in memory together."""
    fields: list[_Field] = []
    for each in runs(Column(_payload(column.values), column.null) for column in columns):
        if isinstance(each, Run) and each.values.dtype.itemsize >= _WORD:
            fields.append(_Numbers(each.values, each.null))
        elif isinstance(each, Run):
            fields += _short_numbers(each)
        else:
            fields.append(_Strings(each.values, each.null))
    return fields


def _short_numbers(run: Run) -> list[_Strings]:
    """Return columns of integers of two bytes."""
    return [
        _Strings(run.values[:, n], None if run.null is None else run.null[:, n])
        for n in range(run.values.shape[1])
    ]


def _payload(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the values as the server's type expects them: big-endian, or as rows of bytes."""
    kind = values.dtype.kind
    if kind == "M":
        return (values.astype("datetime64[us]").astype(np.int64) - _EPOCH).astype(">i8")
    if kind == "f" and values.ndim == 2:
        return _vectors(values)
    if kind in "if":
        return values.astype(values.dtype.newbyteorder(">"), copy=False)
    return values


def _vectors(values: NDArray[np.generic]) -> Bytes:
    """Lay out rows of float32 as one-dimensional arrays of the server's type real[]."""
    rows, width = values.shape
    if width == 0:
        head = np.array([0, 0, _FLOAT4_OID], dtype=">i4")
        return np.broadcast_to(head.view(np.uint8), (rows, 12))
    # Dimensions, "has nulls", element type; then length and first index of the one dimension.
    head = np.array([1, 0, _FLOAT4_OID, width, 1], dtype=">i4")
    layout = np.dtype([("head", ">i4", 5), ("items", [("size", ">i4"), ("item", ">f4")], (width,))])
    out = np.empty(rows, dtype=layout)
    out["head"] = head
    out["items"]["size"] = 4
    out["items"]["item"] = values
    return out.view(np.uint8).reshape(rows, layout.itemsize)
