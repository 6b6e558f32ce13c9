"""Adding rows to one table: defaults, numbering, and what a refusal is about."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astra.backends import Backend, backend_for
from astra.block import Block, Column, constant
from astra.chunk import Overtaken, RowsRefused, arrays
from astra.keys import first_of_each
from astra.plain import objects
from astra.storage import storage_of
from astra.upsert import GENERATED, conflict_keys, primary_key
from astra.utils import version_integer_to_string

if TYPE_CHECKING:
    from peewee import Database, Model


#: So many rows of a chunk are looked up to find out what the others are likely to be.
_SAMPLE = 100


def sample(rows: int) -> NDArray[np.int64]:
    """Return the numbers of some of so many rows, spread over all."""
    return np.arange(0, rows, max(1, -(-rows // _SAMPLE)))


class Tables:
    """A backend, with rows that it refuses told apart from those that it takes.

    Most chunks have nothing wrong with them, so they are written in trust: keys of tables where
    all, or at first some, were there are not looked up, which foreign keys see to anyway, and
    where a savepoint costs much there is none.  If the database then refuses anything, the chunk
    is begun again with care.

    Parameters
    ----------
    database : peewee.Database
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.backend: Backend = backend_for(database)
        self._highest: dict[str, int] = {}
        self._complete: set[str] = set()
        self._sampled: set[str] = set()
        self._is_careful = False

    def savepoint(self) -> AbstractContextManager[Any]:
        """Return a savepoint; none as long as trust will do and savepoints cost much."""
        needed = self._is_careful or self.backend.has_cheap_savepoints
        return self.database.atomic() if needed else nullcontext()

    def trust(self) -> None:
        """Go on in trust, as a chunk is in."""
        self._is_careful = False

    def distrust(self, error: Exception | None = None) -> None:
        """Write with care until a chunk is in.

        Parameters
        ----------
        error : Exception, optional
            What the database has refused.

        Raises
        ------
        Overtaken
            If an error came of trust: the chunk is to be begun again.
        """
        came_of_trust = not self._is_careful
        self._is_careful = True
        self._complete.clear()
        if error is not None and came_of_trust:
            raise Overtaken from error

    def known(self, model: type[Model], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which primary keys are in a table, or trust that all are."""
        table = model._meta.table_name
        if table not in self._sampled and not self._is_careful:
            self._sampled.add(table)
            self._look_up(model, keys[sample(len(keys))])
        if table in self._complete:
            return np.ones(len(keys), dtype=bool)
        return self._look_up(model, keys)

    def _look_up(self, model: type[Model], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell which primary keys are in a table; if all are, it is trusted from now on."""
        is_known = np.zeros(len(keys), dtype=bool)
        if len(keys):
            name = primary_key(model).name
            found = self.backend.find(model, Block({name: Column(keys)}, len(keys)), [])[0]
            is_known[found] = True
            if is_known.all() and not self._is_careful:
                self._complete.add(model._meta.table_name)
        return is_known

    def insert(self, model: type[Model], block: Block, known_by: Sequence[str]) -> None:
        """Insert rows that were not there a moment ago.

        Raises
        ------
        Overtaken
            If another job has added one of them meanwhile, or trust was wrong.
        RowsRefused
            If some collide with other rows by another unique key than `known_by`, or have a value
            that the database does not take.
        """
        from peewee import DataError, IntegrityError

        try:
            with self.savepoint():
                self.backend.insert(model, block)
        except (IntegrityError, DataError) as error:
            self.distrust(error)
            if len(self.backend.find(model, block.select(known_by), [])[0]):
                raise Overtaken from error
            raise self._refusal(model, block, known_by, error) from error

    def upsert(
        self, model: type[Model], block: Block, conflict: Sequence[str], update: Sequence[str]
    ) -> tuple[int, int]:
        """Upsert rows.

        Raises
        ------
        Overtaken
            If trust was wrong.
        RowsRefused
            If some collide with other rows by another unique key than `conflict`, or have a value
            that the database does not take.
        """
        from peewee import DataError, IntegrityError

        try:
            with self.savepoint():
                return self.backend.upsert(model, block, conflict, update)
        except (IntegrityError, DataError) as error:
            self.distrust(error)
            raise self._refusal(model, block, conflict, error) from error

    def advance(self, model: type[Model], highest: int) -> None:
        """Move a table's numbering past explicit keys, if it is not known to be past them."""
        table = model._meta.table_name
        if highest > self._highest.get(table, 0):
            self.backend.advance_keys(model, highest)
            self._highest[table] = highest

    def _refusal(
        self, model: type[Model], block: Block, known_by: Sequence[str], error: Exception
    ) -> Exception:
        """Return which rows a type or a unique key refuses, or the error if neither explains it."""
        from peewee import DataError

        if isinstance(error, DataError):
            refused = self.backend.refused(model, block)
            return RowsRefused(refused) if refused else error
        rejected: dict[int, str] = {}
        have = {*block.columns, *(GENERATED if "v_astra" in block.columns else ())}
        for key in _unique_keys(model):
            if set(key) == set(known_by) or not set(key) <= have:
                continue
            keys = conflict_keys(block, key)
            if keys.is_plain:
                continue
            rejected |= {r: f"{_tell(keys, key, r)} stands twice" for r in _repeated(keys, key)}
            position, stored = self.backend.find(model, keys, known_by)
            own = conflict_keys(block, known_by)
            for row in position[_others(own, known_by, position, stored)]:
                rejected[int(row)] = (
                    f"{_tell(keys, key, int(row))} is already in {model.__name__}, of another row"
                )
        return RowsRefused(list(rejected.items())) if rejected else error


def _repeated(keys: Block, names: Sequence[str]) -> list[int]:
    """Return the rows whose key an earlier row has."""
    repeated = np.ones(keys.rows, dtype=bool)
    repeated[first_of_each(arrays(keys, names))] = False
    found: list[int] = np.flatnonzero(repeated).tolist()
    return found


def _others(
    own: Block,
    names: Sequence[str],
    position: NDArray[np.int64],
    stored: Sequence[NDArray[np.int64]],
) -> NDArray[np.bool_]:
    """Tell which rows that were found are not the ones that are to be overwritten."""
    differs = np.zeros(len(position), dtype=bool)
    for name, values in zip(names, stored, strict=True):
        differs |= own.integers(name)[position] != values
    return differs


def _tell(keys: Block, names: Sequence[str], row: int) -> str:
    """Return a row's key as text."""
    parts = []
    for name in names:
        value = keys.columns[name].values[row].item()
        if name == "v_astra_major_minor":
            parts.append(f"version {version_integer_to_string(value * 1000)[:-2]}")
        else:
            parts.append(f"{name} {value.decode() if isinstance(value, bytes) else value}")
    return ", ".join(parts)


def _unique_keys(model: type[Model]) -> list[tuple[str, ...]]:
    fields = model._meta.sorted_fields
    keys = [(each.name,) for each in fields if each.unique or each.primary_key]
    return keys + [tuple(names) for names, unique in model._meta.indexes if unique]


def complete(model: type[Model], block: Block, now: datetime.datetime) -> Block:
    """Add the columns that a new row needs and the file does not have, from the defaults.

    Parameters
    ----------
    model : type of Model
    block : Block
    now : datetime
        UTC, for columns whose default is the time.
    """
    added: dict[str, Column] = {}
    for field in model._meta.sorted_fields:
        if field.name in block.columns or field.null or field.primary_key:
            continue
        storage = storage_of(field)
        if field.default is None or field.name in GENERATED:
            continue
        default = field.default() if callable(field.default) else field.default
        if storage.kind == "time":
            default = now
        dtype = storage.dtype
        if storage.kind == "text":
            default = str(default).encode()
            dtype = f"S{max(len(default), 1)}"
        elif storage.kind in ("bytes", "vector", "plain"):
            one = objects([field.db_value(default)])
            added[field.name] = Column(np.broadcast_to(one, (block.rows,)))
            continue
        added[field.name] = constant(default, block.rows, dtype)
    return block.with_columns(**added)
