"""From rows of a FITS table to column blocks for each table; misfits are set aside.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astra.block import Block, Column
from astra.chunk import Chunk, Part
from astra.errors import UsageError
from astra.flags import DerivedFlag, Flag
from astra.models import Spectrum
from astra.storage import Fitted, Storage, fit, storage_of, trim
from astra.utils import version_integer_to_string, version_string_to_integer
from jobs.fits import Rows, Values, column_values
from jobs.mapping import TableMapping, Target, bit_fields
from jobs.missing import missing_masks, takes_as_is

Mask = NDArray[np.bool_]
Misfit = tuple[Mask, Callable[[int], str]]

_INTEGER = Storage("integer", ">i8", nullable=True, missing=True)


@dataclass(frozen=True)
class Shaped:
    """A chunk that the databases can take, and what was left out.

    Attributes
    ----------
    chunk : Chunk
    kept : ndarray of int64
        Which of the rows read are in the chunk.
    rejected : list of (int, str)
        Which of the rows read are not, and why.
    """

    chunk: Chunk
    kept: NDArray[np.int64]
    rejected: list[tuple[int, str]]


def shape(rows: Rows, mapping: TableMapping) -> Shaped:
    """Shape rows as they lie in the file into blocks for each table.

    Parameters
    ----------
    rows : ndarray, shape (n_rows,)
        As `jobs.fits.read_rows` returns them.
    mapping : TableMapping

    Returns
    -------
    Shaped
        A row is kept or rejected whole.
    """
    shaper = _Shaper(rows, mapping)
    parts = [shaper.part(target) for target in mapping.targets]
    shaper.check_flags()
    shaper.check_versions(parts)
    shaper.check_source_keys()
    first = 1 if mapping.source is not None else 0
    last = first + len(mapping.spectra)
    chunk = Chunk(
        rows=len(rows),
        source=parts[0] if mapping.source is not None else None,
        spectra=tuple(parts[first:last]),
        result=parts[last] if mapping.result is not None else None,
        base=Spectrum,
    )
    rejected = _reasons(shaper.misfits)
    if not rejected:
        return Shaped(chunk, np.arange(len(rows)), [])
    keep = np.ones(len(rows), dtype=bool)
    keep[[row for row, _ in rejected]] = False
    return Shaped(chunk.take(keep), np.flatnonzero(keep), rejected)


def _reasons(misfits: Sequence[Misfit]) -> list[tuple[int, str]]:
    """Return each row that does not fit once, with all its reasons."""
    reasons: dict[int, list[str]] = {}
    for bad, reason in misfits:
        for row in np.flatnonzero(bad).tolist():
            told = reasons.setdefault(row, [])
            text = reason(row)
            if text not in told:
                told.append(text)
    return [(row, "; ".join(told)) for row, told in sorted(reasons.items())]


class _Shaper:
    def __init__(self, rows: Rows, mapping: TableMapping) -> None:
        self.rows = rows
        self.mapping = mapping
        self.misfits: list[Misfit] = []
        self._values: dict[int, Values] = {}
        self._missing = missing_masks(rows, mapping.table)

    def values(self, index: int) -> Values:
        """Return a column's values; several tables may take the same column."""
        if index not in self._values:
            column = self.mapping.table.columns[index]
            self._values[index] = column_values(self.rows, index, column)
        return self._values[index]

    def part(self, target: Target) -> Part:
        """Shape one table's columns."""
        columns: dict[str, Column] = {}
        for name, index in target.fields.items():
            columns[name] = self._column(target, name, index)
        for name, value in target.constants.items():
            columns[name] = self._constant(target, name, value, columns.get(name))
        return Part(target.model, Block(columns, len(self.rows)), target.policy)

    def _column(self, target: Target, name: str, index: int) -> Column:
        values = self.values(index)
        if target is self.mapping.source and name == "pk":
            storage: Storage | None = _INTEGER  # a wish, not a key
        else:
            storage = storage_of(target.model._meta.fields[name])
        assert storage is not None
        if index in self._missing and takes_as_is(storage, self.mapping.table.columns[index]):
            return Column(values.values, self._missing[index])
        if name == "v_astra":
            values, bad = _versions(values, storage)
            if values.null is not None:
                bad &= ~values.null  # missing is reason enough
            self._note(index, [(bad, lambda row: "is no version such as 0.8.1 or 8001")])
        fitted = fit(storage, values.values, values.null, values.grid)
        self._note(index, fitted.misfits)
        return fitted.column

    def _note(self, index: int, misfits: Sequence[Misfit]) -> None:
        name = self.mapping.table.columns[index].name
        for bad, reason in misfits:
            if bad.any():
                self.misfits.append((bad, _prefixed(name, reason)))

    def _constant(self, target: Target, name: str, value: Any, column: Column | None) -> Column:
        """Return a column that has a header's or the manifest's value in each row."""
        storage = storage_of(target.model._meta.fields[name])
        assert storage is not None
        count = len(self.rows)
        if value is None and not storage.nullable:
            value = target.model._meta.fields[name].default  # of bit fields, 0
        try:
            fitted = _fit_constant(storage, value)
        except (TypeError, ValueError, OverflowError) as error:
            self._refuse_all(name, f"{value!r}: {error}")
            fitted = Fitted(Column(np.zeros(1, dtype=storage.dtype)), [])
        for bad, reason in fitted.misfits:
            if bad.any():
                self._refuse_all(name, reason(0))
        null = fitted.column.null
        filled = Column(
            np.broadcast_to(fitted.column.values, (count,)),
            None if null is None else np.broadcast_to(null, (count,)),
        )
        return filled if column is None or storage.kind != "text" else _filled(column, filled)

    def _refuse_all(self, name: str, reason: str) -> None:
        """Set all rows aside for what their header or the manifest says."""
        every = np.ones(len(self.rows), dtype=bool)
        self.misfits.append((every, lambda row: f"header {name}: {reason}"))

    def check_flags(self) -> None:
        """Find rows whose column of a flag contradicts the bits."""
        for index, target, name in self.mapping.checks:
            given = self.values(index).values
            if given.dtype.kind != "b":
                given = given != 0
            bits = {
                field: self.values(target.fields[field]).values.astype(np.int64)
                for field in bit_fields(target.model, name)
            }
            allowed = [_flag(target.model, rule, bits) for rule in _rules(target.model, name)]
            wrong = np.logical_and.reduce([given != each for each in allowed])
            self._note(index, [(wrong, _contradiction(given))])

    def check_versions(self, parts: Sequence[Part]) -> None:
        """Find rows whose v_astra_major_minor contradicts v_astra."""
        if self.mapping.result is None or not self.mapping.versions:
            return
        version = parts[-1].block.integers("v_astra") // 1000
        for index in self.mapping.versions:
            wrong = self.values(index).values.astype(np.int64) != version
            self._note(index, [(wrong, lambda row: "is not v_astra / 1000")])

    def check_source_keys(self) -> None:
        """Find rows whose columns `source` and `source_pk` name different sources."""
        first, *others = self.mapping.source_keys or [0]
        for index in others:
            one, other = (self.values(each).values for each in (first, index))
            wrong = (one != other) & (one >= 0) & (other >= 0)
            name = self.mapping.table.columns[first].name
            self._note(index, [(wrong, lambda row: f"names another source than {name}")])


def _prefixed(name: str, reason: Callable[[int], str]) -> Callable[[int], str]:
    return lambda row: f"{name}: {reason(row)}"


def _contradiction(given: NDArray[np.generic]) -> Callable[[int], str]:
    return lambda row: f"is {bool(given[row])}, which the bits of the flags contradict"


def _fit_constant(storage: Storage, value: Any) -> Fitted:
    """Fit one value of a header; None is a card without a value."""
    null = np.array([value is None])
    if storage.kind == "text":
        text = "" if value is None else str(value)
        return fit(storage, np.array([text.encode("utf-8", "surrogateescape")]), null)
    if storage.kind == "float":
        # A card's decimal stands for the nearest number that the field can hold.
        number = np.array([np.nan if value is None else float(value)])
        with np.errstate(over="ignore"):
            array = number.astype(storage.dtype)
        if np.isinf(array).any() and np.isfinite(number).all():
            raise OverflowError(f"too large for a {storage.label}")
        return fit(storage, array, null)
    return fit(storage, np.array([0 if value is None else value]), null)


def _filled(column: Column, text: Column) -> Column:
    """Return a text column with a constant where it is empty."""
    values = np.where(column.values == b"", text.values, column.values)
    return Column(values)


def _versions(values: Values, storage: Storage) -> tuple[Values, Mask]:
    """Turn versions as text into integers, or the other way round, as the field wants them."""
    array = values.values
    if storage.kind == "integer" and array.dtype.kind == "S":
        array, _ = trim(array)
        convert: Callable[[Any], Any] = _to_integer
        dtype = "i8"
    elif storage.kind == "text" and array.dtype.kind in "iu":
        convert, dtype = _to_text, "S16"
    elif storage.kind == "integer" and array.dtype.kind == "i":
        return values, array < 0
    else:
        return values, np.zeros(len(array), dtype=bool)
    unique, which = np.unique(array, return_inverse=True)
    converted = [convert(value) for value in unique.tolist()]
    failed = np.array([value is None for value in converted], dtype=bool)
    filler: Any = b"" if dtype == "S16" else 0
    table = np.array([filler if value is None else value for value in converted], dtype=dtype)
    return Values(table[which], values.null), failed[which]


def _to_integer(text: bytes) -> int | None:
    try:
        return version_string_to_integer(text.decode("ascii", "replace"))
    except UsageError:
        return None


def _to_text(version: int) -> bytes | None:
    try:
        return version_integer_to_string(version).encode()
    except UsageError:
        return None


def _rules(model: Any, name: str) -> list[Any]:
    """Return the rules that a flag's column may follow: the present one, and older ones."""
    for base in model.__mro__:
        attribute = vars(base).get(name)
        if isinstance(attribute, DerivedFlag):
            return [attribute.rule, *attribute.by_version.values()]
        if isinstance(attribute, Flag):
            return [((name,),)]
    raise AssertionError(name)


def _flag(model: Any, rule: Any, bits: dict[str, NDArray[np.int64]]) -> Mask:
    """Compute a flag: set where all conditions of one of its alternatives hold."""
    alternatives = [
        np.logical_and.reduce([_condition(model, condition, bits) for condition in needed])
        for needed in rule
    ]
    return np.logical_or.reduce(alternatives)


def _condition(model: Any, condition: str, bits: dict[str, NDArray[np.int64]]) -> Mask:
    kind, _, name = condition.rpartition(":")
    if kind == "nonzero":
        return bits[name] != 0
    flag = getattr(model, name)
    return (bits[flag._field.name] & flag._value) != 0
