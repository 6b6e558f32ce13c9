"""The part of the page about one pipeline's results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import numpy as np

from astra import statistics
from astra.statistics import Comparison, Sample, label_of
from jobs import figures
from jobs.reporting.html import bar, picture, table
from jobs.text import count

#: What a pipeline is judged by first, where it has it.
_LABELS = (
    "teff", "logg", "fe_h", "v_rad", "v_rel", "alpha_m_atm", "alpha_fe", "v_sini", "weighted_dist",
    "nn_dist", "sub_type", "eqw_h_alpha", "rchi2",
)  # fmt: skip
_MOST_LABELS = 6
_CLASSES = ("classification", "spectral_type", "pipeline")
_MOST_COLUMNS = 15
#: Changes between versions that are drawn.
_MOST_CHANGES = 3


@dataclass(frozen=True)
class Drawn:
    """A figure with the name of its file and the words that go with it."""

    name: str
    figure: Any
    text: str
    caption: str = ""

    def html(self) -> str:
        """Return it as a part of the page."""
        return picture(figures.as_svg(self.figure), self.text, self.caption)


@dataclass(frozen=True)
class Section:
    """What the page has about one pipeline."""

    name: str
    html: str
    drawn: tuple[Drawn, ...]


def describe(model: Any) -> Section | None:
    """Return the section about a result table; None if it is not there or has no rows."""
    if not statistics.has_rows(model):
        return None
    rows = statistics.sample(model)
    versions = statistics.versions(rows)
    if len(versions) > 1:
        rows = replace(rows, version=next(iter(versions)))
    drawn: list[Drawn] = []
    body = "\n".join(_parts(rows, drawn))
    name = model.__name__
    what = escape((model.__doc__ or "").strip().splitlines()[0].replace("`", ""))
    html = (
        f'<section class="pipeline" id="{name}"><h2>{escape(name)}</h2>\n'
        f'<p class="lead">{what} {_of_how_many(rows, versions)}</p>\n{body}</section>'
    )
    return Section(name, html, tuple(drawn))


def _of_how_many(rows: Sample, versions: Mapping[int, int]) -> str:
    total = count(rows.rows, "result")
    if len(versions) > 1:
        looked_at = sum(versions.values())
        shares = [
            f"{_spell(v)} ({100 * n / looked_at:.0f}\N{NO-BREAK SPACE}%)"
            for v, n in versions.items()
        ]
        total += f" of Astra {', '.join(shares)}; what follows is of the newest version"
    if rows.is_all:
        return f"{total}."
    about = round(rows.rows * rows.share, -3)
    return (
        f"{total}; figures and shares are of a sample of about {about:,.0f} rows, which the "
        "database chose at random."
    )


def _spell(version: int) -> str:
    return f"{version // 1000}.{version % 1000}"


def _parts(rows: Sample, drawn: list[Drawn]) -> Iterator[str]:
    model = rows.model
    name = model.__name__
    fields = model._meta.fields
    labels = {each: label_of(fields[each]) for each in _LABELS if each in fields}
    chosen = list(labels)[:_MOST_LABELS]
    values = statistics.numbers(rows, chosen) if chosen else {}
    values = {each: found for each, found in values.items() if np.isfinite(found).any()}
    yield from _together(_kiel(name, values, labels), _sky(rows), drawn)
    if values:
        text = f"Distributions of {', '.join(values)} in {name}"
        caption = "The outermost half per cent at either end is left out; the titles say how many."
        figure = figures.styled(figures.distributions, values, labels)
        drawn.append(Drawn(f"{name}-labels", figure, text, caption))
        yield "<h3>Main labels</h3>" + drawn[-1].html()
    for field in _CLASSES:
        if field in fields:
            yield from _classes(rows, field)
    yield _completeness(rows)
    comparison = statistics.compare(rows, list(values)[:_MOST_CHANGES])
    if comparison is not None:
        units = {each: statistics.unit_of_change(fields[each]) for each in comparison.values}
        yield _comparison(name, comparison, (labels, units), drawn)


def _together(*each: Any) -> Iterator[str]:
    """Give figures that stand side by side."""
    *found, drawn = each
    there = [item for item in found if item is not None]
    drawn += there
    if there:
        yield f'<div class="pair">{"".join(item.html() for item in there)}</div>'


def _kiel(name: str, values: Any, labels: Any) -> Drawn | None:
    if "teff" not in values or "logg" not in values:
        return None
    axes = [labels["teff"], labels["logg"], labels.get("fe_h", "")]
    figure = figures.styled(figures.kiel, values["teff"], values["logg"], values.get("fe_h"), axes)
    caption = "Surface gravity against effective temperature"
    caption += ", coloured by [Fe/H]" if "fe_h" in values else ""
    return Drawn(f"{name}-kiel", figure, f"Kiel diagram of {name}", caption + ".")


def _sky(rows: Sample) -> Drawn | None:
    places = statistics.positions(rows)
    if not len(places["ra"]):
        return None
    name = rows.model.__name__
    figure = figures.styled(figures.sky, places["ra"], places["dec"])
    return Drawn(f"{name}-sky", figure, f"Sky map of {name}", "Where the stars are, ICRS.")


def _classes(rows: Sample, field: str) -> Iterator[str]:
    found = statistics.frequencies(rows, field)
    if not found:
        return
    most = max(found.values())
    lines = [(value, number, bar(number / most)) for value, number in found.items()]
    yield f"<h3>{escape(label_of(rows.model._meta.fields[field]))}</h3>"
    yield table([field, "#spectra", ""], lines)


def _completeness(rows: Sample) -> str:
    shares = statistics.null_shares(rows)
    worst = {name: share for name, share in shares.items() if share > 0}
    full = len(shares) - len(worst)
    fields = rows.model._meta.fields
    lines = [
        (f"<code>{name}</code>", label_of(fields[name]), f"{100 * share:.1f} %", bar(share))
        for name, share in list(worst.items())[:_MOST_COLUMNS]
    ]
    parts = ["<h3>Completeness: columns by their share of missing values (NULL)</h3>"]
    if lines:
        parts.append(table(["column", "meaning", "#missing", ""], lines))
    rest = list(worst.values())[_MOST_COLUMNS:]
    if rest:
        parts.append(
            f"<p class=none>{count(len(rest), 'more column')} with {100 * rest[-1]:.1f} to "
            f"{100 * rest[0]:.1f} % missing.</p>"
        )
    parts.append(f"<p class=none>{count(full, 'column')} without a missing value.</p>")
    return "".join(parts)


def _comparison(
    name: str,
    found: Comparison,
    words: tuple[dict[str, str], dict[str, str]],
    drawn: list[Drawn],
) -> str:
    labels, units = words
    newer, older = _spell(found.newer), _spell(found.older)
    values = {
        field: pair for field, pair in found.values.items() if np.isfinite(pair[0] - pair[1]).any()
    }
    lines = []
    for field, (new, old) in found.values.items():
        change = (new - old)[np.isfinite(new - old)]
        middle, spread = _spread(change)
        lost = int((np.isfinite(old) & ~np.isfinite(new)).sum())
        gained = int((np.isfinite(new) & ~np.isfinite(old)).sum())
        lines.append(
            (f"<code>{field}</code>", units[field], len(change), middle, spread, gained, lost)
        )
    head = [
        "label",
        "unit",
        "#compared",
        "#median change",
        "#scatter",
        "#new values",
        "#lost values",
    ]
    parts = [
        f"<h3>Version {newer} against {older}, for the same {found.by}</h3>",
        table(head, lines),
        "<p class=none>Scatter: 1.4826 times the median absolute deviation.</p>",
    ]
    if values:
        text = f"Changes of {', '.join(values)} in {name} from {older} to {newer}"
        figure = figures.styled(figures.differences, values, labels, (newer, older))
        drawn.append(Drawn(f"{name}-changes", figure, text))
        parts.insert(2, drawn[-1].html())
    return "".join(parts)


def _spread(change: Any) -> tuple[str, str]:
    if not len(change):
        return "", ""
    middle = float(np.median(change))
    spread = 1.4826 * float(np.median(np.abs(change - middle)))
    return f"{middle:+.4g}" if middle else "0", f"{spread:.4g}"
