"""Faults of a real server: each passes, and the whole transaction is run again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from peewee import InterfaceError, OperationalError, PeeweeException

from astra.models import Source
from astra.models.base import get_database_and_schema
from tests.fixtures.databases import DATABASE, PostgresTarget
from tests.fixtures.server import PostgresServer

pytestmark = pytest.mark.postgres


@pytest.fixture
def place(postgres: PostgresServer, tmp_path: Path) -> Iterator[PostgresTarget]:
    place = PostgresTarget(tmp_path, postgres)
    try:
        yield place
    finally:
        place.remove()


@pytest.fixture
def database(place: PostgresTarget, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    caplog.set_level(logging.INFO)
    with place.bind(Source) as database:
        database.create_tables([Source])
        yield database
    assert place.password not in caplog.text
    assert place.password not in repr(database)


def ids(place: PostgresTarget) -> list[int]:
    """Return what another connection sees."""
    return [row[0] for row in place.fetch("SELECT sdss_id FROM {schema}source ORDER BY 1")]


def kill_backends(place: PostgresTarget) -> None:
    place.server.execute(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{place.user}'"
    )


class Twice:
    """Inserts a source, meets a fault the first time, inserts another."""

    def __init__(self, fault: Callable[[], None]) -> None:
        self.calls = 0
        self.fault = fault

    def __call__(self) -> int:
        self.calls += 1
        Source.create(sdss_id=1)
        if self.calls == 1:
            self.fault()
        Source.create(sdss_id=2)
        return self.calls


@contextmanager
def when_it_is_tried_again(action: Callable[[], None]) -> Iterator[None]:
    """Do something as soon as the log says that there is another attempt."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "trying again" in record.getMessage() and not done:
                done.append(record)
                action()

    done: list[logging.LogRecord] = []
    handler = Handler()
    log = logging.getLogger("astra")
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
    assert done, "nothing was tried again"


def test_a_connection_that_is_killed_in_a_transaction(place: PostgresTarget, database: Any) -> None:
    work = Twice(lambda: kill_backends(place))

    assert database.run_transaction(work) == 2

    assert ids(place) == [1, 2]


def test_a_connection_that_is_killed_between_statements(
    place: PostgresTarget, database: Any
) -> None:
    Source.create(sdss_id=1)
    kill_backends(place)

    assert Source.select().count() == 1


def test_a_write_of_its_own_is_not_repeated_when_the_connection_is_lost(
    place: PostgresTarget, database: Any
) -> None:
    Source.create(sdss_id=1)
    kill_backends(place)

    with pytest.raises((OperationalError, InterfaceError)):
        Source.create(sdss_id=2)  # which may or may not have been committed

    Source.create(sdss_id=3)
    assert ids(place) == [1, 3]


def test_the_server_restarts_in_a_transaction(place: PostgresTarget, database: Any) -> None:
    work = Twice(place.server.restart)

    assert database.run_transaction(work) == 2

    assert ids(place) == [1, 2]


def test_the_server_crashes_and_comes_back_while_it_is_waited_for(
    place: PostgresTarget, database: Any
) -> None:
    place.server.execute("CHECKPOINT")  # the tests' server does not wait for the disk
    work = Twice(lambda: place.server.stop("immediate"))

    with when_it_is_tried_again(place.server.start):
        assert database.run_transaction(work) == 2

    assert ids(place) == [1, 2]


def test_the_server_is_away_at_first(place: PostgresTarget, database: Any) -> None:
    database.close()
    place.server.stop()
    work = Twice(lambda: None)

    with when_it_is_tried_again(place.server.start):
        database.run_transaction(work)

    assert ids(place) == [1, 2]


def test_a_server_that_stays_away_is_an_error_when_patience_is_out(
    place: PostgresTarget, database: Any
) -> None:
    database.close()
    place.server.stop()
    try:
        with pytest.raises(OperationalError, match="Connection refused") as raised:
            database.run_transaction(Twice(lambda: None), patience=0.3)
    finally:
        place.server.start()

    assert place.password not in str(raised.value)


def test_two_transactions_that_deadlock_both_end(
    place: PostgresTarget, database: Any, caplog: pytest.LogCaptureFixture
) -> None:
    Source.insert_many([{"sdss_id": 1, "ra": 0.0}, {"sdss_id": 2, "ra": 0.0}]).execute()
    both_have_one = threading.Barrier(2)
    calls: list[tuple[int, int]] = []
    errors: list[BaseException] = []

    def transfer(first: int, second: int) -> None:
        def work() -> None:
            is_first_call = (first, second) not in calls
            calls.append((first, second))
            Source.update(ra=Source.ra + 1).where(Source.sdss_id == first).execute()
            if is_first_call:
                both_have_one.wait(timeout=30)
            Source.update(ra=Source.ra + 1).where(Source.sdss_id == second).execute()

        try:
            database.run_transaction(work)
        except BaseException as error:  # noqa: BLE001 (shown by the test)
            errors.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=transfer, args=order) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert errors == []
    # One more than three where the victim is back at the row before the other one has woken up.
    assert len(calls) >= 3
    assert place.fetch("SELECT ra FROM {schema}source") == [(2.0,), (2.0,)]
    assert "deadlock detected" in caplog.text


def test_a_serialization_failure(place: PostgresTarget, database: Any) -> None:
    Source.create(sdss_id=1, ra=0.0)
    calls = []

    def work() -> None:
        calls.append(1)
        database.execute_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        ra = Source.get(sdss_id=1).ra
        if len(calls) == 1:
            place.fetch("UPDATE {schema}source SET ra = 10")
        Source.update(ra=ra + 1).where(Source.sdss_id == 1).execute()

    database.run_transaction(work)

    assert len(calls) == 2
    assert place.fetch("SELECT ra FROM {schema}source") == [(11.0,)]


def test_a_lock_timeout(place: PostgresTarget, database: Any) -> None:
    dsn = place.server.dsn(DATABASE, user=place.user, password=place.password)
    with closing(psycopg2.connect(dsn)) as other, other.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {place.prefix}source")

        def work() -> None:
            database.execute_sql("SET LOCAL lock_timeout = '50ms'")
            Source.create(sdss_id=1)

        with when_it_is_tried_again(other.rollback):
            database.run_transaction(work)

    assert ids(place) == [1]


def test_too_many_connections(place: PostgresTarget, database: Any) -> None:
    database.close()
    place.server.execute(f"ALTER ROLE {place.user} CONNECTION LIMIT 1")
    dsn = place.server.dsn(DATABASE, user=place.user, password=place.password)
    with closing(psycopg2.connect(dsn)) as other, when_it_is_tried_again(other.close):
        database.run_transaction(lambda: Source.create(sdss_id=1))
    database.close()

    assert ids(place) == [1]


def test_a_wrong_password_is_told_at_once_and_not_shown(
    place: PostgresTarget, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = "the wrong one: p@ss\\'word"
    config = {"database": {**place.config["database"], "password": wrong}}
    database, _ = get_database_and_schema(config)

    with pytest.raises(PeeweeException, match="password authentication failed") as raised:
        database.run_transaction(lambda: None)

    assert not caplog.records
    for text in (str(raised.value), repr(raised.value), repr(database), str(database)):
        assert wrong not in text


def test_the_schema_is_the_configs(place: PostgresTarget) -> None:
    database, schema = get_database_and_schema(place.config)

    assert schema == place.schema
    assert database.is_closed()
    with place.bind(Source) as bound:
        bound.create_tables([Source])
        Source.create(sdss_id=5)
        assert f'"{place.schema}"."source"' in str(Source.select())
    assert ids(place) == [5]
