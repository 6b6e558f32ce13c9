"""Writing chunks: sources and spectra that are missing are added, and results upserted.

Everything happens inside the caller's transaction.  Rows that the tables cannot take are returned
with the reason, and the others are written.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astra.block import Block, Column, constant
from astra.chunk import (
    UPDATE,
    Chunk,
    Fate,
    Index,
    Mask,
    Overtaken,
    Part,
    Reject,
    RowsRefused,
    Written,
    arrays,
)
from astra.keys import last_of_each
from astra.sources import Sources
from astra.spectra import Spectra, natural_key
from astra.tables import Tables, complete
from astra.upsert import GENERATED, RESULT_KEY, conflict_keys, kept
from astra.utils import utcnow

if TYPE_CHECKING:
    from peewee import Database, Model

#: Another job that adds the same sources can be first only so often.
_TRIES = 20


class ChunkWriter:
    """Writes chunks, one after the other, and remembers what tends to be new.

    Parameters
    ----------
    database : peewee.Database
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tables = Tables(database)
        self.sources = Sources(self.tables)
        self.spectra = Spectra(self.tables)
        # Copying straight into a table is the fastest way as long as all its rows are new.
        self._expect_new: dict[str, bool] = {}

    def write(self, chunk: Chunk, *, tell_fates: bool = False) -> Written:
        """Write a chunk inside the open transaction.

        Parameters
        ----------
        chunk : Chunk
        tell_fates : bool
            Find out what becomes of each row, and not only of how many.

        Returns
        -------
        Written

        Raises
        ------
        peewee.PeeweeException
            Whatever the database says that is not about single rows.
        """
        rejected: list[Reject] = []
        alive = np.arange(chunk.rows)
        tries = 0
        while True:
            part = chunk if len(alive) == chunk.rows else chunk.take(alive)
            try:
                with self.database.atomic():
                    written = self._write(part, tell_fates=tell_fates)
                break
            except RowsRefused as refused:
                bad = refused.at(alive).rejected
                rejected += bad
                alive = np.setdiff1d(alive, [row for row, _ in bad])
            except Overtaken as overtaken:
                tries += 1
                if tries == _TRIES:
                    raise overtaken.__cause__ or overtaken from None
        written.rejected = rejected + [(int(alive[row]), why) for row, why in written.rejected]
        if written.fates is not None:
            fates = np.full(chunk.rows, Fate.REJECTED, dtype=np.uint8)
            fates[alive] = written.fates
            written.fates = fates
        return written

    def _write(self, chunk: Chunk, *, tell_fates: bool) -> Written:
        now = utcnow()
        written = Written()
        rows = np.arange(chunk.rows)
        fates = np.full(chunk.rows, Fate.DUPLICATE, dtype=np.uint8)

        keep = last_of_each(_key(chunk))
        written.duplicates = chunk.rows - len(keep)
        if written.duplicates:
            chunk, rows = chunk.take(keep), rows[keep]

        def without(problems: list[Reject], *columns: NDArray[Any]) -> list[NDArray[Any]]:
            nonlocal chunk, rows
            if not problems:
                return list(columns)
            reasons = dict(reversed(problems))  # the first reason of a row counts
            written.rejected += [(int(rows[row]), why) for row, why in sorted(reasons.items())]
            fates[rows[list(reasons)]] = Fate.REJECTED
            kept = np.setdiff1d(np.arange(chunk.rows), list(reasons))
            chunk, rows = chunk.take(kept), rows[kept]
            return [column[kept] for column in columns]

        source_pk, problems = self.sources.find(chunk)
        (source_pk,) = without(problems, source_pk)
        spectra, problems = self.spectra.find(chunk, source_pk)
        source_pk, *spectra = without(problems, source_pk, *spectra)
        is_new: Mask | None = (spectra[-1] if spectra else source_pk) < 0
        if chunk.rows:
            try:
                source_pk = self.sources.write(chunk, source_pk, now, written)
                spectrum_pk = self.spectra.write(chunk, spectra, source_pk, now, written)
                if chunk.result is not None:
                    results = self._result_block(chunk.result, source_pk, spectrum_pk, now)
                    is_new = self._find_new(results) if tell_fates else None
                    self._write_results(chunk.result, results, now, written)
            except RowsRefused as refused:
                raise refused.at(rows) from None
        old = Fate.UPDATED if chunk.principal.policy == UPDATE else Fate.UNCHANGED
        if is_new is not None:
            fates[rows] = np.where(is_new, Fate.INSERTED, old)
            written.fates = fates
            written.inserted = int(np.count_nonzero(is_new))
            number = len(rows) - written.inserted
            written.updated = number if old == Fate.UPDATED else 0
            written.unchanged = number - written.updated
        return written

    def _find_new(self, results: tuple[type[Model], Block]) -> Mask:
        """Tell which results are not there yet."""
        model, block = results
        is_new = np.ones(block.rows, dtype=bool)
        is_new[self.tables.backend.find(model, conflict_keys(block, RESULT_KEY), [])[0]] = False
        return is_new

    def _result_block(
        self, part: Part, source_pk: Index, spectrum_pk: Index, now: datetime.datetime
    ) -> tuple[type[Model], Block]:
        """Tie results to their sources and spectra."""
        null = source_pk < 0
        block = part.block.with_columns(
            source_pk=Column(source_pk, null if null.any() else None),
            spectrum_pk=Column(spectrum_pk),
            modified=constant(now, part.block.rows, "datetime64[us]"),
        )
        return part.model, complete(part.model, block, now)

    def _write_results(
        self,
        part: Part,
        results: tuple[type[Model], Block],
        now: datetime.datetime,
        written: Written,
    ) -> None:
        model, block = results
        given = {*part.block.columns, "source_pk", "spectrum_pk", "modified"}
        update = [n for n in block.columns if n in given - {*kept(model), *GENERATED}]
        written.inserted, written.updated = self._upsert(model, block, update)
        key, _ = kept(model)
        if key in block.columns:
            self.tables.advance(model, int(block.integers(key).max()))

    def _upsert(self, model: type[Model], block: Block, update: Sequence[str]) -> tuple[int, int]:
        from peewee import IntegrityError

        table = model._meta.table_name
        if self._expect_new.get(table, True):
            try:
                with self.database.atomic():
                    self.tables.backend.insert(model, block)
                return block.rows, 0
            except IntegrityError:
                self._expect_new[table] = False
        inserted, updated = self.tables.upsert(model, block, RESULT_KEY, update)
        self._expect_new[table] = updated == 0
        return inserted, updated


def _key(chunk: Chunk) -> list[NDArray[Any]]:
    """Return the columns by which a chunk's rows are told apart."""
    version = []
    part: Part = chunk.principal
    if chunk.result is not None:
        version = [chunk.result.block.integers("v_astra") // 1000]
        part = chunk.spectra[-1] if chunk.spectra else chunk.result
    if chunk.result is None and not chunk.spectra:
        return [part.block.integers("sdss_id")]
    if "spectrum_pk" in part.block.columns:
        return [part.block.integers("spectrum_pk"), *version]
    return [*arrays(complete(part.model, part.block, utcnow()), natural_key(part)), *version]
