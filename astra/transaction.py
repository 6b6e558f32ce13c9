"""Running a transaction again after a fault that passes.

What is run again is always a whole transaction.  A statement inside a transaction that failed is
never repeated alone: what came before it is gone.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from peewee import Database

from astra.backends import backend_for

if TYPE_CHECKING:
    from tenacity import RetryCallState

log = logging.getLogger("astra")

T = TypeVar("T")

#: Pauses between attempts grow from the first to the second of these, in seconds, with jitter.
PAUSES = (0.1, 15.0)
#: A fault that lasts longer than this many seconds is raised.
PATIENCE = 120.0
#: A connection that leads to a standby stays there; a new one finds the primary.
_READ_ONLY = "25006"
#: SQLite, when it has rolled back by itself.
_ROLLBACK_WORDS = ("cannot rollback", "no such savepoint")


def run(database: Database, work: Callable[[], T], *, patience: float = PATIENCE) -> T:
    """Run `work` inside one transaction, and all of it again after a transient fault.

    Transient are a deadlock, a serialization failure, a lost connection, a server that starts,
    stops or has no connection left, and a lock timeout; a syntax error or a violated constraint
    is raised at once.  If a connection is lost while the transaction commits, nobody can tell
    whether it did: `work` must be safe to run twice.

    Parameters
    ----------
    database : peewee.Database
    work : callable
        Takes no arguments; what it returns is returned.
    patience : float
        Seconds after which a fault that persists is raised.

    Raises
    ------
    peewee.PeeweeException
        The last error, once patience is out, or the first one that is not transient.
    RuntimeError
        If a transaction is open already: only the outermost can be run again.
    """
    if database.in_transaction():
        raise RuntimeError("a transaction is open: only the outermost one can be run again")

    def attempt() -> T:
        try:
            with database.atomic():
                return work()
        except Exception as error:
            # Rolling back what is gone already is an error of its own, which hides the first.
            first = _without_rollback(error)
            if first is error:
                raise
            raise first from None

    return retry(database, attempt, patience=patience)


def retry(database: Database, attempt: Callable[[], T], *, patience: float = PATIENCE) -> T:
    """Call `attempt`, which is a transaction in itself, again after a transient fault."""
    backend = backend_for(database)
    try:
        return attempt()
    except Exception as error:
        if not backend.is_transient(error):
            raise
        first: Exception | None = error
    # tenacity takes longer to import than a query takes, and is needed only now.
    from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

    def again() -> T:
        nonlocal first
        if first is not None:
            # Counts as a failure of tenacity's, so that there is a pause after this one, too: who
            # comes back at once after a deadlock runs into the other, which has yet to wake up.
            error, first = first, None
            raise error
        return attempt()

    def recover(call: RetryCallState) -> None:
        if call.outcome and (error := call.outcome.exception()):
            log.warning("%s; trying again in %.1f s", _first_line(error), call.upcoming_sleep)
            _recover(database, error)

    shortest, longest = PAUSES
    retrying = Retrying(
        retry=retry_if_exception(backend.is_transient),
        wait=wait_random_exponential(multiplier=shortest, max=longest),
        stop=stop_after_delay(patience),
        before_sleep=recover,
        reraise=True,
    )
    return retrying(again)


def _without_rollback(error: BaseException) -> BaseException:
    """Return the error that led to a rollback that failed, or the error itself."""
    first = error
    while first.__context__ is not None and any(w in str(first) for w in _ROLLBACK_WORDS):
        first = first.__context__
    return first


def _recover(database: Database, error: BaseException) -> None:
    """Drop a connection that is no longer usable, so that the next query opens a new one."""
    from peewee import PeeweeException

    if getattr(database, "database", None) == ":memory:" or database.is_closed():
        return
    try:
        usable = database.is_connection_usable()
    except (AttributeError, PeeweeException):
        usable = True
    if not usable or getattr(getattr(error, "orig", error), "pgcode", None) == _READ_ONLY:
        _discard(database)


def _discard(database: Database) -> None:
    import contextlib

    from peewee import PeeweeException

    with contextlib.suppress(PeeweeException):
        database.close()


def _first_line(error: BaseException) -> str:
    lines: list[str] = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0]


class ResilientDatabase(Database):
    """A peewee database whose transactions survive faults that pass.

    A mixin before one of peewee's database classes.  Transactions that are to be run again go
    through `run_transaction`; a statement outside any transaction, being a transaction of its
    own, is run again by itself where that is safe.
    """

    def run_transaction(self, work: Callable[[], T], *, patience: float = PATIENCE) -> T:
        """Run `work` inside one transaction, and all of it again after a transient fault.

        See `astra.transaction.run`.
        """
        return run(self, work, patience=patience)

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        """Run one statement; outside a transaction, run it again after a transient fault.

        A statement that writes is not run again after a lost connection: it may have been
        committed, and a second insert would be a second row.
        """
        database: Any = self
        statement: Any = super().execute_sql
        if database.in_transaction():
            return statement(sql, params)
        backend = backend_for(database)

        def attempt() -> Any:
            try:
                return statement(sql, params)
            except Exception as error:
                if backend.is_transient(error) and not _is_safe_to_repeat(database, sql):
                    raise _NotRepeated from error
                raise

        try:
            return retry(database, attempt)
        except _NotRepeated as marker:
            _recover(database, marker)
            raise marker.__cause__ from None  # type: ignore[misc]


class _NotRepeated(Exception):
    """Carries, as its cause, an error whose statement must not be run again."""


def _is_safe_to_repeat(database: Any, sql: str) -> bool:
    reads = sql.lstrip(" (").upper().startswith(("SELECT", "WITH", "SHOW", "PRAGMA", "EXPLAIN"))
    # Deadlock and the like leave the connection usable: the server has rolled back and said so.
    return reads or database.is_closed() or database.is_connection_usable()
