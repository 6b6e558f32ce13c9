"""``python -m astra.migrations``: drafts of steps, for whoever changes a model."""

from __future__ import annotations

import os
import sys

import click

from astra.errors import AstraError


@click.group()
def main() -> None:
    """Draft the steps that bring databases to what the models say."""
    # Whatever the configuration says, the models are in no schema, and nothing is connected to.
    os.environ["ASTRA_DATABASE_PATH"] = ":memory:"


@main.command()
@click.argument("name")
def draft(name: str) -> None:
    """Write the next step, NAME, from the difference between the models and the steps so far."""
    from astra.migrations.drafting import write_next
    from astra.models import models

    for path in write_next(name, models):
        click.echo(f"{path}")


@main.command()
def initial() -> None:
    """Write 0001_initial anew; only until the first release, and while it is the only step."""
    from astra.migrations.drafting import write_initial
    from astra.models import models

    for path in write_initial(models):
        click.echo(f"{path}")


if __name__ == "__main__":
    try:
        main(prog_name="python -m astra.migrations")
    except AstraError as error:
        click.echo(f"astra.migrations: {error}", err=True)
        sys.exit(error.exit_status)
