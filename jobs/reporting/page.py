"""The page: what went in, how fast, and what is in the tables now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from astra import __version__
from astra.ledger import COUNTS
from astra.utils import utcnow
from jobs import figures
from jobs.reporting.facts import Facts, RunFacts
from jobs.reporting.html import table
from jobs.reporting.pipeline import Drawn, Section
from jobs.text import count, duration, moment, size

_MOST_FILES = 25


def throughput(facts: Facts) -> Drawn | None:
    """Draw how fast the latest run of a report was; None if it wrote nothing."""
    chunks = [chunk for chunk in facts.chunks if chunk.rows]
    if not chunks:
        return None
    figure = figures.styled(
        figures.throughput,
        [chunk.end for chunk in chunks],
        [chunk.seconds for chunk in chunks],
        [chunk.rows for chunk in chunks],
        [chunk.task for chunk in chunks],
    )
    text = f"Throughput of run {facts.runs[0].name}"
    tasks = count(len({chunk.task for chunk in chunks}), "task")
    return Drawn("throughput", figure, text, f"Run {facts.runs[0].name}, by array task ({tasks}).")


def render(facts: Facts, where: str, speed: Drawn | None, sections: Sequence[Section]) -> str:
    """Return the page.

    Parameters
    ----------
    facts : Facts
    where : str
        The database, in words.
    speed : Drawn or None
        See `throughput`.
    sections : sequence of Section
        Of the pipelines.
    """
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    links = [("went-in", "What went in"), *((each.name, each.name) for each in sections)]
    nav = "".join(f'<a href="#{name}">{escape(text)}</a>' for name, text in links)
    body = "\n".join([*_what_went_in(facts, speed), *(each.html for each in sections)])
    if not sections:
        body += "<p class=none>No pipeline has results here.</p>"
    made = f"{moment(utcnow())} by astra {__version__}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(where)}: {escape(facts.subject)}</title>
<style>
{style}</style>
</head>
<body>
<header><div>
<h1>{escape(_title(facts))}</h1>
<p>{escape(where)}; {made}</p>
<nav>{nav}</nav>
</div></header>
<main>
{body}
</main>
<footer>Made {made}. The figures are drawn from the tables; the counts are the ledger's.</footer>
</body>
</html>
"""


def _title(facts: Facts) -> str:
    return facts.subject[:1].upper() + facts.subject[1:]


def _what_went_in(facts: Facts, speed: Drawn | None) -> Iterator[str]:
    yield _tiles(facts)
    yield '<section id="went-in"><h2>What went in</h2>'
    if not facts.tables:
        yield "<p class=none>The ledger knows of no files: nothing was ingested yet.</p></section>"
        return
    yield _tables(facts)
    yield _unfinished(facts)
    yield _reasons(facts)
    if speed is not None:
        yield "<h3>Throughput</h3>" + speed.html()
    if facts.runs:
        yield "<h3>Latest runs</h3>" + table(
            ["run", "#tasks", "began (UTC)", "#took", "#rows", "#rows/s"], map(_run, facts.runs)
        )
    yield "</section>"


def _tiles(facts: Facts) -> str:
    written = sum(each.inserted + each.updated for each in facts.tables)
    rejected = sum(each.rejected for each in facts.tables)
    failed = len({path for path, state, _ in facts.unfinished if state == "failed"})
    tiles = [
        (f"{facts.files:,}", f"files, {size(facts.bytes)}", False),
        (f"{sum(each.done for each in facts.tables):,}", "rows read", False),
        (f"{written:,}", "rows inserted or updated", False),
        (f"{rejected:,}", "rows rejected", rejected > 0),
        (f"{failed:,}", "files failed", failed > 0),
    ]
    cells = "".join(
        f'<div class="tile{" bad" if bad else ""}"><b>{number}</b><span>{text}</span></div>'
        for number, text, bad in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _tables(facts: Facts) -> str:
    names = ("rows", "done", *COUNTS)
    lines: list[list[str | int | float]] = [
        [f"<code>{escape(each.name)}</code>", each.files, *(getattr(each, name) for name in names),
         duration(each.seconds)]
        for each in facts.tables
    ]  # fmt: skip
    if len(lines) > 1:
        sums = [sum(getattr(each, name) for each in facts.tables) for name in names]
        seconds = sum(each.seconds for each in facts.tables)
        lines.append(["All", sum(each.files for each in facts.tables), *sums, duration(seconds)])
    head = [
        "table", "#files", "#rows", "#read", "#inserted", "#updated", "#unchanged", "#duplicates",
        "#rejected", "#writing took",
    ]  # fmt: skip
    return table(head, lines, total=len(facts.tables) > 1)


def _unfinished(facts: Facts) -> str:
    if not facts.unfinished:
        return ""
    lines = [
        (f'<td class="path"><code>{escape(path)}</code></td>', state, text)
        for path, state, text in facts.unfinished[:_MOST_FILES]
    ]
    rest = len(facts.unfinished) - _MOST_FILES
    more = f"<p class=none>And {rest:,} more; astra status --json has all.</p>" if rest > 0 else ""
    return (
        "<h3>Files that are not in, or not whole</h3>"
        + table(["file", "state", "why"], lines)
        + more
    )


def _reasons(facts: Facts) -> str:
    rejected = sum(each.rejected for each in facts.tables)
    if not rejected:
        return ""
    lines = [
        (f"<code>{escape(name)}</code>", number, reason)
        for (name, reason), number in facts.reasons.most_common(_MOST_FILES)
    ]
    unknown = rejected - sum(facts.reasons.values())
    if unknown > 0:
        lines.append(("", unknown, "not known: the file with these rows is no longer there"))
    return "<h3>Rejected rows</h3>" + table(["table", "#rows", "reason"], lines)


def _run(run: RunFacts) -> tuple[str | int, ...]:
    name = f"<td class=path><code>{escape(run.name)}</code></td>"
    if run.finished is None or run.running:
        return name, run.tasks, f"{run.started:%Y-%m-%d %H:%M}", "not ended", run.rows, ""
    seconds = (run.finished - run.started).total_seconds()
    rate = f"{run.rows / seconds:,.0f}" if seconds and run.rows else ""
    return name, run.tasks, f"{run.started:%Y-%m-%d %H:%M}", duration(seconds), run.rows, rate
