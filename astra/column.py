"""A column, and runs of columns that lie side by side in memory, as those of a FITS table do.

With hundreds of columns, what takes time is calling NumPy for each of them; a run is one matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray


@dataclass(frozen=True)
class Column:
    """The values of one column.

    Attributes
    ----------
    values : ndarray, shape (n_rows,) or (n_rows, width)
        Integers and floats big-endian, as FITS and PostgreSQL's binary COPY have them; booleans
        as bool; times as datetime64[us] in UTC; text as bytes (dtype S), UTF-8, zero beyond its
        length; byte strings as uint8, shape (n_rows, width); vectors as float32, shape
        (n_rows, width).  Where the type or the values have none of these forms, Python objects
        as the driver is given them.  What stands where `null` is True means nothing.
    null : ndarray of bool, shape (n_rows,), or None
        Where the value is NULL; None if nowhere.
    """

    values: NDArray[np.generic]
    null: NDArray[np.bool_] | None = None

    def take(self, index: NDArray[np.generic] | slice) -> Column:
        """Return the rows that an integer or boolean index, or a slice, picks."""
        return Column(self.values[index], None if self.null is None else self.null[index])


@dataclass(frozen=True)
class Run:
    """Columns of numbers of one type.

    Attributes
    ----------
    values : ndarray, shape (n_rows, n_columns)
    null : ndarray of bool, shape (n_rows, n_columns), or None
        As in `Column`.
    """

    values: NDArray[Any]
    null: NDArray[np.bool_] | None

    def take(self, index: NDArray[np.generic] | slice) -> list[Column]:
        """Return the rows that an index picks, as columns that are a run again."""
        values = self.values[index]
        null = None if self.null is None else self.null[index]
        return [
            Column(values[:, n], None if null is None else null[:, n])
            for n in range(values.shape[1])
        ]


def runs(columns: Iterable[Column]) -> list[Run | Column]:
    """Put columns of numbers together that lie side by side, without a copy.

    Returns
    -------
    list of Run or Column
        In the order of the columns; all those of numbers are in runs, if only of one.
    """
    found: list[Run | Column] = []
    run: list[Column] = []
    for column in columns:
        if run and not _follows(run, column):
            found.append(_run(run))
            run = []
        if column.values.dtype.kind in "if" and column.values.ndim == 1:
            run.append(column)
        else:
            found.append(column)
    return [*found, _run(run)] if run else found


def _follows(run: Sequence[Column], column: Column) -> bool:
    """Tell whether a column is to the one before as that is to its own predecessor."""
    step = _step(run[-1], column)
    return step is not None and (len(run) == 1 or step == _step(run[-2], run[-1]))


def _step(before: Column, after: Column) -> tuple[int, int] | None:
    """Return how far a column's values and nulls lie behind another's; None if not in line."""
    if before.values.dtype != after.values.dtype or (before.null is None) != (after.null is None):
        return None
    values = _distance(before.values, after.values)
    nulls: int | None = 0
    if before.null is not None and after.null is not None:
        nulls = _distance(before.null, after.null)
    return None if values is None or nulls is None else (values, nulls)


def _distance(before: NDArray[Any], after: NDArray[Any]) -> int | None:
    """Return the bytes from one view of an array to another of the same form."""
    same = before.base is not None and before.base is after.base
    if not same or before.shape != after.shape or before.strides != after.strides:
        return None
    distance: int = _address(after) - _address(before)
    return distance


def _address(array: NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _run(columns: Sequence[Column]) -> Run:
    first = columns[0]
    values, nulls = (_step(first, columns[1]) or (0, 0)) if len(columns) > 1 else (0, 0)
    null = None if first.null is None else _matrix(first.null, len(columns), nulls)
    return Run(_matrix(first.values, len(columns), values), null)


def _matrix(first: NDArray[Any], columns: int, step: int) -> NDArray[Any]:
    return as_strided(first, (len(first), columns), (first.strides[0], step), writeable=False)
