"""Who may do what: the owner migrates, a job reads and writes rows, a reader reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from tests.fixtures.databases import DATABASE, PostgresTarget
from tests.fixtures.jobs import AWAY, DONE, WRONG_INPUT, says
from tests.fixtures.server import PostgresServer

pytestmark = pytest.mark.postgres

#: Rights on tables that the tests look at.
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


@pytest.fixture
def place(tmp_path: Path, postgres: PostgresServer) -> Iterator[PostgresTarget]:
    place = PostgresTarget(tmp_path, postgres)
    try:
        yield place
    finally:
        place.remove()


@pytest.fixture
def new_role(place: PostgresTarget) -> Iterator[Callable[[str], str]]:
    """Makes roles that may do nothing yet."""
    made: list[str] = []

    def make(suffix: str) -> str:
        made.append(f"{place.user} {suffix}")
        place.server.execute(
            f'CREATE ROLE "{made[-1]}" LOGIN PASSWORD $secret${place.password}$secret$'
        )
        return made[-1]

    yield make
    place.server.start()
    for role in made:
        place.server.execute(f'DROP OWNED BY "{role}"', f'DROP ROLE "{role}"', dbname=DATABASE)


def rights(place: PostgresTarget, role: str) -> dict[str, set[str]]:
    """What a role may do with each table, and with the sequences and the schema."""
    found: dict[str, set[str]] = {"sequences": set(), "schema": set()}
    tables = place.fetch(f"SELECT tablename FROM pg_tables WHERE schemaname = '{place.schema}'")
    for (table,) in tables:
        asked = [
            f"has_table_privilege('{role}', '{place.prefix}\"{table}\"', '{r}')" for r in RIGHTS
        ]
        [row] = place.fetch(f"SELECT {', '.join(asked)}")
        found[table] = {right for right, has in zip(RIGHTS, row, strict=True) if has}
    for right in ("USAGE", "SELECT", "UPDATE"):
        sequences = place.fetch(
            f"SELECT bool_and(has_sequence_privilege('{role}', c.oid, '{right}')) FROM pg_class c "
            f"WHERE relkind = 'S' AND relnamespace = '{place.prefix.rstrip('.')}'::regnamespace"
        )
        found["sequences"] |= {right} if sequences == [(True,)] else set()
    for right in ("USAGE", "CREATE"):
        has = place.fetch(f"SELECT has_schema_privilege('{role}', '{place.schema}', '{right}')")
        found["schema"] |= {right} if has == [(True,)] else set()
    return found


def ingest_as(place: PostgresTarget, role: str, status: int, *texts: str) -> None:
    """Run a job as a role, and check how it ends and what it says."""
    if not (place.folder / "demo").exists():
        made = place.run("sample", "demo", "--rows", "20", "--product", "astraAllStarSlam")
        assert made.returncode == DONE, made.stderr
    env = place.env_of(role, "role.yml")
    says(place.run("ingest", "demo/manifest.yml", env=env), status, *texts)


def test_a_granted_role_has_what_a_job_needs_and_no_more(
    place: PostgresTarget, new_role: Callable[[str], str]
) -> None:
    role = new_role("jobs")

    done = place.run("migrate", "--grant", role)

    assert done.returncode == DONE, done.stderr
    found = rights(place, role)
    assert found.pop("schema") == {"USAGE"}
    assert found.pop("sequences") == {"USAGE", "SELECT", "UPDATE"}
    assert found.pop("schema_migration") == {"SELECT"}
    assert "slam" in found
    assert set(map(frozenset, found.values())) == {frozenset({"SELECT", "INSERT", "UPDATE"})}
    ingest_as(place, role, DONE)
    ingest_as(place, role, DONE)
    assert place.fetch("SELECT count(*) FROM {schema}slam") == [(20,)]


def test_a_granted_role_may_use_what_later_steps_make(
    place: PostgresTarget, new_role: Callable[[str], str]
) -> None:
    writer, reader = new_role("jobs"), new_role("readers")
    assert place.run("migrate", "--grant", writer, "--grant-read", reader).returncode == DONE

    place.fetch("CREATE TABLE {schema}later (pk BIGSERIAL PRIMARY KEY)")

    assert rights(place, writer)["later"] == {"SELECT", "INSERT", "UPDATE"}
    assert rights(place, writer)["sequences"] == {"USAGE", "SELECT", "UPDATE"}
    assert rights(place, reader)["later"] == {"SELECT"}


def test_a_reader_reads_everything_and_writes_nothing(
    place: PostgresTarget, new_role: Callable[[str], str]
) -> None:
    role = new_role("readers")

    assert place.run("migrate", "--grant-read", role).returncode == DONE

    found = rights(place, role)
    assert found.pop("schema") == {"USAGE"}
    assert found.pop("sequences") == set()
    assert set(map(frozenset, found.values())) == {frozenset({"SELECT"})}
    ingest_as(place, role, WRONG_INPUT, "the role may not INSERT, UPDATE", "migrate --grant")


def test_the_plan_grants_nothing(place: PostgresTarget, new_role: Callable[[str], str]) -> None:
    role = new_role("jobs")

    done = place.run("migrate", "--plan", "--grant", role)

    assert f'GRANT USAGE ON SCHEMA "{place.schema}" TO "{role}";' in done.stdout
    assert rights(place, role)["schema"] == set()


def test_a_role_without_rights_is_told_who_gives_them(
    place: PostgresTarget, new_role: Callable[[str], str]
) -> None:
    role = new_role("jobs")
    place.migrate()
    ingest_as(place, role, WRONG_INPUT, f"schema {place.schema}", "astra migrate --grant")
    place.fetch(f'GRANT USAGE ON SCHEMA "{place.schema}" TO "{role}"')
    ingest_as(place, role, WRONG_INPUT, "table", "astra migrate --grant")


@pytest.mark.parametrize(
    ("role", "text"), [("nobody here", "there is no role"), ("OWNER", "owns the tables")]
)
def test_a_role_that_cannot_be_granted_to_stops_all(
    place: PostgresTarget, role: str, text: str
) -> None:
    done = place.run("migrate", "--grant", place.user if role == "OWNER" else role)

    says(done, WRONG_INPUT, text)
    assert place.fetch(f"SELECT 1 FROM pg_tables WHERE schemaname = '{place.schema}'") == []


def test_a_job_that_may_make_no_temporary_tables_is_told(
    place: PostgresTarget, new_role: Callable[[str], str]
) -> None:
    place.server.execute(f"REVOKE TEMPORARY ON DATABASE {DATABASE} FROM PUBLIC", dbname=DATABASE)
    try:
        done = place.run("migrate", "--grant", new_role("jobs"))
    finally:
        place.server.execute(f"GRANT TEMPORARY ON DATABASE {DATABASE} TO PUBLIC", dbname=DATABASE)

    says(done, DONE, "no temporary tables", "GRANT TEMPORARY ON DATABASE")


def test_a_job_role_cannot_migrate(place: PostgresTarget) -> None:
    done = place.run("migrate", env=place.env)

    says(
        done, WRONG_INPUT, f"{place.job_user} may not", f"belongs to the role {place.user}",
        "run `astra migrate` as the owner",
    )  # fmt: skip


def test_what_is_up_to_date_needs_no_rights(place: PostgresTarget) -> None:
    place.migrate()

    done = place.run("migrate", env=place.env)

    assert done.returncode == DONE, done.stderr


def test_a_schema_is_made_where_the_role_may(place: PostgresTarget) -> None:
    place.server.execute(f'DROP SCHEMA "{place.schema}"', dbname=DATABASE)
    done = place.run("migrate")
    says(done, WRONG_INPUT, "there is no schema", f'CREATE SCHEMA "{place.schema}" AUTHORIZATION')
    ingest_as(place, place.job_user, WRONG_INPUT, "there is no schema")

    place.server.execute(f"GRANT CREATE ON DATABASE {DATABASE} TO {place.user}", dbname=DATABASE)
    place.migrate()

    assert place.fetch("SELECT count(*) FROM {schema}source") == [(0,)]


def test_without_a_configured_schema_the_search_path_decides(place: PostgresTarget) -> None:
    place.server.execute(
        f'ALTER ROLE {place.user} SET search_path = "{place.schema}"', dbname=DATABASE
    )
    path = place.folder / "owner.yml"
    path.write_text(path.read_text().replace(f"schema: {place.schema}", "application_name: x"))

    place.migrate()
    again = place.run("migrate")

    assert "applied" not in again.stdout
    assert place.fetch("SELECT count(*) FROM {schema}source") == [(0,)]


def test_a_step_waits_for_no_one_who_only_reads_the_plan(place: PostgresTarget) -> None:
    place.migrate()
    with closing(psycopg2.connect(place.server.dsn(DATABASE))) as reader:
        reader.cursor().execute(f"SELECT * FROM {place.prefix}source")

        assert place.run("migrate", "--plan").returncode == DONE


def test_a_server_that_is_away_is_told(place: PostgresTarget) -> None:
    place.server.stop()

    done = place.run("migrate", "--plan")

    says(done, AWAY, "is away or busy")
