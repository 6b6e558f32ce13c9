"""The figures of a report: drawn from arrays, for a page and for print.

Colours run through viridis and cividis, which read the same for the colour-blind and in grey;
each axis tells its unit.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astra.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from matplotlib.figure import Figure

Array = NDArray[np.float64]

WIDTH = 10.6
"""Inches of a figure that is as wide as the page."""

INK = "#26323b"
BLUE = "#2f6690"
ORANGE = "#d98324"
#: Points up to which each is drawn, rather than how many there are in a cell.
_FEW = 3000
#: Tasks up to which each has its colour; more are rows of a map.
_FEW_TASKS = 6
_STYLE: Any = {  # the names of matplotlib's settings are types of its own
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": "#8a969e",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": "#55626b",
    "ytick.color": "#55626b",
    "grid.color": "#dfe5e8",
    "grid.linewidth": 0.6,
    "svg.hashsalt": "astra",
    "svg.fonttype": "path",
    "savefig.dpi": 160,
}


def figure(width: float, height: float) -> Figure:
    """Return an empty figure.

    Parameters
    ----------
    width, height : float
        Inches.

    Raises
    ------
    UsageError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as New
    except ImportError as error:
        raise UsageError(
            "figures need matplotlib, which is not installed: pip install 'astra[plot]'"
        ) from error
    return New(figsize=(width, height), layout="constrained")


def styled(draw: Any, *args: Any, **options: Any) -> Figure:
    """Call one of the functions of this module with the style that all figures share."""
    figure(1, 1)  # says what is missing
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        drawn: Figure = draw(*args, **options)
        return drawn


def as_svg(drawn: Figure) -> bytes:
    """Return a figure as SVG; the same figure gives the same bytes."""
    import matplotlib as mpl

    out = io.BytesIO()
    with mpl.rc_context(_STYLE):
        drawn.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def save_png(drawn: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        drawn.savefig(path, format="png", dpi=200)


# -- how the job went ----------------------------------------------------------------------------


def throughput(
    ends: Sequence[datetime], seconds: Sequence[float], rows: Sequence[int], tasks: Sequence[int]
) -> Figure:
    """Draw rows a second over time, by task.

    Parameters
    ----------
    ends : sequence of datetime, UTC
        When each transaction was committed.
    seconds, rows, tasks : sequences of the same length
        How long it took, how many rows it had, and which task wrote it.
    """
    first = min(ends)
    end = np.array([(each - first).total_seconds() for each in ends])
    begin = end - np.maximum(seconds, 1e-3)
    span = float(end.max() - begin.min())
    edges = np.linspace(begin.min(), end.max(), 1 + int(np.clip(len(end), 10, 120)))
    numbers = sorted(set(tasks))
    rates = np.zeros((len(numbers), len(edges) - 1))
    for b, e, n, task in zip(begin, end, rows, tasks, strict=True):
        covered = np.clip(np.minimum(edges[1:], e) - np.maximum(edges[:-1], b), 0, None)
        rates[numbers.index(task)] += n * covered / (e - b) / np.diff(edges)
    scale, unit = _time_unit(span)
    edges = (edges - begin.min()) / scale
    return _draw_rates(edges, rates, numbers, f"Time since the first row ({unit})")


def _time_unit(span: float) -> tuple[float, str]:
    if span < 180:
        return 1.0, "s"
    return (60.0, "min") if span < 3 * 3600 else (3600.0, "h")


def _draw_rates(edges: Array, rates: Array, numbers: Sequence[int], label: str) -> Figure:
    few = len(numbers) <= _FEW_TASKS
    drawn = figure(WIDTH, 2.5 if few else 4.4)
    axes = drawn.subplots(1 if few else 2, 1, sharex=True, squeeze=False)[:, 0]
    if few:
        colours = _colours(len(numbers))
        names = [f"task {number}" for number in numbers]
        axes[0].stackplot(
            edges,
            np.column_stack([rates, rates[:, -1]]),
            step="post",
            colors=colours,
            labels=names,
            linewidth=0,
        )
        if len(numbers) > 1:
            drawn.legend(loc="outside upper right", ncols=len(numbers), frameon=False, fontsize=8)
    else:
        axes[0].stairs(rates.sum(axis=0), edges, fill=True, color=BLUE)
        places = np.arange(len(numbers) + 1) - 0.5
        image = axes[1].pcolormesh(edges, places, rates, cmap="cividis", rasterized=True)
        axes[1].set_ylabel("Task")
        axes[1].invert_yaxis()
        drawn.colorbar(image, ax=axes[1], label="Rows a second", pad=0.01)
    axes[0].set_ylabel("Rows a second")
    axes[0].set_ylim(bottom=0)
    axes[0].set_xlim(edges[0], edges[-1])
    axes[0].grid(axis="y")
    axes[0].set_axisbelow(True)
    axes[0].yaxis.set_major_formatter(_thousands())
    axes[-1].set_xlabel(label)
    return drawn


def _colours(count: int) -> list[Any]:
    import matplotlib as mpl

    if count == 1:
        return [BLUE]
    return [mpl.colormaps["cividis"](each) for each in np.linspace(0.1, 0.9, count)]


def _thousands() -> Any:
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: f"{value:,.0f}")


# -- what is in the tables -------------------------------------------------------------------------


def distributions(values: Mapping[str, Array], labels: Mapping[str, str]) -> Figure:
    """Draw a histogram of each field, without the outermost half per cent at either end.

    Parameters
    ----------
    values : mapping of str to ndarray
        NaN is left out.
    labels : mapping of str to str
        What the axis says.
    """
    across = min(3, len(values))
    down = -(-len(values) // across)
    drawn = figure(WIDTH * across / 3, 2.1 * down)
    axes = drawn.subplots(down, across, squeeze=False).ravel()
    for place, name in zip(axes, values, strict=False):
        known = values[name][np.isfinite(values[name])]
        inner, outside = _inner(known)
        _histogram(place, inner, BLUE)
        place.set_xlabel(_wrapped(labels[name]))
        place.set_title(name + (f"  ({outside:,} beyond)" if outside else ""), fontsize=9)
        place.grid(axis="y")
        place.set_axisbelow(True)
        place.yaxis.set_major_formatter(_thousands())
        place.xaxis.set_major_locator(_few_ticks())
    for place in axes[::across]:
        place.set_ylabel("Spectra")
    for place in axes[len(values) :]:
        place.set_visible(False)
    return drawn


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def _histogram(axes: Any, values: Array, colour: str) -> None:
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    least = max(1e-4 * max(abs(low), abs(high)), 1e-9)
    if high - low < least:  # all the same, but for rounding
        low, high = low - least, high + least
    bins = int(np.clip(np.sqrt(len(values)), 10, 60))
    counts, edges = np.histogram(values, bins=bins, range=(low, high))
    axes.stairs(counts, edges, fill=True, color=colour)


def _inner(values: Array) -> tuple[Array, int]:
    """Return values without the outermost half per cent at either end, and how many that is."""
    if len(values) < 50:
        return values, 0
    low, high = np.percentile(values, [0.5, 99.5])
    kept = values[(values >= low) & (values <= high)]
    return kept, len(values) - len(kept)


def _wrapped(label: str, width: int = 40) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(label, width))


def kiel(teff: Array, logg: Array, fe_h: Array | None, labels: Sequence[str]) -> Figure:
    """Draw surface gravity against effective temperature, both rising down and to the left.

    Parameters
    ----------
    teff, logg : ndarray, K and log10(cm/s2)
    fe_h : ndarray or None
        The colour, dex; None: how many there are in each cell.
    labels : sequence of str
        What the axes and the colour bar say.
    """
    known = np.isfinite(teff) & np.isfinite(logg)
    if fe_h is not None:
        known &= np.isfinite(fe_h)
    x, y = teff[known], logg[known]
    colour = None if fe_h is None else fe_h[known]
    drawn = figure(WIDTH / 2 - 0.2, 3.9)
    axes = drawn.subplots()
    shown = _coloured(axes, x, y, colour)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.set_xlim(*_limits(x)[::-1])
    axes.set_ylim(*_limits(y)[::-1])
    axes.xaxis.set_major_locator(_few_ticks())
    axes.grid()
    axes.set_axisbelow(True)
    if shown is not None:
        drawn.colorbar(shown, ax=axes, label=labels[2] if colour is not None else "Spectra")
    return drawn


def _coloured(axes: Any, x: Array, y: Array, colour: Array | None) -> Any:
    few = len(x) <= _FEW
    if few and colour is None:
        axes.scatter(x, y, s=7, color=BLUE, alpha=0.6, linewidths=0, rasterized=True)
        return None
    low, high = (0.0, 1.0) if colour is None or not len(colour) else np.percentile(colour, [2, 98])
    if few:
        return axes.scatter(
            x, y, c=colour, s=8, cmap="viridis", vmin=low, vmax=high, linewidths=0,
            rasterized=True,
        )  # fmt: skip
    extent = (*_limits(x), *_limits(y))
    options: dict[str, Any] = {"gridsize": 70, "extent": extent, "mincnt": 1, "linewidths": 0.1}
    if colour is None:
        return axes.hexbin(x, y, bins="log", cmap="cividis", rasterized=True, **options)
    return axes.hexbin(
        x, y, C=colour, reduce_C_function=np.median, cmap="viridis", vmin=low,
        vmax=high, rasterized=True, **options,
    )  # fmt: skip


def _limits(values: Array) -> tuple[float, float]:
    """Return where an axis ends: at the outermost values but a few, with a margin."""
    if not len(values):
        return 0.0, 1.0
    low, high = np.percentile(values, [0.1, 99.9])
    margin = 0.04 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def sky(ra: Array, dec: Array) -> Figure:
    """Draw where on the sky stars are, in cells of equal area.

    Parameters
    ----------
    ra, dec : ndarray, deg
    """
    drawn = figure(WIDTH / 2 - 0.2, 3.1)
    axes = drawn.add_subplot(projection="mollweide")
    # As one sees it from below: right ascension rises to the left, 180 degrees in the middle.
    x = np.radians(180.0 - np.mod(ra, 360.0))
    y = np.radians(dec)
    axes.grid(color="#dfe5e8", linewidth=0.5)
    axes.set_axisbelow(True)
    if len(x) <= _FEW:
        axes.scatter(x, y, s=4, color=BLUE, alpha=0.6, linewidths=0, rasterized=True)
    else:
        x_edges = np.linspace(-np.pi, np.pi, 121)
        sine_edges = np.linspace(-1, 1, 61)
        counts, _, _ = np.histogram2d(np.sin(y), x, bins=(sine_edges, x_edges))
        image = axes.pcolormesh(
            x_edges, np.arcsin(sine_edges), np.where(counts > 0, counts, np.nan),
            cmap="cividis", norm="log", rasterized=True,
        )  # fmt: skip
        drawn.colorbar(image, ax=axes, label="Spectra a cell", shrink=0.6, pad=0.02)
    axes.set_xticks(np.radians([-120, -60, 0, 60, 120]))
    axes.set_xticklabels([f"{180 - tick}°" for tick in (-120, -60, 0, 60, 120)], fontsize=7)
    axes.set_yticks(np.radians([-60, -30, 0, 30, 60]))
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xlabel("Right ascension (deg)")
    axes.set_ylabel("Declination (deg)")
    return drawn


def differences(
    values: Mapping[str, tuple[Array, Array]], labels: Mapping[str, str], names: tuple[str, str]
) -> Figure:
    """Draw how much values changed from one version to the next.

    Parameters
    ----------
    values : mapping of str to (ndarray, ndarray)
        Newer and older values of each field.
    labels : mapping of str to str
    names : tuple of str
        The newer and the older version.
    """
    drawn = figure(WIDTH * len(values) / 3, 2.4)
    axes = drawn.subplots(1, len(values), squeeze=False).ravel()
    for place, (name, (new, old)) in zip(axes, values.items(), strict=True):
        change = (new - old)[np.isfinite(new - old)]
        inner, outside = _inner(change)
        _histogram(place, inner, ORANGE)
        place.axvline(0, color=INK, linewidth=0.8)
        place.set_title(name + (f"  ({outside:,} beyond)" if outside else ""), fontsize=9)
        place.set_xlabel(_wrapped(f"Change of {labels[name]}", 36))
        place.xaxis.set_major_locator(_few_ticks())
        place.yaxis.set_major_formatter(_thousands())
        place.grid(axis="y")
        place.set_axisbelow(True)
    axes[0].set_ylabel(f"Pairs of {names[0]} and {names[1]}", fontsize=8)
    return drawn
