"""The schema's version: which steps of `astra.migrations` it has had, and applying the others."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peewee import (
    Database,
    DateTimeField,
    Model,
    PeeweeException,
    PostgresqlDatabase,
    SqliteDatabase,
    TextField,
)

from astra import __version__
from astra.backends import backend_for, pgschema
from astra.errors import SchemaError, UsageError
from astra.migrations import DIRECTORY
from astra.transaction import PATIENCE, run
from astra.upsert import GENERATED
from astra.utils import utcnow

_UNREADABLE = (
    f"the role may not read the table {pgschema.HISTORY}: the schema's owner gives the rights that "
    "a job needs with `astra migrate --grant ROLE`"
)


@dataclass(frozen=True)
class State:
    """How far a schema is.

    Attributes
    ----------
    applied : tuple of str
        Steps that this program knows and the schema has had, in order.
    pending : tuple of str
        Steps that this program knows and the schema has not had.
    unknown : dict of str to str
        Steps that the schema has had and this program does not know, and the version of astra
        that applied each.
    """

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: dict[str, str]


@dataclass(frozen=True)
class Upgrade:
    """What a schema is to become.

    Attributes
    ----------
    models : sequence of type of Model
        Those whose tables the steps make.
    own : sequence of type of Model
        Models of the user's own; their tables are made if they are missing, and never altered.
    writers, readers : sequence of str
        PostgreSQL roles to give the rights of a job, and of somebody who only reads.
    directory : Path
        Where the steps are.
    """

    models: Sequence[type[Model]]
    own: Sequence[type[Model]] = ()
    writers: Sequence[str] = ()
    readers: Sequence[str] = ()
    directory: Path = DIRECTORY


def state_of(database: Database, schema: str | None, directory: Path = DIRECTORY) -> State:
    """Compare the steps that a schema has had with those that this program knows."""
    return _state(_runner(database, schema, directory))


def ready(
    database: Database,
    schema: str | None,
    models: Sequence[type[Model]],
    *,
    patience: float = PATIENCE,
    directory: Path = DIRECTORY,
) -> list[str]:
    """Return why a job must not write to a schema of this version.

    On SQLite, what is pending is applied instead; on PostgreSQL that is left to the schema's
    owner.  A schema that has had no step at all says nothing of its version: its tables do.
    """
    if _is_postgres(database):
        return run(database, lambda: _why_not(database, schema, directory), patience=patience)
    state = run(database, lambda: state_of(database, schema, directory), patience=patience)
    if state.unknown:
        return [_newer(state)]
    if state.pending:
        apply(database, schema, Upgrade(models, directory=directory))
    return []


def _why_not(database: Database, schema: str | None, directory: Path) -> list[str]:
    may_read = pgschema.may_read(database, schema, pgschema.HISTORY)
    if may_read is None:  # no such table, or the role may not use the schema at all
        return []
    if not may_read:
        return [_UNREADABLE]
    state = state_of(database, schema, directory)
    if state.unknown:
        return [_newer(state)]
    if not state.pending:
        return []
    names = ", ".join(state.pending)
    return [f"the tables are older than this program: run `astra migrate`, which applies {names}"]


def apply(database: Database, schema: str | None, upgrade: Upgrade) -> list[str]:
    """Apply all that is pending, in one transaction; safe when many processes do it at once.

    Returns
    -------
    list of str
        What was done, a line each; empty if the schema was up to date.

    Raises
    ------
    SchemaError
        If a step fails, the schema is newer than this program, or a right is missing; then
        nothing was applied.
    peewee.PeeweeException
        If the server is away, or refuses the connection.
    """
    migrator = _runner(database, None, upgrade.directory).migrator
    # SQLite would delete the rows that point to a table's when a step rebuilds that table; its
    # foreign keys cannot be switched off inside a transaction.
    with migrator.migration_context(atomic=False):
        try:
            return run(database, lambda: _apply(database, schema, upgrade))
        except PeeweeException as error:
            if pgschema.is_denied(error):
                raise pgschema.denied(database, schema, error) from error
            raise


def plan(database: Database, schema: str | None, upgrade: Upgrade) -> list[str]:
    """Return the statements that `apply` would run, in order, for the same database.

    The database is only read; a SQLite file that is not there is not made.
    """
    recorder = _recorder(database)
    models = [*upgrade.models, *upgrade.own]
    with recorder.connection_context(), recorder.bind_ctx(models, False, False):
        _apply(recorder, schema, upgrade)
    statements: list[str] = recorder.statements
    # Entering a PostgreSQL schema is no change.
    return statements if any(not sql.startswith("SET ") for sql in statements) else []


def _apply(database: Any, schema: str | None, upgrade: Upgrade) -> list[str]:
    done = []
    if _is_postgres(database):
        schema = pgschema.enter(database, schema)
    elif upgrade.writers or upgrade.readers:
        raise UsageError("SQLite has no roles: who may write the file may write the tables")
    runner = _runner(database, schema, upgrade.directory)
    state = _state(runner)
    if state.unknown:
        raise SchemaError(_newer(state))
    if state.pending:
        taken_over = [] if state.applied else _adopt(runner, upgrade)
        done += taken_over or [f"applied {name}" for name in runner.up()]
    done += [f"made table {name}" for name in _make_own(database, schema, upgrade.own)]
    for role in (*upgrade.writers, *upgrade.readers):
        pgschema.grant(database, str(schema), role, write=role in upgrade.writers)
        done.append(f"granted to {role}")
    return done


def _adopt(runner: Any, upgrade: Upgrade) -> list[str]:
    """Take over tables that were made with ``create_table``, which leaves no trace of a version.

    They count as the newest version if they have all its columns.
    """
    database, models = runner.database, upgrade.models
    there = set(database.get_tables(runner.schema))
    found = [model for model in models if model._meta.table_name in there]
    if not found:
        return []
    backend = backend_for(database)
    problems = backend.problems(found)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise SchemaError(
            "there are tables that `astra migrate` has not made, and they do not fit; rename "
            f"them, or use another schema or file:\n{lines}"
        )
    backend.create_tables(models)
    runner.fake()
    return [f"took over {len(found)} tables that were there"]


def _make_own(database: Any, schema: str | None, own: Sequence[type[Model]]) -> list[str]:
    """Make the tables of the user's own models that are missing, and return their names."""
    there = set(database.get_tables(schema))
    missing = [model for model in own if model._meta.table_name not in there]
    if missing:
        backend_for(database).create_tables(missing)
    lacking = []
    for model in own:
        table = model._meta.table_name
        if table in there:
            columns = {column.name for column in database.get_columns(table, schema)}
            wanted = set(model._meta.columns) - columns - set(GENERATED)
            lacking += [f"{table}.{name}" for name in sorted(wanted)]
    if lacking:
        raise SchemaError(
            f"these columns of your own pipelines are not in the database: {', '.join(lacking)}; "
            "tables that are no part of astra are never altered: ALTER TABLE ... ADD COLUMN them"
        )
    return [model._meta.table_name for model in missing]


def _state(runner: Any) -> State:
    steps = runner.status()
    versions = runner.versions()
    return State(
        applied=tuple(step.name for step in steps if step.applied and step.path),
        pending=tuple(step.name for step in steps if not step.applied),
        unknown={step.name: versions[step.name] for step in steps if not step.path},
    )


def _newer(state: State) -> str:
    names = ", ".join(state.unknown)
    version = list(state.unknown.values())[-1]
    return (
        f"the tables are newer than this program (astra {__version__}), which does not know "
        f"{names}: use astra {version}, which made them, or a later one"
    )


def _is_postgres(database: Database) -> bool:
    return isinstance(database, PostgresqlDatabase)


def _runner(database: Any, schema: str | None, directory: Path) -> Any:
    """Return playhouse's runner; its history tells besides which version applied a step."""
    from playhouse.migrations import Runner

    class VersionedRunner(Runner):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(database, str(directory), pgschema.HISTORY, schema)

            class History(self.History):  # type: ignore[name-defined, misc]
                applied = DateTimeField(default=utcnow)
                astra = TextField(default=__version__)

                class Meta:
                    table_name = self.table_name

            self.History = History

        def versions(self) -> dict[str, str]:
            return {row.name: row.astra for row in self.History.select()} if self.applied() else {}

        def _run(self, name: str, *args: Any, **options: Any) -> None:
            try:
                super()._run(name, *args, **options)
            except PeeweeException as error:
                if backend_for(database).is_transient(error) or pgschema.is_denied(error):
                    raise
                text = " ".join(str(error).split())
                raise SchemaError(f"{name} failed, and nothing was applied: {text}") from error

    return VersionedRunner()


def _recorder(database: Any) -> Any:
    """Return a database that answers questions, and only notes statements that change it."""

    class Recorder(type(database)):  # type: ignore[misc]
        returning_clause = False

        def execute_sql(self, sql: str, params: Any = None) -> Any:
            if sql.upper().startswith(("SELECT", "PRAGMA")):
                return super().execute_sql(sql, params)
            self.statements.append(_with_literals(self, sql, params or ()))
            return _NoRows()

        def atomic(self, *args: Any, **options: Any) -> Any:  # noqa: ARG002
            return contextlib.nullcontext()

    if isinstance(database, SqliteDatabase):
        path = Path(database.database)
        there = path.exists()
        recorder = Recorder(
            f"{path.absolute().as_uri()}?mode=ro" if there else ":memory:", uri=True
        )
    else:
        recorder = Recorder(database.database, **database.connect_params)
    recorder.statements = []
    return recorder


class _NoRows:
    """The cursor of a statement that was not run."""

    lastrowid = None
    rowcount = 0


def _with_literals(database: Database, sql: str, params: Sequence[Any]) -> str:
    """Return a statement as text, with its parameters (texts and times) in their places."""
    parts = sql.split(database.param) if params else [sql]
    if _is_postgres(database):
        parts = [part.replace("%%", "%") for part in parts]
    texts = ["'" + str(value).replace("'", "''") + "'" for value in params]
    return "".join(part + text for part, text in zip(parts, [*texts, ""], strict=True))
