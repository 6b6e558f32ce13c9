"""Every command's help has examples, and they work; the shell completes what there is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from jobs.cli import main
from jobs.samples import write_samples
from tests.fixtures.databases import PostgresTarget
from tests.fixtures.processes import REPOSITORY, clean_environment
from tests.fixtures.server import PostgresServer

COMMANDS = sorted(main.commands)
ON_POSTGRES = "--grant"  # SQLite has no roles


def examples(command: click.Command) -> list[str]:
    """Return the lines of a command's help that follow the word Example."""
    help_text = (command.help or "").replace("\b", "").splitlines()
    start = next(
        (n for n, line in enumerate(help_text) if line.strip() in ("Example:", "Examples:")), None
    )
    if start is None:
        return []
    lines: list[str] = []
    for line in help_text[start + 1 :]:
        if not line.strip():
            break
        lines.append(line.strip())
    return lines


def run(
    line: str, folder: Path, shell: str = "bash", **extra: str
) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell in a folder where `astra` is installed."""
    programs = folder / "bin"
    if not programs.exists():
        programs.mkdir()
        script = programs / "astra"
        script.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n"
            "from jobs.cli import main\nmain()\n"
        )
        script.chmod(0o755)
    env = clean_environment(folder / "home", **extra or {"ASTRA_DATABASE_PATH": "astra.db"})
    env["PATH"] = os.pathsep.join([str(programs), env["PATH"]])
    return subprocess.run(
        [shell, "-c", line], cwd=folder, env=env, capture_output=True, encoding="utf-8",
        stdin=subprocess.DEVNULL, check=False, timeout=240,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the examples speak of: demo/ and manifest.yml, both ingested."""
    folder = tmp_path_factory.mktemp("examples")
    write_samples(folder / "demo", rows=30)
    write_samples(folder, ["astraAllStarSlam", "astraAllStarBossNet"], rows=30)
    for line in (
        "astra ingest manifest.yml",
        "ASTRA_DATABASE_PATH=demo/astra.db astra ingest demo/manifest.yml",
    ):
        done = run(line, folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(ingested: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test to change."""
    return Path(shutil.copytree(ingested, tmp_path / "work"))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_examples_in_the_help_work(name: str, folder: Path) -> None:
    lines = examples(main.commands[name])
    assert lines, f"astra {name} --help has no example"

    for line in lines:
        if ON_POSTGRES in line:
            continue
        shell = "zsh" if "zsh" in line else "bash"
        if shell == "zsh":
            line = f"autoload -Uz compinit; compinit -D -u; {line}"
        done = run(line, folder, shell)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.postgres
def test_the_examples_about_roles_work(
    folder: Path, postgres: PostgresServer, tmp_path: Path
) -> None:
    place = PostgresTarget(tmp_path, postgres)
    postgres.execute("CREATE ROLE jobs")
    try:
        lines = [each for command in main.commands.values() for each in examples(command)]
        for line in (line for line in lines if ON_POSTGRES in line):
            done = run(line, folder, **place.env)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    finally:
        place.remove()
        postgres.execute("DROP ROLE jobs")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_what_each_option_does(name: str) -> None:
    command = main.commands[name]

    assert command.help
    assert [
        option.name
        for option in command.params
        if isinstance(option, click.Option) and not option.help and not option.show_default
    ] == []


# Each goes to a shell in which somebody types a line and presses the tab key.
BASH = """
set -euo pipefail
eval "$(astra completion bash)"
[[ $(complete -p astra) == *' -F '* ]]
COMP_WORDS=(TYPED) COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_astra_completion astra
echo "astra ${COMP_WORDS[*]:1:COMP_CWORD-1}" "${COMPREPLY[@]}"
"""
ZSH = r"""
zmodload zsh/zpty
zpty shell 'TERM=dumb zsh -f -i'
zpty -w shell 'PS1=; autoload -Uz compinit; compinit -D -u'
zpty -w shell 'eval "$(astra completion zsh)"; print "rea""dy"'
zpty -r shell said '*ready*'
zpty -w -n shell $'TYPED\t'
zpty -r shell said '*EXPECTED*'
print -r -- $said
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("astra insp", "astra inspect"),
        ("astra ingest --dr", "astra ingest --dry-run"),
        ("astra completion z", "astra completion zsh"),
    ],
)
@pytest.mark.parametrize(("shell", "script"), [("bash", BASH), ("zsh", ZSH)])
def test_the_shell_completes(
    shell: str, script: str, words: str, expected: str, tmp_path: Path
) -> None:
    line = script.replace("TYPED", words).replace("EXPECTED", expected)

    done = run(line, tmp_path, shell)

    assert expected in " ".join(done.stdout.split()), done.stdout + done.stderr
