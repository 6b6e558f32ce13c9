"""What a column means and its unit: one place, for all tables that have a column of that name.

`describe` looks a name up among the plain ones, and else takes it apart: ``raw_e_fe_h`` is the
uncertainty of ``fe_h`` before calibration, ``rho_teff_logg`` a correlation.  Units are written so
that astropy can parse them; ``""`` is no unit.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from astra.glossary_names import PLAIN


class Meaning(NamedTuple):
    """What a column holds.

    Attributes
    ----------
    text : str
        One sentence without a full stop; empty if the name is not in the glossary.
    unit : str
        In astropy's spelling; empty if there is none.
    """

    text: str
    unit: str = ""


ELEMENTS = {
    "al": "aluminium",
    "c": "carbon",
    "ca": "calcium",
    "ce": "cerium",
    "co": "cobalt",
    "cr": "chromium",
    "cu": "copper",
    "fe": "iron",
    "ge": "germanium",
    "k": "potassium",
    "mg": "magnesium",
    "mn": "manganese",
    "n": "nitrogen",
    "na": "sodium",
    "nd": "neodymium",
    "ni": "nickel",
    "o": "oxygen",
    "p": "phosphorus",
    "s": "sulphur",
    "si": "silicon",
    "ti": "titanium",
    "v": "vanadium",
}

LINE_QUANTITIES = {
    "eqw": ("Equivalent width of {}, negative in emission", "Angstrom"),
    "abs": ("Depth of {} at its centre, relative to the continuum", ""),
    "detection_stat": ("Share of the network's runs that find {}, calibrated", ""),
    "detection_raw": ("Share of the network's runs that find {}, as counted", ""),
    "eqw_percentiles": ("Percentiles 16, 50 and 84 of the equivalent width of {}", "mAngstrom"),
    "abs_percentiles": ("Percentiles 16, 50 and 84 of the depth of {}", ""),
}

# Who says it, by the prefix of the column
AUTHORS = {
    "doppler": "by Doppler",
    "xcsao": "by XCSAO",
    "xcorr": "by cross-correlation",
    "zgr": "by Zhang et al. (2023)",
}

SYSTEMS = {"jkc": "Johnson-Kron-Cousins", "sdss": "SDSS", "ps1": "Pan-STARRS 1"}


def _lower(text: str) -> str:
    """Write a text so that it can stand within a sentence: ``Flux`` but not ``Gaia G``."""
    is_name = text.startswith("Gaia") or not text[1:2].islower()
    return text if is_name else text[:1].lower() + text[1:]


def _changed(name: str, text: str) -> Meaning | None:
    """Return the meaning of another name in a sentence of its own, with that name's unit."""
    known = describe(name)
    return Meaning(text.format(_lower(known.text)), known.unit) if known.text else None


def _element(symbol: str, of: str) -> Meaning | None:
    if symbol not in ELEMENTS:
        return None
    notation = f"[{symbol.title()}/{of.title()}]"
    return Meaning(f"{ELEMENTS[symbol].title()} abundance {notation}", "dex")


def _authored(author: str, name: str) -> Meaning | None:
    """``doppler_teff``, and ``doppler_e_teff``, whose meaning is that of ``e_teff``."""
    known = describe(name)
    return Meaning(f"{known.text} {AUTHORS[author]}", known.unit) if known.text else None


def _correlation(names: str) -> Meaning | None:
    """``rho_a_b``: the names have underscores too, so each place is tried to part them."""
    for place in (match.start() for match in re.finditer("_", names)):
        first, second = describe(names[:place]), describe(names[place + 1 :])
        if first.text and second.text:
            text = f"Correlation of {names[:place]} and {names[place + 1 :]} in the fit"
            return Meaning(text)
    return None


def _line(quantity: str, line: str) -> Meaning:
    text, unit = LINE_QUANTITIES[quantity]
    series = {"h": "Balmer line H", "pa": "Paschen line Pa"}
    kind, _, rest = line.partition("_")
    if kind == "ca" and rest[:2] in ("h_", "k_"):
        name = f"Ca II {rest[0].upper()} at {rest[2:]} A"
    elif kind in series:
        name = f"{series[kind]}-{rest}"
    else:
        ion, _, wavelength = rest.partition("_")
        name = f"{kind.title()} {ion.upper()} at {wavelength or 6708} A"
    return Meaning(text.format(name), unit)


def _wise(band: str, quantity: str) -> Meaning:
    return {
        "_mag": Meaning(f"unWISE W{band} magnitude (Vega)", "mag"),
        "_flux": Meaning(f"unWISE W{band} flux (Vega)", "nmgy"),
        "_dflux": Meaning(f"Uncertainty of the unWISE W{band} flux", "nmgy"),
        "_frac": Meaning(f"Share of the W{band} flux that is the source's own (unWISE)"),
        "uflags": Meaning(f"Bit field: unWISE flags of the W{band} coadd"),
        "aflags": Meaning(f"Bit field: further unWISE flags in W{band}"),
    }[quantity]


def _synthetic(band: str, system: str, flag: str) -> Meaning:
    name = f"{SYSTEMS[system]} {band} magnitude from Gaia XP spectra"
    return Meaning(f"Whether the {name} is valid, 1 if it is") if flag else Meaning(name, "mag")


def _distance(which: str, kind: str) -> Meaning:
    ends = {"med": "median", "lo": "16th percentile", "hi": "84th percentile"}
    kinds = {"geo": "geometric", "photogeo": "photogeometric"}
    text = f"Distance by Bailer-Jones et al. (2021), {kinds[kind]}, {ends[which]}"
    return Meaning(text, "pc")


def _white_dwarf(kind: str) -> Meaning:
    name = kind.replace("_", "+").upper()
    return Meaning(f"Probability that the spectrum is of class {name}")


# The first pattern that fits the whole name and has an answer is taken.
_EXPLAIN: tuple[tuple[str, Callable[..., Meaning | None]], ...] = (
    (r"(al|c|ca|ce|co|cr|cu|fe|ge|k|mg|mn|n|na|nd|ni|o|p|s|si|ti|v)_(h|fe)", _element),
    (r"w([12])(_mag|_flux|_dflux|_frac|uflags|aflags)", _wise),
    (r"([ubvrigzy])_(jkc|sdss|ps1)_mag(_flag|)", _synthetic),
    (r"r_(med|lo|hi)_(geo|photogeo)", _distance),
    (r"(eqw_percentiles|abs_percentiles|detection_stat|detection_raw|eqw|abs)_(\w+)", _line),
    (r"p_((?:cv|d[abcoqz]|mwd|hotdq)\w*)", _white_dwarf),
    (r"rho_(\w+)", _correlation),
    (r"(doppler|xcsao|xcorr|zgr)_(\w+)", _authored),
    (r"raw_(\w+)", lambda name: _changed(name, "Before calibration: {}")),
    (r"initial_(\w+)", lambda name: _changed(name, "Starting value of the fit: {}")),
    (r"e_(\w+)", lambda name: _changed(name, "Uncertainty: {}")),
    (r"model_flux_(\w+)", lambda name: _changed(name, "Flux of the model that fits best: {}")),
    (r"(\w+)_confidence", lambda name: _changed(name, "Confidence, from 0 to 1: {}")),
    (r"(\w+)_rchi2", lambda name: _changed(name, "Reduced chi-square of the fit: {}")),
    (r"(\w+)_flags", lambda name: _changed(name, "Bit field, quality of the value: {}")),
    (r"(\w+)_task_pk", lambda name: _changed(name, "Key of the FERRE run: {}")),
)
PATTERNS = tuple((re.compile(pattern), explain) for pattern, explain in _EXPLAIN)
UNITLESS = re.compile(r"rho_.*|model_flux_.*|.*_(confidence|rchi2|flags|task_pk)")


@functools.cache
def describe(name: str) -> Meaning:
    """Return what a column of this name means, and its unit.

    Parameters
    ----------
    name : str
        A field's name, such as ``e_teff``.

    Returns
    -------
    Meaning
        With empty texts if the glossary does not know the name.
    """
    if name in PLAIN:
        return Meaning(*PLAIN[name])
    for pattern, explain in PATTERNS:
        match = pattern.fullmatch(name)
        meaning = explain(*match.groups()) if match else None
        if meaning is not None:
            return Meaning(meaning.text) if UNITLESS.fullmatch(name) else meaning
    return Meaning("")
