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
    Part,
    Reject,
    RowsRefused,
    Written,
    arrays,
)
from astra.compare import Change, compare
from astra.keys import last_of_each
from astra.sources import Sources
from astra.spectra import Spectra, natural_key, of_another_source
from astra.tables import Tables, complete, sample
from astra.upsert import GENERATED, RESULT_KEY, conflict_keys, kept
from astra.utils import utcnow

if TYPE_CHECKING:
    from peewee import Database, Model


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
        Overtaken
            If the transaction is to be run again.
        peewee.PeeweeException
            Whatever the database says that is not about single rows.
        """
        rejected: list[Reject] = []
        alive = np.arange(chunk.rows)
        while True:
            part = chunk if len(alive) == chunk.rows else chunk.take(alive)
            try:
                with self.tables.savepoint():
                    written = self._write(part, tell_fates=tell_fates)
                break
            except RowsRefused as refused:
                bad = refused.at(alive).rejected
                rejected += bad
                alive = np.setdiff1d(alive, [row for row, _ in bad])
        self.tables.trust()
        written.rejected = rejected + [(int(alive[row]), why) for row, why in written.rejected]
        if written.fates is not None:
            fates = np.full(chunk.rows, Fate.REJECTED, dtype=np.uint8)
            fates[alive] = written.fates
            written.fates = fates
        return written

    def _write(self, chunk: Chunk, *, tell_fates: bool) -> Written:
        now = utcnow()
        survey = self._survey(chunk)
        chunk, added = survey.chunk, Written()
        if not chunk.rows:
            return survey.written()
        try:
            source_pk = self.sources.write(chunk, survey.source_pk, now, added)
            spectrum_pk = self.spectra.write(chunk, survey.spectra, source_pk, now, added)
            if chunk.result is not None:
                results = self._result_block(chunk.result, source_pk, spectrum_pk, now)
                survey.is_new = self._find_new(results) if tell_fates else None
                self._write_results(chunk.result, results, added)
        except RowsRefused as refused:
            raise refused.at(survey.rows) from None
        written = survey.written()
        written.added = added.added
        if survey.is_new is None:
            written.inserted, written.updated = added.inserted, added.updated
        return written

    def _survey(self, chunk: Chunk) -> _Survey:
        """Find out which rows can be written, and what is there of them."""
        survey = _Survey(chunk)
        keep = last_of_each(_key(chunk))
        if len(keep) < chunk.rows:
            survey.keep(keep, Fate.DUPLICATE)
        # Spectra first: of one that another job has just added, the source is there by then.
        survey.spectra, survey.owners, problems = self.spectra.find(survey.chunk)
        survey.reject(problems)
        survey.source_pk, problems = self.sources.find(survey.chunk)
        survey.reject(problems)
        if survey.chunk.source is not None:
            for number in range(len(survey.spectra)):
                part, owner = survey.chunk.spectra[number], survey.owners[number]
                survey.reject(of_another_source(part, owner, survey.source_pk))
        survey.is_new = (survey.spectra[-1] if survey.spectra else survey.source_pk) < 0
        return survey

    def preview(self, chunk: Chunk, changes: dict[str, Change]) -> Written:
        """Find out what `write` would do, without writing or locking anything.

        Parameters
        ----------
        chunk : Chunk
        changes : dict of str to Change
            How the result's columns would change, by field; is added to.
        """
        self.tables.distrust()
        survey = self._survey(chunk)
        if survey.chunk.result is not None and survey.chunk.rows:
            part, spectrum_pk = survey.chunk.result, survey.spectrum_pk
            block = part.block.with_columns(
                source_pk=Column(survey.source_pk, survey.source_pk < 0),
                spectrum_pk=Column(spectrum_pk),
            )
            survey.is_new = self._find_new((part.model, block))
            source = survey.chunk.source
            names = spectrum_pk if source is None else source.block.integers("sdss_id")
            old = ~survey.is_new
            # The key of a source that is not there yet is not known, and no change.
            told = [n for n in block.columns if n != "source_pk"]
            compare(part.model, block.select(told).take(old), names[old], changes)
        return survey.written()

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
        from peewee import DataError, IntegrityError

        table = model._meta.table_name
        if table not in self._expect_new:
            some = block.take(sample(block.rows))
            self._expect_new[table] = bool(self._find_new((model, some)).all())
        if self._expect_new[table]:
            try:
                with self.tables.savepoint():
                    self.tables.backend.insert(model, block)
                return block.rows, 0
            except (IntegrityError, DataError) as error:
                self._expect_new[table] = False
                self.tables.distrust(error)
        inserted, updated = self.tables.upsert(model, block, RESULT_KEY, update)
        self._expect_new[table] = updated == 0
        return inserted, updated


class _Survey:
    """What is known of a chunk before it is written.

    Attributes
    ----------
    chunk : Chunk
        The rows that can be written.
    rows : ndarray of int64
        Which of the rows given they are.
    source_pk : ndarray of int64
        Each row's source key, -1 where there is none yet.
    spectra : list of ndarray of int64
        Each row's spectrum_pk as it is stored, for each spectrum table, -1 where it is not.
    owners : list of ndarray of int64
        The source key of each of those, -1 where that is not known.
    is_new : ndarray of bool or None
        Whether the row of the principal table is new; None if that is not known.
    """

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self.rows: Index = np.arange(chunk.rows)
        self.source_pk: Index = np.zeros(0, dtype=np.int64)
        self.spectra: list[Index] = []
        self.owners: list[Index] = []
        self.is_new: Mask | None = None
        self._fates = np.zeros(chunk.rows, dtype=np.uint8)
        self._rejected: list[Reject] = []

    def keep(self, index: Index, fate: Fate) -> None:
        """Go on with some of the rows; the others' fate is known."""
        gone = np.setdiff1d(np.arange(self.chunk.rows), index)
        self._fates[self.rows[gone]] = fate
        self.chunk, self.rows = self.chunk.take(index), self.rows[index]
        if len(self.source_pk):
            self.source_pk = self.source_pk[index]
        self.spectra = [each[index] for each in self.spectra]
        self.owners = [each[index] for each in self.owners]

    def reject(self, problems: Sequence[Reject]) -> None:
        """Go on without rows that cannot be written; the first reason of a row counts."""
        reasons = dict(reversed(problems))
        if reasons:
            self._rejected += [(int(self.rows[row]), why) for row, why in sorted(reasons.items())]
            self.keep(np.setdiff1d(np.arange(self.chunk.rows), list(reasons)), Fate.REJECTED)

    @property
    def spectrum_pk(self) -> Index:
        """The key that each row's result is tied to, -1 where its spectrum has none yet."""
        if not self.chunk.spectra and self.chunk.result is not None:
            return self.chunk.result.block.integers("spectrum_pk")
        last = self.chunk.spectra[-1].block
        return last.integers("spectrum_pk") if "spectrum_pk" in last.columns else self.spectra[-1]

    def written(self) -> Written:
        """Return what becomes of the rows; of those that remain, only if `is_new` is known."""
        written = Written(rejected=self._rejected)
        fates = self._fates
        if self.is_new is not None:
            old = Fate.UPDATED if self.chunk.principal.policy == UPDATE else Fate.UNCHANGED
            fates[self.rows] = np.where(self.is_new, Fate.INSERTED, old)
            number = np.bincount(fates, minlength=len(Fate))
            written.fates = fates
            written.inserted = int(number[Fate.INSERTED])
            written.updated = int(number[Fate.UPDATED])
            written.unchanged = int(number[Fate.UNCHANGED])
        written.duplicates = int(np.count_nonzero(fates == Fate.DUPLICATE))
        return written


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
