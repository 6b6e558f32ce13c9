"""The job: check everything, then read, shape and write, then report."""

from __future__ import annotations

import datetime
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from astra import readiness as db
from astra.chunk import Written
from astra.errors import ProductError
from astra.ledger import Identity, Ledger, RunInfo, summarise
from jobs.check import Checked, Classes, check, useless_ignores
from jobs.commit import Committer
from jobs.filesystems import refuse_shared
from jobs.known import Known, entries_of, look_up
from jobs.manifest import Manifest, as_error, check_names, load_manifest, resolve_all
from jobs.plan import PART_BYTES, Shard, Unit, Units, deal, plan
from jobs.read import Batch, EndOfUnit, Reader, ahead
from jobs.report import ProductReport, Report, write_json

log = logging.getLogger("astra")

#: Rows of a chunk, unless the user says otherwise.
BATCH_ROWS = 10_000
#: Processes, unless the user says otherwise.
WORKERS = 2


class Progress(Protocol):
    """Is told what happens; draws bars, writes lines, or does nothing."""

    def begin(self, units: Units, total_rows: int = 0) -> None:
        """The checks are done and rows will be read."""

    def chunk(self, path: Path, rows: int, written: Written, seconds: float) -> None:
        """A chunk is in."""

    def end_unit(self, unit: Unit) -> None:
        """A file, or a part of it, has been read."""

    def end(self) -> None:
        """All is done."""


@dataclass(frozen=True)
class Options:
    """What the user can choose for a job.

    Attributes
    ----------
    shard : Shard
        The share of the units to take.
    report : Path
        Where the report goes; the rejected rows go beside it.
    batch_rows : int
        Rows of a chunk, which is a transaction.
    dry_run : bool
        Read and check every row, and write none.
    force : bool
        Do again what the ledger says is in.
    workers : int or None
        Processes that share the units; more than one needs PostgreSQL.  None: as many as pay,
        see `useful_workers`.
    should_stop : callable
        Asked after each chunk; True ends the job there.
    """

    shard: Shard
    report: Path
    batch_rows: int = BATCH_ROWS
    dry_run: bool = False
    force: bool = False
    workers: int | None = None
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
    log.info("%s: %s", manifest_path, units)
    if options.shard.count > 1:
        log.info("%s this task's (%s)", mine, options.shard)
    job = Job(manifest, manifest_path, classes, options, progress)
    with db.explained(job.database, job.schema):
        workers = options.workers or useful_workers(job, mine, os.environ)
        if workers == 1:
            return job.run(mine)
        from jobs.workers import run_workers

        return run_workers(job, mine, workers)


def useful_workers(job: Job, units: Units, environ: Mapping[str, str]) -> int:
    """Return how many processes share units if nobody has said: one, or two.

    While the server works for the one, the other prepares its rows.  More are for the user to
    ask for: each has a connection of its own.
    """
    small = units.bytes <= PART_BYTES
    if small or job.options.dry_run or db.sqlite_path(job.database) is not None:
        return 1
    if "SLURM_JOB_ID" in environ:  # the node's others may be other people's
        processors = int(environ.get("SLURM_CPUS_PER_TASK") or 1)
    elif sys.platform == "linux":
        processors = len(os.sched_getaffinity(0))
    else:
        processors = os.cpu_count() or 1
    return min(WORKERS, processors, len(units))


class Job:
    """One run over one share of the units.

    Parameters
    ----------
    manifest : Manifest
    manifest_path : Path
    classes : mapping of str to type
        The models that the manifest names.
    options : Options
    progress : Progress
    run : str, optional
        Name of the run that it is part of.
    """

    def __init__(
        self,
        manifest: Manifest,
        manifest_path: Path,
        classes: Classes,
        options: Options,
        progress: Progress,
        *,
        run: str | None = None,
    ) -> None:
        from astra.models import base

        self.manifest = manifest
        self.manifest_path = manifest_path
        self.classes = classes
        self.options = options
        self.progress = progress
        self.database: Any = base.database
        self.schema = base.schema
        shard = options.shard
        info = RunInfo.from_environment(
            shard.index, shard.count, str(manifest_path.absolute()), os.environ
        )
        if run is not None:
            info = replace(info, run=run)
        self.ledger = Ledger(self.database, info, force=options.force)
        self.committer = Committer(self.database, self.ledger, manifest, options.report)
        #: Whether rows were set aside by the jobs before, of files that this one has finished.
        self._rows_failed = False
        self.report = Report(
            manifest=str(manifest_path),
            run=info.run,
            database=db.describe(self.database, self.schema),
            shard=str(shard),
            dry_run=options.dry_run,
            started=_now(),
            products=[ProductReport(product.path) for product in manifest.products],
        )

    def run(self, units: Units) -> Report:
        """Check units, and ingest them."""
        known = self.look(units)
        to_do = units.without(known.done)
        checked = check(self.manifest, to_do, self.classes)
        self.make_ready(to_do, [checked])
        return self.ingest(units, known, checked.rows)

    def look(self, units: Units) -> Known:
        """Look at the database, without changing it: return what the ledger knows of the files."""
        path = db.sqlite_path(self.database)
        if self.options.dry_run:
            return Known()
        if path is None:
            self._prepare()
        else:
            refuse_shared(path, os.environ)
            if not path.exists():  # and looking into it would make it
                return Known()
        return look_up(self.ledger, units, self.manifest.products)

    def make_ready(self, units: Units, checked: Sequence[Checked]) -> None:
        """Raise what is wrong with the files; if nothing is, make the tables ready on SQLite."""
        mistakes = [mistake for part in checked for mistake in part.mistakes]
        mistakes += useless_ignores(self.manifest, units, checked)
        if mistakes:
            raise as_error(mistakes, self.manifest_path)
        if not self.options.dry_run and db.sqlite_path(self.database) is not None:
            self._prepare()

    def _prepare(self) -> None:
        """Make sure that rows of the package's and the manifest's models can be written."""
        from astra.models import models

        own = [model for model in self.classes.values() if model not in models]
        db.prepare(self.database, self.schema, [*models, *own])

    def ingest(self, units: Units, known: Known, rows: int) -> Report:
        """Ingest units that are checked; see `work`."""
        self.begin()
        self.work(units, known, rows)
        self.end()
        return self.report

    def begin(self) -> None:
        """Note in the ledger that the task has begun."""
        if not self.options.dry_run:
            self.ledger.begin()

    def end(self) -> None:
        """Note that the task has ended; the last one of an array writes what all of them did."""
        if not self.options.dry_run and self.ledger.finish(self.report.status):
            self._summarise()

    def work(self, units: Units, known: Known, rows: int = 0) -> Report:
        """Read units and write their rows, and then the report.

        Parameters
        ----------
        units : Units
        known : Known
            What the ledger knows of their files.
        rows : int
            How many rows there are to be read; 0 if that is not known.
        """
        started = time.monotonic()
        if self.options.dry_run:
            self.committer.is_readable = db.is_readable(self.database, self.schema)
        self.progress.begin(units, rows)
        try:
            self._work(units, known)
        except BaseException:
            self.report.status = "failed"
            raise
        finally:
            self.progress.end()
            self.report.seconds = time.monotonic() - started
            self.report.finished = _now()
            self.report.write(self.options.report)
        return self.report

    def _summarise(self) -> None:
        """Write what all tasks of an array did; the last one to end does it."""
        if self.options.shard.count == 1:
            return
        run = self.report.run
        path = self.options.report.with_name(f"{self.manifest_path.stem}.{run}.summary.json")
        write_json(path, summarise(run))
        log.info("all %d tasks have ended: %s", self.options.shard.count, path)

    def _work(self, units: Units, known: Known) -> None:
        reader = Reader(self.manifest, self.classes, self.options.batch_rows, known)
        stopped = False
        with closing(ahead(reader.read(units))) as items:
            for item in items:
                if isinstance(item, EndOfUnit):
                    self._end(item, reader)
                elif item.product not in reader.failed_products:
                    self._commit(item, reader)
                if stopped := self.options.should_stop():
                    break
        failed = self.report.failed_files or self.report.totals.rejected or self._rows_failed
        self.report.status = "stopped" if stopped else "rejects" if failed else "done"

    def _commit(self, batch: Batch, reader: Reader) -> None:
        started = time.monotonic()
        product = self.report.products[batch.product]
        commit = self.committer.preview if self.options.dry_run else self.committer.commit
        try:
            counts, written = commit(batch)
        except ProductError as error:
            self._fail(batch.product, reader, str(error))
            return
        product.table = product.table or batch.origins[-1].claim.identity.target
        product.counts.add(counts)
        if counts.rejected:
            rejects = self.committer.rejects(batch.product)
            product.rejects = str(rejects.path)
            product.reasons = dict(rejects.reasons)
        product.changes = {
            name: vars(change)
            for name, change in self.committer.changes.get(batch.product, {}).items()
        }
        path = batch.origins[-1].unit.path
        self.progress.chunk(path, counts.read, written, time.monotonic() - started)
        limit = self.manifest.products[batch.product].max_rejects
        if counts.rejected and self._rejected(batch, product) > limit:
            common = sorted(product.reasons.items(), key=lambda item: -item[1])[:3]
            reasons = "; ".join(f"{number:,} x {why}" for why, number in common)
            self._fail(
                batch.product,
                reader,
                f"more than {limit:,} rows were set aside (max_rejects), so the rest was left: "
                f"{reasons}",
            )
            for origin in batch.origins:
                self._note_failure(EndOfUnit(origin.unit, origin.claim.identity), product.error)

    def _rejected(self, batch: Batch, product: ProductReport) -> int:
        """Return the rows of a product that were set aside; of its files by others, too."""
        if self.options.dry_run:
            return product.counts.rejected
        paths = {str(origin.unit.path) for origin in batch.origins if origin.unit.parts > 1}
        return max(product.counts.rejected, *map(self.ledger.rejected, paths), 0)

    def _fail(self, index: int, reader: Reader, error: str) -> None:
        """Give up a product."""
        product = self.report.products[index]
        product.error = error
        self.report.failed_files[product.path] = error
        reader.failed_products.add(index)
        log.error("%s: %s", product.path, error)

    def _end(self, item: EndOfUnit, reader: Reader) -> None:
        product = self.report.products[item.unit.product]
        if item.error is not None:
            self.report.failed_files[str(item.unit.path)] = str(item.error)
            log.error("%s", item.error)
            self._note_failure(item, str(item.error))
        elif item.skipped:
            product.skipped += item.unit.is_last
        else:
            product.files += item.unit.is_last
            if item.identity is not None and not self.options.dry_run:
                self._note_end(item.identity, reader.known, empty=item.empty)
        if item.error is None:
            self._recall(item, reader.known)
        self.progress.end_unit(item.unit)

    def _recall(self, item: EndOfUnit, known: Known) -> None:
        """Tell of rows that earlier jobs set aside of a file that is in now."""
        if item.identity is None:
            return
        product = self.report.products[item.unit.product]
        for entry in entries_of(known.entries.get(item.identity.path, ()), item.identity):
            if entry["rejected"]:
                product.set_aside += entry["rejected"]
                product.rejects = product.rejects or entry["rejects"]
                self._rows_failed |= not item.skipped

    def _note_end(self, identity: Identity, known: Known, *, empty: bool) -> None:
        if empty:
            self.ledger.note_empty(identity)
        elif any(entry["status"] == "failed" for entry in known.entries.get(identity.path, ())):
            self.ledger.mend(identity)

    def _note_failure(self, item: EndOfUnit, error: str | None) -> None:
        if item.identity is not None and not self.options.dry_run:
            self.ledger.fail(item.identity, error or "")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
