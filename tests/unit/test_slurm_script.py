"""slurm/ingest.sh against stand-ins for `apptainer` and `scontrol`, which say how they were called.

The real ones have the same script in tests/cluster.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.processes import REPOSITORY

SCRIPT = REPOSITORY / "slurm" / "ingest.sh"

# Writes its arguments, a line each, and ends with a status; or waits to be stopped, and says so.
APPTAINER = """\
#!/usr/bin/env bash
printf '%s\\n' "$@" >apptainer.called
[[ -p said ]] || exit "$(cat status)"
exec 3>said
trap 'echo stopped >&3; exit 75' TERM
echo ready >&3
while :; do read -r -t 1 _ <>never || true; done
"""
SCONTROL = """\
#!/usr/bin/env bash
echo "$*" >>scontrol.called
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="they need bash")


class Cluster:
    """A folder to submit from, with an image and a manifest in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        self.programs.mkdir()
        self.home = folder / "home"
        self.home.mkdir()
        self.program("apptainer", APPTAINER)
        self.program("scontrol", SCONTROL)
        self.status(0)
        os.mkfifo(folder / "never")
        (folder / "astra.sif").touch()
        self.manifest("products/a.fits")

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def status(self, status: int) -> None:
        (self.folder / "status").write_text(str(status))

    def manifest(self, *paths: str) -> None:
        lines = [f"  - path: {path}\n" for path in paths]
        (self.folder / "manifest.yml").write_text("version: 1\nproducts:\n" + "".join(lines))

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        path = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.Popen(
            ["bash", SCRIPT, *args],
            cwd=self.folder,
            env={"HOME": str(self.home), "PATH": path} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *args: str, **env: str) -> tuple[int, str]:
        """Run the script and return its status and what it said."""
        process = self.start(*(args or ("manifest.yml",)), **env)
        said, _ = process.communicate(timeout=60)
        return process.returncode, said

    def called(self) -> list[str]:
        """Return the arguments that `apptainer` was called with."""
        return (self.folder / "apptainer.called").read_text().splitlines()

    def bound(self) -> set[str]:
        """Return what was bound, all of it under its own name."""
        found = set()
        for argument in self.called():
            if argument.startswith("type=bind"):
                _, source, destination = argument.split(",", 2)
                assert source.removeprefix('"source=') == destination.removeprefix('"destination=')
                found.add(source.removeprefix('"source=').rstrip('"'))
        return found

    def requeued(self) -> list[str]:
        """Return what `scontrol` was called with."""
        file = self.folder / "scontrol.called"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path.resolve())


def array_task(task: int = 2, **extra: str) -> dict[str, str]:
    """Return the environment of one task of an array of four."""
    return {
        "SLURM_JOB_ID": "107",
        "SLURM_ARRAY_JOB_ID": "100",
        "SLURM_ARRAY_TASK_ID": str(task),
        "SLURM_ARRAY_TASK_MIN": "0",
        "SLURM_ARRAY_TASK_MAX": "3",
        "SLURM_ARRAY_TASK_STEP": "1",
        "SLURM_ARRAY_TASK_COUNT": "4",
    } | extra


def test_defaults_for_sbatch() -> None:
    lines = [line for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH")]
    options = " ".join(lines)
    for option in ("--requeue", "--open-mode=append", "--signal=B:USR1@", "--array=0-3"):
        assert option in options
    assert "--output=astra-%A_%a.log" in options
    for of_a_site in ("--account", "--partition", "--clusters", "--qos"):
        assert of_a_site not in options


def test_it_ingests_the_manifest_with_the_options_after_it(cluster: Cluster) -> None:
    status, _ = cluster.run("manifest.yml", "--batch-size", "500", **array_task())
    assert status == 0
    ingest = cluster.called().index("ingest")
    assert cluster.called()[ingest - 1] == str(cluster.folder / "astra.sif")
    assert cluster.called()[ingest:] == [
        *("ingest", "manifest.yml", "--batch-size", "500"),
        *("--report", "reports/astra-100_2.json"),
    ]
    assert (cluster.folder / "reports").is_dir()


def test_what_is_bound(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("else where").resolve()
    folders = [elsewhere / name for name in ("sas", "astra", "fixed", "scratch", "settings")]
    for folder in folders:
        folder.mkdir()
    sas, astra, fixed, scratch, settings = map(str, folders)
    (elsewhere / "settings" / "astra.yml").touch()
    (elsewhere / "link").symlink_to(elsewhere / "fixed")
    (cluster.home / ".pgpass").touch()
    cluster.manifest(
        "${MWM_ASTRA}/0.8.1/*.fits  # not $THIS", f'"{fixed}/v*/x.fits"', f"{elsewhere}/link/y.fits"
    )
    env = {"SAS_BASE_DIR": sas, "MWM_ASTRA": astra, "SLURM_TMPDIR": scratch}
    status, said = cluster.run(ASTRA_CONFIG_PATH=f"{settings}/astra.yml", **env)
    assert status == 0, said
    assert cluster.bound() == {
        *(str(cluster.folder), sas, astra, fixed, f"{elsewhere}/link", scratch),
        *(f"{settings}/astra.yml", f"{cluster.home}/.pgpass"),
    }
    assert f"TMPDIR={scratch}" in cluster.called()


def test_manifest_elsewhere(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("release").resolve()
    shutil.move(cluster.folder / "manifest.yml", folder / "release.yml")
    cluster.run(f"{folder}/release.yml")
    assert str(folder) in cluster.bound()


@pytest.mark.parametrize(
    ("spoil", "env", "expected"),
    [
        (lambda at: (at / "manifest.yml").unlink(), {}, "manifest.yml: no file to read"),
        (lambda at: (at / "astra.sif").unlink(), {}, "export ASTRA_IMAGE="),
        (lambda at: at.touch(), {"ASTRA_IMAGE": "/no/such.sif"}, "/no/such.sif: no such image"),
        (lambda at: (at / "programs/apptainer").unlink(), {}, "module load apptainer"),
        (
            lambda at: (at / "manifest.yml").write_text("- path: $MWM_ASTRA/x.fits\n"),
            {},
            "$MWM_ASTRA is not set; before sbatch: export MWM_ASTRA=",
        ),
    ],
)
def test_mistakes_end_in_one_line_with_the_mend(
    cluster: Cluster, spoil: Callable[[Path], object], env: dict[str, str], expected: str
) -> None:
    spoil(cluster.folder)
    status, said = cluster.run(**env)
    assert status == 2
    assert expected in said
    assert len(said.splitlines()) == 1
    assert not (cluster.folder / "apptainer.called").exists()


def test_no_manifest(cluster: Cluster) -> None:
    process = cluster.start()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "sbatch slurm/ingest.sh manifest.yml" in said


@pytest.mark.parametrize("status", [0, 1, 3, 4])
def test_the_status_is_the_programs(cluster: Cluster, status: int) -> None:
    cluster.status(status)
    assert cluster.run(**array_task())[0] == status
    assert cluster.requeued() == []


def test_a_server_that_is_away_requeues_this_task_alone(cluster: Cluster) -> None:
    cluster.status(75)
    status, said = cluster.run(**array_task())
    assert status == 75
    assert cluster.requeued() == ["requeue 100_2"]
    assert "requeued" in said


def test_outside_an_array_the_job_is_requeued(cluster: Cluster) -> None:
    cluster.status(75)
    cluster.run(SLURM_JOB_ID="107")
    assert cluster.requeued() == ["requeue 107"]
    assert cluster.called()[-1] == "reports/astra-107.json"


def test_outside_slurm_nothing_is_requeued(cluster: Cluster) -> None:
    cluster.status(75)
    assert cluster.run()[0] == 75
    assert cluster.requeued() == []


def test_requeueing_ends_some_time(cluster: Cluster) -> None:
    cluster.status(75)
    cluster.run(**array_task(SLURM_RESTART_COUNT="19"))
    status, said = cluster.run(**array_task(SLURM_RESTART_COUNT="20"))
    assert cluster.requeued() == ["requeue 100_2"]
    assert status == 2
    assert "started 21 times" in said


def test_a_restarted_task_keeps_the_report_of_its_first_start(cluster: Cluster) -> None:
    cluster.run(**array_task(SLURM_RESTART_COUNT="1"))
    assert cluster.called()[-1] == "reports/astra-100_2-start2.json"


def test_requeueing_that_is_refused_is_told(cluster: Cluster) -> None:
    cluster.status(75)
    cluster.program("scontrol", "#!/bin/sh\necho 'not permitted' >&2\nexit 1\n")
    status, said = cluster.run(**array_task())
    assert status == 75
    assert "submit again" in said


@pytest.mark.parametrize(
    ("number", "expected"), [(signal.SIGUSR1, ["requeue 100_2"]), (signal.SIGTERM, [])]
)
def test_signals_stop_the_program(
    cluster: Cluster, number: signal.Signals, expected: list[str]
) -> None:
    # The warning before the time limit is followed by another start; scancel is not.
    os.mkfifo(said := cluster.folder / "said")
    process = cluster.start("manifest.yml", **array_task())
    with said.open() as lines:
        assert lines.readline() == "ready\n"
        process.send_signal(number)
        assert lines.read() == "stopped\n"
    process.communicate(timeout=60)
    assert process.returncode == 75
    assert cluster.requeued() == expected


def test_tasks_of_srun_have_reports_of_their_own_and_are_not_requeued(cluster: Cluster) -> None:
    cluster.status(75)
    for task in range(3):
        step = {"SLURM_PROCID": str(task), "SLURM_STEP_NUM_TASKS": "3"}
        assert cluster.run(**array_task() | step)[0] == 75
        assert cluster.called()[-1] == f"reports/astra-100_2.{task}.json"
    assert cluster.requeued() == []
