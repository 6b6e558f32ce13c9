"""What stands in each column of a sample product: rules by the column's name, type and unit."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from astra.utils import version_string_to_integer
from jobs.datamodel import flag_rules
from jobs.sample_arrays import bit_array, float_array
from jobs.sample_survey import Noise

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from jobs.datamodel import Column
    from jobs.sample_survey import Rows, Stars

    Array = npt.NDArray[Any]

# G magnitude plus a + b * (BP - RP), in mag.
_BANDS = {
    "g_mag": (0.0, 0.0), "bp_mag": (0.0, 0.45), "rp_mag": (0.0, -0.55), "j_mag": (-0.2, -1.05),
    "h_mag": (-0.2, -1.45), "k_mag": (-0.2, -1.55), "w1_mag": (-0.25, -1.6),
    "w2_mag": (-0.25, -1.58), "mag4_5": (-0.25, -1.58), "u_jkc_mag": (0.1, 1.5),
    "b_jkc_mag": (0.1, 0.95), "v_jkc_mag": (0.0, 0.2), "r_jkc_mag": (-0.1, -0.25),
    "i_jkc_mag": (-0.2, -0.7),
    "u_sdss_mag": (0.9, 1.6), "g_sdss_mag": (0.0, 0.55), "r_sdss_mag": (0.0, -0.1),
    "i_sdss_mag": (0.1, -0.4), "z_sdss_mag": (0.15, -0.6), "y_ps1_mag": (0.15, -0.7),
}  # fmt: skip

# What a number looks like, by the first pattern that its column's name has.
_SHAPES: tuple[tuple[re.Pattern[str], Callable[[Noise], Array]], ...] = (
    (re.compile("chi2$"), lambda drawn: np.exp(0.4 * drawn.normal)),
    (re.compile("^rho_"), lambda drawn: drawn.normal / 3),
    (re.compile("^(eqw|abs|detection)_"), lambda drawn: np.exp(2 * drawn.normal)),
    (re.compile("^snr$"), lambda drawn: np.exp(3.4 + 0.8 * drawn.normal)),
    (re.compile("^p_|confidence$|_frac$"), lambda drawn: drawn.uniform**4),
)
_OF_STARS: tuple[tuple[re.Pattern[str], Callable[[Stars, Noise], Array]], ...] = (
    (re.compile("^(input_)?ra$"), lambda stars, _: stars.ra),
    (re.compile("^(input_)?dec$"), lambda stars, _: stars.dec),
    (re.compile("^l$"), lambda stars, _: stars.glon),
    (re.compile("^b$"), lambda stars, _: stars.glat),
    (re.compile("teff$"), lambda stars, drawn: stars.teff * (1 + 0.01 * drawn.normal)),
    (re.compile("logg$"), lambda stars, drawn: stars.logg + 0.06 * drawn.normal),
    (re.compile("_h(_niu|_atm)?$"), lambda stars, drawn: stars.fe_h + 0.1 * drawn.normal),
    (re.compile("_mag$|^L_fakemag"), lambda stars, drawn: stars.g_mag + drawn.normal),
    (re.compile("plx$|parallax"), lambda stars, drawn: 1000 / stars.distance + 0.03 * drawn.normal),
    (re.compile("^r_lo_"), lambda stars, drawn: stars.distance * (0.9 + 0.01 * drawn.normal)),
    (re.compile("^r_hi_"), lambda stars, drawn: stars.distance * (1.1 + 0.01 * drawn.normal)),
    (re.compile("^r_med_|dist$"), lambda stars, drawn: stars.distance * (1 + 0.02 * drawn.normal)),
)

# Mean and deviation of other numbers; by name, else by unit.  Values stay within 3 deviations.
_SPREAD = {
    "jd": (2_459_800.0, 200.0), "exptime": (2700.0, 600.0), "airmass": (1.3, 0.1),
    "seeing": (1.4, 0.3), "pressure": (705.0, 5.0), "humidity": (40.0, 10.0), "alt": (60.0, 9.0),
    "az": (180.0, 55.0), "moon_phase_mean": (0.5, 0.15), "f_night_time": (0.5, 0.15),
    "mean_fiber": (150.0, 45.0), "std_fiber": (20.0, 6.0), "mass": (1.1, 0.25),
    "radius": (5.0, 1.6), "sub_type": (3.0, 0.9), "ccfwhm": (30.0, 8.0), "autofwhm": (25.0, 7.0),
    "c_12_13": (20.0, 5.0), "c12_c13": (20.0, 5.0), "v_micro": (1.5, 0.4), "v_turb": (1.5, 0.4),
    "v_sini": (6.0, 1.8), "v_macro": (4.0, 1.2), "zgr_ln_prior": (-4.0, 1.0),
    "wind_speed": (8.0, 2.5), "gust_speed": (12.0, 3.5), "preject": (0.1, 0.03),
    "dust_a": (6000.0, 1900.0), "dust_b": (900.0, 280.0), "schi2min": (0.8, 0.1),
    "schi2max": (1.6, 0.2), "xcsao_rxc": (10.0, 3.0), "xcsao_meanrxc": (10.0, 3.0),
}  # fmt: skip
_SPREAD_OF_UNIT = {
    "km/s": (0.0, 45.0), "deg": (180.0, 55.0), "dex": (0.0, 0.15), "mag": (0.3, 0.09),
    "s": (1.0, 0.3), "C": (8.0, 4.0), "mA": (300.0, 90.0), "Vega nMgy": (900.0, 280.0),
    "arcsecond": (0.0, 0.1), "mas/yr": (-3.0, 9.0), "millibar": (705.0, 5.0), "%": (40.0, 10.0),
}  # fmt: skip
_ERROR_OF_UNIT = {"K": 40.0, "km/s": 0.6, "mag": 0.02, "pc": 20.0}

_TEXTS = {
    "apstar": ("stars",), "short_grid_name": ("sgGK_200716",),
    "lead": ("gaia_dr3_source", "tic_v8", "twomass_psc", ""), "ph_qual": ("AAA", "AAB", "BUU", ""),
    "bl_flg": ("111", "110", ""), "cc_flg": ("000", "0c0", ""), "pipeline": ("ASPCAP", "BossNet"),
    "bailer_jones_flags": ("10033", "10099", ""), "spectral_type": ("M", "K", ""),
    "classification": ("DA", "DB", "DC", ""),
}  # fmt: skip
_FILETYPES = {
    "BossVisitSpectrum": "specFull", "BossRestFrameVisitSpectrum": "mwmVisit",
    "BossCombinedSpectrum": "mwmStar", "ApogeeVisitSpectrum": "apVisit",
}  # fmt: skip

_COUNTS = (
    "n_boss_visits",
    "n_apogee_visits",
    "n_visits",
    "n_good_visits",
    "n_good_rvs",
    "n_entries",
)


def column_values(rows: Rows, column: Column) -> Array:
    """Return the values of one column for some rows.

    Parameters
    ----------
    rows : Rows
        Which rows of which table.
    column : Column
        One of the table's columns, with the size that the file gives it.

    Returns
    -------
    ndarray, shape (n_rows,) or (n_rows, size)
        Of any type that can be stored as the column's: floats with about 15% NaN, integers with
        -1 for what is missing, text as bytes.
    """
    makers: dict[str, Callable[[Rows, Column], Array]] = {
        "float32": _float if column.size is None else float_array,
        "int32": _integer,
        "int64": _integer,
        "bool": _boolean,
        "char": _text,
        "uint8": bit_array,
    }
    return makers[column.type](rows, column)


def source_card(rows: Rows, column: Column) -> str | int | float | None:
    """Return the value of a header card for the first of some rows; None if it is missing."""
    value = column_values(rows, column)[0]
    if column.type == "char":
        return bytes(value).decode() or None
    if column.type == "float32":
        return float(str(value)) if np.isfinite(value) else None
    return int(value) if value != -1 else None


# ---- numbers


def _float(rows: Rows, column: Column) -> Array:
    """Return a quantity, NaN where missing; an error is missing where its quantity is."""
    drawn = Noise(rows.bits(column))
    value = np.asarray(_quantity(rows, column, drawn), dtype=np.float32)
    if column.name in ("ra", "dec", "l", "b"):
        return value
    quantity = re.sub(r"(^|_)e_|_(model_)?err$", lambda found: found[1] or "", column.name)
    absent = drawn if quantity == column.name else Noise(rows.bits(replace(column, name=quantity)))
    return np.where(absent.missing, np.float32(np.nan), value)


def _quantity(rows: Rows, column: Column, drawn: Noise) -> Array:
    """Return a number that such a column can have."""
    name, unit = column.name, column.unit
    if re.search(r"(^|_)e_|err$|^std_|^rms_|dflux$", name):
        return np.abs(drawn.normal) * _ERROR_OF_UNIT.get(unit, 0.05) + np.float32(1e-3)
    for pattern, shape in _SHAPES:
        if pattern.search(name):
            return shape(drawn)
    stars = _stars(rows, column)
    if name in _BANDS:
        offset, slope = _BANDS[name]
        return stars.g_mag + offset + slope * stars.bp_rp + 0.02 * drawn.normal
    for pattern, rule in _OF_STARS:
        if pattern.search(name):
            return rule(stars, drawn)
    mean, deviation = _SPREAD.get(name) or _SPREAD_OF_UNIT.get(unit) or (0.0, 1.0)
    return drawn.normal * np.float32(deviation) + np.float32(mean)


def _stars(rows: Rows, column: Column) -> Stars:
    """Return the rows' stars; results of Corv and SnowWhite see only white dwarfs."""
    if column.table != "pipeline" or rows.result not in ("Corv", "SnowWhite"):
        return rows.stars
    age = rows.uniform("white")
    return rows.stars._replace(teff=6500 * 5**age, logg=7.8 + 0.5 * age)


def _integer(rows: Rows, column: Column) -> Array:
    """Return a key, date, count or set of flags; -1 where a key or count is missing."""
    name = column.name
    if name in _KEYS:
        return _KEYS[name](rows)
    if re.search(r"flags$|^(sqf_|mf)4_5$|^csf$", name):
        return _flags(rows, column)
    bits = rows.bits(column)
    large = 2**62 if name.startswith("gaia") else 2**33
    top = large if column.type == "int64" else 8
    return np.where(Noise(bits).missing, -1, (bits >> np.uint64(1)).astype(np.int64) % top)


def _flags(rows: Rows, column: Column) -> Array:
    """Return flags, most of them unset; of result flags only those that have a name."""
    mask = 0xFFFFFFFF if column.name.startswith("sdss4_") else 0xFFF
    if column.name == "result_flags":
        rules = flag_rules(rows.result, rows.layout.v_astra)
        mask = sum(2**bit for bit in rules.bits.values()) if rules and rules.bits else 0x7
    one, two, three = (rows.bits(column, salt) for salt in ("a", "b", "c"))
    some = Noise(one).uniform < 0.3
    return np.where(some, two & three & np.uint64(mask), np.uint64(0)).astype(np.int64)


def _boolean(rows: Rows, column: Column) -> Array:
    """Return true or false; derived flags as the row's own result flags have it."""
    rules = flag_rules(rows.result, rows.layout.v_astra)
    if column.table != "derived" or rules is None:
        return (rows.bits(column) & np.uint64(1)).astype(bool)
    result = next(other for other in rows.hdu.columns if other.name == "result_flags")
    flags = _flags(rows, result)
    found = np.zeros(len(rows), dtype=bool)
    for alternative in rules.derived[column.name]:
        if alternative == ("nonzero:result_flags",):
            found |= flags != 0
        else:
            mask = sum(2 ** rules.bits[flag] for flag in alternative)
            found |= flags & mask == mask
    return found


_KEYS: dict[str, Callable[[Rows], Array]] = {
    "sdss_id": lambda rows: rows.star_pk + 54_000_000,
    "source": lambda rows: rows.star_pk,
    "source_pk": lambda rows: rows.star_pk,
    "star_pk": lambda rows: rows.star_pk,
    "catalogid": lambda rows: rows.star_pk + 63_050_394_000_000_000,
    "healpix": lambda rows: (196_608 * rows.uniform("healpix")).astype(int),
    "spectrum_pk": lambda rows: rows.spectrum_pk(rows.table),
    "spectrum_pk_id": lambda rows: rows.spectrum_pk(rows.table),
    "drp_spectrum_pk": lambda rows: rows.spectrum_pk(_reduced(rows)),
    "drp_spectrum_pk_id": lambda rows: rows.spectrum_pk(_reduced(rows)),
    "task_pk": lambda rows: rows.spectrum_pk(rows.table),
    "id": lambda rows: rows.spectrum_pk(rows.table),
    "visit_pk": lambda rows: rows.spectrum_pk(rows.table),
    "rv_visit_pk": lambda rows: rows.spectrum_pk(rows.table),
    "v_astra": lambda rows: np.full(len(rows), version_string_to_integer(rows.layout.v_astra)),
    "v_astra_major_minor": lambda rows: np.full(
        len(rows), version_string_to_integer(rows.layout.v_astra) // 1000
    ),
    "mjd": lambda rows: rows.mjd,
    **dict.fromkeys(
        ("min_mjd", "boss_min_mjd", "apogee_min_mjd"),
        lambda rows: rows.mjd_of(np.zeros_like(rows.visit)),
    ),
    **dict.fromkeys(
        ("max_mjd", "boss_max_mjd", "apogee_max_mjd"), lambda rows: rows.mjd_of(rows.n_visits - 1)
    ),
    **dict.fromkeys(_COUNTS, lambda rows: rows.n_visits),
    "fieldid": lambda rows: 100_000 + rows.star_pk // 500 % 20_000,
    "fiber": lambda rows: rows.star_pk % 300 + 1,
}


def _reduced(rows: Rows) -> str:
    """Return the table of the visits that a row's rest-frame or resampled spectrum came from."""
    return "BossVisitSpectrum" if rows.table.startswith("Boss") else "ApogeeVisitSpectrum"


# ---- text


def _text(rows: Rows, column: Column) -> Array:
    """Return text; empty where it is missing."""
    name = column.name
    if name in _WRITTEN:
        return _WRITTEN[name](rows, column)
    texts = np.array(_TEXTS.get(name, ("",)), dtype="S")
    return np.asarray(texts[(rows.bits(column) >> np.uint64(8)) % np.uint64(len(texts))])


def _constant(text: str, rows: Rows) -> Array:
    return np.full(len(rows), text.encode())


def _digits(number: Array, width: int) -> Array:
    """Return whole numbers as decimal text of a width, shape (n, width) of bytes."""
    powers = 10 ** np.arange(width - 1, -1, -1)
    return (number[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def _joined(rows: Rows, *parts: Array | str) -> Array:
    """Put pieces of text side by side."""
    pieces = [
        np.tile(np.frombuffer(part.encode(), np.uint8), (len(rows), 1))
        if isinstance(part, str)
        else part
        for part in parts
    ]
    whole = np.ascontiguousarray(np.concatenate(pieces, axis=1))
    return whole.view(f"S{whole.shape[1]}").ravel()


def _twomass(rows: Rows) -> Array:
    """Return a 2MASS designation, made of the coordinates."""
    ra, dec = rows.stars.ra / 15, np.abs(rows.stars.dec)
    right, up = (ra * 360_000).astype(np.int64), (dec * 36_000).astype(np.int64)
    hms = right // 360_000 * 1_000_000 + right // 6000 % 60 * 10_000 + right % 6000
    dms = up // 36_000 * 100_000 + up // 600 % 60 * 1000 + up % 600
    sign = np.where(rows.stars.dec < 0, ord("-"), ord("+")).astype(np.uint8)[:, None]
    return _joined(rows, "2M", _digits(hms, 8), sign, _digits(dms, 7))


def _time(rows: Rows, column: Column, days: Array) -> Array:
    """Return times, given days since the year 2000, with microseconds of their own."""
    micro = (days * 86_400_000_000).astype(np.int64) // 1000 * 1000
    micro += (rows.bits(column) >> np.uint64(40)).astype(np.int64) % 1000
    times = np.datetime64("2000-01-01", "us") + micro.astype("timedelta64[us]")
    return np.datetime_as_string(times, unit="us").astype("S26")


def _variant(text: str) -> Callable[[Rows, Column], Array]:
    """Return texts that differ between a star's spectra where nothing else in their key does."""

    def written(rows: Rows, _: Column) -> Array:
        several = bool(rows.layout.source_cards) and "Visit" not in rows.table
        number = rows.visit if several else np.zeros_like(rows.visit)
        return _joined(rows, text, _digits(number, 2))

    return written


_WRITTEN: dict[str, Callable[[Rows, Column], Array]] = {
    "v_astra": lambda rows, _: _constant(rows.layout.v_astra, rows),
    "release": lambda rows, _: _constant("sdss5" if "Boss" in rows.table else "dr17", rows),
    "filetype": lambda rows, _: _constant(_FILETYPES.get(rows.table, "apStar"), rows),
    "telescope": lambda rows, _: np.where(rows.south, b"lco25m", b"apo25m"),
    "apred": _variant("r"),
    "run2d": _variant("v6_"),
    "obj": lambda rows, _: _twomass(rows),
    "sdss4_apogee_id": lambda rows, _: np.where(rows.uniform("sdss4") < 0.4, _twomass(rows), b""),
    "plate": lambda rows, _: _joined(rows, _digits(rows.star_pk // 300, 5)),
    "field": lambda rows, column: (
        _joined(rows, _digits(rows.star_pk // 3000, 6))
        if column.size and column.size >= 6
        else _constant("", rows)
    ),
    "spec_file": lambda rows, _: _joined(
        rows,
        "spec-",
        _digits(_KEYS["fieldid"](rows), 6),
        "-",
        _digits(rows.mjd, 5),
        "-",
        _digits(_KEYS["catalogid"](rows), 17),
        ".fits",
    ),
    "created": lambda rows, column: _time(rows, column, 9000 + 200 * rows.uniform("created")),
    "modified": lambda rows, column: _time(rows, column, 9300 + 200 * rows.uniform("modified")),
    "date_obs": lambda rows, column: _time(rows, column, rows.mjd - 51_544 + 0.3),
}
