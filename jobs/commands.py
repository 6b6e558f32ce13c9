"""The commands that look, and write nothing to the database: inspect, manifest, report, completion.

Each turns options into a call, and what came of it into text; `jobs.cli` adds them to `astra`.
"""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from astra.errors import AstraError, ProductError, UsageError
from jobs.text import count, plain, wants_colour

_FILE = click.Path(path_type=Path)


@click.command(short_help="Show what is in FITS files, and where it would go.")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.option(
    "--rows",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    metavar="N",
    help="First rows to show of each table.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
def inspect(files: tuple[Path, ...], *, rows: int, as_json: bool) -> int:
    """Show what FITS FILES hold, and where each column would go.

    HDUs, rows, columns with type and unit, the table and field that each column fills, what has no
    place, what a table has and the file lacks, and the first rows.  Any FITS file will do.

    \b
    Examples:
      astra inspect demo/astraAllStarSlam-0.8.1.fits.gz
      astra inspect --json demo/*.fits.gz
    """
    failed = 0
    views = []
    for number, path in enumerate(files):
        try:
            with _without_database():
                from jobs.inspection import inspect_file

                view = inspect_file(path, rows)
        except ProductError as error:
            failed = error.exit_status
            click.echo(f"astra: {error}", err=True)
            continue
        if as_json:
            views.append(asdict(view))
        else:
            from jobs.inspection_text import as_text

            is_terminal = sys.stdout.isatty()
            width = shutil.get_terminal_size().columns if is_terminal else None
            _show(("\n" if number else "") + as_text(view, width))
    if as_json:
        click.echo(json.dumps({"files": views}, indent=2))
    return failed


@click.command(short_help="Write or check a manifest.")
@click.argument("paths", type=_FILE, nargs=-1, required=True)
@click.option(
    "-o", "--output", type=_FILE, metavar="FILE", help="Where it goes; default: standard output."
)
@click.option("--check", is_flag=True, help="PATHS are manifests: tell all that is wrong in them.")
def manifest(paths: tuple[Path, ...], *, output: Path | None, check: bool) -> int:
    """Write a manifest for the FITS files in PATHS: files, and folders with all below them.

    \b
    Examples:
      astra manifest demo -o new.yml
      astra manifest --check new.yml
    """
    if check and output:
        raise UsageError("--check writes no manifest: leave out -o, or leave out --check")
    if check:
        return _check(paths)
    with _without_database():
        from jobs.drafting import draft_manifest
        from jobs.manifest.writing import write_new

        made = draft_manifest(paths, output)
    if output is None:
        click.echo(made.text, nl=False)
    else:
        write_new(made.text, output)
        click.echo(f"{output}: {count(made.files, 'file')}")
    for name, why in made.left_out.items():
        click.echo(f"left out: {name}: {why}", err=True)
    return 0


def _check(manifests: tuple[Path, ...]) -> int:
    failed = 0
    for path in manifests:
        try:
            with _without_database():
                from jobs.drafting import check_manifest

                click.echo(check_manifest(path))
        except AstraError as error:
            failed = error.exit_status
            click.echo(str(error), err=True)
    return failed


@click.command(short_help="Draw a page about what is in the database.")
@click.argument("subject", metavar="[MANIFEST|RUN]", required=False)
@click.option(
    "-o",
    "--output",
    type=_FILE,
    default=Path("report.html"),
    show_default=True,
    metavar="FILE.html",
    help="Where the page goes.",
)
@click.option("--png", type=_FILE, metavar="DIR", help="Also write the figures there, as PNG.")
def report(subject: str | None, *, output: Path, png: Path | None) -> None:
    """Draw a page about what is in the database: one HTML file that needs nothing else.

    MANIFEST is a file, RUN the name of a run as `astra status` shows it; with neither, the page is
    about everything.

    \b
    Examples:
      ASTRA_DATABASE_PATH=demo/astra.db astra report -o report.html
      ASTRA_DATABASE_PATH=demo/astra.db astra report demo/manifest.yml --png figures
    """
    from jobs.reporting import write_report

    for path in write_report(subject, output, png):
        click.echo(str(path))


@click.command(short_help="Let bash or zsh complete commands and options.")
@click.argument("shell", type=click.Choice(["bash", "zsh"]))
@click.pass_context
def completion(context: click.Context, *, shell: str) -> None:
    """Print what makes SHELL complete the commands and options of `astra`.

    \b
    Examples:
      eval "$(astra completion bash)"  # in ~/.bashrc
      eval "$(astra completion zsh)"   # in ~/.zshrc, after compinit
    """
    complete = get_completion_class(shell)
    if complete is None:
        raise UsageError(f"this click has no completion for {shell}")
    click.echo(complete(context.find_root().command, {}, "astra", "_ASTRA_COMPLETE").source())


def _show(text: str) -> None:
    click.echo(text if wants_colour(sys.stdout.isatty()) else plain(text), color=True)


@contextmanager
def _without_database() -> Iterator[None]:
    """Let it pass that no database is configured: none is needed here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="astra: no database is configured")
        yield
