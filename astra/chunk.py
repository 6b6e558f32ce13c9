"""One chunk of rows that are each a source, its spectrum and a pipeline's result at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astra.block import Block

if TYPE_CHECKING:
    from peewee import Model

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
Reject = tuple[int, str]
"""A row, and why the tables cannot take it."""

CREATE, UPDATE, REQUIRE = "create", "update", "require"
"""What to do with sources and spectra that are missing, or there already; see `Part`."""


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

    def take(self, index: Mask | Index) -> Part:
        """Return a part of some of the rows."""
        return replace(self, block=self.block.take(index))


@dataclass(frozen=True)
class Chunk:
    """Rows of one product: row i of every block belongs to row i of the others.

    Attributes
    ----------
    rows : int
    source : Part or None
        With `sdss_id`; None if the product does not say which sources its rows are of.
    spectra : tuple of Part
        Concrete spectrum tables.  One without a `spectrum_pk` is looked up by its natural key.
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
        return Chunk(
            int(np.count_nonzero(index)) if index.dtype == bool else len(index),
            None if self.source is None else self.source.take(index),
            tuple(part.take(index) for part in self.spectra),
            None if self.result is None else self.result.take(index),
            self.base,
        )

    @property
    def principal(self) -> Part:
        """The part whose rows are counted: the result, else the last spectrum, else the source."""
        parts = [self.source, *self.spectra, self.result]
        return [part for part in parts if part is not None][-1]


class Fate(IntEnum):
    """What became of a row."""

    INSERTED = 0
    UPDATED = 1
    UNCHANGED = 2
    DUPLICATE = 3
    REJECTED = 4


@dataclass
class Written:
    """What became of a chunk's rows.

    ``inserted + updated + unchanged + duplicates + len(rejected)`` is the number of rows.

    Attributes
    ----------
    inserted, updated, unchanged : int
        Rows of the chunk's principal table.
    duplicates : int
        Rows whose key a later row of the chunk has too; the later one is written.
    rejected : list of (int, str)
        Row of the chunk, and why the tables cannot take it.
    added : dict of str to int
        New rows by table, for the tables beside the principal one.
    fates : ndarray of uint8, shape (n_rows,), or None
        The `Fate` of each row, if it was asked for.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: list[Reject] = field(default_factory=list)
    added: dict[str, int] = field(default_factory=dict)
    fates: NDArray[np.uint8] | None = None

    def add(self, chunk: Chunk, part: Part, new: int) -> None:
        """Count the new rows of one table, if it is not the principal one."""
        if new and part.model is not chunk.principal.model:
            self.added[part.model._meta.table_name] = new


class RowsRefused(Exception):
    """Rows that a table does not take.

    They collide with others by a unique key that is not the one they are known by, or the
    database finds a value that the column cannot have.
    """

    def __init__(self, rejected: Sequence[Reject]) -> None:
        super().__init__(f"{len(rejected)} rows")
        self.rejected = list(rejected)

    def at(self, rows: Index) -> RowsRefused:
        """Return the same, with rows numbered as the caller does."""
        return RowsRefused([(int(rows[row]), why) for row, why in self.rejected])


class Overtaken(Exception):
    """What we knew of the tables is no longer so: run the transaction again.

    Another job has added a row, say, between our looking for it and our adding it.
    """


def arrays(block: Block, names: Sequence[str]) -> list[NDArray[Any]]:
    """Return the values of some columns."""
    return [block.columns[name].values for name in names]
