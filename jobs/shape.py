"""From rows of a FITS table to column blocks for each table; misfits are set aside.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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


def shape(rows: Rows, mappings: Sequence[TableMapping], counts: Sequence[int]) -> Shaped:
    """Shape rows as they lie in files of one kind into blocks for each table.

    Parameters
    ----------
    rows : ndarray, shape (n_rows,)
        As `jobs.fits.read_rows` returns them.
    mappings : sequence of TableMapping
        Of each file, all of one `TableMapping.kind`.
    counts : sequence of int
        How many of the rows are of which file, in their order.

    Returns
    -------
    Shaped
        A row is kept or rejected whole.
    """
    mapping = mappings[0]
    shaper = _Shaper(rows, mappings, counts)
    parts = [shaper.part(number) for number in range(len(mapping.targets))]
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
    def __init__(self, rows: Rows, mappings: Sequence[TableMapping], counts: Sequence[int]) -> None:
        self.rows = rows
        self.mapping = mapping = mappings[0]
        self._targets = [each.targets for each in mappings]
        self._file_of_row = np.repeat(np.arange(len(counts)), counts)
        self.misfits: list[Misfit] = []
        self._values: dict[int, Values] = {}
        self._missing = missing_masks(rows, mapping.table)

    def values(self, index: int) -> Values:
        """Return a column's values; several tables may take the same column."""
        if index not in self._values:
            column = self.mapping.table.columns[index]
            self._values[index] = column_values(self.rows, index, column)
        return self._values[index]

    def integers(self, index: int) -> NDArray[np.int64]:
        """Return a column of integers in the machine's byte order."""
        return self.values(index).values.astype(np.int64)

    def part(self, number: int) -> Part:
        """Shape one table's columns."""
        target = self.mapping.targets[number]
        columns: dict[str, Column] = {}
        for name, index in target.fields.items():
            columns[name] = self._column(target, name, index)
        for name in target.constants:
            values = [targets[number].constants.get(name) for targets in self._targets]
            columns[name] = self._constant(target, name, values, columns.get(name))
        return Part(target.model, Block(columns, len(self.rows)), target.policy)

    def _column(self, target: Target, name: str, index: int) -> Column:
        values = self.values(index)
        if target is self.mapping.source and name == "pk":
            storage = _INTEGER  # a wish, not a key
        else:
            storage = storage_of(target.model._meta.fields[name])
        if index in self._missing and takes_as_is(storage, self.mapping.table.columns[index]):
            return Column(values.values, self._missing[index])
        if name == "v_astra":
            values, bad = _versions(values, storage)
            if values.null is not None:
                bad &= ~values.null  # missing is reason enough
            self._note(index, [(bad, _always("is no version such as 0.8.1 or 8001"))])
        fitted = fit(storage, values.values, values.null, values.grid)
        self._note(index, fitted.misfits)
        return fitted.column

    def _note(self, index: int, misfits: Sequence[Misfit]) -> None:
        name = self.mapping.table.columns[index].name
        for bad, reason in misfits:
            if bad.any():
                self.misfits.append((bad, _prefixed(name, reason)))

    def _constant(
        self, target: Target, name: str, values: list[Any], column: Column | None
    ) -> Column:
        """Return a column that has each file's header's or the manifest's value in its rows."""
        storage = storage_of(target.model._meta.fields[name])
        if not storage.nullable:
            default = target.model._meta.fields[name].default  # of bit fields, 0
            values = [default if value is None else value for value in values]
        fitted, problems = _fit_constants(storage, values)
        for file, reason in problems.items():
            self._refuse(file, f"header {name}: {reason}")
        of_rows = fitted.take(self._file_of_row)
        return of_rows if column is None or storage.kind != "text" else _filled(column, of_rows)

    def _refuse(self, file: int, reason: str) -> None:
        """Set all rows of a file aside for what its header or the manifest says."""
        self.misfits.append((self._file_of_row == file, _always(reason)))

    def check_flags(self) -> None:
        """Find rows whose column of a flag contradicts the bits."""
        for index, target, name in self.mapping.checks:
            given = self.values(index).values
            if given.dtype.kind != "b":
                given = given != 0
            bits = {
                field: self.integers(target.fields[field])
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
            wrong = self.integers(index) != version
            self._note(index, [(wrong, _always("is not v_astra / 1000"))])

    def check_source_keys(self) -> None:
        """Find rows whose columns `source` and `source_pk` name different sources."""
        first, *others = self.mapping.source_keys or [0]
        for index in others:
            one, other = self.integers(first), self.integers(index)
            wrong = (one != other) & (one >= 0) & (other >= 0)
            name = self.mapping.table.columns[first].name
            self._note(index, [(wrong, _always(f"names another source than {name}"))])


def _always(reason: str) -> Callable[[int], str]:
    return lambda _: reason


def _prefixed(name: str, reason: Callable[[int], str]) -> Callable[[int], str]:
    return lambda row: f"{name}: {reason(row)}"


def _contradiction(given: NDArray[np.generic]) -> Callable[[int], str]:
    return lambda row: f"is {bool(given[row])}, which the bits of the flags contradict"


def _fit_constants(storage: Storage, values: list[Any]) -> tuple[Column, dict[int, str]]:
    """Fit one value of each file; None is a card without a value.

    Returns
    -------
    column : Column
    problems : dict of int to str
        Which values do not fit, and why.
    """
    problems: dict[int, str] = {}
    try:
        fitted = _fit_values(storage, values)
    except (TypeError, ValueError, OverflowError):
        # One of them is not what it should be: find out which.
        for number, value in enumerate(values):
            try:
                _fit_values(storage, [value])
            except (TypeError, ValueError, OverflowError) as error:
                problems[number] = f"{value!r}: {error}"
        good = [None if number in problems else value for number, value in enumerate(values)]
        fitted = _fit_values(replace(storage, nullable=True), good)
    for bad, reason in fitted.misfits:
        for number in np.flatnonzero(bad).tolist():
            problems.setdefault(number, reason(number))
    return fitted.column, problems


def _fit_values(storage: Storage, values: list[Any]) -> Fitted:
    null = np.array([value is None for value in values])
    if storage.kind in ("text", "plain"):
        texts = ["" if value is None else str(value) for value in values]
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        return fit(storage, np.array(encoded, dtype="S"), null)
    if storage.kind == "float":
        # A card's decimal stands for the nearest number that the field can hold.
        numbers = np.array([np.nan if value is None else float(value) for value in values])
        with np.errstate(over="ignore"):
            array = numbers.astype(storage.dtype)
        if (np.isinf(array) & np.isfinite(numbers)).any():
            raise OverflowError(f"too large for a {storage.label}")
        return fit(storage, array, null)
    return fit(storage, np.array([0 if value is None else value for value in values]), null)


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
        return values, array.astype(np.int64) < 0
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
