"""Which tables the rows of an HDU go to, told from its header, its columns and its file's name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from astra.models import (
    ApogeeVisitSpectrum,
    ApogeeVisitSpectrumInApStar,
    Source,
    find,
    result_models,
    spectrum_models,
)
from astra.pixels import pixel_arrays
from jobs.fits import FitsFile, TableHDU
from jobs.manifest import NO_RESULT, Product
from jobs.manifest.mistakes import did_you_mean

#: Names of products that do not carry the name of their result table.
_RESULT_OF_PRODUCT = {"MWMLite": "MWMBest"}
_PRODUCT_NAME = re.compile(r"astra(?:All)?(?:Star|Visit)?([A-Za-z]+?)(?:[-_.]|$)")


@dataclass(frozen=True)
class Models:
    """The tables beside `Source` that an HDU's rows go to.

    Attributes
    ----------
    spectra : tuple of type
        Of the visits in apStar there are two for each row: the visit as it was reduced, and as
        it was resampled.
    result : type or None
    problem : str or None
        Why that could not be found out.
    """

    spectra: tuple[Any, ...]
    result: Any
    problem: str | None = None


def identify(
    file: FitsFile, table: TableHDU, product: Product, classes: Mapping[str, type[Any]]
) -> Models:
    """Find out which tables an HDU's rows go to; what the manifest says wins.

    Parameters
    ----------
    file : FitsFile
    table : TableHDU
    product : Product
    classes : mapping of str to type
        The models that the manifest names; see `jobs.manifest.check_names`.
    """
    columns = {column.name.lower().removesuffix("_id") for column in table.columns}
    columns |= {column.name.lower() for column in table.columns}
    if product.spectrum is not None:
        spectra = tuple(classes[name] for name in product.spectrum)
    else:
        instrument = str(table.cards.get("INSTRMNT", file.primary.get("INSTRMNT", ""))).strip()
        of_one = "SDSS_ID" in file.primary
        # In files of one object, what the spectrum and the result both have is the result's; in
        # files of all objects, what the source has is the source's.
        others = _names(_named_result(file, table, product, classes)) if of_one else _names(Source)
        spectra = _spectra(instrument, columns, others if of_one else others | {"v_astra"})
    if product.result == NO_RESULT:
        return Models(spectra, None)
    if product.result is not None:
        return Models(spectra, classes[product.result])
    for cards in (table.cards, file.primary):
        name = str(cards.get("PIPELINE", "")).strip()
        if name and find(name) not in result_models:
            known = [model.__name__ for model in result_models]
            return Models(
                spectra,
                None,
                f'the PIPELINE card says "{name}", which is no result table'
                f"{did_you_mean(name, known)}; set `result:` in the manifest to the table, to "
                "package.module:Class for one of your own, or to none",
            )
        if name:
            return Models(spectra, find(name))
    return Models(spectra, _result(file, columns, spectra))


def _named_result(
    file: FitsFile, table: TableHDU, product: Product, classes: Mapping[str, type[Any]]
) -> Any | None:
    """Return the result table that the manifest, a card or the file's name tells."""
    if product.result is not None:
        return classes.get(product.result)
    for cards in (table.cards, file.primary):
        if name := str(cards.get("PIPELINE", "")).strip():
            return find(name)
    return result_of_name(file.path)


def _spectra(instrument: str, columns: set[str], others: frozenset[str]) -> tuple[Any, ...]:
    """Return the spectrum tables that have most in common with the columns.

    Columns that can be those of other tables tell nothing.
    """
    own = columns - others
    best: tuple[Any, ...] = ()
    best_score = 0.0
    for candidate in (*((model,) for model in spectrum_models), _RESAMPLED_VISIT):
        if not instrument or not candidate[0].__name__.lower().startswith(instrument.lower()):
            continue
        names = frozenset[str]().union(*map(_names, candidate)) - others
        common = len(own & names)
        score = common / len(own | names)
        if common > len(names) / 2 and score > best_score:
            best, best_score = candidate, score
    return best


#: A visit as it was resampled, in the same row as the visit as it was reduced.
_RESAMPLED_VISIT = (ApogeeVisitSpectrum, ApogeeVisitSpectrumInApStar)

#: Every table has these, so they say nothing.
_COMMON = {"pk", "spectrum_pk", "source", "source_pk", "path", "created", "modified"}


@cache
def _names(model: Any | None) -> frozenset[str]:
    """Return the names that columns of a table can have, in lower case; none of no table."""
    if model is None:
        return frozenset()
    return frozenset(name.lower() for name in (*model._meta.fields, *pixel_arrays(model))) - _COMMON


def _result(file: FitsFile, columns: set[str], spectra: Iterable[Any]) -> Any | None:
    """Return the result table that the file's name or the columns tell."""
    if (model := result_of_name(file.path)) is not None:
        return model
    if "task_pk" not in columns:
        return None
    left = columns - _names(Source) - {n for model in spectra for n in _names(model)}
    scores = {
        model: len(left & _names(model)) / len(left | _names(model)) for model in result_models
    }
    best = max(result_models, key=scores.__getitem__)
    return best if scores[best] > 0.5 else None


def result_of_name(path: Path) -> Any | None:
    """Return the result table that a file's name tells, None if it tells none."""
    match = _PRODUCT_NAME.match(path.name)
    if match is None:
        return None
    name = _RESULT_OF_PRODUCT.get(match[1], match[1])
    model = find(name)
    return model if model in result_models else None
