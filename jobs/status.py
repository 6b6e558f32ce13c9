"""`astra status`: what the ledger says of a manifest's files, or of all files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from astra.ledger import COUNTS, Identity, Ledger, RunInfo, chunk_rates, last_runs
from jobs.known import identify, is_done
from jobs.manifest import Manifest, load_manifest, resolve_all
from jobs.plan import plan
from jobs.text import count, duration


@dataclass
class FileStatus:
    """How far one file is.

    Attributes
    ----------
    path : str
    state : str
        ``in``, ``half in``, ``changed`` (in, but not as it is now), ``failed`` or ``not begun``.
    tables : list of str
        Tables whose rows are counted.
    rows, done : int
        Rows of the HDUs that were begun, and how many of them are dealt with.
    inserted, updated, unchanged, duplicates, rejected : int
    seconds : float
        What writing took.
    error : str or None
    rejects : str or None
        The FITS file with the rows that were set aside.
    run : str
        The last run that worked on it.
    """

    path: str
    state: str
    tables: list[str] = field(default_factory=list)
    rows: int = 0
    done: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: int = 0
    seconds: float = 0.0
    error: str | None = None
    rejects: str | None = None
    run: str = ""


@dataclass(frozen=True)
class Status:
    """What the ledger says.

    Attributes
    ----------
    files : list of FileStatus
    runs : list of dict
        The latest tasks of runs: run, task, state, times.
    """

    files: list[FileStatus]
    runs: list[dict[str, Any]]

    @property
    def states(self) -> dict[str, int]:
        """How many files are in which state."""
        counts = dict.fromkeys(("in", "half in", "changed", "failed", "not begun"), 0)
        for file in self.files:
            counts[file.state] += 1
        return counts

    def as_dict(self) -> dict[str, Any]:
        """Return the status as JSON has it."""
        files = [asdict(file) for file in self.files]
        return {"states": self.states, "files": files, "runs": self.runs}

    def summary(self) -> str:
        """Return the status for a person to read."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        yield ", ".join(f"{number:,} {state}" for state, number in self.states.items() if number)
        for table, group in _by_table(self.files).items():
            read = sum(file.done for file in group)
            seconds = sum(file.seconds for file in group)
            rate = f", {read / seconds:,.0f} rows/s" if seconds else ""
            rejected = sum(file.rejected for file in group)
            yield (
                f"  {table}: {count(len(group), 'file')}, {read:,} of "
                f"{sum(file.rows for file in group):,} rows, {rejected:,} rejected{rate}"
            )
        for state in ("failed", "half in", "changed", "not begun"):
            chosen = [file for file in self.files if file.state == state]
            yield from _told(state, chosen)
        for run in self.runs:
            yield f"run {run['run']} task {run['task']}: {run['state']}, {run['took']}"


def _told(state: str, files: Sequence[FileStatus], most: int = 10) -> Iterable[str]:
    for file in files[:most]:
        more = f": {file.error}" if file.error else ""
        if state == "half in":
            more = f": {file.done:,} of {file.rows:,} rows"
        yield f"{state}: {file.path}{more}"
    if len(files) > most:
        yield f"{state}: {len(files) - most:,} more (--json has them all)"


def _by_table(files: Iterable[FileStatus]) -> dict[str, list[FileStatus]]:
    groups: dict[str, list[FileStatus]] = {}
    for file in files:
        if file.tables:
            groups.setdefault(", ".join(file.tables), []).append(file)
    return groups


def status(manifest_path: Path | None) -> Status:
    """Read the ledger of the configured database.

    Parameters
    ----------
    manifest_path : Path or None
        None: all files that the ledger knows.

    Raises
    ------
    AstraError
        If the manifest is wrong or the database is away.
    """
    from astra.models import base

    ledger = Ledger(base.database, RunInfo("", 0, 1, ""))
    if manifest_path is None:
        entries = ledger.entries(None)
        files = [_of_entries(path, known) for path, known in sorted(entries.items())]
    else:
        manifest = load_manifest(manifest_path)
        files = _of_manifest(ledger, manifest, manifest_path)
    return Status(files, [_run(row) for row in last_runs(chunk_rates())])


def _of_manifest(ledger: Ledger, manifest: Manifest, manifest_path: Path) -> list[FileStatus]:
    units = plan(resolve_all(manifest, manifest_path))
    entries = ledger.entries(list(dict.fromkeys(str(unit.path) for unit in units)))
    files = []
    for (index, path), parts in groupby(units, key=lambda unit: (unit.product, unit.path)):
        product, known = manifest.products[index], entries.get(str(path), [])
        wanted = [identify(unit, product) for unit in parts] if known else []
        files.append(_of_entries(str(path), known, wanted))
    return files


def _of_entries(
    path: str, entries: Sequence[dict[str, Any]], wanted: Sequence[Identity] | None = None
) -> FileStatus:
    """Return how far a file is, beside what it and its parts are now, if that is to be told."""
    names = ("done", *COUNTS, "seconds")
    file = FileStatus(path, _state(entries, wanted))
    tables = {(entry["hdu"], entry["target"]): entry["hdu_rows"] for entry in entries}
    file.rows = sum(tables.values())
    for entry in entries:
        for name in names:
            setattr(file, name, getattr(file, name) + entry[name])
        if entry["target"] and entry["target"] not in file.tables:
            file.tables.append(entry["target"])
        file.error = entry["error"] or file.error
        file.rejects = entry["rejects"] or file.rejects
        file.run = entry["run"]
    return file


def _state(entries: Sequence[dict[str, Any]], wanted: Sequence[Identity] | None) -> str:
    if not entries:
        return "not begun"
    states = {entry["status"] for entry in entries}
    if "failed" in states:
        return "failed"
    complete = states == {"done"} and len(entries) >= entries[0]["hdus"] * entries[0]["parts"]
    if wanted is None:
        return "in" if complete else "half in"
    if all(is_done(entries, identity) for identity in wanted):
        return "in"
    return "changed" if complete else "half in"


def _run(row: dict[str, Any]) -> dict[str, Any]:
    end = row["finished"]
    took = "" if end is None else duration(max((end - row["started"]).total_seconds(), 0.0))
    return {
        "run": row["run"],
        "task": f"{row['shard_index']}/{row['shard_count']}",
        "state": row["status"],
        "manifest": row["manifest"],
        "host": row["host"],
        "started": str(row["started"]),
        "finished": None if end is None else str(end),
        "rows": row["rows"],
        "took": f"{row['rows']:,} rows in {took}" if took else f"{row['rows']:,} rows so far",
    }
