"""Drafts of steps: the SQL that brings what the steps make so far to what the models say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peewee import Database, ForeignKeyField

from astra.errors import SchemaError
from astra.migrations import DIRECTORY
from astra.models.base import ResilientPostgresqlDatabase, open_sqlite
from astra.schema import Upgrade, apply
from astra.upsert import quote

_STEP = '''"""{title}"""

from __future__ import annotations

from typing import Any

from astra.migrations import run_script


def up(migrator: Any, db: Any) -> None:  # noqa: ARG001 (how playhouse.migrations calls it)
    """Run the script beside this file."""
    run_script(__file__, db)
'''


def write_initial(models: Sequence[type[Any]], directory: Path = DIRECTORY) -> list[Path]:
    """Write the first step anew: all tables of the models.

    Raises
    ------
    SchemaError
        If there are later steps: then databases have had the first one, and it stays.
    """
    later = [path.stem for path in _steps(directory) if path.stem != "0001_initial"]
    if later:
        raise SchemaError(
            f"0001_initial stays as it is, since there is {later[0]}; draft the next step instead: "
            "python -m astra.migrations draft NAME"
        )
    with _no_schema(models):
        changes = {kind: _creations(models, db) for kind, db in _kinds().items()}
    return _write(
        directory / "0001_initial.py", "All tables, as the first release has them.", changes
    )


def write_next(name: str, models: Sequence[type[Any]], directory: Path = DIRECTORY) -> list[Path]:
    """Write the next step, from the difference between the models and the steps so far.

    Parameters
    ----------
    name : str
        What the step does, in lower case with underscores: ``add_metallicity``.
    models : sequence of type of BaseModel
    directory : Path

    Returns
    -------
    list of Path
        The files, to be read and corrected.

    Raises
    ------
    SchemaError
        If there is no difference, or a new column leaves the rows that are there without a value.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise SchemaError(f"{name}: a step's name has lower-case letters, digits and underscores")
    with _no_schema(models):
        stored = _stored(models, directory)
        changes = {kind: _changes(models, stored, db) for kind, db in _kinds().items()}
    if not any(changes.values()):
        raise SchemaError("the steps make what the models say: there is nothing to draft")
    steps = _steps(directory)
    number = 1 + max((int(step.stem.partition("_")[0]) for step in steps), default=0)
    title = name.replace("_", " ").capitalize() + "."
    return _write(directory / f"{number:04}_{name}.py", title, changes)


def _kinds() -> dict[str, Database]:
    """Return a database of each kind, not connected: it knows the types of columns."""
    return {"postgres": ResilientPostgresqlDatabase("draft"), "sqlite": open_sqlite(":memory:")}


@contextmanager
def _no_schema(models: Sequence[type[Any]]) -> Iterator[None]:
    """Let the models' tables be named without the configured schema."""
    before = [(model, model._meta.schema) for model in models]
    try:
        _set_schemas((model, None) for model in models)
        yield
    finally:
        _set_schemas(before)


def _set_schemas(pairs: Iterable[tuple[type[Any], str | None]]) -> None:
    for model, schema in pairs:
        model._meta.schema = schema
        del model._meta.table  # peewee keeps a Table that has the old schema in its path


def _steps(directory: Path) -> list[Path]:
    return sorted(directory.glob("[0-9]*.py"))


def _write(step: Path, title: str, changes: dict[str, list[str]]) -> list[Path]:
    texts = {step: _STEP.format(title=title)}
    for kind, lines in changes.items():
        texts[step.with_suffix(f".{kind}.sql")] = "\n\n".join(lines) + "\n"
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return list(texts)


def _stored(models: Sequence[type[Any]], directory: Path) -> dict[str, dict[str, set[str]]]:
    """Return the columns and indexes of each table that the steps make."""
    database = open_sqlite(":memory:")
    with database.connection_context():
        apply(database, None, Upgrade(models, directory=directory))
        return {
            table: {
                # get_columns leaves out generated ones.
                "columns": {
                    row[1] for row in database.execute_sql(f"PRAGMA table_xinfo({quote(table)})")
                },
                "indexes": {index.name for index in database.get_indexes(table)},
            }
            for table in database.get_tables()
        }


def _creations(models: Iterable[type[Any]], database: Database) -> list[str]:
    return [
        line
        for model in models
        for line in (_create_table(model, database), *_indexes(model, database).values())
    ]


def _changes(
    models: Sequence[type[Any]], stored: dict[str, dict[str, set[str]]], database: Database
) -> list[str]:
    """Return the statements for what is missing, and comments for what is too much."""
    lines = []
    for model in models:
        table = model._meta.table_name
        if table not in stored:
            lines += _creations([model], database)
            continue
        columns, indexes = model._meta.columns, _indexes(model, database)
        there = stored[table]
        lines += [
            _add_column(field, database)
            for name, field in columns.items()
            if name not in there["columns"]
        ]
        lines += [
            # What looks like a column less and a column more can be a new name.
            f"-- loses values: ALTER TABLE {quote(table)} DROP COLUMN {quote(name)};"
            for name in sorted(there["columns"] - set(columns))
        ]
        lines += [
            f"DROP INDEX {quote(name)};"
            for name in sorted(there["indexes"] - set(indexes))
            if not name.startswith("sqlite_autoindex_")
        ]
        lines += [sql for name, sql in indexes.items() if name not in there["indexes"]]
    return lines


def _bound(model: type[Any], database: Database) -> Any:
    return database.bind_ctx([model], bind_refs=False, bind_backrefs=False)


def _create_table(model: type[Any], database: Database) -> str:
    """Return ``CREATE TABLE``, a column a line."""
    with _bound(model, database):
        sql, _ = model._schema._create_table(safe=False).query()
    head, _, body = sql.partition(" (")
    columns = ",\n".join(f"    {item}" for item in split_items(body.removesuffix(")")))
    return f"{head} (\n{columns}\n);"


def split_items(text: str) -> list[str]:
    """Return the parts of a list that is joined by commas, leaving those in parentheses alone."""
    items, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth == 0:
            items.append(text[start:position].strip())
            start = position + 1
    return [*items, text[start:].strip()]


def _indexes(model: type[Any], database: Database) -> dict[str, str]:
    """Return the statement for each index of a model, by the index's name."""
    with _bound(model, database):
        queries = [context.query()[0] for context in model._schema._create_indexes(safe=False)]
    return {sql.split('"')[1]: f"{sql};" for sql in queries}


def _add_column(field: Any, database: Database) -> str:
    model = field.model
    table = model._meta.table_name
    with _bound(model, database):
        context = model._schema._create_context()
        definition, _ = context.sql(field.ddl(context)).query()
    if not field.null and "DEFAULT" not in definition:
        raise SchemaError(
            f"{table}.{field.column_name} is not nullable, and rows that are there have no value "
            'for it: give the field null=True, or constraints=[SQL("DEFAULT ...")]'
        )
    if isinstance(field, ForeignKeyField):
        target = field.rel_model._meta.table_name
        definition += f" REFERENCES {quote(target)} ({quote(field.rel_field.column_name)})"
        definition += f" ON DELETE {field.on_delete}" if field.on_delete else ""
    return f"ALTER TABLE {quote(table)} ADD COLUMN {definition};"
