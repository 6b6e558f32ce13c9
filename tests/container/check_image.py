"""The image by itself, as any container engine and Apptainer run it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from astra import __version__
from tests.cluster.machine import DATA, HOME, Machine
from tests.fixtures.processes import REPOSITORY

# As the README has it, and as tests/cluster/buildah.sh builds it.
IMAGE = "localhost/astra:latest"
AGAIN = "localhost/astra:again"

# What tests/cluster/podman.sh puts into the base for pip.
_TRUST = "usr/local/share/ca-certificates"
OF_THE_SITE = ("etc/pip.conf", _TRUST, f"{_TRUST}/site.crt")

MEGABYTE = 1_000_000
MOST = 320 * MEGABYTE
MOST_SIF = 100 * MEGABYTE


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """The image's root, mounted."""
    with _mounted(IMAGE) as root:
        yield root


@pytest.fixture(scope="module", autouse=True)
def again() -> subprocess.Popen[str]:
    """What builds the image once more, while the user makes the SIF of the first."""
    script = REPOSITORY / "tests/cluster/buildah.sh"
    sources = Path(os.environ["CLUSTER_WORK"]) / "sources"
    return subprocess.Popen(
        ["bash", script, sources, os.environ["CLUSTER_BASE"]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def machine() -> Machine:
    """The machine, with the SIF that the user has built there."""
    machine = Machine()
    machine.image()
    return machine


@contextmanager
def _mounted(image: str) -> Iterator[Path]:
    container = _output("buildah", "from", image)
    try:
        yield Path(_output("buildah", "mount", container))
    finally:
        _output("buildah", "rm", container)


def _output(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _configuration() -> dict[str, object]:
    image = json.loads(_output("buildah", "inspect", "--type=image", IMAGE))
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


def test_it_holds_byte_code_that_is_used_whatever_the_times_of_files(root: Path) -> None:
    packages = next(root.glob("opt/astra/lib/python3*/site-packages"))
    standard = next(root.glob("usr/lib/python3.*"))
    for place in (*(packages / name for name in ("astra", "jobs", "peewee.py", "numpy")), standard):
        sources = [place] if place.is_file() else list(place.rglob("*.py"))
        for source in sources:
            [code] = (source.parent / "__pycache__").glob(f"{source.stem}.*.pyc")
            # PEP 552: by the hash of its source, and that is not looked at.
            assert int.from_bytes(code.read_bytes()[4:8], "little") == 0b01, code


def test_bill_of_materials_names_all_that_is_locked(root: Path) -> None:
    text = (root / "opt/astra/sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    document = json.loads(text)
    assert document["metadata"]["component"]["version"] == __version__
    there = {component["purl"].partition("?")[0]: component for component in document["components"]}
    locked = re.findall(
        r"^([a-z0-9.-]+)==(\S+)", (REPOSITORY / "requirements.lock").read_text(), re.MULTILINE
    )
    python = {purl: each for purl, each in there.items() if purl.startswith("pkg:pypi/")}
    assert {f"pkg:pypi/{name}@{version}" for name, version in locked} == set(python)
    assert [purl for purl, each in python.items() if not each["licenses"]] == []
    assert any(purl.startswith("pkg:deb/debian/python3.11-minimal@") for purl in there)


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


def test_it_builds_twice_to_the_same_content(root: Path, again: subprocess.Popen[str]) -> None:
    said, _ = again.communicate()
    assert again.returncode == 0, said
    with _mounted(AGAIN) as other:
        first, second = _content(root), _content(other)
    assert {path for path in first if first[path] != second.get(path)} <= set(OF_THE_SITE)
    assert set(second) <= set(first)


def _content(root: Path) -> dict[str, tuple[int, str]]:
    """Return all that is below a folder: mode, and where a link leads, or a digest."""
    found = {}
    for folder, folders, files in os.walk(root):
        for path in (Path(folder, name) for name in (*folders, *files)):
            text = ""
            if path.is_symlink():
                text = os.fspath(path.readlink())
            elif path.is_file():
                text = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(root))] = (path.lstat().st_mode, text)
    return found
