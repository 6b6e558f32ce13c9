"""What a job did, as JSON for programs and as a summary for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jobs.text import count, duration
from jobs.whole import whole_file


@dataclass
class Counts:
    """What became of rows; ``read`` is the sum of the others.

    Attributes
    ----------
    read : int
        Rows read from files.
    inserted, updated, unchanged : int
        Rows of the result table; of a product without one, of its spectrum or source table.
    duplicates : int
        Rows whose key a later row of the same chunk has too; the later one was written.
    rejected : int
        Rows set aside.
    """

    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: int = 0

    def add(self, other: Counts) -> None:
        """Add another's counts."""
        for name in asdict(self):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass
class ProductReport:
    """What became of one product of the manifest.

    Attributes
    ----------
    path : str
        As the manifest has it.
    table : str
        The table whose rows are counted.
    files : int
        Files of this job's share that were read.
    skipped : int
        Files of it that were in already.
    counts : Counts
    set_aside : int
        Rows of these files that earlier jobs set aside; not among `counts`.
    rejects : str or None
        The FITS file with the rows that were set aside; those of several workers, with commas.
    reasons : dict of str to int
        How many rows were set aside for which reason.
    changes : dict of str to dict
        In a dry run, how columns of results that are there would change: see
        `astra.compare.Change`.
    error : str or None
        Why the product, or files of it, failed.
    """

    path: str
    table: str = ""
    files: int = 0
    skipped: int = 0
    counts: Counts = field(default_factory=Counts)
    set_aside: int = 0
    rejects: str | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str | None = None

    def merge(self, other: ProductReport) -> None:
        """Add what another process did of the same product."""
        self.table = self.table or other.table
        self.files += other.files
        self.skipped += other.skipped
        self.counts.add(other.counts)
        self.set_aside += other.set_aside
        both = dict.fromkeys(filter(None, [self.rejects, other.rejects]))
        self.rejects = ", ".join(both) or None
        for reason, number in other.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + number
        for name, change in other.changes.items():
            mine = self.changes.setdefault(name, {"rows": 0, "largest": None, "examples": []})
            mine["rows"] += change["rows"]
            mine["largest"] = max(filter(None, [mine["largest"], change["largest"]]), default=None)
            mine["examples"] += change["examples"]
        self.error = self.error or other.error


@dataclass
class Report:
    """What a job did.

    Attributes
    ----------
    manifest, run, database, shard : str
    dry_run : bool
    status : str
        ``running``, ``done``, ``rejects`` (some rows or files failed), ``stopped`` (told to, before
        the end) or ``failed``.
    started, finished : str
        UTC, ISO 8601.
    seconds : float
    products : list of ProductReport
    failed_files : dict of str to str
        Files that failed, and why.
    """

    manifest: str
    run: str
    database: str
    shard: str
    dry_run: bool
    started: str
    status: str = "running"
    finished: str = ""
    seconds: float = 0.0
    products: list[ProductReport] = field(default_factory=list)
    failed_files: dict[str, str] = field(default_factory=dict)

    @property
    def totals(self) -> Counts:
        """The counts of all products."""
        total = Counts()
        for product in self.products:
            total.add(product.counts)
        return total

    def merge(self, other: Report) -> None:
        """Add what another process did of the same products."""
        for mine, others in zip(self.products, other.products, strict=True):
            mine.merge(others)
        self.failed_files |= other.failed_files
        order = ("running", "done", "rejects", "stopped", "failed")
        self.status = max(self.status, other.status, key=order.index)
        self.finished = max(self.finished, other.finished)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {**asdict(self), "totals": asdict(self.totals)}

    def write(self, path: Path) -> None:
        """Write the report to a file; see `write_json`."""
        write_json(path, self.as_dict())

    def summary(self) -> str:
        """Return the report for a person to read."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        total = self.totals
        files = sum(product.files for product in self.products)
        yield "Dry run: nothing was written." if self.dry_run else f"Into {self.database}:"
        for product in self.products:
            yield from _product_lines(product, dry_run=self.dry_run)
        rate = total.read / self.seconds if self.seconds else 0.0
        yield (
            f"{count(files, 'file')}, {count(total.read, 'row')} read, "
            f"{total.rejected:,} rejected, in {duration(self.seconds)} ({rate:,.0f} rows/s)"
        )
        for path, error in list(self.failed_files.items())[:10]:
            yield f"failed: {error}" if path in error else f"failed: {path}: {error}"
        if len(self.failed_files) > 10:
            yield f"... and {len(self.failed_files) - 10:,} more, which the report names"


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON to a file, which is whole or not there."""
    text = json.dumps(content, indent=2)
    with whole_file(path) as out:
        out.write(f"{text}\n".encode())


def _product_lines(product: ProductReport, *, dry_run: bool) -> Iterable[str]:
    counts = product.counts
    parts = [f"{counts.read:,} read"]
    if product.skipped:
        parts.insert(0, f"{count(product.skipped, 'file')} in already")
    would = " to be" if dry_run else ""
    parts += [f"{counts.inserted:,}{would} inserted", f"{counts.updated:,}{would} updated"]
    for name in ("unchanged", "duplicates", "rejected"):
        if value := getattr(counts, name):
            parts.append(f"{value:,} {name}")
    yield f"  {product.table or product.path}: {', '.join(parts)}"
    for reason, number in sorted(product.reasons.items(), key=lambda item: -item[1])[:3]:
        yield f"    {number:,} x {reason}"
    yield from _change_lines(product)
    if product.set_aside:
        yield f"    {count(product.set_aside, 'row')} rejected by earlier jobs"
    if product.rejects:
        yield f"    rejected rows: {product.rejects}"
    if product.error:
        yield f"    failed: {product.error}"


def _change_lines(product: ProductReport, most: int = 10) -> Iterable[str]:
    """Tell which columns would change, those that change most first."""
    changes = sorted(product.changes.items(), key=lambda item: -item[1]["rows"])
    for name, change in changes[:most]:
        largest = change["largest"]
        by = f", by up to {largest:g}" if largest else ""
        row, old, new = change["examples"][0]
        yield f"    {name} would change in {change['rows']:,} rows{by} ({row}: {old} -> {new})"
    if len(changes) > most:
        yield f"    ... and {len(changes) - most} more columns, which the report names"
