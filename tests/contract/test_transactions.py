"""What is repeated after a fault is a whole transaction, and only where that can help."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from peewee import IntegrityError, OperationalError, ProgrammingError

from astra.models import Source
from astra.models.base import get_database_and_schema
from tests.fixtures.databases import SqliteTarget, Target


@pytest.fixture
def database(target: Target) -> Iterator[Any]:
    with target.bind(Source) as database:
        database.create_tables([Source])
        yield database


class Work:
    """Inserts a source, then does something else; knows how often it was called."""

    def __init__(self, then: Any = None) -> None:
        self.calls = 0
        self.then = then

    def __call__(self) -> str:
        self.calls += 1
        Source.create(sdss_id=self.calls)
        if self.then is not None:
            self.then(self.calls)
        return f"call {self.calls}"


def ids() -> list[int]:
    return [source.sdss_id for source in Source.select().order_by(Source.sdss_id)]


def test_what_the_work_returns_is_returned_and_committed(target: Target, database: Any) -> None:
    assert database.run_transaction(Work()) == "call 1"

    assert target.fetch("SELECT sdss_id FROM {schema}source") == [(1,)]
    assert not database.in_transaction()


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELEKT 1", (ProgrammingError, OperationalError)),
        ("SELECT * FROM no_such_table", (ProgrammingError, OperationalError)),
        ("INSERT INTO {schema}source (sdss_id) VALUES (1)", IntegrityError),
    ],
)
def test_what_cannot_get_better_is_raised_at_once(
    target: Target,
    database: Any,
    statement: str,
    error: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sql = statement.replace("{schema}", target.prefix)
    work = Work(lambda call: database.execute_sql(sql))

    with pytest.raises(error):
        database.run_transaction(work)

    assert work.calls == 1
    assert ids() == []
    assert not caplog.records
    with pytest.raises(error):  # nor is a statement by itself repeated
        database.execute_sql(sql) if statement != "INSERT" else None
        database.execute_sql(sql)
    assert not caplog.records
    assert database.run_transaction(Work()) == "call 1" if not ids() else True


def test_an_error_of_the_works_own_rolls_back_and_is_raised(database: Any) -> None:
    def fail(call: int) -> None:
        raise KeyError("mine")

    work = Work(fail)
    with pytest.raises(KeyError, match="mine"):
        database.run_transaction(work)

    assert work.calls == 1
    assert ids() == []


def test_only_the_outermost_transaction_can_be_run_again(database: Any) -> None:
    with database.atomic(), pytest.raises(RuntimeError, match="only the outermost"):
        database.run_transaction(Work())
    with pytest.raises(RuntimeError, match="only the outermost"):
        database.run_transaction(lambda: database.run_transaction(Work()))

    assert ids() == []


def test_a_savepoint_inside_is_fine(database: Any) -> None:
    def nested(call: int) -> None:
        with pytest.raises(IntegrityError), database.atomic():
            Source.create(sdss_id=77)
            Source.create(sdss_id=call)

    database.run_transaction(Work(nested))

    assert ids() == [1]


# -- SQLite alone: the one fault that passes by itself ---------------------------------------------


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[tuple[SqliteTarget, Any]]:
    target = SqliteTarget(tmp_path)
    with target.bind(Source) as database:
        database.create_tables([Source])
        database.close()
        database.timeout = 0.05  # SQLite's own patience, so that ours is tried
        yield target, database


def test_a_locked_file_is_tried_again(
    sqlite: tuple[SqliteTarget, Any], caplog: pytest.LogCaptureFixture
) -> None:
    target, database = sqlite
    with closing(
        sqlite3.connect(target.path, isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, other.execute, ["COMMIT"])
        timer.start()
        work = Work()
        database.run_transaction(work)
        timer.join()

    assert ids() == [work.calls]
    assert "database is locked; trying again" in caplog.text


def test_a_lock_that_stays_is_an_error_when_patience_is_out(
    sqlite: tuple[SqliteTarget, Any],
) -> None:
    target, database = sqlite
    with closing(sqlite3.connect(target.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"):
            database.run_transaction(Work(), patience=0.2)
        other.execute("COMMIT")

    assert database.run_transaction(Work()) == "call 1"


def test_sqlite_opens_as_it_is_documented(sqlite: tuple[SqliteTarget, Any]) -> None:
    target, _ = sqlite
    database, schema = get_database_and_schema(target.config)

    pragmas = {
        name: database.execute_sql(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "cache_size", "synchronous", "foreign_keys")
    }
    database.close()

    assert schema is None
    assert pragmas == {
        "journal_mode": "wal", "cache_size": -64000, "synchronous": 0, "foreign_keys": 1,
    }  # fmt: skip
