"""Where numbers are missing, found for all columns of a table that lie side by side at once."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from astra.storage import Storage
from jobs.fits import FitsColumn, Rows, TableHDU

Mask = NDArray[np.bool_]

#: TFORM letter -> how a column that takes the numbers as they are is stored.
_STORED = {"E": ("float", ">f4"), "D": ("float", ">f8")}
_STORED |= {"I": ("integer", ">i2"), "J": ("integer", ">i4"), "K": ("integer", ">i8")}


def missing_masks(rows: Rows, table: TableHDU) -> dict[int, Mask]:
    """Return where each plain number column is NaN, or -1 if it is an integer.

    With hundreds of columns, what takes time is calling NumPy for each; and the masks of columns
    that lie side by side in the file lie side by side, too, which `astra.backends.pgcopy` uses.

    Parameters
    ----------
    rows : ndarray, shape (n_rows,)
        As `jobs.fits.read_rows` returns them.
    table : TableHDU

    Returns
    -------
    dict of int to ndarray of bool, shape (n_rows,)
        By the column's index; columns that are arrays, scaled or have a TNULL are left out.
    """
    masks: dict[int, Mask] = {}
    plain = ((_form(column), index) for index, column in enumerate(table.columns))
    for form, run in groupby(plain, itemgetter(0)):
        if form:
            first, *others = (index for _, index in run)
            matrix = _side_by_side(rows, table, first, 1 + len(others))
            missing = np.isnan(matrix) if form in "ED" else matrix == -1
            masks |= {first + n: missing[:, n] for n in range(missing.shape[1])}
    return masks


def takes_as_is(storage: Storage, column: FitsColumn) -> bool:
    """Tell whether a plain number column goes into a field as it is, the missing as NULL."""
    same = (storage.kind, storage.dtype) == _STORED.get(column.form)
    return same and storage.nullable and storage.missing


def _form(column: FitsColumn) -> str:
    """Return the letter of a plain number column, and nothing for any other."""
    is_scaled = column.scale != 1 or column.zero != 0 or column.null is not None
    return "" if column.repeat != 1 or is_scaled or column.form not in _STORED else column.form


def _side_by_side(rows: Rows, table: TableHDU, first: int, count: int) -> NDArray[np.generic]:
    """Return columns that follow one another as one array, shape (n_rows, count)."""
    column = table.columns[first]
    dtype = np.dtype(
        {
            "names": ["run"],
            "formats": [(column.dtype, (count,))],
            "offsets": [column.offset],
            "itemsize": table.row_bytes,
        }
    )
    return rows.view(dtype)["run"]
