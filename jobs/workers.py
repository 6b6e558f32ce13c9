"""`astra ingest --workers N`: several processes of one machine share a task's units."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from astra import readiness as db
from astra.errors import AstraError, RowsFailed, UsageError
from jobs.check import Checked, check
from jobs.ingest import Job
from jobs.known import Known
from jobs.plan import Units, deal
from jobs.report import Report

#: A worker is a copy of this process: what it has imported and read need not be done again.
_FORK = multiprocessing.get_context("fork")
#: How often, in seconds, the workers' master asks whether it is to stop.
_PATIENCE = 0.2
#: See prctl(2): the signal that a process gets when its parent ends.
_PR_SET_PDEATHSIG = 1


def run_workers(job: Job, units: Units, workers: int) -> Report:
    """Check and ingest units in several processes.

    Parameters
    ----------
    job : Job
        As it would do all the work itself.
    units : Units
    workers : int
        How many.

    Returns
    -------
    Report
        Of all workers together, as it was written.

    Raises
    ------
    UsageError
        On SQLite, which has one writer.
    RowsFailed
        If a worker died.
    """
    if db.sqlite_path(job.database) is not None and not job.options.dry_run:
        raise UsageError(
            f"--workers {workers} needs PostgreSQL: a SQLite file has one writer at a "
            "time; leave the option out"
        )
    started = time.monotonic()
    known = job.look(units)
    # Units that are in go along: the report counts them.
    shares = [share for share in deal(units, workers) if share] or [units]
    to_do = units.without(known.done)
    job.make_ready(to_do, _check(job, to_do, workers))
    job.begin()
    outcomes = _Workers(job, "ingest", [(_ingest, share, known) for share in shares]).results()
    for number, outcome in enumerate(outcomes):
        job.report.merge(outcome)
        _report_of(job, number).unlink()  # what it said is in the report of all
    job.report.seconds = time.monotonic() - started
    job.report.write(job.options.report)
    job.end()
    return job.report


def _check(job: Job, units: Units, workers: int) -> list[Checked]:
    """Check each file once, whichever of its parts are to be done."""
    files = units.one_of_each_file()
    shares = [share for share in deal(files, workers) if share]
    if len(shares) < 2:
        return [_check_share(job, 0, files)]
    return _Workers(job, "check", [(_check_share, share) for share in shares]).results()


def _check_share(job: Job, _number: int, share: Units) -> Checked:
    return check(job.manifest, share, job.classes)


def _ingest(job: Job, number: int, share: Units, known: Known) -> Report:
    options = replace(job.options, report=_report_of(job, number))
    own = Job(
        job.manifest, job.manifest_path, job.classes, options, job.progress, run=job.report.run
    )
    with db.explained(own.database, own.schema):
        return own.work(share, known)


def _report_of(job: Job, number: int) -> Path:
    path = job.options.report
    return path.with_name(f"{path.name.removesuffix('.json')}.worker-{number}.json")


class _Workers:
    """Processes that each do one share of one kind of work."""

    def __init__(self, job: Job, name: str, work: Sequence[tuple[Any, ...]]) -> None:
        self.job = job
        self._processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []
        job.database.close()  # a connection cannot be shared by two processes
        for number, (function, *arguments) in enumerate(work):
            ours, theirs = _FORK.Pipe(duplex=False)
            process = _FORK.Process(
                target=_run,
                args=(os.getpid(), theirs, function, (job, number, *arguments)),
                name=f"astra-{name}-{number}",
            )
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)

    def results(self) -> list[Any]:
        """Wait for all, pass on a request to stop, and return what each has returned."""
        found: dict[Connection, Any] = {}
        told = False
        while len(found) < len(self._pipes):
            for pipe in wait([p for p in self._pipes if p not in found], timeout=_PATIENCE):
                found[pipe] = _received(pipe)  # type: ignore[index, arg-type]
            if self.job.options.should_stop() and not told:
                told = True
                for process in self._processes:
                    process.terminate()
        for process in self._processes:
            process.join()
        return [self._settled(number, found[pipe]) for number, pipe in enumerate(self._pipes)]

    def _settled(self, number: int, outcome: Any) -> Any:
        if isinstance(outcome, AstraError):
            raise outcome
        if outcome is None:
            code = self._processes[number].exitcode or 0
            how = f"was killed ({signal.Signals(-code).name})" if code < 0 else "ended by a bug"
            raise RowsFailed(
                f"worker {number} {how}; what it had committed is in the tables and the ledger: "
                "run the job again"
            )
        return outcome


def _received(pipe: Connection) -> Any:
    try:
        return pipe.recv()
    except EOFError:
        return None


def _run(
    parent: int, pipe: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    """Do a worker's share, and send what comes of it."""
    # Without this process's parent, nobody would report what it does: finish the chunk, and stop.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has ended before this one could ask to be told
        return
    try:
        outcome = function(*arguments)
    except AstraError as error:
        outcome = error
    pipe.send(outcome)
    pipe.close()
