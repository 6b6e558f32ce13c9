"""`astra migrate`: bring a schema up to date, or show the SQL that would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from astra import readiness as db
from astra import schema as versions
from jobs.manifest import check_names, load_manifest


def migrate(
    *,
    plan_only: bool,
    manifest: Path | None,
    writers: Sequence[str],
    readers: Sequence[str],
    echo: Callable[[str], None],
) -> None:
    """Apply what is pending to the configured database.

    Parameters
    ----------
    plan_only : bool
        Show the SQL, as a script that does the same, and change nothing.
    manifest : Path or None
        Make the tables of models of its author's own, too.
    writers, readers : sequence of str
        PostgreSQL roles to give the rights of a job, and of somebody who only reads.
    echo : callable
        Is given what to show, a line or a statement at a time.

    Raises
    ------
    AstraError
        If the schema cannot be brought up to date; then nothing was changed.
    """
    from astra.models import base, models

    own = _own_models(manifest, models) if manifest else []
    upgrade = versions.Upgrade(models, own, writers, readers)
    database: Any = base.database
    where = db.describe(database, base.schema)
    with db.explained(database, base.schema):
        if plan_only:
            _show(versions.plan(database, base.schema, upgrade), where, echo)
            return
        db.refuse_memory(database)
        done = versions.apply(database, base.schema, upgrade)
    for line in done:
        echo(line)
    echo(f"{where} is up to date")


def _show(statements: Sequence[str], where: str, echo: Callable[[str], None]) -> None:
    if not statements:
        echo(f"-- {where} is up to date")
        return
    echo(f"-- {where}")
    for statement in ("BEGIN", *statements, "COMMIT"):
        echo(f"{statement};")


def _own_models(manifest: Path, models: Sequence[type[Any]]) -> list[type[Any]]:
    """Return the models that a manifest names and this package has not."""
    classes = check_names(load_manifest(manifest), manifest)
    return [model for model in dict.fromkeys(classes.values()) if model not in models]
