"""The job: check everything, then read, shape and write, then report."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from astra.chunk import Written
from astra.writer import ChunkWriter
from astra.errors import AstraError, ManifestError, ProductError
from astra.transaction import run
from jobs import database as db
from jobs import scratch
from jobs.fits import FitsFile, TableHDU
from jobs.identify import identify
from jobs.manifest import Manifest, Product, as_error, check_names, load_manifest, resolve_all
from jobs.mapping import TableMapping, map_table
from jobs.plan import Shard, Unit, deal, plan
from jobs.read import Batch, Collector, Origin, ahead, read_table
from jobs.rejects import RejectFile
from jobs.report import Counts, ProductReport, Report

log = logging.getLogger("astra")

#: Rows of a chunk, unless the user says otherwise.
BATCH_ROWS = 10_000


class Progress(Protocol):
    """Is told what happens; draws bars, writes lines, or does nothing."""

    def begin(self, files: int, total_bytes: int) -> None:
        """The checks are done and rows will be read."""

    def chunk(self, path: Path, rows: int, written: Written, seconds: float) -> None:
        """A chunk is in."""

    def end_file(self, path: Path, size: int) -> None:
        """A file has been read."""

    def end(self) -> None:
        """All is done."""


@dataclass(frozen=True)
class Options:
    """What the user can choose for a job.

    Attributes
    ----------
    shard : Shard
        The share of the units to take.
    batch_rows : int
        Rows of a chunk, which is a transaction.
    dry_run : bool
        Read and check every row, and write none.
    report : Path
        Where the report goes; the rejected rows go beside it.
    should_stop : callable
        Asked after each chunk; True ends the job there.
    """

    shard: Shard
    report: Path
    batch_rows: int = BATCH_ROWS
    dry_run: bool = False
    should_stop: Callable[[], bool] = field(default=lambda: False)


def ingest(manifest_path: Path, options: Options, progress: Progress) -> Report:
    """Ingest the products of a manifest.

    Parameters
    ----------
    manifest_path : Path
    options : Options
    progress : Progress

    Returns
    -------
    Report
        As it was written to `options.report`.

    Raises
    ------
    AstraError
        If something is wrong with the manifest, its files, or the database; then nothing was
        written, or, if the database went away meanwhile, nothing but whole chunks.
    """
    manifest = load_manifest(manifest_path)
    classes = check_names(manifest, manifest_path)
    units = plan(resolve_all(manifest, manifest_path))
    mine = deal(units, options.shard.count)[options.shard.index]
    log.info(
        "%s: %d of %d files are this task's (%s)",
        manifest_path, len(mine), len(units), options.shard,
    )  # fmt: skip
    models = check(manifest, manifest_path, mine, classes)
    return _Job(manifest, manifest_path, classes, options, progress).run(mine, models)


def check(
    manifest: Manifest,
    manifest_path: Path,
    units: Sequence[Unit],
    classes: Mapping[str, type[Any]],
) -> list[type[Any]]:
    """Look at all files before the first row is written.

    Returns
    -------
    list of type
        The models that rows will go to.

    Raises
    ------
    ManifestError
        With all problems of all files.
    """
    mistakes = []
    models: dict[type[Any], None] = {}
    told: set[str] = set()
    used: dict[int, set[str]] = {}
    for unit in units:
        product = manifest.products[unit.product]
        try:
            file = scratch.inspect(unit.path)
            for mapping in mappings(file, product, classes):
                models |= dict.fromkeys(target.model for target in mapping.targets)
                mistakes += [product.mistake("path", text) for text in mapping.problems]
                used.setdefault(unit.product, set()).update(
                    column.name for column in mapping.table.columns
                )
                _tell_lacking(mapping, told)
        except ProductError as error:
            mistakes.append(product.mistake("path", str(error)))
    for index, columns in used.items():
        product = manifest.products[index]
        mistakes += [
            product.mistake("ignore", f"no file of the product has a column {name}")
            for name in product.ignore or ()
            if name not in columns
        ]
    if mistakes:
        raise as_error(mistakes, manifest_path)
    return list(models)


def _tell_lacking(mapping: TableMapping, told: set[str]) -> None:
    """Say once which fields of a table a product has no columns for."""
    lacking = [name for name in mapping.lacking if name not in told]
    told.update(lacking)
    if lacking:
        log.info("fields without a column in %s, left empty: %s", mapping.table.label, ", ".join(lacking))


def mappings(
    file: FitsFile, product: Product, classes: Mapping[str, type[Any]]
) -> Iterator[TableMapping]:
    """Give the mapping of each HDU of a file that the manifest wants.

    Raises
    ------
    ProductError
        If the file has no such HDU, or no table with rows where the manifest names none.
    """
    for table in _wanted(file, product):
        models = identify(file, table, product, classes)
        yield map_table(file, table, product, models, file.path)


def _wanted(file: FitsFile, product: Product) -> list[TableHDU]:
    if product.hdus is None:
        return [table for table in file.tables if table.rows]
    tables = []
    for which in product.hdus:
        table = file.table(which)
        if table is None:
            there = ", ".join(each.label for each in file.tables) or "none"
            others = ", ".join(f"HDU {number} is {kind}" for number, kind in file.others[1:])
            raise ProductError(
                f"{file.path}: there is no table HDU {which}, which `hdus` names; its tables are "
                f"{there}" + (f" ({others})" if others else "")
            )
        tables.append(table)
    return tables


class _Job:
    """One run over one share of the units."""

    def __init__(
        self,
        manifest: Manifest,
        manifest_path: Path,
        classes: Mapping[str, type[Any]],
        options: Options,
        progress: Progress,
    ) -> None:
        from astra.models import base

        self.manifest = manifest
        self.classes = classes
        self.options = options
        self.progress = progress
        self.database = base.database
        self.schema = base.schema
        self.writer = ChunkWriter(self.database)
        self.rejects: dict[int, RejectFile] = {}
        self.stopped = False
        self.report = Report(
            manifest=str(manifest_path),
            database=db.describe(self.database, self.schema),
            shard=str(options.shard),
            dry_run=options.dry_run,
            started=_now(),
            products=[ProductReport(product.path) for product in manifest.products],
        )

    def run(self, units: Sequence[Unit], models: Sequence[type[Any]]) -> Report:
        started = time.monotonic()
        if not self.options.dry_run:
            from astra.models import models as all_models

            needed = dict.fromkeys([*all_models, *models])
            db.prepare(self.database, self.schema, list(needed))
        self.progress.begin(len(units), sum(unit.size for unit in units))
        try:
            with closing(ahead(self._prepared(units))) as items:
                for item in items:
                    self._take(item)
                    if self.options.should_stop():
                        self.stopped = True
                        break
            self.report.status = self._status()
        except BaseException:
            self.report.status = "failed"
            raise
        finally:
            self.progress.end()
            self.report.seconds = time.monotonic() - started
            self.report.finished = _now()
            for reject_file in self.rejects.values():
                reject_file.write()
            self.report.write(self.options.report)
        return self.report

    def _status(self) -> str:
        if self.stopped:
            return "stopped"
        failed = self.report.failed_files or self.report.totals.rejected
        return "rejects" if failed else "done"

    # -- in the reading thread -------------------------------------------------------------

    def _prepared(self, units: Sequence[Unit]) -> Iterator[Any]:
        """Read and shape all units; chunks are filled across the files of a product."""
        collector = Collector(self.options.batch_rows)
        product = -1
        for unit in units:
            if unit.product != product:
                for batch in collector.flush():
                    yield unit_product(batch, product)
                product = unit.product
            try:
                for origin, chunk in self._read(unit):
                    for batch in collector.add(origin, chunk):
                        yield unit_product(batch, product)
            except ProductError as error:
                yield (unit, error)
            yield (unit, None)
        for batch in collector.flush():
            yield unit_product(batch, product)

    def _read(self, unit: Unit) -> Iterator[tuple[Origin, Any]]:
        product = self.manifest.products[unit.product]
        if self._has_failed(unit.product):
            return
        with scratch.unpacked(unit.path) as (copy, file):
            for mapping in mappings(file, product, self.classes):
                if mapping.problems:
                    raise ProductError(mapping.problems[0] + " (the file has changed)")
                mapping.primary = file.primary
                yield from read_table(unit.path, copy, mapping, self.options.batch_rows)

    def _has_failed(self, product: int) -> bool:
        return self.report.products[product].error is not None

    # -- in the main thread ----------------------------------------------------------------

    def _take(self, item: Any) -> None:
        if isinstance(item, _ProductBatch):
            self._write(item)
            return
        unit, error = item
        if error is not None:
            self.report.failed_files[str(unit.path)] = str(error)
            log.error("%s", error)
            return
        self.report.products[unit.product].files += 1
        self.progress.end_file(unit.path, unit.size)

    def _write(self, item: _ProductBatch) -> None:
        batch, index = item.batch, item.product
        report = self.report.products[index]
        if report.error is not None:
            return
        started = time.monotonic()
        if self.options.dry_run:
            written = Written(unchanged=batch.chunk.rows)
        else:
            written = run(self.database, lambda: self.writer.write(batch.chunk))
        counts = Counts(
            read=sum(len(origin.rows) for origin in batch.origins),
            inserted=written.inserted,
            updated=written.updated,
            unchanged=written.unchanged,
            duplicates=written.duplicates,
        )
        counts.rejected = self._set_aside(index, batch, written)
        report.table = report.table or _table(batch)
        report.counts.add(counts)
        path = batch.origins[-1].path
        self.progress.chunk(path, counts.read, written, time.monotonic() - started)
        limit = self.manifest.products[index].max_rejects
        if report.counts.rejected > limit:
            common = "; ".join(f"{n:,} x {why}" for why, n in self.rejects[index].reasons.most_common(3))
            report.error = (
                f"more than {limit:,} rows were set aside (max_rejects): {common}; the product "
                "was left there"
            )
            self.report.failed_files[report.path] = report.error
            log.error("%s: %s", report.path, report.error)

    def _set_aside(self, index: int, batch: Batch, written: Written) -> int:
        """Put a chunk's rejected rows into the product's file, and return how many there are."""
        by_origin: list[dict[int, str]] = [dict(origin.rejected) for origin in batch.origins]
        for row, reason in written.rejected:
            origin, number = batch.locate(row)
            by_origin[batch.origins.index(origin)][number] = reason
        count = 0
        for origin, rejected in zip(batch.origins, by_origin, strict=True):
            if not rejected:
                continue
            numbers = sorted(rejected)
            self._reject_file(index, origin).add(
                origin.path,
                origin.mapping.table,
                origin.mapping.primary,
                origin.rows[numbers],
                [origin.first + number for number in numbers],
                [rejected[number] for number in numbers],
            )
            count += len(numbers)
        if count:
            report = self.report.products[index]
            report.rejects = str(self.rejects[index].path)
            report.reasons = dict(self.rejects[index].reasons)
        return count

    def _reject_file(self, index: int, origin: Origin) -> RejectFile:
        if index not in self.rejects:
            stem = origin.path.name.removesuffix(".gz").removesuffix(".fits")
            report = self.options.report
            name = f"{report.name.removesuffix('.json')}.rejects-{index}-{stem}.fits"
            self.rejects[index] = RejectFile(report.with_name(name))
        return self.rejects[index]


@dataclass(frozen=True)
class _ProductBatch:
    batch: Batch
    product: int


def unit_product(batch: Batch, product: int) -> _ProductBatch:
    """Say which product of the manifest a chunk is of."""
    return _ProductBatch(batch, product)


def _table(batch: Batch) -> str:
    targets = batch.origins[0].mapping.targets
    return str(targets[-1].model._meta.table_name)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


__all__ = ["AstraError", "ManifestError", "Options", "Progress", "check", "ingest", "mappings"]
