"""A block: columns of many rows, side by side, as both databases take them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astra.column import Column, Run, runs

__all__ = ["Block", "Column", "constant"]


@dataclass(frozen=True)
class Block:
    """Columns of equal length, by the name of the model's field.

    Attributes
    ----------
    columns : mapping of str to Column
    rows : int
    """

    columns: Mapping[str, Column]
    rows: int

    @property
    def is_plain(self) -> bool:
        """Whether a column has Python objects, so that all of it takes the plain way."""
        return any(column.values.dtype.hasobject for column in self.columns.values())

    def take(self, index: NDArray[np.generic]) -> Block:
        """Return a block of the rows that an integer or boolean index picks."""
        if index.dtype == bool:
            index = np.flatnonzero(index)
        if len(index) == self.rows and np.array_equal(index, np.arange(self.rows)):
            return self
        taken: list[Column] = []
        for each in runs(self.columns.values()):
            taken += each.take(index) if isinstance(each, Run) else [each.take(index)]
        return Block(dict(zip(self.columns, taken, strict=True)), len(index))

    def select(self, names: Iterable[str]) -> Block:
        """Return a block of some of the columns."""
        return Block({name: self.columns[name] for name in names}, self.rows)

    def with_columns(self, **columns: Column) -> Block:
        """Return a block with columns added or replaced."""
        return Block({**self.columns, **columns}, self.rows)

    def integers(self, name: str) -> NDArray[np.int64]:
        """Return an integer column in the machine's byte order, NULL as -1."""
        column = self.columns[name]
        values = column.values.astype(np.int64)
        if column.null is not None:
            values[column.null] = -1
        return values


def constant(value: object, rows: int, dtype: str) -> Column:
    """Return a column that has the same value in each row, without storing it more than once."""
    return Column(np.broadcast_to(np.array(value, dtype=dtype), (rows,)))
