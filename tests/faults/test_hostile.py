"""Manifests, files and names that mean harm do none: clear errors, in bounded time and memory."""

from __future__ import annotations

import gzip
import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from astra.errors import UsageError
from jobs.filesystems import refuse_shared
from tests.fixtures.databases import PostgresTarget, SqliteTarget, Target
from tests.fixtures.jobs import DONE, WRONG_INPUT, WRONG_USE, says, write_manifest
from tests.fixtures.processes import clean_environment
from tests.fixtures.products import make_product
from tests.fixtures.server import PostgresServer

NASTY = "'; DROP TABLE source; --\" {0} \\ %s"
ROWS = 5
#: The job in two gigabytes of address space.
_SMALL = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from jobs.cli import main
main()
"""


def run_small(place: SqliteTarget, manifest: Path) -> subprocess.CompletedProcess[str]:
    """Run a job with little memory and little time."""
    return subprocess.run(
        [sys.executable, "-c", _SMALL, "ingest", manifest],
        env=clean_environment(place.folder / "home", **place.env),
        cwd=place.folder, capture_output=True, check=False, encoding="utf-8", timeout=60,
    )  # fmt: skip


def test_names_with_quotes_and_semicolons(target: Target, tmp_path: Path) -> None:
    target.migrate()
    folder = tmp_path / NASTY.replace("/", "")
    folder.mkdir()
    path = make_product(
        folder, "astraAllStarSlam", "DR20", ROWS, name=f"{NASTY}.fits",
        rename={"teff": NASTY[:40]}, cards={"EXTNAME": NASTY[:30]},
    )  # fmt: skip
    refused = target.ingest(write_manifest(tmp_path, {"path": path}))
    says(refused, WRONG_INPUT, NASTY[:30])

    product = {
        "path": path,
        "hdus": [NASTY[:30].strip()],
        "columns": {"teff": NASTY[:40]},
        "tag": NASTY,
    }
    done = target.ingest(write_manifest(tmp_path, product))

    says(done, DONE)
    assert target.fetch("SELECT count(*) FROM {schema}slam") == [(ROWS,)]
    assert target.fetch("SELECT path FROM {schema}ingested_table WHERE hdu > 0") == [(str(path),)]
    says(target.run("status", tmp_path / "manifest.yml"), DONE)


@pytest.mark.postgres
def test_a_schema_with_quotes_and_semicolons(tmp_path: Path, postgres: PostgresServer) -> None:
    target = PostgresTarget(tmp_path, postgres)
    schema = NASTY.replace("%s", "")
    quoted = '"{}"'.format(schema.replace('"', '""'))
    try:
        target.server.execute(f"CREATE SCHEMA {quoted} AUTHORIZATION {target.user}", dbname="astra")
        target.schema = schema
        env = target.env_of(target.user, "odd.yml")
        says(target.run("migrate", env=env), DONE)
        manifest = write_manifest(
            tmp_path, {"path": make_product(tmp_path, "astraAllStarSlam", "DR20", ROWS)}
        )
        says(target.run("ingest", manifest, env=env), DONE)
        target.prefix = f"{quoted}."
        assert target.fetch("SELECT count(*) FROM {schema}slam") == [(ROWS,)]
        says(target.run("ingest", manifest, "--force", env=env), DONE)
    finally:
        target.remove()


def billion_laughs(folder: Path) -> Path:
    lines = [
        "version: 1",
        "products:",
        "  - path: x.fits",
        "defaults:",
        "  ignore: &a [ha, ha, ha]",
    ]
    names = "abcdefghijklmnop"
    for old, new in itertools.pairwise(names):
        lines.append(f"x{new}: &{new} [{', '.join([f'*{old}'] * 9)}]")
    path = folder / "manifest.yml"
    path.write_text("\n".join(lines))
    return path


def deep(folder: Path) -> Path:
    path = folder / "manifest.yml"
    path.write_text("version: 1\nproducts: " + "[" * 100_000)
    return path


def objects(folder: Path) -> Path:
    path = folder / "manifest.yml"
    path.write_text("version: 1\nproducts: !!python/object/apply:os.system ['touch pwned']\n")
    return path


def endless_header(folder: Path) -> Path:
    path = folder / "x.fits"
    with path.open("wb") as out:
        out.write(b"SIMPLE  =                    T".ljust(2880))
        out.truncate(1 << 30)
    return write_manifest(folder, {"path": path})


def endless_header_packed(folder: Path) -> Path:
    path = folder / "x.fits.gz"
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(b"SIMPLE  =                    T".ljust(2880))
        for _ in range(256):
            out.write(b" " * (1 << 20))
    return write_manifest(folder, {"path": path})


def _with_card(folder: Path, old: bytes, new: bytes) -> Path:
    path = make_product(folder, "astraAllStarSlam", "DR20", ROWS)
    content = path.read_bytes()
    start = content.index(old)
    path.write_bytes(content[:start] + new.ljust(80)[:80] + content[start + 80 :])
    return write_manifest(folder, {"path": path})


def absurd_rows(folder: Path) -> Path:
    return _with_card(folder, b"NAXIS2  ", b"NAXIS2  = 999999999999999999")


def absurd_width(folder: Path) -> Path:
    return _with_card(folder, b"NAXIS1  ", b"NAXIS1  = 4611686018427387904")


def absurd_axes(folder: Path) -> Path:
    return _with_card(folder, b"NAXIS   ", b"NAXIS   = 2147483647")


def absurd_heap(folder: Path) -> Path:
    return _with_card(folder, b"PCOUNT  ", b"PCOUNT  = 9223372036854775807")


def absurd_form(folder: Path) -> Path:
    return _with_card(folder, b"TFORM5  ", b"TFORM5  = '99999999999999999999E'")


def absurd_fields(folder: Path) -> Path:
    return _with_card(folder, b"TFIELDS ", b"TFIELDS = 1000000000")


HOSTILE: list[Callable[[Path], Path]] = [
    *(billion_laughs, deep, objects, endless_header, endless_header_packed, absurd_rows),
    *(absurd_width, absurd_axes, absurd_heap, absurd_form, absurd_fields),
]


@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_what_is_too_much_is_told(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    place = SqliteTarget(tmp_path)
    manifest = make(tmp_path)
    done = run_small(place, manifest)
    message = says(done, WRONG_INPUT)
    assert len(message) < 5000
    assert not place.path.exists() or not place.fetch("SELECT 1 FROM source")
    assert not (tmp_path / "pwned").exists()


def test_an_absurd_tdim_is_of_no_consequence(tmp_path: Path) -> None:
    path = make_product(
        tmp_path, "astraAllStarSlam", "DR20", ROWS,
        column_cards={"teff": {"TDIM": "(999999999,999999999)"}},
    )  # fmt: skip
    done = run_small(SqliteTarget(tmp_path), write_manifest(tmp_path, {"path": path}))
    assert done.returncode in (DONE, WRONG_INPUT), done.stderr
    assert "Traceback" not in done.stderr


def test_paths_that_lead_out_of_the_root(tmp_path: Path) -> None:
    place = SqliteTarget(tmp_path)
    made = [make_product(tmp_path, "astraAllStarSlam", "DR20", ROWS, name="out.fits")]
    inside = tmp_path / "in"
    inside.mkdir()
    made.append(make_product(inside, "astraAllVisitCorv", "DR20", ROWS))
    (inside / "link.fits").symlink_to(made[0])
    manifest = inside / "manifest.yml"
    paths = ("*.fits", "../out.fits", made[0])
    manifest.write_text(
        "version: 1\nroot: .\nproducts:\n" + "".join(f"- path: '{path}'\n" for path in paths)
    )
    for command in (("ingest", manifest), ("manifest", "--check", manifest)):
        message = says(place.run(*command), WRONG_INPUT)
        lines = [line for line in message.splitlines() if "not under the root" in line]
        assert [f"manifest.yml:{4 + number}: " in line for number, line in enumerate(lines)] == [
            True, True, True,
        ]  # fmt: skip
        assert str(made[0]) in lines[0]
    assert not place.path.exists()

    (inside / "link.fits").unlink()
    manifest.write_text("version: 1\nroot: .\nproducts: [{path: '*.fits'}]\n")
    says(place.run("manifest", "--check", manifest), DONE)
    says(place.ingest(manifest), DONE)


# -- SQLite and the cluster --------------------------------------------------------------------


def test_an_array_of_several_tasks_is_refused_on_sqlite(tmp_path: Path) -> None:
    place = SqliteTarget(tmp_path)
    path = make_product(tmp_path, "astraAllStarSlam", "DR20", ROWS)
    array = {f"SLURM_ARRAY_{k}": v for k, v in (("JOB_ID", "1"), ("TASK_ID", "0"))}
    array |= {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_COUNT": "2"}
    done = place.run("ingest", write_manifest(tmp_path, {"path": path}), env=array)
    says(done, WRONG_USE, "an array of 2 tasks", "PostgreSQL")
    assert not place.path.exists()


@pytest.mark.parametrize("kind", ["nfs4", "lustre", "gpfs"])
def test_a_network_file_system_is_refused_for_sqlite(tmp_path: Path, kind: str) -> None:
    mounts = (
        f"22 1 0:21 / / rw - ext4 /dev/vda rw\n36 22 0:32 / {tmp_path} rw - {kind} server:/x rw\n"
    )
    with pytest.raises(UsageError, match=f"{kind}, a network file system"):
        refuse_shared(tmp_path / "astra.db", {}, mounts)
    refuse_shared(Path("/elsewhere/astra.db"), {}, mounts)
