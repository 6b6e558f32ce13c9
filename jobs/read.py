"""Chunks of rows, read and shaped: what the writer waits for, prepared while it writes."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from astra.chunk import Chunk
from astra.errors import ProductError
from astra.ledger import Claim, Identity
from jobs import checksum, fits, scratch
from jobs.check import Classes, Mapper
from jobs.known import Known, identify, rows_done
from jobs.manifest import Manifest
from jobs.mapping import TableMapping
from jobs.plan import Unit
from jobs.shape import shape

T = TypeVar("T")

#: A chunk takes so many bytes of rows at most, however few rows that is.
_BATCH_BYTES = 1 << 26


@dataclass
class Origin:
    """Rows of one HDU that a chunk has.

    Attributes
    ----------
    unit : Unit
    mapping : TableMapping
    claim : Claim
        Which HDU and rows they are.
    raw : bytes
        The rows as they lie in the file.
    kept : ndarray of int64
        Which of them are in the chunk, in its order.
    rejected : dict of int to str
        Which of them did not fit, and why.
    """

    unit: Unit
    mapping: TableMapping
    claim: Claim
    raw: bytes
    kept: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    rejected: dict[int, str] = field(default_factory=dict)

    @property
    def rows(self) -> fits.Rows:
        """The rows as they lie in the file."""
        return np.frombuffer(self.raw, dtype=self.mapping.table.dtype, count=self.claim.count)

    def without(self, count: int) -> Origin:
        """Return what is left when the first rows are done already."""
        claim = replace(self.claim, first=self.claim.first + count, count=self.claim.count - count)
        claim.skip = 0
        return replace(
            self,
            claim=claim,
            raw=self.raw[count * self.mapping.table.row_bytes :],
            kept=self.kept[self.kept >= count] - count,
            rejected={row - count: why for row, why in self.rejected.items() if row >= count},
        )


@dataclass(frozen=True)
class Batch:
    """A chunk to be written in one transaction, and where each of its rows comes from."""

    chunk: Chunk
    origins: list[Origin]

    @property
    def product(self) -> int:
        """The product of the manifest that all its rows are of."""
        return self.origins[0].unit.product

    def without_done(self) -> Batch:
        """Return what is left without the rows that other jobs have done; see `Claim.skip`."""
        if not any(origin.claim.skip for origin in self.origins):
            return self
        keep = [origin.kept >= origin.claim.skip for origin in self.origins]
        origins = [origin.without(origin.claim.skip) for origin in self.origins]
        return Batch(self.chunk.take(np.concatenate(keep)), origins)


@dataclass(frozen=True)
class EndOfUnit:
    """A file has been read, or failed, or needed no reading.

    Attributes
    ----------
    unit : Unit
    identity : Identity or None
        What it was; None if it could not even be looked at.
    error : ProductError or None
    skipped : bool
        It was in already.
    empty : bool
        It has no rows to take.
    """

    unit: Unit
    identity: Identity | None = None
    error: ProductError | None = None
    skipped: bool = False
    empty: bool = False


class Reader:
    """Reads and shapes the rows of units.

    Parameters
    ----------
    manifest : Manifest
    classes : mapping of str to type
    batch_rows : int
        Rows of a chunk.
    known : Known
        What the ledger knows of the files.
    """

    def __init__(self, manifest: Manifest, classes: Classes, batch_rows: int, known: Known) -> None:
        self.manifest = manifest
        self.mapper = Mapper(classes)
        self.batch_rows = batch_rows
        self.known = known
        self.failed_products: set[int] = set()
        self._verified: set[tuple[Identity, int]] = set()

    def read(self, units: Iterable[Unit]) -> Iterator[Batch | EndOfUnit]:
        """Give chunks, filled across the files of a product, and the end of each file."""
        collector = _Collector(self.batch_rows)
        ended: list[EndOfUnit] = []
        product = -1
        for unit in units:
            if unit.product != product:
                yield from collector.flush()
                yield from ended
                ended, product = [], unit.product
            for item in self._read_unit(unit):
                if isinstance(item, EndOfUnit):
                    ended.append(item)
                else:
                    yield from collector.add(item)
            if collector.is_empty:
                yield from ended
                ended = []
        yield from collector.flush()
        yield from ended

    def _read_unit(self, unit: Unit) -> Iterator[Origin | EndOfUnit]:
        product = self.manifest.products[unit.product]
        if unit.product in self.failed_products:
            return
        identity = None
        try:
            identity = identify(unit, product)
            if unit.order in self.known.done:
                yield EndOfUnit(unit, identity, skipped=True)
                return
            any_rows = False
            with scratch.unpacked(unit.path) as (copy, file):
                wanted = list(self.mapper.mappings(file, product))
                for mapping in wanted:
                    whole = _identity_of_table(identity, mapping, len(wanted), unit)
                    any_rows |= bool(whole.rows)
                    yield from self._read_table(unit, copy, mapping, whole)
            if identify(unit, product) != identity:
                raise ProductError(
                    f"{unit.path}: changed while it was read; run the job again when it is whole"
                )
            yield EndOfUnit(unit, identity, empty=not any_rows)
        except ProductError as error:
            yield EndOfUnit(unit, identity, error)
        except OSError as error:
            told = ProductError(f"{unit.path}: cannot be read: {error.strerror or error}")
            yield EndOfUnit(unit, identity, told)

    def _read_table(
        self, unit: Unit, copy: Path, mapping: TableMapping, identity: Identity
    ) -> Iterator[Origin]:
        if mapping.problems:
            raise ProductError(f"{mapping.problems[0]} (the file has changed since it was checked)")
        table = mapping.table
        descriptor = os.open(copy, os.O_RDONLY)
        try:
            if self.manifest.products[unit.product].verify:
                self._verify(descriptor, unit.path, table, identity)
            first = identity.first + rows_done(self.known.entries.get(identity.path, ()), identity)
            last = identity.first + identity.rows
            step = min(self.batch_rows, max(1, _BATCH_BYTES // max(table.row_bytes, 1)))
            for start in range(first, last, step):
                count = min(step, last - start)
                yield Origin(
                    unit,
                    mapping,
                    Claim(identity, start, count),
                    fits.read_bytes(descriptor, unit.path, table, start, count),
                )
        finally:
            os.close(descriptor)

    def _verify(
        self, descriptor: int, path: Path, table: fits.TableHDU, identity: Identity
    ) -> None:
        """Verify the checksum of a whole HDU, once for all parts of a file."""
        whole = (replace(identity, part=0, first=0, rows=0), table.number)
        if whole not in self._verified:
            checksum.verify(descriptor, path, table)
            self._verified = {*(self._verified if identity.parts > 1 else ()), whole}


def _identity_of_table(file: Identity, mapping: TableMapping, hdus: int, unit: Unit) -> Identity:
    rows = unit.rows(mapping.table.rows)
    cards = mapping.table.cards
    datasum = cards.get("DATASUM")
    version = cards.get("V_ASTRA", mapping.primary.get("V_ASTRA", ""))
    return replace(
        file,
        hdu=mapping.table.number,
        target=mapping.targets[-1].model._meta.table_name,
        datasum=None if datasum is None else str(datasum),
        hdus=hdus,
        first=rows.start,
        rows=len(rows),
        hdu_rows=mapping.table.rows,
        v_astra=str(version),
    )


class _Collector:
    """Fills chunks across files of one kind."""

    def __init__(self, batch_rows: int) -> None:
        self.batch_rows = batch_rows
        self._lanes: dict[int, list[Origin]] = {}

    @property
    def is_empty(self) -> bool:
        return not self._lanes

    def add(self, origin: Origin) -> Iterator[Batch]:
        """Take rows, and give a chunk if there are enough."""
        kind = id(origin.mapping.kind)  # which the mapping keeps alive
        lane = self._lanes.setdefault(kind, [])
        lane.append(origin)
        rows = sum(each.claim.count for each in lane)
        size = rows * origin.mapping.table.row_bytes
        # What there is of a large file is enough by itself.
        if rows >= self.batch_rows or size >= _BATCH_BYTES or origin.unit.parts > 1:
            yield from self.flush(kind)

    def flush(self, *kinds: int) -> Iterator[Batch]:
        """Give what is left, of some kinds or of all."""
        for kind in kinds or list(self._lanes):
            yield _shaped(self._lanes.pop(kind))


def _shaped(origins: list[Origin]) -> Batch:
    """Shape the rows of several files at once, and find out which are whose."""
    counts = [origin.claim.count for origin in origins]
    raw = b"".join(origin.raw for origin in origins)
    rows = np.frombuffer(raw, dtype=origins[0].mapping.table.dtype, count=sum(counts))
    shaped = shape(rows, [origin.mapping for origin in origins], counts)
    rejected = dict(shaped.rejected)
    start = 0
    for origin, count in zip(origins, counts, strict=True):
        first, last = np.searchsorted(shaped.kept, [start, start + count])
        origin.kept = shaped.kept[first:last] - start
        own = [row for row in range(start, start + count) if row in rejected] if rejected else []
        origin.rejected = {row - start: rejected[row] for row in own}
        start += count
    return Batch(shaped.chunk, origins)


def ahead(items: Iterable[T], depth: int = 1) -> Generator[T, None, None]:
    """Make items in a thread of their own, at most `depth` before they are asked for.

    An exception in the thread is raised where the item would have come.
    """
    line: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
    wanted = threading.Semaphore(depth)
    stopped = threading.Event()
    thread = threading.Thread(
        target=_fill, args=(line, items, wanted, stopped), name="astra-read", daemon=True
    )
    thread.start()
    try:
        while True:
            is_item, value = line.get()
            wanted.release()
            if is_item:
                yield value
                del value  # or it would be kept until the next one is there
            elif value is None:
                return
            else:
                raise value
    finally:
        stopped.set()
        wanted.release()
        thread.join()


def _fill(
    line: queue.SimpleQueue[tuple[bool, Any]],
    items: Iterable[Any],
    wanted: threading.Semaphore,
    stopped: threading.Event,
) -> None:
    """Put items into a queue as they are wanted, then None or the exception that ended them."""
    iterator = iter(items)
    try:
        while wanted.acquire() and not stopped.is_set():
            line.put((True, next(iterator)))
    except StopIteration:
        line.put((False, None))
    except BaseException as error:  # noqa: BLE001 - handed to the other thread, whatever it is
        line.put((False, error))
