"""Chunks of rows, read and shaped: what the writer waits for, prepared while it writes."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from astra.block import concatenate
from astra.chunk import Chunk, Part
from jobs import fits
from jobs.mapping import TableMapping
from jobs.shape import Shaped, shape

T = TypeVar("T")


@dataclass(frozen=True)
class Origin:
    """Rows of one HDU that a chunk has.

    Attributes
    ----------
    path : Path
    mapping : TableMapping
    first : int
        The first row that was read, counted from 0.
    rows : ndarray
        As they lie in the file.
    kept : ndarray of int64
        Which of them are in the chunk, in its order.
    rejected : list of (int, str)
        Which of them did not fit, and why.
    """

    path: Path
    mapping: TableMapping
    first: int
    rows: fits.Rows
    kept: NDArray[np.int64]
    rejected: list[tuple[int, str]]


@dataclass(frozen=True)
class Batch:
    """A chunk to be written in one transaction, and where each of its rows comes from."""

    chunk: Chunk
    origins: list[Origin]

    def locate(self, row: int) -> tuple[Origin, int]:
        """Return the origin of a row of the chunk, and which of the origin's rows it is."""
        for origin in self.origins:
            if row < len(origin.kept):
                return origin, int(origin.kept[row])
            row -= len(origin.kept)
        raise IndexError(row)


def read_table(
    path: Path, copy: Path, mapping: TableMapping, batch_rows: int, first: int = 0
) -> Iterator[tuple[Origin, Chunk]]:
    """Read and shape an HDU, so many rows at a time.

    Parameters
    ----------
    path : Path
        The product, for messages.
    copy : Path
        Where its rows can be read in place: the product itself, or its unpacked copy.
    mapping : TableMapping
    batch_rows : int
    first : int
        The row to begin with.
    """
    table = mapping.table
    descriptor = os.open(copy, os.O_RDONLY)
    try:
        for start in range(first, table.rows, batch_rows):
            count = min(batch_rows, table.rows - start)
            rows = fits.read_rows(descriptor, path, table, start, count)
            shaped: Shaped = shape(rows, mapping)
            yield (
                Origin(path, mapping, start, rows, shaped.kept, shaped.rejected),
                shaped.chunk,
            )
    finally:
        os.close(descriptor)


@dataclass
class _Lane:
    """Rows of many small files that go to the same columns, until they make a chunk."""

    origins: list[Origin] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    read: int = 0


class Collector:
    """Fills chunks across files.

    Parameters
    ----------
    batch_rows : int
        Rows that make a chunk.
    """

    def __init__(self, batch_rows: int) -> None:
        self.batch_rows = batch_rows
        self._lanes: dict[Any, _Lane] = {}

    def add(self, origin: Origin, chunk: Chunk) -> Iterator[Batch]:
        """Take rows, and give a chunk if there are enough."""
        lane = self._lanes.setdefault(_signature(chunk), _Lane())
        lane.origins.append(origin)
        lane.chunks.append(chunk)
        lane.read += len(origin.rows)
        if lane.read >= self.batch_rows:
            yield from self.flush(_signature(chunk))

    def flush(self, *signatures: Any) -> Iterator[Batch]:
        """Give what is left, of some lanes or of all."""
        for signature in signatures or list(self._lanes):
            lane = self._lanes.pop(signature, None)
            if lane is not None:
                yield Batch(_join(lane.chunks), lane.origins)


def _signature(chunk: Chunk) -> Any:
    """Return what chunks must have in common to be put together."""
    parts = [part for part in (chunk.source, *chunk.spectra, chunk.result) if part is not None]
    return tuple((part.model, part.policy, _shape(part)) for part in parts)


def _shape(part: Part) -> Any:
    return tuple(
        (name, column.values.shape[1:], column.values.dtype.kind)
        for name, column in part.block.columns.items()
    )


def _join(chunks: list[Chunk]) -> Chunk:
    if len(chunks) == 1:
        return chunks[0]

    def joined(parts: list[Part]) -> Part:
        return replace(parts[0], block=concatenate([part.block for part in parts]))

    def optional(parts: list[Part | None]) -> Part | None:
        there = [part for part in parts if part is not None]
        return joined(there) if there else None

    return Chunk(
        rows=sum(chunk.rows for chunk in chunks),
        source=optional([chunk.source for chunk in chunks]),
        spectra=tuple(
            joined([chunk.spectra[n] for chunk in chunks]) for n in range(len(chunks[0].spectra))
        ),
        result=optional([chunk.result for chunk in chunks]),
        base=chunks[0].base,
    )


def ahead(items: Iterable[T], depth: int = 1) -> Iterator[T]:
    """Make items in a thread of their own, at most `depth` before they are asked for.

    An exception in the thread is raised where the item would have come.
    """
    line: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(entry: tuple[bool, Any]) -> bool:
        while not stopped.is_set():
            try:
                line.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((True, item)):
                    return
            put((False, None))
        except BaseException as error:  # handed to the other thread, whatever it is
            put((False, error))

    thread = threading.Thread(target=work, name="astra-read", daemon=True)
    thread.start()
    try:
        while True:
            is_item, value = line.get()
            if is_item:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        stopped.set()
        thread.join()
