"""A pretend survey: stars, their spectra and results, for sample products.

Every value is a function of the seed, the column and the number of the star or spectrum.  So the
same star is the same in every product, however many rows are made and in whatever chunks.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from jobs.datamodel import HDU, Column, Layout

    Array = npt.NDArray[Any]

# A star is observed 1, 2, 3, 4, 1, 2, ... times: these are star and visit of ten rows of visits.
_TEN_STARS = np.array([0, 1, 1, 2, 2, 2, 3, 3, 3, 3])
_TEN_VISITS = np.array([0, 0, 1, 0, 1, 2, 0, 1, 2, 3])

# Room for spectra: 64 a star and telescope, 7.8 million stars a seed, 100 seeds, and for each of
# the spectrum tables two versions.  All keys are distinct, and most need more than 32 bits.
VISITS = 64
_SEED_ROOM = 10**9
_TABLE_ROOM = 10**11
_STARS = _SEED_ROOM // (2 * VISITS)
SPECTRUM_TABLES = (
    "BossCombinedSpectrum",
    "BossVisitSpectrum",
    "BossRestFrameVisitSpectrum",
    "ApogeeCoaddedSpectrumInApStar",
    "ApogeeVisitSpectrum",
    "ApogeeVisitSpectrumInApStar",
    "ApogeeCombinedSpectrum",
    "ApogeeRestFrameVisitSpectrum",
)

# Where stars lie: effective temperature (K), log10 of gravity (cm/s^2), absolute G (mag).
_DWARFS = np.array(
    [
        [3100, 5.1, 12.0], [3800, 4.8, 9.0], [4500, 4.65, 7.2], [5200, 4.55, 5.8],
        [5800, 4.42, 4.6], [6500, 4.25, 3.5], [8500, 4.0, 2.0],
    ]
)  # fmt: skip
_GIANTS = np.array(
    [[3700, 0.4, -3.5], [4250, 1.5, -1.4], [4700, 2.5, 0.5], [4950, 3.3, 2.4], [5700, 4.0, 3.6]]
)
_WHITE_DWARFS = np.array([[6500, 8.0, 13.5], [10_000, 8.0, 12.0], [32_500, 8.1, 9.8]])

# Galactic to equatorial coordinates (J2000).
_GALACTIC = np.array(
    [
        [-0.0548755604, 0.4941094279, -0.8676661490],
        [-0.8734370902, -0.4448296300, -0.1980763734],
        [-0.4838350155, 0.7469822445, 0.4559837762],
    ]
)


class Noise:
    """Random numbers of one column, one an element, made of 64 random bits each.

    Parameters
    ----------
    bits : ndarray of uint64
        As `scramble` returns them.
    """

    def __init__(self, bits: Array) -> None:
        self._bits = bits
        self._parts = bits.astype("<u8", copy=False).view("<u2").reshape(*bits.shape, 4)

    @cached_property
    def normal(self) -> Array:
        """Numbers of mean 0 and deviation 1 as float32, never beyond 3."""
        total = self._parts[..., 1].astype(np.float32) + self._parts[..., 2] + self._parts[..., 3]
        return np.asarray(total * np.float32(2 / 65536) - np.float32(3))

    @cached_property
    def uniform(self) -> Array:
        """Numbers from 0 to below 1 as float32; not independent of `normal`."""
        return (self._bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)

    @cached_property
    def missing(self) -> Array:
        """True for about 15 in 100; independent of the numbers."""
        return np.asarray(self._parts[..., 0] < 9830)


def scramble(index: Array, *stream: object) -> Array:
    """Return 64 random bits for each index, the same for the same stream of them.

    This is the finaliser of SplitMix64: no state, so any part of a stream can be had at once.
    """
    name = "/".join(str(part) for part in stream).encode()
    key = np.frombuffer(hashlib.blake2b(name, digest_size=8).digest(), "<u8")
    bits = index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(bits ^ (bits >> np.uint64(31)))


class Stars(NamedTuple):
    """What the stars of some rows are like; each an array of one value a row.

    Temperatures in K, gravities in log10(cm/s^2), metallicities in dex, angles in degrees,
    distances in pc, magnitudes in mag.
    """

    teff: Array
    logg: Array
    fe_h: Array
    ra: Array
    dec: Array
    glon: Array
    glat: Array
    distance: Array
    g_mag: Array
    bp_rp: Array


def make_stars(index: Array, seed: int) -> Stars:
    """Draw stars: two thirds dwarfs, a quarter giants, and some white dwarfs.

    Parameters
    ----------
    index : ndarray of int
        Numbers of the stars.
    seed : int
        Which survey.
    """
    kind, age, disc, sky, far = (
        Noise(scramble(index, seed, "star", part)) for part in ("kind", "age", "disc", "sky", "far")
    )
    fe_h = np.where(disc.uniform < 0.1, -1.3 + 0.4 * age.normal, -0.1 + 0.25 * age.normal)
    clump = disc.uniform < 0.35
    gravity = np.where(clump, 2.45 + 0.06 * disc.normal, 0.4 + 3.6 * np.sqrt(age.uniform))
    dwarf = _along(_DWARFS, 0, 3100 + 5400 * age.uniform**2)
    giant = _along(_GIANTS, 1, gravity)
    white = _along(_WHITE_DWARFS, 0, 6500 * 5**age.uniform)
    teff, logg, absolute = np.where(
        kind.uniform < 0.68, dwarf, np.where(kind.uniform < 0.95, giant, white)
    )
    bright = kind.uniform < 0.95
    teff = teff + np.where(bright & (logg < 3.6), np.where(clump, 100, 0) - 150 * fe_h, 0)
    aged = np.where(bright, np.clip((teff - 4800) / 1500, 0, 1) * np.abs(disc.normal), 0)
    logg = logg - 0.2 * aged + 0.03 * sky.normal
    absolute = absolute - 0.5 * aged
    g_mag = 11 + 5 * np.sqrt(far.uniform)
    glon, glat = 360 * sky.uniform, np.clip(14 * disc.normal * np.abs(sky.normal), -89, 89)
    ra, dec = _equatorial(np.radians(glon), np.radians(glat))
    bp_rp = np.interp(
        teff,
        [3100, 3500, 4000, 5000, 5800, 7000, 8500, 30_000],
        [3.2, 2.4, 1.8, 1.1, 0.8, 0.45, 0.1, -0.4],
    )
    distance = 10 ** ((g_mag - absolute + 5) / 5)
    return Stars(teff, logg, fe_h, ra, dec, glon, glat, distance, g_mag, bp_rp)


def _along(track: Array, given: int, value: Array) -> Array:
    """Return teff, logg and magnitude on a track, shape (3, n), where one of them has a value."""
    return np.stack([np.interp(value, track[:, given], column) for column in track.T])


def _equatorial(glon: Array, glat: Array) -> tuple[Array, Array]:
    """Turn galactic coordinates (radians) into right ascension and declination (degrees)."""
    galactic = np.stack([np.cos(glat) * np.cos(glon), np.cos(glat) * np.sin(glon), np.sin(glat)])
    x, y, z = _GALACTIC @ galactic
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arcsin(np.clip(z, -1, 1)))


class Rows:
    """Some rows of one table: which star and visit each is, and so all of its keys.

    Parameters
    ----------
    layout, hdu : Layout, HDU
        The product and its table.
    seed : int
        Which survey; modulo 100.
    rows : range
        Numbers of the rows in the table.
    first : int
        The star of row 0 (of all rows, in a file of one object).
    """

    def __init__(self, layout: Layout, hdu: HDU, seed: int, rows: range, first: int = 0) -> None:
        number = np.arange(rows.start, rows.stop)
        self.layout = layout
        self.hdu = hdu
        self.seed = seed % 100
        if layout.source_cards:
            self.star, self.visit = np.full(len(number), first), number % VISITS
        elif "Visit" in self.table:
            self.star = first + 4 * (number // 10) + _TEN_STARS[number % 10]
            self.visit = _TEN_VISITS[number % 10]
        else:
            self.star, self.visit = first + number, np.zeros_like(number)

    def __len__(self) -> int:
        return len(self.star)

    @property
    def table(self) -> str:
        """The table of spectra that the rows' spectrum_pk belongs to."""
        found = [model for model in self.hdu.models if model in SPECTRUM_TABLES]
        return found[0] if found else SPECTRUM_TABLES[0]

    @property
    def result(self) -> str:
        """The result table; that of the spectra where the product has no results."""
        return self.hdu.models[-1]

    @cached_property
    def stars(self) -> Stars:
        """The star of each row."""
        return make_stars(self.star, self.seed)

    @cached_property
    def south(self) -> Array:
        """Whether each row was observed at Las Campanas."""
        if self.hdu.observatory:
            return np.full(len(self), self.hdu.observatory == "LCO")
        return self.uniform("observatory") < 0.3

    @cached_property
    def spectrum(self) -> Array:
        """Number of each row's spectrum among those of its table and seed."""
        return (self.star * 2 + self.south) * VISITS + self.visit

    @cached_property
    def star_pk(self) -> Array:
        """Number of each row's star among those of all seeds, from 1."""
        return self.star % _STARS + self.seed * _STARS + 1

    def spectrum_pk(self, table: str) -> Array:
        """Return the key of each row's spectrum in a table of spectra.

        Versions have keys of their own, as the natural keys of spectra have the version in them.
        """
        room = 2 * SPECTRUM_TABLES.index(table) + (self.layout.v_astra != "0.6.0")
        return room * _TABLE_ROOM + self.seed * _SEED_ROOM + self.spectrum + 1

    @cached_property
    def mjd(self) -> Array:
        """Date of each row's observation; no two of a star are on one date."""
        return self.mjd_of(self.visit)

    def mjd_of(self, visit: Array) -> Array:
        """Date of the given visits to each row's star."""
        return 59200 + 31 * visit + 15 * self.south + (15 * self.uniform("mjd")).astype(int)

    @cached_property
    def n_visits(self) -> Array:
        """How often each row's star was observed."""
        return self.star % 4 + 1

    def bits(self, column: Column, salt: str = "") -> Array:
        """Return 64 random bits a row for a column: alike in all rows that share its value."""
        if column.table == "source":
            return scramble(self.star, self.seed, column.name, salt)
        owner = self.table if column.table == "spectrum" else self.result
        return scramble(self.spectrum, self.seed, owner, column.name, salt)

    def uniform(self, name: str) -> Array:
        """Return a number between 0 and 1 for each row's star."""
        return Noise(scramble(self.star, self.seed, "star", name)).uniform
