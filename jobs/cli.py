"""The `astra` command: options to a call, and what came of it to a message and a status."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from astra import __version__
from astra.errors import AstraError, UsageError
from jobs import commands
from jobs.logs import set_up as set_up_logs
from jobs.plan import Shard, parse_shard, shard_from_environment

EPILOG = """\b
Status: 0 all is in; 1 a bug; 2 wrong use; 3 the manifest or an input is wrong
and nothing was written; 4 some rows or files failed, the report names them;
75 the server is away, or the job was told to stop: submit it again."""

log = logging.getLogger("astra")


class _Group(click.Group):
    """Turns errors into one message and the status that is documented."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        # A command that needs a database says so itself, and the others need none.
        warnings.filterwarnings("ignore", message="astra: no database is configured")
        # Imports make very many objects and hardly any garbage: to look for it after each 700 of
        # them, as Python does, takes about a fifth of the time that importing takes.
        gc.set_threshold(200_000)
        # OpenBLAS starts a thread a core when NumPy is imported; nothing here is linear algebra.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        try:
            status = super().main(*args, **kwargs)
        except click.ClickException as error:
            error.show()
            sys.exit(2)
        except click.exceptions.Abort:
            sys.exit(130)
        except AstraError as error:
            click.echo(f"astra: {error}", err=True)
            sys.exit(error.exit_status)
        except BrokenPipeError:
            # The reader of a pipe has seen enough.
            sys.stderr.close()
            sys.exit(0)
        finally:
            # The process ends: what is left is not looked through for garbage once more, which
            # takes longer than all of Python's start.
            gc.freeze()
        sys.exit(status if isinstance(status, int) else 0)


@click.group(cls=_Group, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="astra")
def main() -> None:
    """Bring Astra's FITS products into a database."""


@main.command(short_help="Ingest the products of a manifest.")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Read and check every row, and write nothing.")
@click.option("--force", is_flag=True, help="Do again what the ledger says is in.")
@click.option("--shard", metavar="I/N", help="Take share I (from 0) of N; default: Slurm's.")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    show_default="2 for large files",
    metavar="N",
    help="Processes that share the work; PostgreSQL only.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 1_000_000),
    default=10_000,
    show_default=True,
    metavar="ROWS",
    help="Rows of a transaction.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.json",
    help="Where the report goes; default: the manifest's name with .report.json, here.",
)
@click.option("-v", "--verbose", is_flag=True, help="Also a line for each transaction.")
@click.option("-q", "--quiet", is_flag=True, help="Only warnings, errors, and the summary.")
@click.option(
    "--log-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write the log there, appended.",
)
def ingest(
    manifest: Path,
    *,
    dry_run: bool,
    force: bool,
    shard: str | None,
    workers: int | None,
    batch_size: int,
    report: Path | None,
    verbose: bool,
    quiet: bool,
    log_file: Path | None,
) -> int:
    """Ingest the products of MANIFEST.

    \b
    Example:
      ASTRA_DATABASE_PATH=astra.db astra ingest manifest.yml
    """
    from jobs.ingest import Options
    from jobs.ingest import ingest as run_job
    from jobs.progress import progress_for, wants_bars

    set_up_logs(verbose - quiet, log_file, bars=wants_bars(sys.stderr, -quiet))
    mine = parse_shard(shard) if shard else shard_from_environment(os.environ)
    options = Options(
        shard=mine,
        batch_rows=batch_size,
        dry_run=dry_run,
        force=force,
        workers=workers,
        report=_report_path(report, manifest, mine),
        should_stop=_stop_on_signal(),
    )
    with progress_for(sys.stderr, -quiet) as progress:
        done = run_job(manifest, options, progress)
    click.echo(done.summary())
    click.echo(f"report: {options.report}")
    return {"done": 0, "stopped": 75}.get(done.status, 4)


@main.command(short_help="Tell what is in, half in, failed and not begun.")
@click.argument("manifest", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
def status(manifest: Path | None, *, as_json: bool) -> None:
    """Tell what is in, half in, failed and not begun, of MANIFEST or of all files.

    \b
    Example:
      ASTRA_DATABASE_PATH=astra.db astra status manifest.yml
    """
    import json

    from jobs.status import status as read_status

    found = read_status(manifest)
    click.echo(json.dumps(found.as_dict(), indent=2) if as_json else found.summary())


@main.command(short_help="Show how files are dealt to array tasks.")
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--tasks",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    metavar="N",
    help="Tasks of the array.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
def plan(manifest: Path, *, tasks: int, as_json: bool) -> None:
    """Show how the files of MANIFEST are dealt to N array tasks.

    \b
    Example:
      astra plan manifest.yml --tasks 4
    """
    import json

    from jobs.planning import plan_tasks

    planned = plan_tasks(manifest, tasks)
    click.echo(json.dumps(planned.as_dict(), indent=2) if as_json else planned.summary())


@main.command(short_help="Make the tables, or bring them up to date.")
@click.option("--plan", "plan_only", is_flag=True, help="Show the SQL, and run none of it.")
@click.option(
    "--manifest",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also make the tables of this manifest's own pipelines.",
)
@click.option(
    "--grant",
    "writers",
    multiple=True,
    metavar="ROLE",
    help="Give ROLE what jobs need; repeatable.",
)
@click.option(
    "--grant-read", "readers", multiple=True, metavar="ROLE", help="Let ROLE read; repeatable."
)
def migrate(
    *, plan_only: bool, manifest: Path | None, writers: tuple[str, ...], readers: tuple[str, ...]
) -> None:
    """Make the tables, or bring them up to date; for the role that owns the schema.

    \b
    Examples:
      ASTRA_DATABASE_PATH=astra.db astra migrate
      astra migrate --plan --grant jobs > review.sql
      astra migrate --manifest manifest.yml
    """
    from jobs.migrate import migrate as run_migrations

    set_up_logs()
    run_migrations(
        plan_only=plan_only, manifest=manifest, writers=writers, readers=readers, echo=click.echo
    )


@main.command(short_help="Make sample products and a manifest.")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--rows",
    type=click.IntRange(1),
    default=3000,
    show_default=True,
    metavar="N",
    help="Rows of each product.",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, metavar="N", help="Same seed, same stars."
)
@click.option(
    "--product",
    "products",
    multiple=True,
    metavar="NAME",
    help="As in astraAllStarSlam; repeatable.  [default: Slam's and BossNet's]",
)
@click.option(
    "--release",
    default="DR20",
    show_default=True,
    metavar="NAME",
    help="Whose columns the products have.",
)
def sample(
    directory: Path, *, rows: int, seed: int, products: tuple[str, ...], release: str
) -> None:
    """Make sample products in DIRECTORY, with a manifest to ingest them.

    \b
    Example:
      astra sample demo
    """
    from jobs.samples import write_samples

    chosen = products or ("astraAllStarSlam", "astraAllStarBossNet")
    manifest = write_samples(directory, chosen, release=release, rows=rows, seed=seed)
    click.echo(f"{manifest}")


for _command in (commands.inspect, commands.manifest, commands.report, commands.completion):
    main.add_command(_command)


@main.command(short_help="Write results back to FITS, as in the data model.")
@click.argument("product")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE.fits",
    help="Where it goes; compressed if it ends in .gz.",
)
@click.option("--release", metavar="DR20", help="Whose columns; default: the newest that has it.")
@click.option("--v-astra", metavar="X.Y.Z", help="Results of this X.Y; default: the release's.")
@click.option("--overwrite", is_flag=True, help="Replace FILE.fits if it is there.")
def export(
    product: str, *, output: Path, release: str | None, v_astra: str | None, overwrite: bool
) -> None:
    """Write the results of PRODUCT with their spectra and sources as FITS.

    PRODUCT is one of the data model's, of all objects; or a result table, by its name or as
    package.module:Class.

    \b
    Example:
      ASTRA_DATABASE_PATH=astra.db astra export astraAllStarSlam -o slam.fits.gz
    """
    from jobs.export import export as run_export

    set_up_logs()
    done = run_export(product, output, release=release, v_astra=v_astra, overwrite=overwrite)
    click.echo(done.summary())


def _report_path(report: Path | None, manifest: Path, shard: Shard) -> Path:
    if report is None:
        of = "" if shard.count == 1 else f".{shard.index}-of-{shard.count}"
        report = Path(f"{manifest.stem}{of}.report.json")
    folder = report.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UsageError(
            f"the report cannot be written to {folder.absolute()}: no such folder, or it is "
            "read-only; name a file elsewhere with --report"
        )
    return report


def _stop_on_signal() -> Callable[[], bool]:
    """Return a function that tells whether the job was asked to stop."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        received.append(number)
        log.warning("%s: stopping after this chunk", signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, note)
    return lambda: bool(received)
