"""The steps of `astra.migrations`: from nothing to the models, and over rows that are there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astra import schema as versions
from astra.errors import SchemaError
from astra.fields import (
    BigAutoField,
    BitField,
    FloatArrayField,
    FloatField,
    ForeignKeyField,
    IntegerField,
    TextField,
)
from astra.migrations import DIRECTORY, statements
from astra.migrations.drafting import write_initial, write_next
from astra.models import Rocket, Source, Spectrum, models
from astra.models.base import BaseModel
from tests.fixtures.catalogue import catalogue, differences, drop_tables
from tests.fixtures.databases import Target
from tests.fixtures.jobs import DONE, WRONG_INPUT, says


class Star(BaseModel):
    pk = BigAutoField()
    name = TextField(null=True, index=True)
    mag = FloatField(null=True)


class Visit(BaseModel):
    pk = BigAutoField()
    star = ForeignKeyField(Star, on_delete="CASCADE", column_name="star_pk", backref="+")
    mjd = IntegerField(null=True)


OLD = (Star, Visit)


class Instrument(BaseModel):
    pk = BigAutoField()


class NewStar(BaseModel):
    pk = BigAutoField()
    name = TextField(null=True)
    mag = FloatField(null=True, index=True)
    colour = FloatField(null=True)
    offsets = FloatArrayField(null=True)
    star_flags = BitField()

    class Meta:
        table_name = "star"


class NewVisit(BaseModel):
    pk = BigAutoField()
    star = ForeignKeyField(NewStar, on_delete="CASCADE", column_name="star_pk", backref="+")
    mjd = IntegerField(null=True)
    instrument = ForeignKeyField(
        Instrument, null=True, on_delete="SET NULL", column_name="instrument_pk", backref="+"
    )

    class Meta:
        table_name = "visit"
        indexes = ((("star", "mjd"), True),)


NEW = (Instrument, NewStar, NewVisit)

ROWS = """INSERT INTO {schema}star (name, mag) VALUES ('a', 'NaN'), ('', -0.0), (NULL, 1e-45)
INSERT INTO {schema}visit (star_pk, mjd) VALUES (1, 59000), (1, NULL), (3, -1)"""


class Place:
    """A database, and steps of the test's own for it."""

    def __init__(self, target: Target, database: Any) -> None:
        self.target, self.database = target, database
        self.schema = target.config["database"].get("schema")
        self.steps = target.folder / "steps"
        self.steps.mkdir()

    def apply(self, tables: Any) -> list[str]:
        return versions.apply(self.database, self.schema, self._upgrade(tables))

    def plan(self, tables: Any) -> list[str]:
        return versions.plan(self.database, self.schema, self._upgrade(tables))

    def ready(self, tables: Any) -> list[str]:
        return versions.ready(self.database, self.schema, tables, directory=self.steps)

    def _upgrade(self, tables: Any) -> versions.Upgrade:
        return versions.Upgrade(tables, directory=self.steps)

    def write(self, name: str, *sql: str, python: str | None = None) -> None:
        """Write a step that runs some SQL, or Python."""
        head = "from astra.migrations import run_script\n\ndef up(migrator, db):\n    "
        (self.steps / f"{name}.py").write_text(head + (python or "run_script(__file__, db)"))
        for kind in ("postgres", "sqlite"):
            (self.steps / f"{name}.{kind}.sql").write_text("".join(f"{line};\n" for line in sql))

    def rows(self) -> list[str]:
        """All rows of the old columns, as text that tells NaN, -0.0 and NULL apart."""
        stars = self.target.fetch("SELECT pk, name, mag FROM {schema}star ORDER BY pk")
        visits = self.target.fetch("SELECT pk, star_pk, mjd FROM {schema}visit ORDER BY pk")
        return [*map(repr, stars), *map(repr, visits)]


@pytest.fixture
def place(target: Target) -> Iterator[Place]:
    with target.bind(*models, *OLD, *NEW) as database:
        yield Place(target, database)


@pytest.fixture
def old(place: Place) -> Place:
    """An older schema, made by its first step, with rows in it."""
    write_initial(OLD, place.steps)
    place.apply(OLD)
    for statement in ROWS.splitlines():
        place.target.fetch(statement)
    return place


# -- from nothing ----------------------------------------------------------------------------


def test_the_steps_make_what_the_models_say(target: Target) -> None:
    target.migrate()
    migrated = catalogue(target)
    drop_tables(target)
    with target.bind() as database:
        database.create_tables(models)

    wrong = differences(migrated, catalogue(target))

    assert set(migrated) == {model._meta.table_name for model in models}
    assert not wrong, (
        "the models (+) are not what the steps of astra/migrations make (-); draft the next step "
        "with `python -m astra.migrations draft NAME`, or, before the first release, the first "
        "with `python -m astra.migrations initial`:\n" + "\n".join(wrong)
    )


def test_a_second_run_changes_nothing(target: Target) -> None:
    target.migrate()
    before = target.fetch("SELECT * FROM {schema}schema_migration")

    done = target.run("migrate")

    assert done.returncode == DONE
    assert done.stdout.endswith("is up to date\n")
    assert "applied" not in done.stdout
    assert target.fetch("SELECT * FROM {schema}schema_migration") == before


def test_many_at_once_apply_each_step_once(target: Target) -> None:
    started = [target.popen("migrate") for _ in range(4)]
    outputs = [process.communicate(timeout=120)[0] for process in started]

    assert [process.returncode for process in started] == [DONE] * 4, outputs
    assert sum("applied 0001_initial" in output for output in outputs) == 1
    assert len(target.fetch("SELECT * FROM {schema}schema_migration")) == len(
        list(DIRECTORY.glob("[0-9]*.py"))
    )


# -- the plan --------------------------------------------------------------------------------


def run_script(target: Target, script: str) -> None:
    """Run a script with the driver alone."""
    connection = target._connect()
    if target.kind == "sqlite":
        connection.executescript(script)
    else:
        connection.autocommit = True
        connection.cursor().execute(script)
    connection.close()


def test_the_plan_is_a_script_that_does_the_same(target: Target) -> None:
    shown = target.run("migrate", "--plan")
    assert shown.returncode == DONE, shown.stderr
    assert not (target.folder / "astra.db").exists()
    assert catalogue(target) == {}

    target.migrate()
    migrated = catalogue(target)
    drop_tables(target)
    run_script(target, shown.stdout)

    assert differences(migrated, catalogue(target)) == []
    names = target.fetch("SELECT name FROM {schema}schema_migration ORDER BY name")
    assert names[0] == ("0001_initial",)
    after = target.run("migrate", "--plan")
    assert after.stdout.startswith("-- ")
    assert after.stdout.endswith("is up to date\n")
    assert "BEGIN" not in after.stdout


def test_the_plan_shows_only_what_is_pending(old: Place) -> None:
    old.write("0002_more", "ALTER TABLE star ADD COLUMN note TEXT DEFAULT '100% ;'")
    before = catalogue(old.target)

    planned = old.plan(OLD)

    changes = [
        sql for sql in planned if not sql.startswith(("SET", "CREATE TABLE IF", "CREATE UN"))
    ]
    assert changes[0] == "ALTER TABLE star ADD COLUMN note TEXT DEFAULT '100% ;'"
    assert "'0002_more'" in changes[1]
    assert len(changes) == 2
    assert catalogue(old.target) == before
    assert old.apply(OLD) == ["applied 0002_more"]


# -- over rows that are there ----------------------------------------------------------------


def test_a_draft_brings_an_older_schema_up_and_changes_no_row(old: Place) -> None:
    rows = old.rows()
    write_next("new_columns", NEW, old.steps)

    assert old.apply(NEW) == ["applied 0002_new_columns"]

    assert old.rows() == rows
    assert old.target.fetch("SELECT DISTINCT star_flags, colour FROM {schema}star") == [(0, None)]
    migrated = catalogue(old.target)
    drop_tables(old.target)
    old.database.close()
    old.database.create_tables(NEW)
    assert differences(migrated, catalogue(old.target)) == []


def test_the_tables_of_a_release_keep_their_rows(place: Place) -> None:
    for path in DIRECTORY.glob("0001_initial.*"):
        (place.steps / path.name).write_bytes(path.read_bytes())
    place.apply(models)
    source = Source.create(sdss_id=7, lead="é", sdss5_target_flags=b"\0\xff", ra=0.1)
    for _ in range(3):
        Rocket.create(source_pk=source.pk, spectrum_pk=Spectrum.create().pk, teff=-0.0)
    before = [place.target.table(model) for model in (Source, Spectrum, Rocket)]
    place.write(
        "0002_more",
        "CREATE TABLE note (pk INTEGER PRIMARY KEY, rocket BIGINT REFERENCES rocket (task_pk))",
        "ALTER TABLE rocket ADD COLUMN v_sini REAL",
        "ALTER TABLE source ADD COLUMN remark TEXT NOT NULL DEFAULT 'none'",
        "CREATE INDEX rocket_v_sini ON rocket (v_sini)",
    )

    assert place.apply(models) == ["applied 0002_more"]

    after = [place.target.table(model) for model in (Source, Spectrum, Rocket)]
    assert after[0].pop("remark") == ["none"]
    assert after[2].pop("v_sini") == [None] * 3
    assert [list(map(repr, table.items())) for table in after] == [
        list(map(repr, table.items())) for table in before
    ]
    assert Rocket.create(spectrum_pk=Spectrum.create().pk).task_pk == 4


def test_rows_that_point_to_a_table_stay_when_it_is_rebuilt(old: Place) -> None:
    rows = old.rows()
    old.write("0002_rebuild", python="migrator.migrate(migrator.drop_not_null('star', 'mag'))")

    old.apply(OLD)

    assert old.rows() == rows
    assert old.database.in_transaction() is False
    if old.target.kind == "sqlite":
        assert old.database.pragma("foreign_keys") == 1


def test_a_step_that_fails_undoes_those_before_it(old: Place) -> None:
    before, rows = catalogue(old.target), old.rows()
    old.write("0002_good", "ALTER TABLE star ADD COLUMN note TEXT", "UPDATE star SET mag = 5")
    old.write("0003_bad", "DELETE FROM visit", "ALTER TABLE nothing ADD COLUMN note TEXT")

    with pytest.raises(SchemaError, match=r"0003_bad failed, and nothing was applied: .*nothing"):
        old.apply(OLD)

    assert catalogue(old.target) == before
    assert old.rows() == rows
    names = old.target.fetch("SELECT name FROM {schema}schema_migration")
    assert names == [("0001_initial",)]


def test_statements_end_with_a_semicolon_at_the_end_of_a_line() -> None:
    script = "-- one; two\nSELECT ';',\n  '--';\n\n  -- three;\nSELECT 2;"

    assert statements(script) == ["SELECT ';',\n  '--'", "SELECT 2"]


# -- what the job says -----------------------------------------------------------------------


def test_an_older_schema_is_told_or_brought_up_to_date(old: Place) -> None:
    old.write("0002_first", "ALTER TABLE star ADD COLUMN a TEXT")
    old.write("0003_second", "ALTER TABLE star ADD COLUMN b TEXT")

    problems = old.ready(OLD)

    if old.target.kind == "sqlite":
        assert problems == []
        assert old.target.fetch("SELECT a, b FROM star LIMIT 1") == [(None, None)]
    else:
        [problem] = problems
        assert "older" in problem
        assert "run `astra migrate`, which applies 0002_first, 0003_second" in problem


@pytest.mark.parametrize("command", ["ingest", "migrate"])
def test_a_newer_schema_is_refused_before_anything_is_written(target: Target, command: str) -> None:
    target.migrate()
    target.fetch(
        "INSERT INTO {schema}schema_migration (name, applied, astra) "
        "VALUES ('9999_later', '2030-01-01 00:00:00', '9.9.9')"
    )
    sample = target.run("sample", "demo", "--rows", "5", "--product", "astraAllStarSlam")
    assert sample.returncode == DONE, sample.stderr

    done = target.run(command, *(["demo/manifest.yml"] if command == "ingest" else []))

    says(done, WRONG_INPUT, "newer than this program", "9999_later", "use astra 9.9.9")
    assert target.fetch("SELECT count(*) FROM {schema}source") == [(0,)]


# -- tables that the steps did not make ------------------------------------------------------


def test_tables_made_by_peewee_are_taken_over(target: Target) -> None:
    with target.bind() as database:
        database.create_tables([Source, Spectrum, Rocket])
        Source.create(sdss_id=7)

    done = target.run("migrate")

    assert done.returncode == DONE, done.stderr
    assert "took over 3 tables" in done.stdout
    assert target.fetch("SELECT sdss_id FROM {schema}source") == [(7,)]
    assert set(catalogue(target)) == {model._meta.table_name for model in models}
    assert "took over" not in target.run("migrate").stdout


def test_tables_that_do_not_fit_are_left_alone(target: Target) -> None:
    key = "BIGSERIAL" if target.kind == "postgres" else "INTEGER"
    target.fetch(f"CREATE TABLE {target.prefix}corv (task_pk {key} PRIMARY KEY, teff REAL)")
    before = catalogue(target)

    done = target.run("migrate")

    says(done, WRONG_INPUT, "not made", "do not fit", "table corv has no column spectrum_pk")
    assert catalogue(target) == before


OWN = """
from astra.fields import FloatField
from astra.models import PipelineOutputMixin

class Comet(PipelineOutputMixin):
    tail = FloatField(null=True)
"""


def test_the_table_of_an_own_pipeline_is_made_and_never_altered(target: Target) -> None:
    module = target.folder / "comets.py"
    module.write_text(OWN)
    manifest = target.folder / "manifest.yml"
    manifest.write_text("version: 1\nproducts: [{path: a.fits, result: 'comets:Comet'}]\n")
    planned = target.run("migrate", "--manifest", manifest, "--plan")
    assert 'comet" (' in planned.stdout

    made = target.run("migrate", "--manifest", manifest)
    again = target.run("migrate", "--manifest", manifest)
    module.write_text(OWN + "    coma = FloatField(null=True)\n")
    grown = target.run("migrate", "--manifest", manifest)

    assert made.returncode == DONE, made.stderr
    assert "made table comet" in made.stdout
    assert again.returncode == DONE, again.stderr
    assert "made table" not in again.stdout
    says(grown, WRONG_INPUT, "comet.coma", "never altered", "ALTER TABLE")
    assert target.fetch("SELECT tail FROM {schema}comet") == []


# -- drafts ----------------------------------------------------------------------------------


def test_there_is_nothing_to_draft() -> None:
    with pytest.raises(SchemaError, match="nothing to draft"):
        write_next("nothing", models)


def test_the_first_step_stays_once_there_is_another(tmp_path: Path) -> None:
    write_initial(OLD, tmp_path)
    before = (tmp_path / "0001_initial.sqlite.sql").read_text()
    write_next("new", NEW, tmp_path)

    with pytest.raises(SchemaError, match="draft the next step"):
        write_initial(NEW, tmp_path)

    assert (tmp_path / "0001_initial.sqlite.sql").read_text() == before


def test_a_column_that_old_rows_cannot_fill_is_refused(tmp_path: Path) -> None:
    class Fuller(BaseModel):
        pk = BigAutoField()
        name = TextField(null=True, index=True)
        mag = FloatField(null=True)
        grade = IntegerField(default=3)

        class Meta:
            table_name = "star"

    write_initial(OLD, tmp_path)

    with pytest.raises(SchemaError, match=r"star\.grade is not nullable.*null=True"):
        write_next("grade", [Fuller], tmp_path)


def test_a_column_that_is_gone_is_left_to_the_maintainer(tmp_path: Path) -> None:
    class Emptier(BaseModel):
        pk = BigAutoField()
        name = TextField(null=True, index=True)

        class Meta:
            table_name = "star"

    write_initial(OLD, tmp_path)
    paths = write_next("less", [Emptier], tmp_path)

    scripts = [path.read_text() for path in paths if path.suffix == ".sql"]
    assert scripts == ['-- loses values: ALTER TABLE "star" DROP COLUMN "mag";\n'] * 2
