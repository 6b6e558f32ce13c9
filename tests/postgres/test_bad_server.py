"""A server that is away, or that does not let the job in: one message, and nothing written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from tests.fixtures.databases import DATABASE, PostgresTarget
from tests.fixtures.jobs import AWAY, DONE, WRONG_INPUT, says, write_manifest
from tests.fixtures.products import make_product
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
def manifest(tmp_path: Path) -> Path:
    return write_manifest(tmp_path, {"path": make_product(tmp_path, "astraAllStarSlam", "DR20", 3)})


def with_config(place: PostgresTarget, **changes: Any) -> dict[str, str]:
    """Return the environment of the job's role with another config."""
    path = place.folder / "other.yml"
    path.write_text(
        yaml.safe_dump({"database": place.config_of(place.job_user)["database"] | changes})
    )
    return {"ASTRA_CONFIG_PATH": str(path)}


def test_tables_that_are_missing(place: PostgresTarget, manifest: Path) -> None:
    says(place.ingest(manifest), WRONG_INPUT, place.schema, "astra migrate")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "astra_no_such"}, ["astra_no_such"]),
        ({"password": "a wrong one"}, ["password authentication failed", "astra.yml"]),
        ({"dbname": "no_such_db"}, ["no_such_db", "does not exist"]),
        ({"user": "nobody_such"}, ["nobody_such"]),
        ({"host": "no-such-host.invalid"}, ["no-such-host.invalid"]),
        ({"sslmode": "perhaps"}, ["sslmode"]),
    ],
)
def test_what_the_server_refuses(
    place: PostgresTarget, manifest: Path, changes: dict[str, str], said: list[str]
) -> None:
    done = place.run("ingest", manifest, env=with_config(place, **changes))

    message = says(done, WRONG_INPUT, *said)
    assert place.password not in message
    assert "a wrong one" not in message


def test_a_role_that_may_not_write(place: PostgresTarget, manifest: Path) -> None:
    place.migrate()
    place.fetch(f"REVOKE INSERT ON {{schema}}slam FROM {place.job_user}")
    place.fetch(f"REVOKE UPDATE ON {{schema}}source FROM {place.job_user}")

    says(place.ingest(manifest), WRONG_INPUT, place.schema, "INSERT", "slam", "UPDATE", "source")

    assert place.fetch("SELECT 1 FROM {schema}source") == []


def test_a_role_that_may_not_even_look(place: PostgresTarget, manifest: Path) -> None:
    place.migrate()
    place.fetch(f'REVOKE USAGE ON SCHEMA "{place.schema}" FROM {place.job_user}')

    says(place.ingest(manifest), WRONG_INPUT, place.schema)


def test_a_server_that_is_away(place: PostgresTarget, manifest: Path) -> None:
    place.migrate()
    place.server.stop()
    try:
        done = place.ingest(manifest)
    finally:
        place.server.start()

    says(done, AWAY, "Connection refused", "submit again")
    says(place.ingest(manifest), DONE)


def test_a_table_that_another_session_holds_is_waited_for(
    place: PostgresTarget, manifest: Path
) -> None:
    place.migrate()
    dsn = place.server.dsn(DATABASE, user=place.user, password=place.password)
    with closing(psycopg2.connect(dsn)) as other, other.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {place.prefix}slam IN SHARE MODE")
        running = place.popen("ingest", manifest)
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(3)]
        other.rollback()
    output = running.communicate(timeout=60)[0]

    assert running.returncode == DONE, "".join(lines) + output
    assert len(place.fetch("SELECT 1 FROM {schema}slam")) == 3
