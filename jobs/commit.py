"""One chunk, one transaction: its rows, its entries in the ledger, its rejects on disk."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from astra.chunk import Fate, Overtaken, Written
from astra.compare import Change
from astra.errors import ProductError
from astra.ledger import Ledger, Reset
from astra.transaction import run
from astra.writer import ChunkWriter
from jobs.manifest import Manifest
from jobs.read import Batch
from jobs.rejects import RejectFile
from jobs.report import Counts

if TYPE_CHECKING:
    from astra.transaction import ResilientDatabase

#: Another job can begin the same files, or add the same sources, at the same moment only so often.
_TRIES = 20


class Committer:
    """Writes batches.

    Parameters
    ----------
    database : ResilientDatabase
    ledger : Ledger
    manifest : Manifest
    report : Path
        The files of rejected rows go beside it.
    """

    def __init__(
        self, database: ResilientDatabase, ledger: Ledger, manifest: Manifest, report: Path
    ) -> None:
        self.database = database
        self.ledger = ledger
        self.manifest = manifest
        self.report = report
        self.writer = ChunkWriter(database)
        #: Whether the tables are there to be compared with, in a dry run.
        self.is_readable = False
        self.changes: dict[int, dict[str, Change]] = {}
        self._rejects: dict[int, RejectFile] = {}

    def commit(self, batch: Batch) -> tuple[Counts, Written]:
        """Write a batch, and all of it again after a fault that passes.

        Returns
        -------
        counts : Counts
            Without the rows that other jobs did meanwhile.
        written : Written

        Raises
        ------
        ProductError
            If another job has begun one of the files again.
        """
        try:
            return self._retried(batch)
        except Reset as reset:
            raise ProductError(
                f"{reset}: another job has begun it again; run this one once more when that has "
                "ended"
            ) from reset

    def _retried(self, batch: Batch) -> tuple[Counts, Written]:
        attempts: list[tuple[Counts, Written]] = []
        claims = [origin.claim for origin in batch.origins]

        def work() -> tuple[Counts, Written]:
            self.ledger.claim(claims)
            if attempts and self._is_committed(batch):
                # The connection was lost after the server had committed, before it could say so.
                return attempts[-1]
            attempts.append(self._write(batch))
            return attempts[-1]

        tries = 0
        while True:
            try:
                written = run(self.database, work)
                self.ledger.note_begun(claims)
                return written
            except Overtaken as overtaken:
                tries += 1
                if tries == _TRIES:
                    raise overtaken.__cause__ or overtaken from None

    def _is_committed(self, batch: Batch) -> bool:
        """Tell from the ledger whether this very task has written all of a batch already."""
        us = (self.ledger.info.run, self.ledger.info.shard_index)
        return all(
            claim.skip == claim.count and (claim.entry["run"], claim.entry["task"]) == us
            for claim in (origin.claim for origin in batch.origins)
        )

    def _write(self, batch: Batch) -> tuple[Counts, Written]:
        started = time.monotonic()
        claims = [origin.claim for origin in batch.origins]
        rest = batch.without_done()
        several = len(rest.origins) > 1
        written = self.writer.write(rest.chunk, tell_fates=several)
        counts = _count(rest, written)
        rejects = self._set_aside(rest, written)
        for claim, origin in zip(claims, rest.origins, strict=True):
            origin.claim.entry = claim.entry
        self.ledger.record(
            [origin.claim for origin in rest.origins],
            [vars(count) for count in counts],
            rejects=rejects,
            seconds=time.monotonic() - started,
        )
        total = Counts()
        for count in counts:
            total.add(count)
        return total, written

    def preview(self, batch: Batch) -> tuple[Counts, Written]:
        """Find out what `commit` would do, without writing to the database."""
        if self.is_readable:
            changes = self.changes.setdefault(batch.product, {})
            written = self.writer.preview(batch.chunk, changes)
        else:
            written = Written(fates=np.full(batch.chunk.rows, Fate.INSERTED, dtype=np.uint8))
        total = Counts()
        for count in _count(batch, written):
            total.add(count)
        self._set_aside(batch, written)
        return total, written

    def _set_aside(self, batch: Batch, written: Written) -> str | None:
        """Put rejected rows into the product's file, before the transaction commits."""
        refused = _by_origin(batch, dict(written.rejected))
        reject_file = None
        for origin, more in zip(batch.origins, refused, strict=True):
            rejected = {**origin.rejected, **more}
            reject_file = self.rejects(batch.product)
            table, first = origin.mapping.table, origin.claim.first
            part = origin.claim.identity
            again = range(first, part.first + part.rows)
            reject_file.forget(origin.unit.path, table.number, again)
            if rejected:
                numbers = sorted(rejected)
                notes = [(first + number, rejected[number]) for number in numbers]
                rows = origin.rows[numbers]
                reject_file.add(origin.unit.path, table, origin.mapping.primary, rows, notes)
        if reject_file is None:
            return None
        reject_file.write()
        return str(reject_file.path.absolute())

    def rejects(self, product: int) -> RejectFile:
        """Return a product's file of rejected rows."""
        if product not in self._rejects:
            name = Path(self.manifest.products[product].path).name
            stem = re.sub(r"[^\w.]+", "-", re.sub(r"\.fits(\.gz)?$", "", name)).strip("-.")
            report = self.report.name.removesuffix(".json")
            path = self.report.with_name(f"{report}.rejects-{product}-{stem or 'rows'}.fits")
            self._rejects[product] = RejectFile(path)
        return self._rejects[product]


def _by_origin(batch: Batch, rejected: dict[int, str]) -> list[dict[int, str]]:
    """Return the rows that the tables refused, numbered as each origin's rows are."""
    found: list[dict[int, str]] = []
    start = 0
    for origin in batch.origins:
        end = start + len(origin.kept)
        found.append(
            {int(origin.kept[r - start]): why for r, why in rejected.items() if start <= r < end}
        )
        start = end
    return found


def _count(batch: Batch, written: Written) -> list[Counts]:
    """Return what became of each origin's rows."""
    if written.fates is None:
        # One origin: what is not told row by row is all its own.
        (origin,) = batch.origins
        counts = Counts(
            read=origin.claim.count,
            inserted=written.inserted,
            updated=written.updated,
            unchanged=written.unchanged,
            duplicates=written.duplicates,
            rejected=len(origin.rejected) + len(written.rejected),
        )
        return [counts]
    found = []
    start = 0
    for origin in batch.origins:
        end = start + len(origin.kept)
        number = np.bincount(written.fates[start:end], minlength=len(Fate))
        found.append(
            Counts(
                read=origin.claim.count,
                inserted=int(number[Fate.INSERTED]),
                updated=int(number[Fate.UPDATED]),
                unchanged=int(number[Fate.UNCHANGED]),
                duplicates=int(number[Fate.DUPLICATE]),
                rejected=int(number[Fate.REJECTED]) + len(origin.rejected),
            )
        )
        start = end
    return found
