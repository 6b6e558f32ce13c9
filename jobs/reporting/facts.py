"""What the ledger says about files and runs, as the report needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from astra.errors import ProductError, UsageError
from astra.ledger import COUNTS, by_path
from astra.models import (
    IngestedChunk,
    IngestedTable,
    IngestRun,
    models,
    result_models,
)
from jobs.inspection import inspect_file
from jobs.manifest import check_names, load_manifest, resolve_all
from jobs.manifest.mistakes import did_you_mean
from jobs.rejects import generic

#: Paths are looked up so many at a time.
_PATHS = 500
#: Rejected rows whose reasons are read from one file of them.
_MOST_REASONS = 10_000


@dataclass
class TableFacts:
    """What became of the files of one table.

    Attributes
    ----------
    name : str
    files : int
    rows, done : int
        Rows of the HDUs that were begun, and how many of them are dealt with.
    inserted, updated, unchanged, duplicates, rejected : int
        What became of those.
    seconds : float
        Time that writing took, summed over tasks.
    """

    name: str
    files: int = 0
    rows: int = 0
    done: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Chunk:
    """One transaction of a run.

    Attributes
    ----------
    end : datetime
        When it was committed, UTC.
    seconds : float
    task : int
        Which task of the job array wrote it.
    rows : int
    """

    end: datetime
    seconds: float
    task: int
    rows: int


@dataclass(frozen=True)
class RunFacts:
    """One run, all tasks of it.

    Attributes
    ----------
    name, manifest : str
    tasks, running : int
        Tasks that have begun, and those of them that have not ended.
    started, finished : datetime
        First begin and last end, UTC; None for the latter while none has ended.
    rows : int
    """

    name: str
    manifest: str
    tasks: int
    running: int
    started: datetime
    finished: datetime | None
    rows: int


@dataclass
class Facts:
    """What a report is about.

    Attributes
    ----------
    subject : str
        In words.
    files, bytes : int
        Files that were begun.
    tables : list of TableFacts
    unfinished : list of (path, state, text)
        Files that failed, and files of which some rows are not in.
    reasons : Counter of (table, reason)
        Rows that were set aside.
    runs : list of RunFacts
        The latest first.
    chunks : list of Chunk
        Of the first of `runs`.
    pipelines : list of model
        The result tables to draw.
    """

    subject: str
    files: int = 0
    bytes: int = 0
    tables: list[TableFacts] = field(default_factory=list)
    unfinished: list[tuple[str, str, str]] = field(default_factory=list)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    runs: list[RunFacts] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    pipelines: list[Any] = field(default_factory=list)


@dataclass
class _File:
    """What the ledger says of one file; its rows by HDU and table."""

    size: int
    done: int = 0
    rows: dict[tuple[int, str], int] = field(default_factory=dict)
    error: str | None = None

    @property
    def unfinished(self) -> tuple[str, str] | None:
        """State and text, unless all is in."""
        rows = sum(self.rows.values())
        if self.error:
            return "failed", self.error
        return ("half", f"{self.done:,} of {rows:,} rows are in") if self.done < rows else None


def gather(subject: str | None) -> Facts:
    """Read the ledger.

    Parameters
    ----------
    subject : str or None
        A manifest's path, a run's name, or None for everything.

    Raises
    ------
    AstraError
        If it is neither, or the manifest is wrong.
    """
    if subject is None:
        return _facts("everything in the database", None, None, list(result_models))
    if _is_file(subject):
        return _of_manifest(Path(subject))
    runs = {row["run"] for row in _rows(IngestRun.select(IngestRun.run).distinct())}
    if subject not in runs:
        raise UsageError(
            f"{subject}: no such file, and no run of that name in the ledger"
            f"{did_you_mean(subject, runs)}; astra status shows the runs"
        )
    entries = _rows(IngestedTable.select().where(IngestedTable.run == subject))
    return _facts(f"run {subject}", entries, IngestRun.run == subject, list(result_models))


def _is_file(subject: str) -> bool:
    return Path(subject).is_file() or "/" in subject or subject.endswith((".yml", ".yaml"))


def _rows(query: Any) -> Iterator[dict[str, Any]]:
    """Give the rows of a query of the ledger; none, if the database has no ledger yet."""
    ledger: Any = IngestedTable
    if ledger.table_exists():
        yield from query.dicts()


def _of_manifest(path: Path) -> Facts:
    manifest = load_manifest(path)
    classes = check_names(manifest, path)
    own = [model for model in classes.values() if model not in models]
    paths = [str(file.path) for file in resolve_all(manifest, path)]
    runs = IngestRun.manifest == str(path.absolute())
    return _facts(f"manifest {path}", _entries(paths), runs, [*result_models, *own])


def _entries(paths: Sequence[str]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(paths), _PATHS):
        part = list(paths[start : start + _PATHS])
        yield from _rows(IngestedTable.select().where(IngestedTable.path.in_(part)))


def _facts(
    subject: str,
    entries: Iterable[dict[str, Any]] | None,
    which_runs: Any,
    pipelines: Sequence[Any],
) -> Facts:
    """Put together what the ledger has; `entries` of None are all, `pipelines` may be empty."""
    facts = Facts(subject)
    _add_entries(facts, _rows(IngestedTable.select()) if entries is None else entries)
    facts.runs = _runs(which_runs)
    facts.chunks = _chunks(facts.runs[0].name) if facts.runs else []
    named = {table.name for table in facts.tables}
    facts.pipelines = [
        model for model in pipelines if entries is None or model._meta.table_name in named
    ]
    return facts


def _add_entries(facts: Facts, entries: Iterable[dict[str, Any]]) -> None:
    tables: dict[str, TableFacts] = {}
    files: dict[str, _File] = {}
    rejects: set[tuple[str, str]] = set()
    for entry in chain.from_iterable(by_path(entries).values()):
        path, target = entry["path"], entry["target"]
        file = files.setdefault(path, _File(entry["size"]))
        file.done += entry["done"]
        file.error = entry["error"] or file.error
        if not target:
            continue
        table = tables.setdefault(target, TableFacts(target))
        table.files += all(target != name for _, name in file.rows)
        if (entry["hdu"], target) not in file.rows:  # parts of an HDU all know its rows
            file.rows[entry["hdu"], target] = entry["hdu_rows"]
            table.rows += entry["hdu_rows"]
        for name in ("done", *COUNTS, "seconds"):
            setattr(table, name, getattr(table, name) + entry[name])
        if entry["rejects"]:
            rejects.add((target, entry["rejects"]))
    facts.tables = sorted(tables.values(), key=lambda table: table.name)
    facts.files, facts.bytes = len(files), sum(file.size for file in files.values())
    facts.unfinished = [(path, *told) for path, file in files.items() if (told := file.unfinished)]
    for target, path in sorted(rejects):
        facts.reasons.update((target, reason) for reason in _reasons(Path(path)))


def _reasons(path: Path) -> Iterator[str]:
    """Give the reason of each row in a file of rejected rows, if the file is still there."""
    if not path.is_file():
        return
    try:
        view = inspect_file(path, rows=_MOST_REASONS)
    except ProductError:
        return
    for hdu in view.hdus:
        for column in hdu.columns:
            if column.name == "REASON":
                yield from map(generic, column.first)


def _runs(which: Any) -> list[RunFacts]:
    """Return the latest runs, ten at most."""
    runs: dict[str, list[dict[str, Any]]] = {}
    query = IngestRun.select() if which is None else IngestRun.select().where(which)
    for row in _rows(query.order_by(IngestRun.started.desc())):
        if row["run"] in runs or len(runs) < 10:
            runs.setdefault(row["run"], []).append(row)
    return [_run(name, rows) for name, rows in runs.items()]


def _run(name: str, rows: Sequence[dict[str, Any]]) -> RunFacts:
    ends = [row["finished"] for row in rows if row["finished"] is not None]
    written = sum(chunk.rows for chunk in _chunks(name))
    return RunFacts(
        name=name,
        manifest=rows[0]["manifest"],
        tasks=len(rows),
        running=len(rows) - len(ends),
        started=min(row["started"] for row in rows),
        finished=max(ends, default=None),
        rows=written,
    )


def _chunks(run: str) -> list[Chunk]:
    query = IngestedChunk.select().where(IngestedChunk.run == run).order_by(IngestedChunk.created)
    return [
        Chunk(row["created"], row["seconds"], row["task"], sum(row[name] for name in COUNTS))
        for row in _rows(query)
    ]
