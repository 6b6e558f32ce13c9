"""What tables hold, in figures: how many rows, how many NULL, how values are spread.

Of a large table a part of the rows is looked at, chosen on the server: pages at random on
PostgreSQL, rows by a hash of their keys on SQLite.  Every result says of how many rows it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from peewee import Database, Expression, Field, Model

#: Rows of a table that are looked at, and rows up to which all of them are.
SAMPLE = 50_000
#: Columns that a statement counts; PostgreSQL takes 1,664 in a result, SQLite 2,000.
_COLUMNS = 500
#: Rows that two versions are compared by.
_COMPARED = 20_000
_BITS = 2**31 - 1
_GOLDEN = 1_327_217_885


@dataclass(frozen=True)
class Sample:
    """Rows of a table that stand for all of them.

    Attributes
    ----------
    model : type of Model
    rows : int
        Rows of the table; on PostgreSQL, for a large table, as its planner estimates.
    share : float
        Which part of them is looked at, about; 1 for all.
    version : int or None
        Only the results of this ``v_astra_major_minor``.
    """

    model: Any
    rows: int
    share: float
    version: int | None = None

    @property
    def is_all(self) -> bool:
        """Whether every row is looked at."""
        return self.share >= 1

    def query(self, *selection: Any) -> Any:
        """Return a query of these rows."""
        from peewee import SQL, NodeList, SqliteDatabase

        query = self.model.select(*selection)
        if self.version is not None:
            query = query.where(self.model.v_astra_major_minor == self.version)
        if self.is_all:
            return query
        if isinstance(self.model._meta.database, SqliteDatabase):
            return query.where(self._chosen())
        percent = max(self.share * 100, 1e-4)
        pages = SQL(f"TABLESAMPLE SYSTEM ({percent:.4f}) REPEATABLE (1)")
        return query.from_(NodeList((self.model, pages)))

    def _chosen(self) -> Expression:
        """Return the condition that chooses rows by their keys alone, which an index has."""
        inner = self.model.alias()
        key = getattr(inner, self.model._meta.primary_key.name)
        # Keys in a row are of one file, so every n-th would be a choice of its own; by the golden
        # ratio, multiples are spread evenly, and a product of these cannot overflow.
        spread = (key.bin_and(_BITS) * _GOLDEN).bin_and(_BITS)
        keys = inner.select(key).where(spread < round(self.share * _BITS))
        return self.model._meta.primary_key.in_(keys)


def sample(model: Any, most: int = SAMPLE) -> Sample:
    """Choose rows of a table: all, or about `most` of a larger one."""
    rows = _count(model, most)
    return Sample(model, rows, 1.0 if rows <= most else most / rows)


def _count(model: Any, most: int) -> int:
    """Return the rows of a table; of a large one, an estimate if the server has one."""
    from peewee import SQL, PostgresqlDatabase, fn

    database: Database = model._meta.database
    if isinstance(database, PostgresqlDatabase):
        known = database.execute(
            model.select(SQL("reltuples"))
            .from_(SQL("pg_class"))
            .where(SQL("oid") == fn.to_regclass(_qualified(model)))
        ).fetchone()
        if known and known[0] >= 10 * most:
            return int(known[0])
    return int(model.select().count())


def _qualified(model: Any) -> str:
    names = [name for name in (model._meta.schema, model._meta.table_name) if name]
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def null_shares(rows: Sample) -> dict[str, float]:
    """Return which part of the values of each nullable field is NULL.

    Returns
    -------
    dict of str to float
        From 0 to 1, the worst first; empty for a table without rows.
    """
    from peewee import fn

    fields = [field for field in rows.model._meta.sorted_fields if field.null]
    shares: dict[str, float] = {}
    for start in range(0, len(fields), _COLUMNS):
        part = fields[start : start + _COLUMNS]
        counts = [fn.COUNT(field).alias(f"n{number}") for number, field in enumerate(part)]
        total, *known = rows.query(fn.COUNT(rows.model._meta.primary_key), *counts).tuples().get()
        if total:
            shares |= {f.name: 1 - n / total for f, n in zip(part, known, strict=True)}
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def numbers(rows: Sample, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Return values of numeric fields; NULL is NaN.

    Returns
    -------
    dict of str to ndarray, shape (n_rows,)
        All in the same order of the rows, which is the database's.
    """
    fields = [rows.model._meta.fields[name] for name in names]
    return _arrays(names, rows.query(*fields))


def _arrays(names: Sequence[str], query: Any) -> dict[str, NDArray[np.float64]]:
    found = list(query.tuples())
    table = np.array(found, dtype=np.float64).reshape(len(found), len(names))
    return {name: table[:, number] for number, name in enumerate(names)}


def frequencies(rows: Sample, name: str, most: int = 12) -> dict[str, int]:
    """Return how often the values of a text field are there, the most frequent first."""
    from peewee import fn

    field = rows.model._meta.fields[name]
    query = (
        rows.query(field, fn.COUNT(rows.model._meta.primary_key))
        .where(field.is_null(False))
        .group_by(field)
        .order_by(fn.COUNT(rows.model._meta.primary_key).desc(), field)
        .limit(most)
    )
    return {str(value): int(number) for value, number in query.tuples()}


def positions(rows: Sample) -> dict[str, NDArray[np.float64]]:
    """Return where on the sky the sources of results are.

    Returns
    -------
    dict with ``ra`` and ``dec``, ndarray of shape (n_rows,), deg
    """
    from astra.models import Source

    query = rows.query(Source.ra, Source.dec).join(Source, on=(rows.model.source_pk == Source.pk))
    known = query.where(Source.ra.is_null(False) & Source.dec.is_null(False))
    return _arrays(("ra", "dec"), known)


def versions(rows: Sample) -> dict[int, int]:
    """Return how many results there are of each ``v_astra_major_minor``, the newest first."""
    from peewee import fn

    version = rows.model.v_astra_major_minor
    query = rows.query(version, fn.COUNT(rows.model._meta.primary_key)).group_by(version)
    found = {int(value): int(number) for value, number in query.tuples() if value is not None}
    return dict(sorted(found.items(), reverse=True))


@dataclass(frozen=True)
class Comparison:
    """Values of two versions for the same spectra, or if they have none, the same stars.

    Attributes
    ----------
    newer, older : int
        ``v_astra_major_minor``.
    by : str
        ``spectrum`` or ``star`` (then the mean of a star's spectra).
    values : dict of str to (ndarray, ndarray)
        Field -> its values in the newer and the older version.
    """

    newer: int
    older: int
    by: str
    values: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def compare(rows: Sample, names: Sequence[str]) -> Comparison | None:
    """Compare the newest version of a table's results with the one before.

    Returns
    -------
    Comparison or None
        None if there is only one version, or the two have no star in common.
    """
    if not names:
        return None
    newer, older, *_ = [*versions(replace(rows, version=None)), None, None]
    if newer is None or older is None:
        return None
    for by, key in (("spectrum", "spectrum_pk"), ("star", "source_pk")):
        values = _paired(rows, names, key, newer, older)
        if values is not None:
            return Comparison(newer, older, by, values)
    return None


def _paired(
    rows: Sample, names: Sequence[str], key: str, newer: int, older: int
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] | None:
    """Return the values of both versions by a key that both have, None if there is none."""
    from peewee import fn

    model = rows.model
    field = model._meta.fields[key]
    version = model.v_astra_major_minor
    chosen = rows.query(field).where((version == newer) & field.is_null(False)).distinct()
    keys = [each for (each,) in chosen.limit(_COMPARED).tuples()]
    means = [fn.AVG(model._meta.fields[name]) for name in names]
    found: list[dict[int, tuple[Any, ...]]] = []
    for which in (newer, older):
        by_key: dict[int, tuple[Any, ...]] = {}
        for start in range(0, len(keys), _COLUMNS):
            part = field.in_(keys[start : start + _COLUMNS])
            query = model.select(field, *means).where(part & (version == which)).group_by(field)
            by_key |= {row[0]: row[1:] for row in query.tuples()}
        found.append(by_key)
    common = sorted(found[0].keys() & found[1].keys())
    if not common:
        return None
    new, old = (np.array([each[k] for k in common], dtype=np.float64) for each in found)
    return {name: (new[:, n], old[:, n]) for n, name in enumerate(names)}


def label_of(field: Field) -> str:
    """Return a field's meaning and unit, as an axis has it: ``Effective temperature (K)``."""
    text = str(field.help_text or field.name)
    unit = unit_of(field)
    return f"{text} ({unit})" if unit else text


def unit_of(field: Field) -> str:
    """Return a field's unit for people: ``cm/s²`` of a logarithm, where astropy has dex(cm/s2)."""
    unit = str(getattr(field, "unit", "")).replace("Angstrom", "Å")
    if match := re.fullmatch(r"dex\((.*)\)", unit):
        unit = match[1]
    return re.sub(r"(?<=[a-zA-Z])(-?[0-9]+)", lambda power: power[1].translate(_RAISED), unit)


def unit_of_change(field: Field) -> str:
    """Return the unit of a difference of a field's values: of logarithms, dex."""
    return "dex" if str(getattr(field, "unit", "")).startswith("dex(") else unit_of(field)


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def has_rows(model: type[Model]) -> bool:
    """Tell whether a table is there and has rows."""
    return bool(model.table_exists() and model.select().limit(1).exists())
