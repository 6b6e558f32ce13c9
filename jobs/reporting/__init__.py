"""`astra report`: one HTML page about what went in and what is in the tables now.

The page needs no other file and no network: its style and figures are part of it.
"""

from __future__ import annotations

from pathlib import Path

from astra import readiness as db
from astra.errors import UsageError
from jobs import figures


def write_report(subject: str | None, output: Path, png: Path | None) -> list[Path]:
    """Write the page, and if wanted the figures.

    Parameters
    ----------
    subject : str or None
        A manifest's path, a run's name, or None for everything.
    output : Path
        The page.
    png : Path or None
        A folder for the figures; made if it is not there.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    AstraError
        If matplotlib is not installed, the subject is not known, a place cannot be written to, or
        the database is away.
    """
    figures.figure(1, 1)  # better to say at once that matplotlib is missing
    _check_places(output, png)
    from astra.models import base
    from jobs.reporting import facts as ledger
    from jobs.reporting import page, pipeline

    db.refuse_memory(base.database)
    with db.explained(base.database, base.schema):
        facts = ledger.gather(subject)
        sections = [found for model in facts.pipelines if (found := pipeline.describe(model))]
    speed = page.throughput(facts)
    text = page.render(facts, db.describe(base.database, base.schema), speed, sections)
    output.write_text(text, encoding="utf-8")
    written = [output]
    if png is not None:
        png.mkdir(parents=True, exist_ok=True)
        drawn = [*([speed] if speed else []), *(each for s in sections for each in s.drawn)]
        for each in drawn:
            figures.save_png(each.figure, png / f"{each.name}.png")
            written.append(png / f"{each.name}.png")
    return written


def _check_places(output: Path, png: Path | None) -> None:
    if not output.parent.is_dir():
        raise UsageError(f"{output}: there is no folder {output.parent}; make it, or name another")
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file, as in -o {output / 'report.html'}")
    if png is not None and png.exists() and not png.is_dir():
        raise UsageError(f"{png} is a file; name a folder for the figures with --png")
