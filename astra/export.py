"""Reading results back, with their spectra and sources beside them, in flat memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from astra.flags import DerivedFlag

if TYPE_CHECKING:
    from peewee import Database, ModelSelect

#: psycopg2's number for REPEATABLE READ
_REPEATABLE_READ = 2


class JoinedRows:
    """The rows of a table, each joined to its spectra and its source.

    Parameters
    ----------
    models : sequence of type of Model
        As in `jobs.datamodel.HDU.models`: `Source`, tables of spectra, a result table, each of
        them or not.  There is a row for each row of the last one that has the spectra.
    major_minor : int, optional
        Only results of this major.minor version (8 is 0.8).
    """

    def __init__(self, models: Sequence[Any], major_minor: int | None = None) -> None:
        self.models = models
        self.principal = models[-1]
        self.major_minor = major_minor

    @property
    def database(self) -> Database:
        """Where the rows are."""
        return self.principal._meta.database

    def snapshot(self) -> AbstractContextManager[Any]:
        """Return a transaction in which all queries see the same rows."""
        from peewee import SqliteDatabase

        # On SQLite, deferred: one that only reads need not wait for those that write.
        sqlite = isinstance(self.database, SqliteDatabase)
        transaction: AbstractContextManager[Any] = self.database.atomic(
            "DEFERRED" if sqlite else _REPEATABLE_READ
        )
        return transaction

    def select(self, *nodes: Any) -> ModelSelect:
        """Return a query for some columns of the joined rows, in no particular order."""
        from peewee import JOIN

        query = self.principal.select(*nodes)
        below = self.principal
        for model in reversed(self.models[:-1]):
            meta = model._meta
            if "sdss_id" in meta.fields and "spectrum_pk" not in meta.fields:
                fields = self.principal._meta.fields
                key = fields["source_pk" if "source_pk" in fields else "source"]
                query = query.join_from(self.principal, model, JOIN.LEFT_OUTER, on=key == model.pk)
            elif below is self.principal and "task_pk" in below._meta.fields:
                on = below.spectrum_pk == model.spectrum_pk
                query = query.join_from(below, model, JOIN.INNER, on=on)
                below = model
            else:
                # A visit as it was reduced, beside the visit as it was resampled.
                on = below.drp_spectrum_pk == model.spectrum_pk
                query = query.join_from(below, model, JOIN.LEFT_OUTER, on=on)
        if self.major_minor is not None:
            query = query.where(self.principal.v_astra_major_minor == self.major_minor)
        return query

    def measure(self, sizes: Sequence[Any], ranges: Sequence[Any]) -> Measures:
        """Count the rows, and measure columns, in one query.

        Parameters
        ----------
        sizes : sequence of Field
            Columns of text, bytes or arrays: how long is the longest?
        ranges : sequence of Field
            Columns of integers: which are the lowest and the highest?
        """
        from peewee import fn

        ends = [end(field).coerce(False) for field in ranges for end in (fn.MIN, fn.MAX)]
        longest = [fn.MAX(_length(field, self.database)).coerce(False) for field in sizes]
        query = self.select(fn.COUNT(self.principal._meta.primary_key), *longest, *ends)
        ((rows, *found),) = _tuples(query)
        return Measures(
            rows,
            [None if size is None else int(size) for size in found[: len(sizes)]],
            list(zip(found[len(sizes) :: 2], found[len(sizes) + 1 :: 2], strict=True)),
        )

    def pages(self, nodes: Sequence[Any], rows: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows in the order of the principal table's key, so many at a time.

        Parameters
        ----------
        nodes : sequence
            Fields and derived flags of the models.
        rows : int
            Rows of a page; the last has fewer.

        Yields
        ------
        list of tuple
            A value for each of `nodes`.
        """
        key = self.principal._meta.primary_key
        query = self.select(*nodes, key).order_by(key).limit(rows)
        page = _tuples(query)
        while page:
            yield [row[:-1] for row in page]
            if len(page) < rows:
                return
            page = _tuples(query.where(key > page[-1][-1]))

    def versions(self) -> list[int]:
        """Return the major.minor versions of which there are results, ascending."""
        version = self.principal.v_astra_major_minor
        every = JoinedRows(self.models).select(version).distinct().order_by(version)
        return [number for (number,) in _tuples(every)]


class Measures:
    """How many rows there are, and what `JoinedRows.measure` found of their columns.

    Attributes
    ----------
    rows : int
    sizes : list of (int or None)
        Bytes of text and byte strings, elements of arrays; None where all are NULL.
    ranges : list of (int or None, int or None)
    """

    def __init__(
        self,
        rows: int,
        sizes: list[int | None],
        ranges: list[tuple[int | None, int | None]],
    ) -> None:
        self.rows = rows
        self.sizes = sizes
        self.ranges = ranges


def _tuples(query: Any) -> list[tuple[Any, ...]]:
    return list(query.tuples())


def _length(field: Any, database: Database) -> Any:
    """Return the expression for the bytes of a text, or the elements of an array."""
    from peewee import SqliteDatabase, fn

    is_array = field.field_type == "FLOAT_ARRAY"
    if isinstance(database, SqliteDatabase):
        size = fn.LENGTH(field.cast("BLOB"))
        return size / 4 if is_array else size
    return fn.CARDINALITY(field) if is_array else fn.OCTET_LENGTH(field)


def column_of(model: Any, name: str) -> Any | None:
    """Return what can be selected of a model by this name: a field, or a derived flag."""
    if name in model._meta.fields:
        return model._meta.fields[name]
    if any(isinstance(vars(base).get(name), DerivedFlag) for base in model.__mro__):
        return getattr(model, name)
    return None
