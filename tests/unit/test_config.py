"""Which database is meant: the order of places, and what is said where it is unclear."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

from astra.errors import ConfigError
from astra.models.base import get_database_and_schema
from tests.fixtures.processes import clean_environment, run_python

POSTGRES = {"dbname": "sdss5db", "user": "me", "password": "secret", "host": "db", "schema": "s"}


def python(tmp_path: Path, code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code as a new user would."""
    return run_python("-c", code, env=clean_environment(tmp_path / "home", **env), cwd=tmp_path)


WHERE = """
from astra.models.base import database, schema
print(type(database).__name__, database.database, schema)
"""


def write_config(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "home" / ".config" / "sdss" / "astra" / "astra.yml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_the_variable_wins_over_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASTRA_DATABASE_PATH", str(tmp_path / "a.db"))

    database, schema = get_database_and_schema({"TESTING": True, "database": POSTGRES})

    assert (database.database, schema) == (str(tmp_path / "a.db"), None)


def test_testing_wins_over_the_database_entry() -> None:
    database, schema = get_database_and_schema({"TESTING": True, "database": POSTGRES})

    assert (database.database, schema) == (":memory:", None)


def test_dbname_is_postgresql_with_what_libpq_takes() -> None:
    config = {"database": {**POSTGRES, "sslmode": "require", "connect_timeout": 3, "port": 5433}}

    database, schema = get_database_and_schema(config)

    assert schema == "s"
    assert database.database == "sdss5db"
    assert database.connect_params == {
        "application_name": "astra", "user": "me", "password": "secret", "host": "db",
        "sslmode": "require", "connect_timeout": 3, "port": 5433,
    }  # fmt: skip
    assert database.is_closed()
    assert "secret" not in repr(database) + str(database)


def test_a_service_may_name_the_database() -> None:
    database, _ = get_database_and_schema({"database": {"service": "sdss"}})

    assert database.connect_params["service"] == "sdss"


def test_path_is_sqlite(tmp_path: Path) -> None:
    database, schema = get_database_and_schema({"database": {"path": str(tmp_path / "a.db")}})

    assert (database.database, schema) == (str(tmp_path / "a.db"), None)
    assert not (tmp_path / "a.db").exists()


@pytest.mark.parametrize("config", [None, {}, {"database": {}}, {"database": None}])
def test_nothing_is_memory_with_a_warning_that_shows_the_way(config: Any) -> None:
    with pytest.warns(UserWarning, match="no database is configured") as caught:
        database, schema = get_database_and_schema(config)

    assert (database.database, schema) == (":memory:", None)
    assert len(caught) == 1
    text = str(caught[0].message)
    for part in ("~/.config/sdss/astra/astra.yml", "database:", "dbname:", "ASTRA_DATABASE_PATH"):
        assert part in text


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"dbnmae": "x"}, ['"dbnmae"', '"dbname"']),
        ({"dbname": "x", "pasword": "secret"}, ['"pasword"', '"password"']),
        ({"dbname": "x", "shcema": "s"}, ['"shcema"', '"schema"']),
        ({"path": "a.db", "host": "db"}, ["`path`", "host"]),
        ({"path": "a.db", "schema": "s"}, ["`path`", "schema"]),
        ({"host": "db"}, ["`dbname`", "`path`"]),
        ("sdss5db", ["`database`", "mapping"]),
    ],
)
def test_a_mistake_in_the_database_entry_is_named(entry: Any, said: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        get_database_and_schema({"database": entry})

    assert raised.value.exit_status == 3
    for part in said:
        assert part in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_users_file_goes_over_the_packages(tmp_path: Path) -> None:
    write_config(tmp_path, f"database:\n  path: {tmp_path}/mine.db\n")

    done = python(tmp_path, WHERE)

    assert done.stdout == f"ResilientSqliteDatabase {tmp_path}/mine.db None\n"
    assert done.stderr == ""
    assert not (tmp_path / "mine.db").exists()


def test_the_file_of_the_variable_goes_over_the_users(tmp_path: Path) -> None:
    write_config(tmp_path, "database: {path: mine.db}\n")
    other = tmp_path / "other.yml"
    other.write_text("database: {dbname: d, schema: astra_081, host: nowhere.invalid}\n")

    done = python(tmp_path, WHERE, ASTRA_CONFIG_PATH=str(other))

    assert done.stdout == "ResilientPostgresqlDatabase d astra_081\n"
    assert done.stderr == ""


def test_importing_says_nothing_where_a_place_is_named(tmp_path: Path) -> None:
    code = "import astra, astra.models, astra.fields; from astra import AstraError"

    done = python(tmp_path, code, ASTRA_DATABASE_PATH=str(tmp_path / "a.db"))

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "a.db").exists()


def test_without_a_config_there_is_one_warning(tmp_path: Path) -> None:
    done = python(tmp_path, "import astra.models")

    assert done.returncode == 0
    assert done.stderr.count("Warning") == 1
    assert "astra.yml" in done.stderr


@pytest.mark.parametrize("text", ["database: [", "just text", "- a\n- list\n", "\x00"])
def test_a_config_that_is_none_is_told_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.yml"
    path.write_text(text)

    done = run_python(
        "-m", "jobs", "ingest", "manifest.yml",
        env=clean_environment(tmp_path / "home", ASTRA_CONFIG_PATH=str(path)), cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "other.yml" in done.stderr or "manifest.yml" in done.stderr


def test_the_warning_is_only_about_a_missing_config(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_database_and_schema({"database": {"path": str(tmp_path / "a.db")}})


@pytest.mark.parametrize(("mode", "is_told"), [(0o644, True), (0o640, True), (0o600, False)])
def test_a_password_that_others_can_read_is_told_and_not_shown(
    tmp_path: Path, mode: int, is_told: bool
) -> None:
    path = write_config(tmp_path, "database: {dbname: x, password: hush-hush}\n")
    path.chmod(mode)

    done = python(tmp_path, WHERE)

    assert (f"chmod 600 {path}" in done.stderr) == is_told
    assert "hush-hush" not in done.stdout + done.stderr


def test_a_schema_with_a_percent_sign_is_refused() -> None:
    with pytest.raises(ConfigError, match="has a %"):
        get_database_and_schema({"database": {"dbname": "x", "schema": "a%b"}})
