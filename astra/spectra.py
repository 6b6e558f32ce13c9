"""Finding and adding the spectra of a chunk's rows, by `spectrum_pk` or by natural key."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astra.block import Block, Column
from astra.chunk import REQUIRE, UPDATE, Chunk, Index, Part, Reject, Written, arrays
from astra.keys import distinct, groups
from astra.tables import Tables, complete
from astra.utils import utcnow

if TYPE_CHECKING:
    from peewee import Model


class Spectra:
    """The spectra's side of writing a chunk."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def find(self, chunk: Chunk) -> tuple[list[Index], list[Index], list[Reject]]:
        """Find out which rows of each spectrum table are there.

        Returns
        -------
        stored : list of ndarray of int64, shape (n_rows,)
            For each of the chunk's spectrum tables, the spectrum_pk of the row that is there, -1
            where there is none.
        owners : list of ndarray of int64, shape (n_rows,)
            The source key of each of those, -1 where that is not known.
        problems : list of (int, str)
            Rows whose spectrum is missing but required, or could be several.
        """
        stored: list[Index] = []
        owners: list[Index] = []
        problems: list[Reject] = []
        for part in chunk.spectra:
            if "spectrum_pk" in part.block.columns:
                each, owner = self._find_by_key(part)
            else:
                each, ambiguous = self._find_by_natural_key(part)
                owner = np.full_like(each, -1)
                problems += ambiguous
            if part.policy == REQUIRE:
                reason = f"its spectrum is not in {part.model.__name__} (spectra: require)"
                problems += [(int(row), reason) for row in np.flatnonzero(each < 0)]
            stored.append(each)
            owners.append(owner)
        return stored, owners, problems

    def _find_by_key(self, part: Part) -> tuple[Index, Index]:
        """Return the stored spectrum_pk and source key of each row, -1 where there is none."""
        given = part.block.integers("spectrum_pk")
        keys = Block({"spectrum_pk": Column(given)}, len(given))
        position, (source,) = self.tables.backend.find(part.model, keys, ["source"])
        stored, owner = np.full((2, len(given)), -1, dtype=np.int64)
        stored[position] = given[position]
        owner[position] = source
        return stored, owner

    def _find_by_natural_key(self, part: Part) -> tuple[Index, list[Reject]]:
        """Return the stored spectrum_pk of each row, and rows that could be several spectra."""
        block = complete(part.model, part.block, utcnow())
        keys = block.select(natural_key(part))
        position, (spectrum_pk,) = self.tables.backend.find(part.model, keys, ["spectrum_pk"])
        stored = np.full(block.rows, -1, dtype=np.int64)
        stored[position] = spectrum_pk
        reason = (
            "its natural key is that of {} spectra in " + part.model.__name__ + "; it needs a "
            "spectrum_pk to tell which it is"
        )
        count = np.bincount(position, minlength=block.rows)
        return stored, [(int(row), reason.format(count[row])) for row in np.flatnonzero(count > 1)]

    def write(
        self,
        chunk: Chunk,
        stored: Sequence[Index],
        source_pk: Index,
        now: datetime.datetime,
        written: Written,
    ) -> Index:
        """Add spectra that are missing, update those that are there if that is wanted.

        Returns
        -------
        ndarray of int64, shape (n_rows,)
            The spectrum_pk that each row's result is tied to.
        """
        if not chunk.spectra:
            return self._write_bare(chunk, now)
        spectrum_pk = source_pk
        for part, there in zip(chunk.spectra, stored, strict=True):
            spectrum_pk, added = self._write_table(chunk.base, part, there, source_pk, now)
            written.add(chunk, part, added)
        return spectrum_pk

    def _write_bare(self, chunk: Chunk, now: datetime.datetime) -> Index:
        """Make sure that the spectra exist of a product that says nothing else of them."""
        if chunk.result is None:
            return np.full(chunk.rows, -1, dtype=np.int64)
        spectrum_pk = chunk.result.block.integers("spectrum_pk")
        self._ensure(chunk.base, distinct(spectrum_pk), now)
        return spectrum_pk

    def _write_table(
        self,
        base: type[Model],
        part: Part,
        stored: Index,
        source_pk: Index,
        now: datetime.datetime,
    ) -> tuple[Index, int]:
        """Write one spectrum table, and return each row's spectrum_pk and how many are new."""
        model = part.model
        null = source_pk < 0
        block = complete(model, part.block, now).with_columns(
            source=Column(source_pk, null if null.any() else None)
        )
        if "spectrum_pk" in part.block.columns:
            spectrum_pk = part.block.integers("spectrum_pk")
            last, _ = groups([spectrum_pk])
        else:
            last, group = groups(arrays(block, natural_key(part)))
            spectrum_pk = self._number(base, stored[last])[group]
        is_new = stored[last] < 0
        fresh, old = last[is_new], last[~is_new]
        block = block.with_columns(spectrum_pk=Column(spectrum_pk))
        if len(fresh):
            self._ensure(base, spectrum_pk[fresh], now)
            with_rows(self.tables.insert, fresh, model, block.take(fresh), ["spectrum_pk"])
        if len(old) and part.policy == UPDATE:
            names = [n for n in part.block.columns if n not in ("spectrum_pk", "created")]
            others = {"source", "modified"} & set(model._meta.fields) - set(names)
            names += sorted(others)
            rows = block.take(old)
            with_rows(self.tables.upsert, old, model, rows, ["spectrum_pk"], names)
        return spectrum_pk, len(fresh)

    def _number(self, base: type[Model], stored: Index) -> Index:
        """Give spectra that are not there yet keys of their own."""
        numbered = stored.copy()
        lacking = numbered < 0
        if lacking.any():
            numbered[lacking] = self.tables.backend.next_keys(base, int(lacking.sum()))
        return numbered

    def _ensure(self, base: type[Model], keys: Index, now: datetime.datetime) -> None:
        """Add rows of `Spectrum` that are missing."""
        # Ascending, so that two jobs that add the same ones wait for each other in turn.
        keys = np.sort(keys)
        missing = keys[~self.tables.known(base, keys)]
        if len(missing):
            block = Block({"pk": Column(missing)}, len(missing))
            self.tables.insert(base, complete(base, block, now), ["pk"])
            self.tables.advance(base, int(keys.max()))


def of_another_source(part: Part, owner: Index, source_pk: Index) -> list[Reject]:
    """Return rows whose spectrum is there, of another source.

    The keys of two databases have met in one then, and neither the spectrum nor the result is
    the row's own.
    """
    if "spectrum_pk" not in part.block.columns:
        return []
    keys = part.block.integers("spectrum_pk")
    reason = (
        "spectrum_pk {} is already in {}, with another sdss_id (were the products numbered by "
        "different databases?)"
    )
    wrong = np.flatnonzero((owner >= 0) & (owner != source_pk))
    return [(int(row), reason.format(keys[row], part.model.__name__)) for row in wrong]


def natural_key(part: Part) -> tuple[str, ...]:
    """Return the columns that tell the spectra of a part apart, where it has no `spectrum_pk`.

    A visit that was resampled is also told by the visit that it was made from, where that is
    known.
    """
    names: tuple[str, ...] = part.model.natural_key  # type: ignore[attr-defined]
    made_from = "drp_spectrum_pk"
    return (*names, made_from) if made_from in part.block.columns else names


def with_rows(call: Any, rows: Index, *arguments: Any) -> Any:
    """Call a function of `Tables` for some of a chunk's rows, and number a refusal as the chunk."""
    from astra.chunk import RowsRefused

    try:
        return call(*arguments)
    except RowsRefused as refused:
        raise refused.at(rows) from None
