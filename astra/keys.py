"""Grouping rows by key.  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]


def distinct(keys: Index) -> Index:
    """Return each key once, ascending.

    So does `numpy.unique`, but it first imports `numpy.ma`, which takes longer than this does for
    a hundred chunks.
    """
    ordered = np.sort(keys)
    return ordered[np.diff(ordered, prepend=ordered[:1] - 1) != 0]


def groups(keys: Sequence[NDArray[Any]]) -> tuple[Index, Index]:
    """Group rows by a key of one column or several.

    Parameters
    ----------
    keys : sequence of ndarray, shape (n_rows,)

    Returns
    -------
    last : ndarray of int64, shape (n_groups,)
        The last row of each group, ascending.
    group : ndarray of int64, shape (n_rows,)
        The group of each row, as an index into `last`.
    """
    rows = len(keys[0])
    code = np.zeros(rows, dtype=np.int64)
    for key in keys:
        _, each = np.unique(key, return_inverse=True)
        _, code = np.unique(code * (rows + 1) + each, return_inverse=True)
    last = np.zeros(int(code.max()) + 1 if rows else 0, dtype=np.int64)
    last[code] = np.arange(rows)
    order = np.argsort(last)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return last[order], rank[code]


def last_of_each(keys: Sequence[NDArray[Any]]) -> Index:
    """Return the last row of each key, ascending."""
    return groups(keys)[0]


def first_of_each(keys: Sequence[NDArray[Any]]) -> Index:
    """Return the first row of each key, ascending."""
    _, group = groups(keys)
    return np.sort(np.unique(group, return_index=True)[1])
