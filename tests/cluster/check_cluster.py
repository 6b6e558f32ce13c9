"""`sbatch slurm/ingest.sh manifest.yml`, as the README has it, on a real Slurm of one node."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.benchmarks import measure
from tests.benchmarks.start import COLD, cold_start, shares
from tests.cluster.machine import DATA, HOME, Machine, readme_lines
from tests.fixtures.processes import REPOSITORY, clean_environment, run_python
from tests.fixtures.readme import pieces
from tests.fixtures.server import PostgresServer

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(400)]

DATABASE = "sdss5db"
ROLE = "ingest"
PASSWORD = "only in the password file"
ENVIRONMENT = {
    "SAS_BASE_DIR": f"{DATA}/sdss",
    "MWM_ASTRA": f"{DATA}/sdss/dr20/spectro/astra",
}

# What the README's page has, and where that finds the release.
README_MANIFEST = next(piece.text for piece in pieces() if piece.info == "yaml cluster")
README_FOLDER = "sdss/dr20/spectro/astra/0.8.1/summary"

# A product below a variable, one with its whole path, and some beside the manifest.
MANIFEST = f"""\
version: 1
products:
  - path: $MWM_ASTRA/0.8.1/summary/astraAllStarSlam-0.8.1.fits.gz
  - path: {DATA}/other/astraAllStarBossNet-0.8.1.fits.gz
  - path: products/astraAllStarSnowWhite-*.fits*
"""
PRODUCTS = {
    "astraAllStarSlam": f"data/{README_FOLDER}",
    "astraAllStarBossNet": "data/other",
    "astraAllStarSnowWhite": "home/products",
}
RESULTS = ("boss_net", "slam", "snow_white")
ROWS = 2000


class Tables:
    """The tables of one schema, in which nothing was when the test began."""

    def __init__(self, server: PostgresServer, schema: str) -> None:
        self.server = server
        self.schema = schema

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Run SQL as the superuser in this schema and commit."""
        search = f"-c search_path={self.schema}"
        with (
            closing(psycopg2.connect(self.server.dsn(DATABASE, options=search))) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def names(self) -> list[str]:
        """Return the names of the tables that hold what was ingested, not how."""
        from astra.models import ledger_models, models

        return sorted(model._meta.table_name for model in set(models) - set(ledger_models))

    def rows(self) -> int:
        """Return how many results there are."""
        return sum(self.fetch(f"SELECT count(*) FROM {name}")[0][0] for name in RESULTS)

    def content(self) -> dict[str, tuple[int, str]]:
        """Return the number of rows of each table, and a digest of all their values.

        Left out: keys that the database numbers as rows come in, for which the source's own
        identifier stands, and the times of writing.
        """
        found = {}
        for table in self.names():
            columns = self.fetch(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = "
                f"'{self.schema}' AND table_name = '{table}' ORDER BY ordinal_position"
            )
            numbered = {"pk", "task_pk", "created", "modified", "t_elapsed", "t_overhead"}
            values = [
                "(SELECT sdss_id FROM source WHERE source.pk = t.source_pk)"
                if name == "source_pk"
                else f't."{name}"'
                for (name,) in columns
                if name not in numbered or (name == "pk" and table == "spectrum")
            ]
            [found[table]] = self.fetch(
                f"SELECT count(*), md5(string_agg(r, chr(10) ORDER BY r)) FROM "
                f"(SELECT md5(ROW({', '.join(values)})::text) AS r FROM {table} AS t) AS rows"
            )
        return found

    def empty(self) -> None:
        """Take all rows out, and with them what is known of what is in."""
        from astra.models import models

        self.fetch("TRUNCATE " + ", ".join(model._meta.table_name for model in models))

    def slow_down(self, seconds: float) -> None:
        """Let each statement that brings results into the tables take so much longer."""
        self.fetch(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
            f"'BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END'"
        )
        for table in RESULTS:
            self.fetch(
                f"CREATE TRIGGER slow AFTER INSERT ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION wait()"
            )

    def speed_up(self) -> None:
        """Take back what `slow_down` did."""
        self.fetch("DROP FUNCTION wait CASCADE")


@pytest.fixture(scope="module")
def machine() -> Machine:
    """The machine, with all in its places that a user has brought to a cluster."""
    machine = Machine()
    shutil.copytree(REPOSITORY / "slurm", machine.home / "slurm")
    (machine.home / "astra.sif").symlink_to(machine.image())
    machine.write("manifest.yml", MANIFEST)
    return machine


@pytest.fixture(scope="module", autouse=True)
def recipe(machine: Machine) -> subprocess.Popen[str]:
    """What builds the image without a container engine, while the tests wait for Slurm."""
    folder = machine.data / "recipe"
    shutil.copytree(Path(os.environ["CLUSTER_WORK"]) / "sources", folder)
    machine.give(folder)
    base = f"build --build-arg BOOTSTRAP=oci-archive --build-arg BASE={DATA}/base.tar "
    [line] = readme_lines("apptainer build astra.sif slurm/")
    return machine.start("bash", "-c", line.replace("build ", base, 1), cwd=DATA / "recipe")


@pytest.fixture(scope="module")
def products(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The products of a small release, each in a place of another kind."""
    samples = tmp_path_factory.mktemp("samples")
    options = [f"--product={name}" for name in PRODUCTS]
    env = clean_environment(samples / "home")
    made = run_python("-m", "jobs", "sample", samples, f"--rows={ROWS}", *options, env=env)
    assert made.returncode == 0, made.stderr
    places = {}
    for name, place in PRODUCTS.items():
        folder = machine.home.parent / place
        folder.mkdir(parents=True, exist_ok=True)
        for file in samples.glob(f"**/{name}-*"):
            places[name] = Path(shutil.copy(file, folder))
    return places


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> PostgresServer:
    """The server, with a database and a role that is not its superuser."""
    postgres.execute(
        f'CREATE DATABASE "{DATABASE}"', f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"
    )
    return postgres


@pytest.fixture
def tables(
    request: pytest.FixtureRequest, machine: Machine, server: PostgresServer
) -> Iterator[Tables]:
    """A schema of the test's own, made and configured as the README says."""
    schema = re.sub(r"\W", "_", request.node.name.removeprefix("test_")).strip("_")
    make_schema(server, schema)
    configure(machine, server, schema)
    machine.run("apptainer", "run", "astra.sif", "migrate")
    yield Tables(server, schema)
    machine.run("scancel", "--user=sdss")


def make_schema(server: PostgresServer, schema: str) -> None:
    server.execute(f'CREATE SCHEMA "{schema}" AUTHORIZATION {ROLE}', dbname=DATABASE)


def configure(machine: Machine, server: PostgresServer, schema: str) -> None:
    machine.write(".config/sdss/astra/astra.yml", config(server, schema))
    entry = f"{server.host}:{server.port}:*:{ROLE}:{PASSWORD}\n"
    machine.write(".pgpass", entry, mode=0o600)


def config(server: PostgresServer, schema: str) -> str:
    return (
        f"database:\n  dbname: {DATABASE}\n  host: {server.host}\n  port: {server.port}\n"
        f"  user: {ROLE}\n  schema: {schema}\n"
    )


@pytest.fixture(scope="module")
def plain(
    products: dict[str, Path],
    server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[int, str]]:
    """What the tables hold after a run without image and cluster, of the same files."""
    folder = tmp_path_factory.mktemp("plain")
    make_schema(server, "plain")
    settings = folder / "astra.yml"
    settings.write_text(config(server, "plain") + f"  password: {PASSWORD}\n")
    entries = "".join(f"  - path: {path}\n" for path in products.values())
    manifest = folder / "manifest.yml"
    manifest.write_text(f"version: 1\nproducts:\n{entries}")
    env = clean_environment(folder / "home", ASTRA_CONFIG_PATH=str(settings))
    for command in (("migrate",), ("ingest", str(manifest))):
        done = run_python("-m", "jobs", *command, env=env, cwd=folder)
        assert done.returncode == 0, done.stderr
    return Tables(server, "plain").content()


def submit(machine: Machine, *options: str, after: tuple[str, ...] = ()) -> str:
    """Submit the README's line, with options before and after its words."""
    return machine.submit(*options, "slurm/ingest.sh", "manifest.yml", *after, **ENVIRONMENT)


def states(machine: Machine, job: str, seconds: float = 120) -> set[str]:
    return set(machine.wait(job, seconds).values())


def test_the_page_of_the_readme(
    machine: Machine, tables: Tables, products: dict[str, Path], plain: dict[str, Any]
) -> None:
    """Every command of the page from `module load` on, each when those before have ended."""
    folder = machine.write("release/manifest.yml", README_MANIFEST).parent
    for name in ("astra.sif", "slurm"):
        (folder / name).symlink_to(f"../{name}")
    for path in products.values():
        if path.parent != machine.data / README_FOLDER:
            shutil.copy(path, machine.data / README_FOLDER)
    said = {}
    exports = "module() { :; }\n"
    lines = readme_lines()
    for line in lines[lines.index("module load apptainer") :]:
        if line.startswith(("export", "module")):
            exports += f"{line}\n"
            continue
        # Nobody is there to end it.
        script = exports + line.replace("tail -f", "tail")
        said[line] = machine.run("bash", "-ec", script, cwd=HOME / "release").stdout
        if line.startswith("sbatch"):
            job = said[line].split()[-1]
            assert states(machine, job) == {"COMPLETED"}, machine.logs(job)
            assert tables.content() == plain
    first, second = (text.split()[-1] for line, text in said.items() if line.startswith("sbatch"))
    assert {plain[table][0] for table in RESULTS} == {ROWS}
    assert len(list(folder.glob(f"reports/astra-{first}_*.json"))) == 4
    assert len(list(folder.glob(f"reports/astra-{second}_*.json"))) == 16
    assert len(list(folder.glob("reports/*.summary.json"))) == 2
    [plan] = (text for line, text in said.items() if " plan " in line)
    assert "sbatch --array=0-" in plan
    assert "\n3 in\n" in f"\n{said[lines[-1]]}"


def test_cold_start(machine: Machine, tables: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    machine.write(f"cold/{COLD.name}", COLD.read_text())
    astra = ("apptainer", "--silent", "exec", f"{DATA}/astra.sif")
    python = (*astra, "/opt/astra/bin/python", "-I")

    def command(*words: str) -> str:
        return machine.run(*words, cwd=HOME / "cold").stdout

    command(*astra, "astra", "sample", ".", "--rows=1", "--product=astraAllStarSlam")
    found = shares([cold_start(command, python, astra) for _ in range(3)])
    with capsys.disabled():
        print(f"\n{measure.table(found)}")  # noqa: T201
    assert tables.fetch("SELECT count(*) FROM slam") == [(1,)]
    assert [each.case for each in found][-2:] == [
        "cold start: first row in",
        "cold start: all of it",
    ]


def test_one_task_and_parts_by_srun(
    machine: Machine, tables: Tables, plain: dict[str, Any]
) -> None:
    job = submit(machine, "--array=7")
    assert states(machine, job) == {"COMPLETED"}, machine.logs(job)
    assert tables.content() == plain
    tables.empty()
    job = machine.submit(
        "--ntasks=3",
        "--output=srun-%j_.log",
        "--wrap=srun slurm/ingest.sh manifest.yml",
        **ENVIRONMENT,
    )
    assert states(machine, job) == {"COMPLETED"}, machine.logs(job)
    assert tables.content() == plain
    reports = [machine.home / f"reports/astra-{job}.{task}.json" for task in range(3)]
    assert [json.loads(file.read_text())["shard"] for file in reports] == ["0/3", "1/3", "2/3"]


@pytest.mark.parametrize("how", ["scancel", "oom"])
def test_killed_and_requeued(
    machine: Machine, tables: Tables, plain: dict[str, Any], how: str
) -> None:
    tables.slow_down(0.5)
    job = submit(machine, "--array=0-1", after=("--batch-size=200",))
    machine.until(lambda: tables.rows() > 0, 60, lambda: machine.logs(job))
    task = next(task for task in machine.tasks(job) if machine.state(task) == "RUNNING")
    if how == "scancel":
        machine.run("scancel", "--signal=KILL", task)
        expected = "CANCELLED"
    else:
        machine.run("pkill", "-KILL", "-f", f"astra ingest .*astra-{task}.json")
        expected = "FAILED"
    machine.until(lambda: machine.state(task) == expected, 60, lambda: machine.logs(job))
    assert tables.content() != plain
    tables.speed_up()
    machine.run("scontrol", "requeue", task)
    machine.until(lambda: machine.state(task) == "COMPLETED", 60, lambda: machine.logs(job))
    assert states(machine, job) == {"COMPLETED"}, machine.logs(job)
    assert tables.content() == plain
    log = (machine.home / f"astra-{task}.log").read_text()
    assert "start 1\n" in log
    assert "start 2\n" in log


def test_time_limit(machine: Machine, tables: Tables, plain: dict[str, Any]) -> None:
    tables.slow_down(3)
    options = ("--array=0", "--time=1", "--signal=B:USR1@40")
    job = submit(machine, *options, after=("--batch-size=100",))
    task = f"{job}_0"
    log = machine.home / f"astra-{task}.log"
    machine.until(
        lambda: log.exists() and "is requeued" in log.read_text(), 100, lambda: machine.logs(job)
    )
    assert tables.rows() > 0
    assert tables.content() != plain
    tables.speed_up()
    assert states(machine, job) == {"COMPLETED"}, machine.logs(job)
    [fields] = machine.tasks(task).values()
    assert fields["Restarts"] == "1"
    assert tables.content() == plain


def test_preempted(machine: Machine, tables: Tables, plain: dict[str, Any]) -> None:
    tables.slow_down(0.5)
    job = submit(machine, "--array=0", after=("--batch-size=200",))
    task = f"{job}_0"
    machine.until(lambda: tables.rows() > 0, 60, lambda: machine.logs(job))
    machine.run("scontrol", "requeue", task)
    machine.until(lambda: machine.state(task) != "RUNNING", 60, lambda: machine.logs(job))
    tables.speed_up()
    assert states(machine, job) == {"COMPLETED"}, machine.logs(job)
    assert tables.content() == plain


def test_cancelled_stays_so(machine: Machine, tables: Tables, plain: dict[str, Any]) -> None:
    tables.slow_down(0.5)
    job = submit(machine, "--array=0", after=("--batch-size=200",))
    machine.until(lambda: tables.rows() > 0, 60, lambda: machine.logs(job))
    machine.run("scancel", job)
    assert states(machine, job) == {"CANCELLED"}
    tables.speed_up()
    assert tables.content() != plain
    log = machine.logs(job)
    assert "stopping after this chunk" in log
    assert "is requeued" not in log
    job = submit(machine, "--array=1-2")
    assert states(machine, job) == {"COMPLETED"}, machine.logs(job)
    assert tables.content() == plain


def test_server_away(
    machine: Machine, server: PostgresServer, tables: Tables, plain: dict[str, Any]
) -> None:
    server.stop()
    try:
        job = submit(machine, "--array=0")
        log = machine.home / f"astra-{job}_0.log"
        machine.until(
            lambda: log.exists() and "is requeued" in log.read_text(),
            100,
            lambda: machine.logs(job),
        )
    finally:
        server.start()
    assert states(machine, job) == {"COMPLETED"}, machine.logs(job)
    assert tables.content() == plain


def test_mistakes_are_told_with_the_mend(machine: Machine) -> None:
    cases = {
        "no such image": (["slurm/ingest.sh", "manifest.yml"], {"ASTRA_IMAGE": "/data/none.sif"}),
        "no file to read": (["slurm/ingest.sh", "missing.yml"], {}),
        "$MWM_ASTRA is not set": (["slurm/ingest.sh", "manifest.yml"], {"MWM_ASTRA": ""}),
        "no manifest": (["slurm/ingest.sh"], {}),
    }
    for message, (line, env) in cases.items():
        job = machine.submit("--array=0", *line, **ENVIRONMENT | env)
        assert states(machine, job) == {"FAILED"}
        log = (machine.home / f"astra-{job}_0.log").read_text()
        assert message in log
        assert len(log.splitlines()) == 1, log


def test_more_tasks_than_the_cluster_takes(machine: Machine) -> None:
    said = machine.run("sbatch", "--array=0-99", "slurm/ingest.sh", "manifest.yml", check=False)
    assert said.returncode != 0
    assert "Invalid job array specification" in said.stdout


def test_the_recipe_without_an_engine_makes_the_same_image(
    machine: Machine, recipe: subprocess.Popen[str]
) -> None:
    said, _ = recipe.communicate()
    assert recipe.returncode == 0, said
    assert "2 files, 40 rows read, 0 rejected" in said  # apptainer tests what it has built
    digests = "cd / && find opt usr var etc -xdev -type f -exec md5sum {} +"
    made, other = (
        set(
            machine.run("apptainer", "--silent", "exec", image, "sh", "-c", digests).stdout.split(
                "\n"
            )
        )
        for image in (f"{DATA}/recipe/astra.sif", f"{DATA}/astra.sif")
    )
    # Each has the self-check where its own builder expects it.
    assert [line.split()[1] for line in made ^ other] == ["opt/astra/self-check.sh"]
