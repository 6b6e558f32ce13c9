"""The image by itself, as any container engine and Apptainer run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from astra import __version__
from tests.cluster.machine import DATA, HOME, Machine
from tests.fixtures.processes import REPOSITORY

MEGABYTE = 1_000_000
MOST = 320 * MEGABYTE
MOST_SIF = 100 * MEGABYTE


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """The image's root, mounted."""
    container = _output("buildah", "from", os.environ["CLUSTER_IMAGE"])
    yield Path(_output("buildah", "mount", container))
    _output("buildah", "rm", container)


@pytest.fixture(scope="module")
def machine() -> Machine:
    """The machine, with the SIF that the user has built there."""
    machine = Machine()
    machine.image()
    return machine


def _output(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _configuration() -> dict[str, object]:
    image = json.loads(_output("buildah", "inspect", "--type=image", os.environ["CLUSTER_IMAGE"]))
    return image["OCIv1"]["config"]


def test_labels_and_entry_point() -> None:
    configuration = _configuration()
    labels = configuration["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}version"] == __version__
    assert labels[f"{prefix}licenses"] == "BSD-3-Clause"
    assert {f"{prefix}revision", f"{prefix}source"} <= set(labels)
    assert configuration["Entrypoint"] == ["/opt/astra/bin/astra"]
    assert "PYTHONNOUSERSITE=1" in configuration["Env"]


def test_it_is_small(root: Path, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    size = int(_output("du", "--bytes", "--summarize", "--one-file-system", root).split()[0])
    sif = (machine.data / "astra.sif").stat().st_size
    with capsys.disabled():
        print(f"\nimage: {size / MEGABYTE:.0f} MB unpacked, SIF: {sif / MEGABYTE:.0f} MB")  # noqa: T201
    assert size < MOST
    assert sif < MOST_SIF


def test_nothing_is_in_it_that_only_the_build_needs(root: Path) -> None:
    for program in ("gcc", "cc", "pip", "pip3", "git", "make"):
        assert not list(root.glob(f"usr/bin/{program}")), program
        assert not list(root.glob(f"opt/astra/bin/{program}")), program
    assert not list(root.glob("opt/astra/lib/python3*/site-packages/pip"))
    assert not list(root.glob("opt/astra/**/tests/test_*.py"))
    for folder in ("root/.cache", "var/lib/apt/lists", "var/cache/apt", "build", "tmp"):
        assert not list(root.glob(f"{folder}/*")), folder


def test_it_holds_byte_code_for_all_of_its_modules(root: Path) -> None:
    packages = next(root.glob("opt/astra/lib/python3*/site-packages"))
    for package in ("astra", "jobs", "peewee.py", "numpy"):
        place = packages / package
        sources = [place] if place.is_file() else list(place.rglob("*.py"))
        for source in sources:
            assert list((source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")), source


def test_bill_of_materials_names_all_that_is_locked(root: Path) -> None:
    document = json.loads((root / "opt/astra/sbom.cdx.json").read_text())
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["version"] == __version__
    there = {component["purl"].partition("?")[0] for component in document["components"]}
    locked = re.findall(
        r"^([a-z0-9.-]+)==(\S+)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE
    )
    assert locked
    assert {f"pkg:pypi/{name}@{version}" for name, version in locked} <= there
    assert any(purl.startswith("pkg:deb/debian/python3.11-minimal@") for purl in there)


def test_it_builds_twice_to_the_same_content() -> None:
    first = os.environ["CLUSTER_IMAGE"]
    again = f"{first}-again"
    build = [again if word == first else word for word in os.environ["CLUSTER_BUILD"].split()]
    _output("bash", REPOSITORY / "tests/cluster/image.sh", *build)
    identifiers = {
        _output("buildah", "images", "--quiet", "--no-trunc", tag) for tag in (first, again)
    }
    _output("buildah", "rmi", again)
    assert len(identifiers) == 1


def test_any_user_on_a_read_only_root(root: Path, tmp_path: Path) -> None:
    # What `podman run --read-only --user 54321 --tmpfs /tmp` does, without an engine.
    script = (
        'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; '
        'mount -t tmpfs -o mode=1777 tmpfs "$1/tmp"; '
        'exec chroot --userspec=54321:54321 "$1" env -i HOME=/nonexistent PATH=/usr/bin:/bin '
        "/.singularity.d/test"
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-ec", script, "sh", root],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"astra, version {__version__}" in done.stdout


def test_apptainer_runs_what_the_entry_point_runs(machine: Machine) -> None:
    said = machine.run("apptainer", "--silent", "run", f"{DATA}/astra.sif", "--version").stdout
    assert said == f"astra, version {__version__}\n"


def test_apptainer_test_checks_the_image(machine: Machine) -> None:
    said = machine.run("apptainer", "--silent", "test", f"{DATA}/astra.sif").stdout
    assert "2 files, 40 rows read, 0 rejected" in said


def test_the_hosts_python_stays_outside(machine: Machine) -> None:
    machine.write("modules/click.py", "raise SystemExit('the host was imported')\n")
    for place in (".local/lib/python3.11/site-packages/click.py", "click.py"):
        machine.write(place, "raise SystemExit('the host was imported')\n")
    said = machine.run(
        *("apptainer", "--silent", "run", f"{DATA}/astra.sif", "--version"),
        PYTHONPATH=str(HOME / "modules"),
        PYTHONHOME=str(HOME),
        PYTHONSTARTUP=str(HOME / "click.py"),
    ).stdout
    assert said == f"astra, version {__version__}\n"
    (machine.home / "click.py").unlink()


def test_no_home_at_all(machine: Machine) -> None:
    said = machine.run(
        *("apptainer", "--silent", "test", "--no-home", "--cleanenv", f"{DATA}/astra.sif"), cwd=DATA
    ).stdout
    assert "0 rejected" in said
