"""What an update would change, column by column, without writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astra import plain
from astra.backends.sqlite import rows_of
from astra.block import Block
from astra.upsert import GENERATED, kept

#: Keys in one query.
_KEYS = 1000
#: Examples that are kept of a column.
_EXAMPLES = 3


@dataclass
class Change:
    """How one column would change.

    Attributes
    ----------
    rows : int
        Rows in which it would.
    largest : float or None
        The largest absolute difference between two numbers; None for other columns.
    examples : list of (int, str, str)
        The row's `sdss_id`, or `spectrum_pk` where that is not known; what is stored; what would
        be.
    """

    rows: int = 0
    largest: float | None = None
    examples: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, name: int, old: Any, new: Any) -> None:
        """Note one row."""
        self.rows += 1
        if isinstance(old, int | float) and isinstance(new, int | float):
            difference = abs(float(new) - float(old))
            self.largest = max(difference, self.largest or 0.0)
        if len(self.examples) < _EXAMPLES:
            self.examples.append((name, _text(old), _text(new)))


def _text(value: Any) -> str:
    return "NULL" if value is None else str(value)


def compare(model: Any, block: Block, names: NDArray[np.int64], changes: dict[str, Change]) -> None:
    """Compare results with those that are stored, and add up the differences.

    Parameters
    ----------
    model : type of Model
        A result table.
    block : Block
        With `spectrum_pk` and `v_astra`.
    names : ndarray of int64, shape (n_rows,)
        What to call each row in an example.
    changes : dict of str to Change
        By field; is added to.
    """
    left_alone = {*kept(model), *GENERATED, "modified", "spectrum_pk"}
    fields = [model._meta.fields[n] for n in block.columns if n not in left_alone]
    spectrum_pk = block.integers("spectrum_pk").tolist()
    version = (block.integers("v_astra") // 1000).tolist()
    new = list(rows_of(block.select([each.name for each in fields])))
    place = {key: row for row, key in enumerate(zip(spectrum_pk, version, strict=True))}
    for start in range(0, block.rows, _KEYS):
        keys = spectrum_pk[start : start + _KEYS]
        query: Any = (
            model.select(model.spectrum_pk, model.v_astra_major_minor, *fields)
            .where(model.spectrum_pk.in_(keys))
            .tuples()
        )
        for pk, major_minor, *old in query:
            row = place.get((pk, major_minor))
            if row is not None:
                _compare_row(fields, int(names[row]), old, new[row], changes)


def _compare_row(
    fields: Sequence[Any],
    name: int,
    old: Sequence[Any],
    new: Sequence[Any],
    changes: dict[str, Change],
) -> None:
    for each, before, raw in zip(fields, old, new, strict=True):
        after = plain.read(each, raw)
        if before is None and isinstance(after, float) and np.isnan(after):
            continue
        if not _equal(before, after):
            changes.setdefault(each.name, Change()).add(name, before, after)


def _equal(before: Any, after: Any) -> bool:
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        return np.array_equal(before, after, equal_nan=True)
    if before is None or after is None:
        return before is after
    return bool(before == after)
