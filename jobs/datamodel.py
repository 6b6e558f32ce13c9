"""The files that the survey publishes: products, HDUs, columns, types and units.

The facts are those of the SDSS data model for the Astra products of DR19 and DR20, kept in
`astra/etc/datamodel.json`, where runs of columns that several HDUs share are written once.

>>> layout("astraAllStarSlam", "DR20").hdus[0].columns[0]
Column(name='sdss_id', type='int64', size=None, unit='', table='source')
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from astra.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

# What FITS calls the types of the data model; the letter of a bool is L, of an array of bits B.
_TFORM = {"int32": "J", "int64": "K", "float32": "E", "bool": "L", "char": "A", "uint8": "B"}

# The size of text, bits and pixels in a table without rows: there was nothing to measure.
_EMPTY = {"char": 1, "uint8": 1, "float32": 0}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a product's table.

    Attributes
    ----------
    name : str
        As spelt in the file.
    type : str
        ``int32``, ``int64``, ``float32``, ``bool``, ``char`` or ``uint8``.
    size : int or None
        Bytes of a ``char``, elements of an array; None for a single number.
    unit : str
        As the data model writes it, such as ``km/s``; empty where it gives none.
    table : str
        Whose value the column carries: ``source``, ``spectrum``, ``pipeline``, or ``derived``
        (computed from the flags or the version of the same row).
    """

    name: str
    type: str
    size: int | None
    unit: str
    table: str

    @property
    def tform(self) -> str:
        """The FITS format of the column, such as ``J`` or ``26A``."""
        return f"{'' if self.size is None else self.size}{_TFORM[self.type]}"


@dataclass(frozen=True, slots=True)
class HDU:
    """One table of a product.

    Attributes
    ----------
    number : int
        Place in the file; 1 is the first table.
    extname, instrument, observatory, pipeline : str
        Header cards EXTNAME, INSTRMNT, OBSRVTRY and PIPELINE; empty where the file has none.
    created : str
        Header card CREATED, yy-mm-dd HH:MM:SS.
    models : tuple of str
        The tables whose rows were joined, in order: Source, spectrum tables, result table.
    rows : int
        Rows in the published file (in one example, for files of one object).
    wavelength : tuple of (float, float, int) or None
        CRVAL, CDELT and the number of pixels: the vacuum wavelength of pixel i, counted from 0,
        is ``10**(crval + cdelt * i)`` Angstrom.  None where the header has no such cards.
    columns : tuple of Column
        In the order of the file.
    """

    number: int
    extname: str
    instrument: str
    observatory: str
    pipeline: str
    created: str
    models: tuple[str, ...]
    rows: int
    wavelength: tuple[float, float, int] | None
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The shape of one product in one data release.

    Attributes
    ----------
    product, release : str
        Such as ``astraAllStarSlam`` and ``DR20``.
    v_astra : str
        Version of the software that wrote the file; files of DR20 can be of 0.6.0.
    location : str
        Path below the survey's Astra folder, with ``{v_astra}``, ``{sdss_id}`` and
        ``{sdss_id_group}`` to be filled in.
    primary : mapping of str to str
        Cards of HDU 0 that say where the file comes from: PIPELINE, V_ASTRA, CREATED.
    source_cards : mapping of str to str
        In files of one object, the other cards of HDU 0 and the field of Source that each
        carries; empty for files of all objects.
    hdus : tuple of HDU
        The tables, from HDU 1.
    """

    product: str
    release: str
    v_astra: str
    location: str
    primary: Mapping[str, str]
    source_cards: Mapping[str, str]
    hdus: tuple[HDU, ...]


@dataclass(frozen=True, slots=True)
class FlagRules:
    """How the derived flags of a result table follow from its ``result_flags``.

    Attributes
    ----------
    bits : mapping of str to int
        Number of the bit (0 is the lowest) of each named flag.
    derived : mapping of str to tuple of tuple of str
        For ``flag_warn`` and ``flag_bad``: alternatives, each a tuple of flags that must all be
        set; ``nonzero:result_flags`` stands for any bit at all.
    """

    bits: Mapping[str, int]
    derived: Mapping[str, tuple[tuple[str, ...], ...]]


@cache
def _facts() -> dict[str, Any]:
    """Read the data model once, when it is first asked for."""
    text = files("astra").joinpath("etc", "datamodel.json").read_text(encoding="utf-8")
    facts: dict[str, Any] = json.loads(text)
    return facts


def products() -> tuple[str, ...]:
    """Return the names of all products, sorted."""
    return tuple(_facts()["products"])


def releases(product: str) -> tuple[str, ...]:
    """Return the data releases that published a product, oldest first.

    Raises
    ------
    UsageError
        If there is no such product; the message has the nearest names.
    """
    return tuple(_product(product)["releases"])


@cache
def layout(product: str, release: str) -> Layout:
    """Return the shape of a product in a data release.

    Parameters
    ----------
    product : str
        Such as ``astraAllStarSlam``; see `products`.
    release : str
        ``DR19`` or ``DR20``; see `releases`.

    Raises
    ------
    UsageError
        If there is no such product, or the release does not have it.
    """
    entry = _product(product)
    if release not in entry["releases"]:
        known = " and ".join(entry["releases"])
        raise UsageError(f"{product} is not part of data release {release!r}: it is in {known}")
    facts = entry["releases"][release]
    primary = {"V_ASTRA": facts["v_astra"], "CREATED": facts["created"]}
    if "pipeline" in facts:
        primary = {"PIPELINE": facts["pipeline"], **primary}
    return Layout(
        product=product,
        release=release,
        v_astra=facts["v_astra"],
        location=entry["location"],
        primary=primary,
        source_cards=_facts()["primary_cards"] if facts.get("one_object") else {},
        hdus=tuple(_hdu(number, hdu) for number, hdu in enumerate(facts["hdus"], start=1)),
    )


def flag_rules(model: str, v_astra: str) -> FlagRules | None:
    """Return how a result table's derived flags follow from its bits.

    Parameters
    ----------
    model : str
        Name of the result table, such as ``Slam``.
    v_astra : str
        Version that wrote the file: the rule of AstroNN changed after 0.6.0.

    Returns
    -------
    FlagRules or None
        None if files of that version have no derived flags of that table.
    """
    rules = _facts()["result_flags"].get(model, {}).get(v_astra)
    if rules is None:
        return None
    derived = {
        name: tuple(tuple(flags) for flags in alternatives)
        for name, alternatives in rules["derived"].items()
    }
    return FlagRules(bits=rules["bits"], derived=derived)


@cache
def widest(name: str) -> int:
    """Return the greatest size that a text or array column has in any product; 0 if unknown.

    A table without rows does not tell how wide its text is; this does, should it get rows.
    """
    return max(
        (
            hdu.get("sizes", {}).get(name, 0)
            for entry in _facts()["products"].values()
            for facts in entry["releases"].values()
            for hdu in facts["hdus"]
        ),
        default=0,
    )


def _product(product: str) -> dict[str, Any]:
    """Return the facts of one product, or say what it may have been meant to be."""
    known = _facts()["products"]
    if product not in known:
        near = difflib.get_close_matches(product, known, n=3, cutoff=0.5) or list(known)
        raise UsageError(
            f"there is no product {product!r} in the data model; the nearest names are "
            + ", ".join(near)
        )
    entry: dict[str, Any] = known[product]
    return entry


def _hdu(number: int, facts: dict[str, Any]) -> HDU:
    """Join the column groups of one table."""
    wavelength = facts.get("wavelength")
    sizes = facts.get("sizes", {})
    return HDU(
        number=number,
        extname=facts.get("extname", ""),
        instrument=facts.get("instrument", ""),
        observatory=facts.get("observatory", ""),
        pipeline=facts.get("pipeline", ""),
        created=facts["created"],
        models=tuple(facts["models"]),
        rows=facts["rows"],
        wavelength=tuple(wavelength) if wavelength else None,
        columns=tuple(
            _column(entry, group["class"], sizes)
            for group in (_facts()["groups"][name] for name in facts["groups"])
            for entry in group["columns"]
        ),
    )


def _column(entry: str | list[str], table: str, sizes: Mapping[str, int]) -> Column:
    """Complete one column: a bare name has the type and unit that the name has elsewhere."""
    if isinstance(entry, str):
        name, (kind, unit) = entry, _facts()["columns"][entry]
    else:
        name, kind, unit = entry
    base = kind.removesuffix("[]")
    sized = kind != base or base == "char"
    return Column(name, base, sizes.get(name, _EMPTY[base]) if sized else None, unit, table)
