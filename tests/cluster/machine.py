"""The machine that tests/cluster/run has started: a user's commands, and Slurm's answers."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.fixtures.readme import pieces

_UID = 2000
HOME = Path("/home/sdss")
DATA = Path("/data")

# States in which Slurm leaves a task alone.
ENDED = {"CANCELLED", "COMPLETED", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}


def readme_lines(start: str = "") -> list[str]:
    """Return the commands of the README's cluster page that begin so, for this machine."""
    page = "".join(piece.text for piece in pieces() if piece.info == "sh cluster")
    page = page.replace("/uufs/chpc.utah.edu/common/home", str(DATA))
    return [line for line in page.splitlines() if line.startswith(start)]


class Machine:
    """A login node and a compute node in one, with Slurm and Apptainer, seen from outside.

    Attributes
    ----------
    home, data : Path
        What is `HOME` and `DATA` inside.
    """

    def __init__(self) -> None:
        work = Path(os.environ["CLUSTER_WORK"])
        self.home = work / "home"
        self.data = work / "data"
        self._init = os.environ["CLUSTER_INIT"]

    def start(self, *command: str, cwd: Path = HOME, **env: str) -> subprocess.Popen[str]:
        """Start a command as the user, with stdout and stderr on one pipe."""
        root = f"/proc/{self._init}/root"
        enter = ["nsenter", "--target", self._init, "--mount", "--pid", "--uts", "--ipc"]
        login = {"HOME": str(HOME), "USER": "sdss", "PATH": "/usr/local/bin:/usr/bin:/bin"}
        variables = [f"{name}={value}" for name, value in (login | env).items()]
        return subprocess.Popen(
            [
                *(*enter, f"--root={root}", f"--wd={root}"),
                *("setpriv", f"--reuid={_UID}", f"--regid={_UID}", "--clear-groups"),
                *("env", "--ignore-environment", f"--chdir={cwd}", *variables, *command),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self, *command: str, cwd: Path = HOME, check: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the user and return what it said, stdout and stderr together."""
        process = self.start(*command, cwd=cwd, **env)
        said, _ = process.communicate()
        if check:
            assert process.returncode == 0, f"{' '.join(command)}\n{said}"
        return subprocess.CompletedProcess(command, process.returncode, said)

    def image(self) -> Path:
        """Return the image that the user has built as the README says, a name inside."""
        if not (self.data / "astra.sif").exists():
            [line] = readme_lines("apptainer build astra.sif oci-archive")
            self.run("bash", "-c", line, cwd=DATA)
        return DATA / "astra.sif"

    def give(self, *folders: Path) -> None:
        """Make the user the owner of folders, which are seen from outside."""
        for folder in folders:
            os.chown(folder, _UID, _UID)

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of the user's, below the home folder."""
        file = self.home / path
        for folder in reversed(file.relative_to(self.home).parents):
            if not (self.home / folder).exists():
                (self.home / folder).mkdir()
                self.give(self.home / folder)
        file.write_text(text)
        file.chmod(mode)
        self.give(file)
        return file

    def submit(self, *arguments: str, **env: str) -> str:
        """Run ``sbatch`` with these arguments and return the id of the job."""
        said = self.run("sbatch", *arguments, **env).stdout
        match = re.search(r"Submitted batch job (\d+)", said)
        assert match, said
        return match[1]

    def tasks(self, job: str) -> dict[str, dict[str, str]]:
        """Return what Slurm knows of each task of a job, by its id, as in ``12_0``."""
        found = {}
        for line in self.run("scontrol", "--oneliner", "show", "job", job).stdout.splitlines():
            fields = dict(part.partition("=")[::2] for part in line.split() if "=" in part)
            task = fields.get("ArrayTaskId")
            found[f"{job}_{task}" if task else job] = fields
        return found

    def state(self, task: str) -> str:
        """Return the state of one task, such as RUNNING."""
        [fields] = self.tasks(task).values()
        return fields["JobState"]

    def wait(self, job: str, seconds: float = 120) -> dict[str, str]:
        """Wait until all tasks of a job have ended, and return how: a state for each."""

        def ended() -> bool:
            return all(fields["JobState"] in ENDED for fields in self.tasks(job).values())

        self.until(ended, seconds, lambda: self.logs(job))
        return {task: fields["JobState"] for task, fields in self.tasks(job).items()}

    def until(
        self, holds: Callable[[], bool], seconds: float, tell: Callable[[], str] = str
    ) -> None:
        """Wait until something holds; fail, with what `tell` returns, if it does not in time."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, (
                f"not within {seconds:.0f} s\n{self.run('squeue', '--array').stdout}\n{tell()}"
            )
            time.sleep(0.2)

    def logs(self, job: str) -> str:
        """Return the logs of a job's tasks, one after the other, with their names."""
        files = sorted(self.home.glob(f"**/*-{job}_*.log"))
        return "\n".join(f"-- {file.name}\n{file.read_text()}" for file in files)
