"""A block as bytes of PostgreSQL's binary COPY format.

A row is a 16-bit count of columns, then for each column a 32-bit length and as many bytes, or the
length -1 and no bytes for NULL; all of it big-endian, as FITS is
(https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format").

So rows are laid out as one array of fixed width: lengths come from a template, values are copied
to their places as they are, and a mask marks the bytes that a NULL or a short text leaves out.
One boolean index then squeezes the rows together.  No Python object is made for any value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from astra.block import Column

SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
TRAILER = b"\xff\xff"

#: Rows are encoded so many bytes at a time: small enough for a core's second-level cache.
_PIECE = 1 << 19

#: Microseconds from 1970, where NumPy's times begin, to 2000, where PostgreSQL's do.
_EPOCH = 946_684_800_000_000

_FLOAT4_OID = 700

Bytes = NDArray[np.uint8]


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
    fields = [_Field(_payload(column.values), column.null) for column in columns]
    rows = len(columns[0].values)
    layout = _Layout(fields)
    step = max(1, _PIECE // layout.width)
    for start in range(0, rows, step):
        yield layout.encode(slice(start, min(start + step, rows)))
    yield TRAILER


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


class _Field:
    """A column's bytes, and where it is NULL."""

    def __init__(self, values: NDArray[np.generic], null: NDArray[np.bool_] | None) -> None:
        self.values = values
        self.null = null
        self.is_text = values.dtype.kind == "S"
        self.width = values.dtype.itemsize * (values.shape[1] if values.ndim == 2 else 1)
        shape = (values.shape[1],) if values.ndim == 2 else ()
        self.dtype = np.dtype((values.dtype, shape)) if shape else values.dtype


class _Layout:
    """Where each column's length and bytes stand in a row of full width."""

    def __init__(self, fields: Sequence[_Field]) -> None:
        self.fields = fields
        parts: list[tuple[str, np.dtype[np.generic]]] = [("columns", np.dtype(">i2"))]
        for number, field in enumerate(fields):
            parts.append((f"size{number}", np.dtype(">i4")))
            parts.append((f"data{number}", field.dtype))
        self.dtype = np.dtype(parts)
        self.width = self.dtype.itemsize
        self.offsets = [self.dtype.fields[f"data{n}"][1] for n in range(len(fields))]  # type: ignore[index]
        self.template = np.zeros((), dtype=self.dtype)
        self.template["columns"] = len(fields)
        for number, field in enumerate(fields):
            self.template[f"size{number}"] = field.width
        self.is_ragged = any(field.is_text or field.null is not None for field in fields)

    def encode(self, rows: slice) -> bytes:
        count = rows.stop - rows.start
        records = np.empty(count, dtype=self.dtype)
        records[:] = self.template
        keep = np.ones((count, self.width), dtype=bool) if self.is_ragged else None
        for number, field in enumerate(self.fields):
            records[f"data{number}"] = field.values[rows]
            if keep is not None:
                self._mark(field, rows, records[f"size{number}"], keep, self.offsets[number])
        if keep is None:
            return records.tobytes()
        return records.view(np.uint8).reshape(count, self.width)[keep].tobytes()

    def _mark(
        self,
        field: _Field,
        rows: slice,
        sizes: NDArray[np.int32],
        keep: NDArray[np.bool_],
        offset: int,
    ) -> None:
        """Set the lengths of one column where they differ, and mark the bytes to leave out."""
        end = offset + field.width
        if field.is_text:
            lengths = text_lengths(field.values[rows])
            sizes[:] = lengths
            keep[:, offset:end] = np.arange(field.width) < lengths[:, None]
        if field.null is not None:
            null = np.flatnonzero(field.null[rows])
            sizes[null] = -1
            keep[null, offset:end] = False


def text_lengths(text: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the length in bytes of each text, which ends before its trailing zeros."""
    width = text.dtype.itemsize
    matrix = np.ascontiguousarray(text).view(np.uint8).reshape(len(text), width)
    used = matrix[:, ::-1] != 0
    return np.where(used.any(axis=1), width - used.argmax(axis=1), 0)
