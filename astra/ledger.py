"""Keeping the ledger: what is in already, and what this job adds; see `astra.models.ledger`."""

from __future__ import annotations

import datetime
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from peewee import fn

from astra import models
from astra.backends import backend_for
from astra.chunk import Overtaken
from astra.instances import block_of
from astra.transaction import run as run_transaction
from astra.utils import utcnow

if TYPE_CHECKING:
    from peewee import Database

# What a query of peewee returns depends on the query, which types cannot follow.
IngestedChunk: Any = models.IngestedChunk
IngestedTable: Any = models.IngestedTable
IngestRun: Any = models.IngestRun

_KEY = ("path", "hdu", "target", "part")
#: What can become of a row, as the ledger counts it.
COUNTS = ("inserted", "updated", "unchanged", "duplicates", "rejected")
#: Paths are looked up so many at a time.
_PATHS = 500
#: One statement writes so many entries; for more of them, the five of a bulk upsert are quicker.
_FEW = 4


@dataclass(frozen=True)
class Identity:
    """What an HDU of a file, or of a part of it, is, and how it is to be taken in.

    If any of it changes, it is done again.

    Attributes
    ----------
    path : str
    hdu : int
    target : str
        The table whose rows are counted.
    size, mtime_ns : int
        Of the file on disk.
    datasum : str or None
        The HDU's DATASUM card.
    settings : str
        A digest of the manifest's entry.
    hdus : int
        HDUs of the file that are taken in.
    part, parts : int
        Which of how many parts of the file it is, from 0.
    first, rows : int
        The part's first row in the HDU, and how many it has.
    hdu_rows : int
        How many the HDU has.
    v_astra, tag : str
        For the record.
    """

    path: str
    hdu: int
    target: str
    size: int
    mtime_ns: int
    datasum: str | None
    settings: str
    hdus: int
    part: int
    parts: int
    first: int = 0
    rows: int = 0
    hdu_rows: int = 0
    v_astra: str = ""
    tag: str = ""

    def matches(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether an entry of the ledger speaks of just this."""
        names = ("size", "mtime_ns", "datasum", "settings", "parts", "rows")
        return all(entry[name] == getattr(self, name) for name in names)


@dataclass
class Claim:
    """Rows of an HDU that a chunk has.

    Attributes
    ----------
    identity : Identity
    first, count : int
        The rows that were read; `first` is a row of the HDU.
    skip : int
        How many of them another job has done meanwhile; set by `Ledger.claim`.
    entry : dict
        The ledger's row, to be written with the chunk; set by `Ledger.claim`.
    """

    identity: Identity
    first: int
    count: int
    skip: int = 0
    entry: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[Any, ...]:
        """What the ledger knows the rows' HDU and part by."""
        return tuple(getattr(self.identity, name) for name in _KEY)

    @property
    def before(self) -> int:
        """How many rows of the part come before these."""
        return self.first - self.identity.first


class Reset(Exception):
    """Another job has begun the same HDU again."""


@dataclass(frozen=True)
class RunInfo:
    """Who is at work: one task of a run.

    Attributes
    ----------
    run : str
        The same for all tasks of an array.
    shard_index, shard_count : int
    manifest : str
    job : str or None
        Slurm's number.
    """

    run: str
    shard_index: int
    shard_count: int
    manifest: str
    job: str | None = None

    @classmethod
    def from_environment(
        cls, shard_index: int, shard_count: int, manifest: str, environ: Mapping[str, str]
    ) -> RunInfo:
        """Name the run: by Slurm's array job where there is one, else by machine and time."""
        job = environ.get("SLURM_JOB_ID")
        if array := environ.get("SLURM_ARRAY_JOB_ID"):
            name = f"slurm-{array}"
        elif job:
            name = f"slurm-{job}"
        else:
            name = f"{socket.gethostname()}-{os.getpid()}-{utcnow():%Y%m%dT%H%M%S}"
        return cls(name, shard_index, shard_count, manifest, job)


class Ledger:
    """The ledger as one task sees it.

    Parameters
    ----------
    database : peewee.Database
    info : RunInfo
    force : bool
        Do again what is in.
    """

    def __init__(self, database: Database, info: RunInfo, *, force: bool = False) -> None:
        self.database = database
        self.info = info
        self.force = force
        self._begun: set[tuple[Any, ...]] = set()

    # -- before ------------------------------------------------------------------------------

    def entries(self, paths: Sequence[str] | None) -> dict[str, list[dict[str, Any]]]:
        """Return what the ledger knows of files, by path; nothing if it does not exist yet.

        Parameters
        ----------
        paths : sequence of str or None
            None: all files.
        """
        if self.force or not IngestedTable.table_exists():
            return {}
        if paths is None:
            return by_path(IngestedTable.select().dicts())
        found: dict[str, list[dict[str, Any]]] = {}
        for start in range(0, len(paths), _PATHS):
            part = list(paths[start : start + _PATHS])
            found |= by_path(IngestedTable.select().where(IngestedTable.path.in_(part)).dicts())
        return found

    def begin(self) -> None:
        """Note that the task has begun; one that was requeued begins again."""
        now = utcnow()

        def work() -> None:
            IngestRun.insert(
                run=self.info.run,
                shard_index=self.info.shard_index,
                shard_count=self.info.shard_count,
                manifest=self.info.manifest,
                host=socket.gethostname(),
                job=self.info.job,
                started=now,
            ).on_conflict(
                conflict_target=[IngestRun.run, IngestRun.shard_index],
                preserve=[IngestRun.host, IngestRun.job, IngestRun.shard_count],
                update={IngestRun.status: "running", IngestRun.finished: None},
            ).execute()

        run_transaction(self.database, work)

    # -- inside a chunk's transaction ----------------------------------------------------------

    def claim(self, claims: Sequence[Claim]) -> None:
        """Find out which rows other jobs have done, and lock the entries of the others.

        Raises
        ------
        Reset
            If another job has begun one of the HDUs again.
        Overtaken
            If another job has begun one at this very moment: look again.
        """
        stored = self._locked(claims)
        fresh: list[dict[str, Any]] = []
        for claim in claims:
            entry = stored.get(claim.key)
            if entry is None:
                claim.entry = self._new_entry(claim.identity)
                fresh.append(claim.entry)
            elif not claim.identity.matches(entry) or (self.force and claim.key not in self._begun):
                claim.entry = {**self._new_entry(claim.identity), "pk": entry["pk"]}
            else:
                claim.entry = entry
                claim.skip = min(max(entry["done"] - claim.before, 0), claim.count)
            if claim.entry["done"] < claim.before:
                raise Reset(f"{claim.identity.path} HDU {claim.identity.hdu}")
        if fresh and self._write(fresh, []) < len(fresh):
            raise Overtaken

    def note_begun(self, claims: Sequence[Claim]) -> None:
        """Note that rows of these are committed, so that `force` goes on behind them.

        Not before that: if the transaction is run again, so is the whole chunk.
        """
        if self.force:
            self._begun.update(claim.key for claim in claims)

    def _locked(self, claims: Sequence[Claim]) -> dict[tuple[Any, ...], dict[str, Any]]:
        paths = sorted({claim.identity.path for claim in claims})
        parts = sorted({claim.identity.part for claim in claims})
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for start in range(0, len(paths), _PATHS):
            query = IngestedTable.select().where(
                IngestedTable.path.in_(paths[start : start + _PATHS]),
                IngestedTable.part.in_(parts),
            )
            if self.database.for_update:
                # In one order, so that two jobs wait for each other in turn.
                order = (getattr(IngestedTable, name) for name in _KEY)
                query = query.order_by(*order).for_update()
            for entry in query.dicts():
                found[tuple(entry[name] for name in _KEY)] = entry
        return found

    def _new_entry(self, identity: Identity) -> dict[str, Any]:
        now = utcnow()
        return {
            **{name: getattr(identity, name) for name in _OF_IDENTITY},
            "done": 0,
            "status": "half",
            "error": None,
            "rejects": None,
            "run": self.info.run,
            "task": self.info.shard_index,
            "started": now,
            "modified": now,
            "seconds": 0.0,
            **dict.fromkeys(COUNTS, 0),
        }

    def record(
        self,
        claims: Sequence[Claim],
        counts: Sequence[Mapping[str, int]],
        *,
        rejects: str | None,
        seconds: float,
    ) -> None:
        """Note that a chunk's rows are in.

        Parameters
        ----------
        claims : sequence of Claim
            As `claim` left them.
        counts : sequence of mapping
            For each, what became of its rows.
        rejects : str or None
            The product's file of rows that were set aside.
        seconds : float
            What writing took so far.
        """
        now = utcnow()
        total = dict.fromkeys(COUNTS, 0)
        entries = []
        for claim, count in zip(claims, counts, strict=True):
            entry = claim.entry
            for name in COUNTS:
                entry[name] += count[name]
                total[name] += count[name]
            # Another job can be further on, if it did all of these rows.
            entry["done"] = max(entry["done"], claim.before + claim.count)
            entry["status"] = "done" if entry["done"] == entry["rows"] else "half"
            entry |= {"error": None, "run": self.info.run, "task": self.info.shard_index}
            entry |= {"modified": now, "seconds": entry["seconds"] + seconds / len(claims)}
            if count["rejected"]:
                entry["rejects"] = rejects
            entries.append({name: value for name, value in entry.items() if name != "pk"})
        # A file can come twice in a chunk, as two parts of it; the later one has both's counts.
        latest = {tuple(entry[name] for name in _KEY): entry for entry in entries}
        self._write(list(latest.values()), _ALL_BUT_KEY)
        last = claims[-1].identity
        IngestedChunk.insert(
            run=self.info.run,
            task=self.info.shard_index,
            target=last.target,
            path=last.path,
            files=len({claim.identity.path for claim in claims}),
            created=now,
            seconds=seconds,
            **total,
        ).execute()

    def _write(self, rows: list[dict[str, Any]], update: Sequence[str]) -> int:
        """Upsert entries, or insert them if nothing is to be updated; return how many it wrote."""
        if len(rows) <= _FEW:
            query = IngestedTable.insert_many(rows)
            if update:
                query = query.on_conflict(conflict_target=_KEY, preserve=update)
            else:
                query = query.on_conflict_ignore()
            written: int = query.as_rowcount().execute()
            return written
        block = block_of([IngestedTable._meta.fields[name] for name in rows[0]], rows)
        return sum(backend_for(self.database).upsert(IngestedTable, block, _KEY, update))

    def rejected(self, path: str) -> int:
        """Return how many rows of a file were set aside, by whomever."""
        query = IngestedTable.select(fn.SUM(IngestedTable.rejected))
        return int(query.where(IngestedTable.path == path).scalar() or 0)

    # -- after -------------------------------------------------------------------------------

    def fail(self, identity: Identity, error: str) -> None:
        """Note that a file failed, and why."""

        def work() -> None:
            known = _of_part(identity) & (IngestedTable.status != "done")
            changed = (
                IngestedTable.update(status="failed", error=error, modified=utcnow())
                .where(known)
                .execute()
            )
            if not changed:
                entry = {**self._new_entry(identity), "status": "failed", "error": error}
                self._write([entry], _ALL_BUT_KEY)

        run_transaction(self.database, work)

    def mend(self, identity: Identity) -> None:
        """Note that a file that had failed before its first row is in."""

        def work() -> None:
            failed = _of_part(identity) & (IngestedTable.status == "failed")
            # Without settings, it says nothing of what the file is now.
            mended = {"status": "done", "error": None, "settings": "", "modified": utcnow()}
            IngestedTable.update(**mended).where(failed & (IngestedTable.hdu == 0)).execute()

        run_transaction(self.database, work)

    def note_empty(self, identity: Identity) -> None:
        """Note that a file has no rows to take, so that it need not be opened again."""
        entry = {**self._new_entry(identity), "status": "done"}
        run_transaction(self.database, lambda: self._write([entry], _ALL_BUT_KEY))

    def finish(self, status: str) -> bool:
        """Note that the task has ended.

        Returns
        -------
        bool
            True for the last task of the run to end.
        """

        def work() -> bool:
            mine = (IngestRun.run == self.info.run) & (
                IngestRun.shard_index == self.info.shard_index
            )
            # Lock the run's tasks in one order: of two that end at once, one sees the other.
            query = IngestRun.select(IngestRun.shard_index).where(IngestRun.run == self.info.run)
            if self.database.for_update:
                query = query.order_by(IngestRun.shard_index).for_update()
            list(query)
            now: datetime.datetime = utcnow()
            IngestRun.update(status=status, finished=now).where(mine).execute()
            ended = IngestRun.select().where(
                (IngestRun.run == self.info.run) & IngestRun.finished.is_null(False)
            )
            return bool(ended.count() == self.info.shard_count)

        return run_transaction(self.database, work)


def by_path(entries: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group entries by file, without those of parts that a file had once and has no more.

    A job may not delete them.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        found.setdefault(entry["path"], []).append(entry)
    for path, own in found.items():
        parts = max(own, key=lambda entry: entry["modified"])["parts"]
        found[path] = [entry for entry in own if entry["parts"] == parts]
    return found


def _of_part(identity: Identity) -> Any:
    return (IngestedTable.path == identity.path) & (IngestedTable.part == identity.part)


def chunk_rates() -> dict[tuple[str, int], int]:
    """Return how many rows each task of each run has read, by run and task."""
    if not IngestedChunk.table_exists():
        return {}
    read = sum((getattr(IngestedChunk, name) for name in COUNTS[1:]), IngestedChunk.inserted)
    query = (
        IngestedChunk.select(IngestedChunk.run, IngestedChunk.task, fn.SUM(read))
        .group_by(IngestedChunk.run, IngestedChunk.task)
        .tuples()
    )
    return {(run, task): int(rows) for run, task, rows in query}


def summarise(run: str) -> dict[str, Any]:
    """Return what all tasks of a run did: rows by fate and table, failed files, times.

    Times are text, so that the summary can be written as JSON.
    """
    tasks = list(IngestRun.select().where(IngestRun.run == run).order_by(IngestRun.shard_index))
    sums = [fn.SUM(getattr(IngestedChunk, name)).alias(name) for name in COUNTS]
    tables = (
        IngestedChunk.select(IngestedChunk.target, *sums)
        .where(IngestedChunk.run == run)
        .group_by(IngestedChunk.target)
        .order_by(IngestedChunk.target)
        .dicts()
    )
    failed = IngestedTable.select(IngestedTable.path, IngestedTable.error).where(
        (IngestedTable.run == run) & (IngestedTable.status == "failed")
    )
    return {
        "run": run,
        "manifest": tasks[0].manifest if tasks else "",
        "started": str(min(task.started for task in tasks)) if tasks else None,
        "finished": str(max(task.finished for task in tasks)) if tasks else None,
        "tasks": {task.shard_index: task.status for task in tasks},
        "tables": {
            row.pop("target"): {"read": sum(map(int, row.values())), **_as_integers(row)}
            for row in tables
        },
        "failed_files": dict(failed.tuples()),
    }


def _as_integers(row: Mapping[str, Any]) -> dict[str, int]:
    # PostgreSQL's sum of 64-bit integers is a NUMERIC.
    return {name: int(value) for name, value in row.items()}


def last_runs(rows: Mapping[tuple[str, int], int], most: int = 20) -> list[dict[str, Any]]:
    """Return the latest tasks of runs, the newest first, with the rows that each has read."""
    if not IngestRun.table_exists():
        return []
    query = IngestRun.select().order_by(IngestRun.started.desc()).limit(most).dicts()
    return [{**run, "rows": rows.get((run["run"], run["shard_index"]), 0)} for run in query]


_ALL_BUT_KEY = [
    name
    for name, each in IngestedTable._meta.fields.items()
    if name not in _KEY and not each.primary_key
]
#: What an entry takes over from an identity.
_OF_IDENTITY = [each.name for each in fields(Identity) if each.name in IngestedTable._meta.fields]
