"""Finding and adding the sources of a chunk's rows, by `sdss_id`."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import numpy as np

from astra.block import Block, Column
from astra.chunk import (
    REQUIRE,
    UPDATE,
    Chunk,
    Index,
    Overtaken,
    Reject,
    RowsRefused,
    Written,
)
from astra.keys import distinct, first_of_each, last_of_each
from astra.tables import Tables, complete

if TYPE_CHECKING:
    from peewee import Model


class Sources:
    """The sources' side of writing a chunk."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def find(self, chunk: Chunk) -> tuple[Index, list[Reject]]:
        """Return each row's source key, -1 where it has none yet, and rows that need one."""
        if chunk.source is None:
            return self._given(chunk)
        ids, row_of = np.unique(chunk.source.block.integers("sdss_id"), return_inverse=True)
        keys = Block({"sdss_id": Column(ids)}, len(ids))
        position, (pk,) = self.tables.backend.find(chunk.source.model, keys, ["pk"])
        by_id = np.full(len(ids), -1, dtype=np.int64)
        by_id[position] = pk
        source_pk = by_id[row_of]
        if chunk.source.policy != REQUIRE:
            return source_pk, []
        reason = "sdss_id {} is not in the table of sources (sources: require)"
        lost = np.flatnonzero(source_pk < 0)
        return source_pk, [(int(row), reason.format(ids[row_of[row]])) for row in lost]

    def _given(self, chunk: Chunk) -> tuple[Index, list[Reject]]:
        """Take the result's own `source_pk`, in a product that has no `sdss_id`."""
        if chunk.result is None or "source_pk" not in chunk.result.block.columns:
            return np.full(chunk.rows, -1, dtype=np.int64), []
        given = chunk.result.block.integers("source_pk")
        model = chunk.result.model._meta.fields["source_pk"].rel_model
        wanted = distinct(given[given >= 0])
        unknown = wanted[~self.tables.known(model, wanted)]
        lost = np.flatnonzero(np.isin(given, unknown))
        reason = "source_pk {} is not in the table of sources, and the product has no sdss_id"
        return given, [(int(row), reason.format(given[row])) for row in lost]

    def write(
        self, chunk: Chunk, source_pk: Index, now: datetime.datetime, written: Written
    ) -> Index:
        """Add sources that are missing, update those that are there if that is wanted.

        Returns
        -------
        ndarray of int64, shape (n_rows,)
            Each row's source key.
        """
        if chunk.source is None:
            return source_pk
        model, block = chunk.source.model, chunk.source.block
        ids = block.integers("sdss_id")
        last = last_of_each([ids])
        is_new = source_pk[last] < 0
        fresh, old = last[is_new], last[~is_new]
        if len(fresh):
            pk = self._add(model, complete(model, block.take(fresh), now))
            order = np.argsort(ids[fresh])
            where = np.minimum(np.searchsorted(ids[fresh], ids, sorter=order), len(fresh) - 1)
            source_pk = np.where(source_pk < 0, pk[order[where]], source_pk)
        if len(old) and chunk.source.policy == UPDATE:
            names = [name for name in block.columns if name not in ("pk", "sdss_id")]
            rows = complete(model, block.take(old), now).with_columns(pk=Column(source_pk[old]))
            self.tables.upsert(model, rows, ["pk"], names)
        written.add(chunk, chunk.source, len(fresh))
        return source_pk

    def _add(self, model: type[Model], rows: Block) -> Index:
        """Insert new sources, and return their keys."""
        pk = self._choose_keys(model, rows)
        try:
            self.tables.insert(model, rows.with_columns(pk=Column(pk)), ["sdss_id"])
        except RowsRefused as refused:
            # Another job has taken one of the keys, which are nobody's by right: choose again.
            raise Overtaken from refused
        self.tables.advance(model, int(pk.max()))
        return pk

    def _choose_keys(self, model: type[Model], rows: Block) -> Index:
        """Give new sources the keys of the file where those are free, and fresh ones elsewhere."""
        if "pk" not in rows.columns:
            return self.tables.backend.next_keys(model, rows.rows)
        wanted = rows.integers("pk")
        usable = np.zeros(rows.rows, dtype=bool)
        usable[first_of_each([wanted])] = True
        usable &= wanted > 0
        candidates = np.flatnonzero(usable)
        keys = Block({"pk": Column(wanted[candidates])}, len(candidates))
        usable[candidates[self.tables.backend.find(model, keys, [])[0]]] = False
        lacking = int(np.count_nonzero(~usable))
        if lacking:
            # Past the keys that are about to be used, or a fresh one could be one of them.
            highest = int(wanted[usable].max()) if usable.any() else 0
            self.tables.advance(model, highest)
            fresh = self.tables.backend.next_keys(model, lacking)
            wanted[~usable] = np.maximum(fresh, highest + 1 + np.arange(lacking))
        return wanted
