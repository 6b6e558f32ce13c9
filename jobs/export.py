"""Result tables back as FITS: the columns, types and units of the data model, in flat memory."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from astra import readiness as db
from astra.errors import AstraError, ProductError, SchemaError, UsageError
from astra.export import JoinedRows, column_of
from astra.models import Source, base, find
from astra.models.pipeline import PipelineOutputMixin
from astra.storage import storage_of
from astra.utils import utcnow, version_integer_to_string, version_string_to_integer
from jobs.datamodel import HDU, Column, Layout, layout, products, releases
from jobs.headers import PRIMARY, Value, header, table_cards
from jobs.manifest import result_model
from jobs.manifest.mistakes import did_you_mean

#: Values that are in memory at a time, as Python objects.
PAGE_VALUES = 500_000

_DTYPES = {"int32": ">i4", "int64": ">i8", "float32": ">f4", "float64": ">f8", "bool": "S1"}
_LETTERS = {"int32": "J", "int64": "K", "float32": "E", "float64": "D", "bool": "L"}
_LETTERS |= {"char": "A", "uint8": "B"}

#: peewee's field_type -> type of a FITS column, for tables that are not in the data model
_TYPES = {
    "SMALLINT": "int32",
    "INT": "int32",
    "AUTO": "int32",
    "BIGINT": "int64",
    "BIGAUTO": "int64",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "BOOL": "bool",
    "TEXT": "char",
    "VARCHAR": "char",
    "DATETIME": "char",
    "BLOB": "uint8",
    "FLOAT_ARRAY": "float32",
}
_TIME_WIDTH = 26


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    path : Path
    tables : tuple of (str, int)
        The name of each table, and its rows.
    """

    path: Path
    tables: tuple[tuple[str, int], ...]

    def summary(self) -> str:
        """Return it as text."""
        rows = ", ".join(f"{name} {count:,} rows" for name, count in self.tables)
        return f"{self.path}: {rows}"


@dataclass(frozen=True)
class _Table:
    """One table to be written.

    Attributes
    ----------
    name : str
        For messages.
    rows : JoinedRows
    columns : list of (Column, field or flag)
    cards : dict of str to value
    """

    name: str
    rows: JoinedRows
    columns: list[tuple[Column, Any]]
    cards: dict[str, Value]


def export(
    name: str,
    output: Path,
    *,
    release: str | None = None,
    v_astra: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write a product, or a result table of one's own, as a FITS file.

    Parameters
    ----------
    name : str
        A product of the data model that has all objects, such as ``astraAllStarSlam``; or a
        result table, by its name or as ``package.module:Class``, which gives one table with the
        columns of the source and the result.
    output : Path
        The file, complete or not there; compressed if it ends in ``.gz``.
    release : str, optional
        Whose columns the product has; by default the newest's.
    v_astra : str, optional
        Version, such as ``0.9.0``, of whose major.minor the results are; by default the
        release's, or all of a result table.
    overwrite : bool
        Whether a file that is there is replaced.

    Raises
    ------
    UsageError
        If there is no such product or table, or the file is there.
    ProductError
        If the file cannot be written.
    """
    db.refuse_memory(base.database)
    _check_output(output, overwrite=overwrite)
    tables, primary = _plan(name, release, v_astra)
    with db.explained(base.database, base.schema):
        _check_tables(tables)
        with tables[0].rows.snapshot():
            try:
                return _write(output, tables, primary)
            except OSError as error:
                raise ProductError(f"{output}: cannot be written: {error.strerror}") from error


def _check_output(output: Path, *, overwrite: bool) -> None:
    if output.exists() and not (overwrite and output.is_file()):
        hint = "is a folder" if output.is_dir() else "is there already; --overwrite replaces it"
        raise UsageError(f"{output} {hint}")
    if not output.parent.is_dir():
        raise UsageError(f"{output}: there is no folder {output.parent.absolute()}")


def _check_tables(tables: Sequence[_Table]) -> None:
    path = db.sqlite_path(base.database)
    if path is not None and not path.exists():
        raise SchemaError(f"there is no database {path}: nothing has been ingested there")
    models = dict.fromkeys(model for table in tables for model in table.rows.models)
    missing = [model._meta.table_name for model in models if not model.table_exists()]
    if missing:
        where = db.describe(base.database, base.schema)
        raise SchemaError(
            f"{where} has no table {', '.join(missing)}: nothing of it has been ingested there"
        )


# -- what is to be written -----------------------------------------------------------------


def _plan(
    name: str, release: str | None, v_astra: str | None
) -> tuple[list[_Table], dict[str, Value]]:
    """Return the tables of a product, and the primary header's cards."""
    created = f"{utcnow():%y-%m-%d %H:%M:%S}"
    if name in products():
        shape = layout(name, release or releases(name)[-1])
        if shape.source_cards:
            raise UsageError(
                f"{name} is a product with a file for each object, whose pixels are not in the "
                "database; export the product of all objects"
            )
        version = v_astra or shape.v_astra
        primary: dict[str, Value] = {**shape.primary, "V_ASTRA": version, "CREATED": created}
        return [_of_product(shape, hdu, version, created) for hdu in shape.hdus], primary
    if release is not None:
        layout(name, release)  # says that there is no such product
    model = _result_model(name)
    cards: dict[str, Value] = {"PIPELINE": model.__name__, "CREATED": created}
    if v_astra:
        cards["V_ASTRA"] = v_astra
    rows = JoinedRows((Source, model), _major_minor(v_astra))
    return [_Table(model.__name__, rows, _own_columns(rows.models), cards)], cards


def _result_model(name: str) -> Any:
    """Return the result table that a name stands for."""
    if ":" in name:
        return result_model(name)
    model = find(name)
    if model is None or not issubclass(model, PipelineOutputMixin):
        from astra.models import result_models

        known = [*products(), *(each.__name__ for each in result_models)]
        raise UsageError(
            f"there is no product or result table {name!r}{did_you_mean(name, known)}; products "
            f"are {', '.join(products())}; a table of your own is package.module:Class"
        )
    return model


def _major_minor(v_astra: str | None) -> int | None:
    return None if v_astra is None else version_string_to_integer(v_astra) // 1000


def _of_product(shape: Layout, hdu: HDU, version: str, created: str) -> _Table:
    models = [find(name) for name in hdu.models]
    is_result = issubclass(models[-1], PipelineOutputMixin)  # type: ignore[arg-type]
    rows = JoinedRows(models, _major_minor(version) if is_result else None)
    cards: dict[str, Value] = {
        "EXTNAME": hdu.extname,
        "PIPELINE": hdu.pipeline,
        "V_ASTRA": version,
        "CREATED": created,
        "INSTRMNT": hdu.instrument,
        "OBSRVTRY": hdu.observatory,
    }
    return _Table(
        f"{shape.product} HDU {hdu.number}" + (f" ({hdu.instrument})" if hdu.instrument else ""),
        rows,
        [(column, _node(models, column)) for column in hdu.columns],
        {keyword: value for keyword, value in cards.items() if value},
    )


def _node(models: Sequence[Any], column: Column) -> Any:
    """Return the field or flag that a column of a product comes from."""
    owners = {
        "source": models[:1],
        "spectrum": models[1:],
        "pipeline": models[-1:],
        "derived": models[-1:],
    }[column.table]
    found = (column_of(model, column.name) for model in owners)
    return next(node for node in found if node is not None)


def _own_columns(models: Sequence[Any]) -> list[tuple[Column, Any]]:
    """Return the columns of a source and a result; the first that has a name gives it."""
    columns: dict[str, tuple[Column, Any]] = {}
    for model in models:
        for field in model._meta.sorted_fields:
            skipped = model is Source and field.name in ("pk", "created", "modified")
            target = getattr(field, "rel_field", field)
            is_plain = storage_of(field).kind == "plain"
            kind = None if is_plain else _TYPES.get(target.field_type)
            if kind is None or skipped or field.name in columns:
                continue
            sized = kind in ("char", "uint8") or target.field_type == "FLOAT_ARRAY"
            size = (1 if kind == "char" else 0) if sized else None
            columns[field.name] = Column(field.name, kind, size, field.unit, ""), field
    return list(columns.values())


# -- columns -------------------------------------------------------------------------------


def _fit(table: _Table) -> tuple[int, list[Column]]:
    """Return the number of rows, and the columns as wide as the data need."""
    sizes = [n for n, (column, node) in enumerate(table.columns) if _is_sized(column, node)]
    ranges = [n for n, (column, node) in enumerate(table.columns) if _may_overflow(column, node)]
    nodes = [node for _, node in table.columns]
    found = table.rows.measure([nodes[n] for n in sizes], [nodes[n] for n in ranges])
    columns = [column for column, _ in table.columns]
    for number, size in zip(sizes, found.sizes, strict=True):
        column = columns[number]
        least = column.size if size is None or column.type == "char" else 0
        columns[number] = replace(column, size=max(size or 0, least or 0))
    for number, (low, high) in zip(ranges, found.ranges, strict=True):
        column = columns[number]
        if column.type == "char":  # a version
            width = len(version_integer_to_string(high or 0))
            columns[number] = replace(column, size=max(width, column.size or 0))
        elif low is not None and high is not None and (low < -(2**31) or high >= 2**31):
            columns[number] = replace(column, type="int64")
    for number, node in enumerate(nodes):
        if _kind(node) == "DATETIME":
            columns[number] = replace(columns[number], size=_TIME_WIDTH)
    return found.rows, columns


def _kind(node: Any) -> str:
    return str(getattr(getattr(node, "rel_field", node), "field_type", "BOOL"))


def _is_sized(column: Column, node: Any) -> bool:
    return column.size is not None and _kind(node) not in ("DATETIME", "INT")


def _may_overflow(column: Column, node: Any) -> bool:
    kind = _kind(node)
    return (column.type == "int32" and kind in ("BIGINT", "BIGAUTO")) or (
        column.type == "char" and kind == "INT"
    )


def _dtype(column: Column) -> Any:
    """Return what follows the name in a structured type."""
    if column.type == "char":
        return (f"S{column.size}",)
    base_type = "u1" if column.type == "uint8" else _DTYPES[column.type]
    return (base_type,) if column.size is None else (base_type, (column.size,))


def _converter(column: Column, node: Any) -> Callable[[Sequence[Any]], Any]:
    """Return what makes an array of the values of a column, with what means "missing" in it."""
    if column.type == "bool":
        return lambda values: [b"T" if value else b"F" for value in values]
    if column.type == "char":
        return _TEXTS.get(_kind(node), _texts)
    if column.size is not None:
        return lambda values: _vectors(values, column)
    missing = -1 if column.type.startswith("int") else np.nan
    if _kind(node) == "TEXT":  # a version
        return lambda values: [version_string_to_integer(v) if v else missing for v in values]
    return lambda values: [missing if value is None else value for value in values]


def _texts(values: Sequence[Any]) -> list[bytes]:
    return [b"" if value is None else str(value).encode() for value in values]


def _times(values: Sequence[datetime.datetime | None]) -> list[bytes]:
    return [b"" if v is None else v.isoformat(timespec="microseconds").encode() for v in values]


def _versions(values: Sequence[int | None]) -> list[bytes]:
    return [b"" if v is None else version_integer_to_string(v).encode() for v in values]


_TEXTS: dict[str, Callable[[Sequence[Any]], Any]] = {"DATETIME": _times, "INT": _versions}


def _vectors(values: Sequence[Any], column: Column) -> NDArray[np.generic]:
    """Return arrays, filled up to the width of the longest with NaN, or bits with 0."""
    dtype, fill = ("u1", 0) if column.type == "uint8" else (">f4", np.nan)
    array = np.full((len(values), column.size or 0), fill, dtype=dtype)
    for row, value in enumerate(values):
        if value is not None:
            items = np.frombuffer(value, dtype="u1") if isinstance(value, bytes) else value
            array[row, : len(items)] = items
    return array


# -- writing -------------------------------------------------------------------------------


def _write(output: Path, tables: Sequence[_Table], primary: dict[str, Value]) -> Exported:
    with _beside(output) as out:
        out.write(header({**PRIMARY, **primary}))
        written = [(table.name, _write_table(out, table)) for table in tables]
        if not sum(rows for _, rows in written):
            raise UsageError(_nothing(tables))
    return Exported(output, tuple(written))


def _write_table(out: Any, table: _Table) -> int:
    rows, columns = _fit(table)
    dtype = np.dtype([(f"c{number}", *_dtype(column)) for number, column in enumerate(columns)])
    cards = table_cards(dtype.itemsize, rows, len(columns))
    for number, column in enumerate(columns, start=1):
        size = "" if column.size is None else column.size
        cards |= {f"TTYPE{number}": column.name, f"TFORM{number}": f"{size}{_LETTERS[column.type]}"}
        if column.unit:
            cards[f"TUNIT{number}"] = column.unit
    out.write(header(cards | table.cards))
    nodes = [node for _, node in table.columns]
    converters = [_converter(c, node) for c, node in zip(columns, nodes, strict=True)]
    done = 0
    for page in table.rows.pages(nodes, max(1, PAGE_VALUES // len(nodes))):
        records = np.zeros(len(page), dtype=dtype)
        for number, values in enumerate(zip(*page, strict=True)):
            records[f"c{number}"] = converters[number](values)
        out.write(records.tobytes())
        done += len(page)
    if done != rows:
        raise AstraError(f"{table.name}: {done} rows were read, where {rows} were counted")
    out.write(bytes(-rows * dtype.itemsize % 2880))
    return rows


@contextmanager
def _beside(output: Path) -> Iterator[BinaryIO]:
    """Open a file beside its place; it goes there once it is complete, or is deleted."""
    part = output.with_name(output.name + ".part")
    try:
        with part.open("wb") as raw:
            if output.suffix == ".gz":
                from isal import igzip

                gzip_file: Any = igzip.IGzipFile  # the package has no types
                with gzip_file("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed:
                    yield packed
            else:
                yield raw
            raw.flush()
            os.fsync(raw.fileno())
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)


def _nothing(tables: Sequence[_Table]) -> str:
    """Say that there is nothing to write, and what there is instead."""
    wanted = tables[0].rows.major_minor
    message = f"the database has no rows for {tables[0].name.split(' HDU')[0]}"
    if wanted is None:
        return message
    numbers = sorted({number for table in tables for number in table.rows.versions()})
    there = ", ".join(version_integer_to_string(number * 1000) for number in numbers)
    message += f" of version {version_integer_to_string(wanted * 1000).rpartition('.')[0]}"
    return message + (f"; there are some for --v-astra {there}" if there else "")
