"""Who may import whom: `jobs` stands on `astra`, and each library has its one place."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from tests.fixtures.processes import REPOSITORY

FILES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for package in ("astra", "jobs")
    for path in (REPOSITORY / package).rglob("*.py")
)

# Where alone a module may be imported; `*` is any text, folders included.
PLACES = {
    "fitsio": ["astra/pixels.py"],
    "jobs": ["jobs/*"],
    "jobs.cli": ["jobs/__main__.py"],
    "jobs.ingest": ["jobs/cli.py", "jobs/workers.py"],
    "peewee": ["astra/*"],
    "playhouse": ["astra/*"],
    "psycopg2": ["astra/backends/*"],
    "sdsstools": ["astra/config.py", "jobs/logs.py"],
    "sqlite3": ["astra/backends/*", "astra/readiness.py"],
    "tests": [],
}

# What the lower layers of `astra` leave alone: they get models as arguments.
FORBIDDEN = {
    "astra/errors.py": ["astra"],
    "astra/utils.py": ["astra.models", "astra.backends"],
    "astra/block.py": ["astra.models", "astra.backends"],
    "astra/fields.py": ["astra.models", "astra.backends"],
    "astra/backends/*": ["astra.models"],
    "astra/transaction.py": ["astra.models"],
    "astra/upsert.py": ["astra.models"],
    "astra/__init__.py": ["astra.models"],
}

SQL = re.compile(
    r"\b(SELECT\b|INSERT INTO|UPDATE\s.+\sSET|DELETE FROM|ON CONFLICT|COPY\s.+\s(FROM|TO)\b"
    r"|(CREATE|ALTER|DROP) (TABLE|SCHEMA|INDEX|SEQUENCE))"
)


@cache
def tree_of(file: str) -> ast.Module:
    return ast.parse((REPOSITORY / file).read_text(encoding="utf-8"), filename=file)


def imports_in(node: ast.AST, *, lazy: bool = True) -> Iterator[str]:
    """Dotted names that are imported below a node; with ``lazy=False`` only those on import."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: write imports in full"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif lazy or not _is_lazy(child):
            yield from imports_in(child, lazy=lazy)


def _is_lazy(node: ast.AST) -> bool:
    for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    return for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def test_there_is_something_to_check() -> None:
    assert {"astra/__init__.py", "astra/models/base.py"} <= set(FILES)
    assert any(file.startswith("jobs/") for file in FILES)


@pytest.mark.parametrize("module", PLACES)
def test_a_module_is_imported_only_in_its_place(module: str) -> None:
    strays = [
        f"{file} imports {name}"
        for file in FILES
        if not any(fnmatch(file, place) for place in PLACES[module])
        for name in imports_in(tree_of(file))
        if within(name, module)
    ]

    assert strays == []


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_a_lower_layer_does_not_import_a_higher_one(pattern: str) -> None:
    strays = [
        f"{file} imports {name}"
        for file in FILES
        if fnmatch(file, pattern)
        for name in imports_in(tree_of(file))
        if any(within(name, module) for module in FORBIDDEN[pattern])
    ]

    assert strays == []


def test_no_two_modules_import_each_other() -> None:
    modules = {
        ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES
    }

    def module_of(name: str) -> str | None:
        """Module that an imported name is, or is in."""
        return next((m for m in (name, name.rpartition(".")[0]) if m in modules), None)

    graph = {
        module: {module_of(name) for name in imports_in(tree_of(file), lazy=False)} - {None, module}
        for module, file in modules.items()
    }

    tuple(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError


def test_jobs_writes_no_sql() -> None:
    strays = [
        f"{file}:{node.lineno}: {node.value!r}"
        for file in FILES
        if file.startswith("jobs/")
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]

    assert strays == []
