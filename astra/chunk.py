"""Writing one chunk: rows that are each a source, its spectrum and a pipeline's result at once.

Row i of every block of a `Chunk` is row i of the file's table.  `ChunkWriter.write` finds out
which sources and spectra are there already, adds those that are missing, ties the results to
them, and upserts the results, all inside the caller's transaction.  Rows that the tables cannot
take are returned with the reason, and the others are written.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astra.backends import Backend, backend_for
from astra.block import Block, Column, constant
from astra.storage import storage_of
from astra.upsert import GENERATED, KEPT, RESULT_KEY, conflict_keys
from astra.utils import utcnow, version_integer_to_string

if TYPE_CHECKING:
    from peewee import Database, Model

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
Reject = tuple[int, str]

#: What a missing source or spectrum, or one that is there, means: see the manifest.
CREATE, UPDATE, REQUIRE = "create", "update", "require"


@dataclass(frozen=True)
class Part:
    """The columns of one table, for each row of a chunk.

    Attributes
    ----------
    model : type of Model
    block : Block
        By the model's field names.  A source's `pk` is the one that it should get if it is new
        and the number is free.
    policy : str
        ``create`` adds rows that are missing and leaves the others alone; ``update`` overwrites
        those that are there, in the columns that the block has; ``require`` rejects a row
        whose source or spectrum is missing.  Results are always ``update``.
    """

    model: type[Model]
    block: Block
    policy: str = CREATE


@dataclass(frozen=True)
class Chunk:
    """Rows of one product, as columns of each table that they go to.

    Attributes
    ----------
    rows : int
    source : Part or None
        With `sdss_id`; None if the product does not say which sources its rows are of.
    spectra : tuple of Part
        Concrete spectrum tables.  The first has the file's `spectrum_pk`, if the file has one;
        a table without it is looked up by its natural key.
    result : Part or None
        Tied to the last of `spectra`; with a `spectrum_pk` of its own if there are none.
    base : type of Model
        The table `Spectrum`, where each spectrum's key comes from.
    """

    rows: int
    source: Part | None
    spectra: tuple[Part, ...]
    result: Part | None
    base: type[Model]

    def take(self, index: Mask | Index) -> Chunk:
        """Return a chunk of some of the rows."""

        def part(whole: Part | None) -> Part | None:
            return None if whole is None else replace(whole, block=whole.block.take(index))

        rows = int(np.count_nonzero(index)) if index.dtype == bool else len(index)
        spectra = tuple(replace(each, block=each.block.take(index)) for each in self.spectra)
        return Chunk(rows, part(self.source), spectra, part(self.result), self.base)


@dataclass
class Written:
    """What became of a chunk's rows.

    ``inserted + updated + unchanged + duplicates + len(rejected)`` is the number of rows.

    Attributes
    ----------
    inserted, updated, unchanged : int
        Rows of the result table; of a product without one, of its last spectrum table, else of
        `Source`.
    duplicates : int
        Rows whose key a later row of the chunk has too; the later one is written.
    rejected : list of (int, str)
        Row of the chunk, and why the tables cannot take it.
    added : dict of str to int
        New rows by table, for tables beside the one that is counted.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: list[Reject] = field(default_factory=list)
    added: dict[str, int] = field(default_factory=dict)


class _Conflict(Exception):
    """Rows that collide with others by a key that is not the conflict target."""

    def __init__(self, rejected: list[Reject]) -> None:
        super().__init__(f"{len(rejected)} rows")
        self.rejected = rejected


class ChunkWriter:
    """Writes chunks, one after the other, and remembers what tends to be new.

    Parameters
    ----------
    database : peewee.Database
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.backend: Backend = backend_for(database)
        # Copying straight into a table is the fastest way as long as all its rows are new.
        self._expect_new: dict[str, bool] = {}
        self._highest: dict[str, int] = {}

    def write(self, chunk: Chunk) -> Written:
        """Write a chunk inside the open transaction.

        Returns
        -------
        Written

        Raises
        ------
        peewee.PeeweeException
            Whatever the database says that is not about single rows.
        """
        written = Written()
        alive = np.arange(chunk.rows)
        while True:
            attempt = Written()
            try:
                with self.database.atomic():
                    self._write(chunk.take(alive), attempt)
                break
            except _Conflict as conflict:
                bad = np.array([row for row, _ in conflict.rejected], dtype=np.int64)
                written.rejected += [(int(alive[row]), why) for row, why in conflict.rejected]
                alive = np.delete(alive, bad)
        attempt.rejected = written.rejected + [(int(alive[r]), why) for r, why in attempt.rejected]
        return attempt

    def _write(self, chunk: Chunk, written: Written) -> None:
        now = utcnow()
        rows = np.arange(chunk.rows)
        keep = _last_of_each(_principal_key(chunk))
        written.duplicates = chunk.rows - len(keep)
        if written.duplicates:
            chunk, rows = chunk.take(keep), rows[keep]

        source_pk, missing = self._find_sources(chunk)
        chunk, rows, (source_pk,) = _drop(chunk, rows, missing, written, (source_pk,))
        spectra, problems = self._find_spectra(chunk, source_pk)
        found = tuple(each.spectrum_pk for each in spectra)
        there = tuple(each.is_there for each in spectra)
        chunk, rows, kept = _drop(
            chunk, rows, problems, written, (source_pk, *found, *there)
        )
        source_pk = kept[0]
        spectra = [
            _Found(kept[1 + n], kept[1 + len(found) + n].astype(bool)) for n in range(len(found))
        ]
        if chunk.rows == 0:
            return
        try:
            source_pk = self._write_sources(chunk, source_pk, now, written)
            spectrum_pk = self._write_spectra(chunk, spectra, source_pk, now, written)
            self._write_results(chunk, source_pk, spectrum_pk, now, written)
        except _Conflict as conflict:
            raise _Conflict([(int(rows[row]), why) for row, why in conflict.rejected]) from None

    # -- sources ---------------------------------------------------------------------------

    def _find_sources(self, chunk: Chunk) -> tuple[Index, list[Reject]]:
        """Return each row's source key, -1 where it has none yet, and rows that need one."""
        keys = np.full(chunk.rows, -1, dtype=np.int64)
        if chunk.source is None:
            return self._given_source_keys(chunk, keys)
        ids, row_of = np.unique(chunk.source.block.integers("sdss_id"), return_inverse=True)
        position, (pk,) = self.backend.find(
            chunk.source.model, Block({"sdss_id": Column(ids)}, len(ids)), ["pk"]
        )
        by_id = np.full(len(ids), -1, dtype=np.int64)
        by_id[position] = pk
        keys = by_id[row_of]
        if chunk.source.policy != REQUIRE:
            return keys, []
        reason = "sdss_id {} is not in the table of sources (sources: require)"
        return keys, [
            (int(row), reason.format(int(ids[row_of[row]]))) for row in np.flatnonzero(keys < 0)
        ]

    def _given_source_keys(self, chunk: Chunk, keys: Index) -> tuple[Index, list[Reject]]:
        """Take the result's own `source_pk`, in a product that has no `sdss_id`."""
        if chunk.result is None or "source_pk" not in chunk.result.block.columns:
            return keys, []
        given = chunk.result.block.integers("source_pk")
        model = chunk.result.model._meta.fields["source_pk"].rel_model
        wanted = np.unique(given[given >= 0])
        block = Block({"pk": Column(wanted)}, len(wanted))
        known = wanted[self.backend.find(model, block, [])[0]]
        lost = (given >= 0) & ~np.isin(given, known)
        reason = "source_pk {} is not in the table of sources, and the product has no sdss_id"
        return given, [(int(r), reason.format(int(given[r]))) for r in np.flatnonzero(lost)]

    def _write_sources(
        self, chunk: Chunk, source_pk: Index, now: datetime.datetime, written: Written
    ) -> Index:
        """Add sources that are missing, update those that are there if that is wanted."""
        if chunk.source is None:
            return source_pk
        model, block = chunk.source.model, chunk.source.block
        principal = chunk.result is None and not chunk.spectra
        ids = block.integers("sdss_id")
        last = _last_of_each([ids])
        is_new = source_pk[last] < 0
        fresh, old = last[is_new], last[~is_new]
        if len(fresh):
            rows = _complete(model, block.take(fresh), now)
            pk = self._choose_keys(model, rows)
            rows = rows.with_columns(pk=Column(pk))
            self._insert(model, rows, fresh)
            self._advance(model, int(pk.max()))
            order = np.argsort(ids[fresh])
            where = np.searchsorted(ids[fresh], ids, sorter=order)
            where = order[np.minimum(where, len(fresh) - 1)]
            source_pk = np.where(source_pk < 0, pk[where], source_pk)
        updated = 0
        if len(old) and chunk.source.policy == UPDATE:
            names = [name for name in block.columns if name not in ("pk", "sdss_id")]
            rows = _complete(model, block.take(old), now).with_columns(pk=Column(source_pk[old]))
            self.backend.upsert(model, rows, ["pk"], names)
            updated = len(old)
        if principal:
            written.inserted, written.updated = len(fresh), updated
            written.unchanged = len(old) - updated
        elif len(fresh):
            written.added[model._meta.table_name] = len(fresh)
        return source_pk

    def _choose_keys(self, model: type[Model], rows: Block) -> Index:
        """Give new sources the keys of the file where those are free, and fresh ones elsewhere."""
        wanted = rows.integers("pk") if "pk" in rows.columns else np.full(rows.rows, -1)
        usable = np.zeros(rows.rows, dtype=bool)
        first = _first_of_each(wanted)
        usable[first] = wanted[first] > 0
        candidates = np.flatnonzero(usable)
        if len(candidates):
            keys = Block({"pk": Column(wanted[candidates])}, len(candidates))
            taken = self.backend.find(model, keys, [])[0]
            usable[candidates[taken]] = False
        chosen = wanted.copy()
        lacking = int(np.count_nonzero(~usable))
        if lacking:
            # First past the keys that are about to be used, or a fresh one could be one of them.
            if usable.any():
                self._advance(model, int(wanted[usable].max()))
            fresh = self.backend.next_keys(model, lacking)
            if usable.any():
                fresh = np.maximum(fresh, int(wanted[usable].max()) + 1 + np.arange(lacking))
            chosen[~usable] = fresh
        return chosen

    # -- spectra ---------------------------------------------------------------------------

    def _find_spectra(
        self, chunk: Chunk, source_pk: Index
    ) -> tuple[list[_Found], list[Reject]]:
        """Find out for each spectrum table which rows are there, and under which key."""
        found: list[_Found] = []
        problems: list[Reject] = []
        for part in chunk.spectra:
            if "spectrum_pk" in part.block.columns:
                each, wrong = self._find_by_key(part, source_pk)
                problems += wrong
            else:
                each = self._find_by_natural_key(part)
            if part.policy == REQUIRE:
                name = part.model.__name__
                problems += [
                    (int(row), f"its spectrum is not in the table {name} (spectra: require)")
                    for row in np.flatnonzero(~each.is_there)
                ]
            found.append(each)
        return found, problems

    def _find_by_key(self, part: Part, source_pk: Index) -> tuple[_Found, list[Reject]]:
        given = part.block.integers("spectrum_pk")
        keys = Block({"spectrum_pk": Column(given)}, len(given))
        position, (stored,) = self.backend.find(part.model, keys, ["source"])
        is_there = np.zeros(len(given), dtype=bool)
        is_there[position] = True
        # The same key with another source means two databases' numbers met in this one.
        other = (stored >= 0) & (stored != source_pk[position]) & (source_pk[position] != -1)
        other |= (stored >= 0) & (source_pk[position] == -1) & ("sdss_id" in part.block.columns)
        reason = "spectrum_pk {} is already a spectrum of another source in " + part.model.__name__
        wrong = [(int(row), reason.format(int(given[row]))) for row in position[other]]
        return _Found(given, is_there), wrong

    def _find_by_natural_key(self, part: Part) -> _Found:
        block = _complete(part.model, part.block, utcnow())
        position, (stored,) = self.backend.find(
            part.model, block.select(part.model.natural_key), ["spectrum_pk"]
        )
        keys = np.full(block.rows, -1, dtype=np.int64)
        keys[position] = stored
        return _Found(keys, keys >= 0)

    def _write_spectra(
        self,
        chunk: Chunk,
        spectra: Sequence[_Found],
        source_pk: Index,
        now: datetime.datetime,
        written: Written,
    ) -> Index:
        """Add spectra that are missing, and return the key that results are tied to."""
        if not chunk.spectra:
            return self._write_bare_spectra(chunk, now, written)
        spectrum_pk = np.full(chunk.rows, -1, dtype=np.int64)
        for number, (part, found) in enumerate(zip(chunk.spectra, spectra, strict=True)):
            principal = chunk.result is None and number == len(chunk.spectra) - 1
            spectrum_pk = self._write_spectrum(
                chunk, part, found, source_pk, now, written, principal=principal
            )
        return spectrum_pk

    def _write_spectrum(
        self,
        chunk: Chunk,
        part: Part,
        found: _Found,
        source_pk: Index,
        now: datetime.datetime,
        written: Written,
        *,
        principal: bool,
    ) -> Index:
        model = part.model
        null = source_pk < 0
        block = _complete(model, part.block, now).with_columns(
            source=Column(source_pk, null if null.any() else None)
        )
        by_key = "spectrum_pk" in part.block.columns
        key = [found.spectrum_pk] if by_key else _arrays(block, model.natural_key)
        last, group = _groups(key)
        is_new = ~found.is_there[last]
        fresh, old = last[is_new], last[~is_new]
        spectrum_pk = found.spectrum_pk
        if len(fresh):
            if by_key:
                self._ensure_spectra(chunk.base, spectrum_pk[fresh])
            else:
                of_group = spectrum_pk[last]
                of_group[is_new] = self.backend.next_keys(chunk.base, len(fresh))
                spectrum_pk = of_group[group]
                self._ensure_spectra(chunk.base, spectrum_pk[fresh])
            rows = block.with_columns(spectrum_pk=Column(spectrum_pk)).take(fresh)
            self._insert(model, rows, fresh)
        updated = 0
        if len(old) and part.policy == UPDATE:
            names = [n for n in [*part.block.columns, "source"] if n not in ("spectrum_pk", "created")]
            rows = block.with_columns(spectrum_pk=Column(spectrum_pk)).take(old)
            self._upsert(model, rows, ["spectrum_pk"], [*names, *_modified(model)], old)
            updated = len(old)
        if principal:
            written.inserted, written.updated = len(fresh), updated
            written.unchanged = len(old) - updated
        elif len(fresh):
            written.added[model._meta.table_name] = len(fresh)
        return spectrum_pk

    def _write_bare_spectra(
        self, chunk: Chunk, now: datetime.datetime, written: Written
    ) -> Index:
        """Make sure that the spectra of a product that says nothing else of them exist."""
        if chunk.result is None:
            return np.full(chunk.rows, -1, dtype=np.int64)
        spectrum_pk = chunk.result.block.integers("spectrum_pk")
        self._ensure_spectra(chunk.base, np.unique(spectrum_pk))
        return spectrum_pk

    def _ensure_spectra(self, base: type[Model], keys: Index) -> None:
        """Add rows of `Spectrum` that are missing."""
        keys = np.sort(keys)
        block = _complete(base, Block({"pk": Column(keys.astype(">i8"))}, len(keys)), utcnow())
        self.backend.upsert(base, block, ["pk"], [])
        self._advance(base, int(keys.max()))

    # -- results ---------------------------------------------------------------------------

    def _write_results(
        self,
        chunk: Chunk,
        source_pk: Index,
        spectrum_pk: Index,
        now: datetime.datetime,
        written: Written,
    ) -> None:
        """Upsert the results."""
        if chunk.result is None:
            return
        model = chunk.result.model
        null = source_pk < 0
        block = chunk.result.block.with_columns(
            source_pk=Column(source_pk.astype(">i8"), null if null.any() else None),
            spectrum_pk=Column(spectrum_pk.astype(">i8")),
            modified=constant(now, chunk.rows, "datetime64[us]"),
        )
        update = [name for name in block.columns if name not in (*KEPT, *GENERATED)]
        block = _complete(model, block, now)
        inserted, updated = self._upsert_results(model, block, update)
        written.inserted, written.updated = inserted, updated
        if "task_pk" in block.columns:
            self._advance(model, int(block.integers("task_pk").max()))

    def _upsert_results(
        self, model: type[Model], block: Block, update: Sequence[str]
    ) -> tuple[int, int]:
        from peewee import IntegrityError

        table = model._meta.table_name
        if self._expect_new.get(table, True):
            try:
                with self.database.atomic():
                    self.backend.insert(model, block)
                return block.rows, 0
            except IntegrityError:
                self._expect_new[table] = False
        inserted, updated = self._upsert(
            model, block, RESULT_KEY, update, np.arange(block.rows)
        )
        self._expect_new[table] = updated == 0
        return inserted, updated

    # -- both ------------------------------------------------------------------------------

    def _insert(self, model: type[Model], block: Block, rows: Index) -> None:
        """Insert rows that were not there a moment ago."""
        from peewee import IntegrityError

        try:
            with self.database.atomic():
                self.backend.insert(model, block)
        except IntegrityError as error:
            self._explain(model, block, ("spectrum_pk",), rows, error)

    def _upsert(
        self,
        model: type[Model],
        block: Block,
        conflict: Sequence[str],
        update: Sequence[str],
        rows: Index,
    ) -> tuple[int, int]:
        from peewee import IntegrityError

        try:
            with self.database.atomic():
                return self.backend.upsert(model, block, conflict, update)
        except IntegrityError as error:
            self._explain(model, block, conflict, rows, error)
            raise

    def _explain(
        self,
        model: type[Model],
        block: Block,
        conflict: Sequence[str],
        rows: Index,
        error: Exception,
    ) -> None:
        """Find the rows that a unique key refuses, and raise them as a `_Conflict`.

        Raises `error` itself if no row explains it.
        """
        rejected: dict[int, str] = {}
        for key in _unique_keys(model):
            if tuple(key) == tuple(conflict) or not set(key) <= {*block.columns, *GENERATED}:
                continue
            keys = conflict_keys(block, key)
            _, group = _groups(_arrays(keys, key))
            twice = np.ones(block.rows, dtype=bool)
            twice[_first_of_each(group)] = False
            for row in np.flatnonzero(twice):
                rejected[int(row)] = f"{_key_text(keys, key, row)} stands twice in the file"
            own = conflict_keys(block, conflict) if set(conflict) <= {*block.columns, *GENERATED} else None
            position, stored = self.backend.find(model, keys, conflict)
            for at, row in enumerate(position):
                same = own is not None and all(
                    stored[n][at] == own.integers(name)[row] for n, name in enumerate(conflict)
                )
                if not same:
                    owner = ", ".join(f"{n} {int(stored[i][at])}" for i, n in enumerate(conflict))
                    rejected[int(row)] = (
                        f"{_key_text(keys, key, row)} is already in {model.__name__}, "
                        f"as another row ({owner})"
                    )
        if not rejected:
            raise error
        raise _Conflict([(int(rows[row]), why) for row, why in rejected.items()]) from error

    def _advance(self, model: type[Model], highest: int) -> None:
        """Move a table's numbering past explicit keys, if it is not known to be past them."""
        table = model._meta.table_name
        if highest > self._highest.get(table, 0):
            self.backend.advance_keys(model, highest)
            self._highest[table] = highest


@dataclass(frozen=True)
class _Found:
    """Where a chunk's spectra are: the key of each (-1: none yet), and whether it is there."""

    spectrum_pk: Index
    is_there: Mask


def _principal_key(chunk: Chunk) -> list[NDArray[Any]]:
    """Return the key columns of the table that a product's rows are counted by."""
    spectra = chunk.spectra[-1:]
    if chunk.result is not None:
        version = chunk.result.block.integers("v_astra") // 1000
        if not spectra:
            return [chunk.result.block.integers("spectrum_pk"), version]
        return [*_spectrum_key(spectra[0]), version]
    if spectra:
        return _spectrum_key(spectra[0])
    assert chunk.source is not None
    return [chunk.source.block.integers("sdss_id")]


def _spectrum_key(part: Part) -> list[NDArray[Any]]:
    if "spectrum_pk" in part.block.columns:
        return [part.block.integers("spectrum_pk")]
    return _arrays(_complete(part.model, part.block, utcnow()), part.model.natural_key)


def _arrays(block: Block, names: Sequence[str]) -> list[NDArray[Any]]:
    return [block.columns[name].values for name in names]


def _groups(keys: Sequence[NDArray[Any]]) -> tuple[Index, Index]:
    """Group rows by key: the last row of each group, ascending, and the group of each row."""
    rows = len(keys[0])
    code = np.zeros(rows, dtype=np.int64)
    for key in keys:
        _, each = np.unique(key, return_inverse=True)
        _, code = np.unique(code * (rows + 1) + each, return_inverse=True)
    last = np.zeros(code.max() + 1 if rows else 0, dtype=np.int64)
    last[code] = np.arange(rows)
    order = np.argsort(last)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return last[order], rank[code] if rows else code


def _last_of_each(keys: Sequence[NDArray[Any]]) -> Index:
    return _groups(keys)[0]


def _first_of_each(values: NDArray[Any]) -> Index:
    return np.unique(values, return_index=True)[1]


def _drop(
    chunk: Chunk,
    rows: Index,
    rejected: list[Reject],
    written: Written,
    arrays: Sequence[NDArray[Any]],
) -> tuple[Chunk, Index, list[NDArray[Any]]]:
    """Take rejected rows out of a chunk and of arrays that go along with it."""
    if not rejected:
        return chunk, rows, list(arrays)
    reasons: dict[int, str] = {}
    for row, why in rejected:
        reasons.setdefault(row, why)
    written.rejected += [(int(rows[row]), why) for row, why in sorted(reasons.items())]
    keep = np.ones(chunk.rows, dtype=bool)
    keep[list(reasons)] = False
    return chunk.take(keep), rows[keep], [array[keep] for array in arrays]


def _modified(model: type[Model]) -> list[str]:
    return ["modified"] if "modified" in model._meta.fields else []


def _complete(model: type[Model], block: Block, now: datetime.datetime) -> Block:
    """Add the columns that a new row needs and the file does not have, from the defaults."""
    added: dict[str, Column] = {}
    for column in model._meta.sorted_fields:
        name = column.name
        if name in block.columns or column.null or column.primary_key or name in GENERATED:
            continue
        storage = storage_of(column)
        if column.default is None or storage is None:
            continue
        default = column.default() if callable(column.default) else column.default
        if storage.kind == "time":
            default = now
        if isinstance(default, str):
            default = default.encode()
        dtype = f"S{max(len(default), 1)}" if storage.kind == "text" else storage.dtype
        added[name] = constant(default, block.rows, dtype)
    return block.with_columns(**added)


def _unique_keys(model: type[Model]) -> list[tuple[str, ...]]:
    keys = [(column.name,) for column in model._meta.sorted_fields if column.unique or column.primary_key]
    keys += [tuple(names) for names, unique in model._meta.indexes if unique]
    return keys


def _key_text(keys: Block, names: Sequence[str], row: int) -> str:
    parts = []
    for name in names:
        value = keys.columns[name].values[row].item()
        if name == "v_astra_major_minor":
            name, value = "version", version_integer_to_string(value * 1000).rsplit(".", 1)[0]
        parts.append(f"{name} {value.decode() if isinstance(value, bytes) else value}")
    return ", ".join(parts)
