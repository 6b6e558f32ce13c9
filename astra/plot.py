"""Pictures of spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from astra.errors import AstraError, ProductError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_spectrum(spectrum: Any, *, result: Any = None) -> Figure:
    """Draw flux against wavelength, with a band of one standard deviation.

    Parameters
    ----------
    spectrum : SpectrumMixin
        Drawn with its continuum and its model of the continuum fit, where it has them.
    result : PixelOutputMixin, optional
        A result whose model flux (and continuum, if the spectrum has none) is drawn too.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    AstraError
        If matplotlib is not installed.
    ProductError
        If the flux, the wavelength or the inverse variance cannot be read.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise AstraError(
            "plots need matplotlib, which is not installed: pip install 'astra[plot]'"
        ) from error

    wavelength, flux, e_flux = spectrum.wavelength, spectrum.flux, spectrum.e_flux
    figure, axes = plt.subplots(figsize=(12, 4), layout="constrained")
    _draw(axes, wavelength, flux, "flux", color="black", linewidth=0.5)
    _draw_band(axes, wavelength, flux, e_flux)
    for label, color, array in _overlays(spectrum, result):
        _draw(axes, wavelength, array, label, color=color, linewidth=0.8)

    fields = type(spectrum)
    axes.set_xlabel(f"Wavelength in vacuum ({fields.wavelength.unit})")
    axes.set_ylabel(f"Flux ({fields.flux.unit})")
    axes.set_title(f"{fields.__name__} {spectrum.spectrum_pk}")
    axes.set_ylim(*_limits(np.where(np.isfinite(e_flux), flux, np.nan)))
    axes.legend(loc="upper right")
    return figure


def _overlays(spectrum: Any, result: Any) -> list[tuple[str, str, np.ndarray]]:
    """Return label, colour and array of what there is to draw over the flux."""
    continuum = _array(spectrum, "continuum")
    if continuum is None:
        continuum = _array(result, "continuum")
    relative = _array(spectrum, "nmf_rectified_model_flux")
    nmf = None if relative is None or continuum is None else relative * continuum
    model = _array(result, "model_flux")
    label = f"model ({type(result).__name__})"
    drawn = (
        ("continuum", "tab:orange", continuum),
        ("model of the continuum fit", "tab:blue", nmf),
        (label, "tab:red", model),
    )
    return [
        (label, color, array)
        for label, color, array in drawn
        if array is not None and np.shape(array) == np.shape(spectrum.flux)
    ]


def _array(row: Any, name: str) -> np.ndarray | None:
    """Return a pixel array, or None if the row or its file has none of this name."""
    try:
        return getattr(row, name, None)
    except ProductError:
        return None


def _draw(axes: Axes, wavelength: Any, values: Any, label: str, **style: Any) -> None:
    # One line a detector: no line across the gaps between them.
    for x, y in zip(np.atleast_2d(wavelength), np.atleast_2d(values), strict=True):
        axes.plot(x, y, label=label, **style)
        label = "_"


def _draw_band(axes: Axes, wavelength: Any, flux: Any, e_flux: Any) -> None:
    label = "one standard deviation"
    for x, y, e in zip(*map(np.atleast_2d, (wavelength, flux, e_flux)), strict=True):
        known = np.isfinite(e)
        half = np.where(known, e, 0)
        axes.fill_between(
            x, y - half, y + half, where=known, step="mid", color="0.7", linewidth=0, label=label
        )
        label = "_"


def _limits(flux: np.ndarray) -> tuple[float, float]:
    """Return limits that a few wild pixels do not decide."""
    good = flux[np.isfinite(flux)]
    if not good.size:
        return 0.0, 1.0
    low, high = np.percentile(good, (0.5, 99.5))
    margin = 0.2 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
