"""Arrays in sample products: spectra, percentiles, targeting bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.sample_survey import Noise, scramble

if TYPE_CHECKING:
    import numpy.typing as npt

    from jobs.datamodel import Column
    from jobs.sample_survey import Rows

    Array = npt.NDArray[Any]


# Absorption lines of the sample spectra: wavelength in Angstrom, depth.
_LINES = np.array(
    [
        [3933.7, 0.6], [3968.5, 0.5], [4340.5, 0.4], [4861.3, 0.5], [5183.6, 0.4], [5895.6, 0.3],
        [6562.8, 0.6], [8498.0, 0.3], [8542.1, 0.5], [8662.1, 0.4], [15_339.0, 0.1],
        [15_753.0, 0.2], [16_113.7, 0.15], [16_723.5, 0.2], [16_811.1, 0.15],
    ]
)  # fmt: skip


def float_array(rows: Rows, column: Column) -> Array:
    """Return arrays of floats: pixels, percentiles, or one number an exposure."""
    size = column.size or 0
    if rows.hdu.wavelength and size == rows.hdu.wavelength[2]:
        return _pixels(rows, column)
    index = np.arange(size, dtype=np.uint64)
    drawn = Noise(scramble(rows.bits(column)[:, None] + index, "array"))
    if "percentiles" in column.name:
        return np.sort(np.exp(2 * drawn.normal), axis=1)
    return np.where(drawn.missing, np.float32(np.nan), 0.1 * drawn.normal)


def _pixels(rows: Rows, column: Column) -> Array:
    """Return spectra: a smooth continuum with lines, and what goes with it."""
    crval, cdelt, size = rows.hdu.wavelength or (0.0, 0.0, 0)
    wavelength = 10 ** (crval + cdelt * np.arange(size))
    drawn = Noise(scramble(rows.bits(column)[:, None] + np.arange(size, dtype=np.uint64), "pixel"))
    if column.name in ("wavelength", "wresl"):
        return np.tile(wavelength / (1 if column.name == "wavelength" else 4700), (len(rows), 1))
    if column.name == "pixel_flags":
        return np.where(drawn.uniform < 0.02, np.float32(4), np.float32(0))
    if column.name == "ivar":
        return np.where(drawn.uniform < 0.01, np.float32(0), 400 + 50 * drawn.normal)
    depth = _LINES[:, 1:] * np.exp(-(((wavelength - _LINES[:, :1]) / (wavelength / 1500)) ** 2))
    lines = 1 - depth.sum(axis=0)
    continuum = 1 + 0.3 * np.sin(np.linspace(0, 3, size) + rows.uniform("continuum")[:, None])
    if column.name == "continuum":
        return continuum
    if column.name == "flux":
        return continuum * lines + 0.02 * drawn.normal
    return np.tile(lines, (len(rows), 1)) + 0.002 * rows.uniform(column.name)[:, None]


def bit_array(rows: Rows, column: Column) -> Array:
    """Return an array of targeting bits, one in sixteen set; shape (n, size), uint8."""
    size = column.size or 0
    words = np.arange((size + 7) // 8, dtype=np.uint64)
    seeds = rows.bits(column)[:, None] + words
    bits = np.full(seeds.shape, np.uint64(2**64 - 1))
    for salt in range(4):
        bits &= scramble(seeds, "bits", salt)
    return bits.astype("<u8").view(np.uint8)[:, :size]
