"""Which table and field each column of a FITS table goes to.

In a file of all objects a row joins a source, its spectrum and a result, and where several of
the tables have a field of a column's name, the first of these gave the column.  In a file of one
object (the primary header has an SDSS_ID card) the source stands in cards of the primary header,
and of the spectrum and the result, the last gave the column.  This is how Astra writes them; see
the README's page on the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from astra.errors import UsageError
from astra.flags import DerivedFlag, Flag
from astra.models import Source
from astra.pixels import pixel_arrays
from astra.storage import fit, storage_of
from astra.upsert import GENERATED
from astra.utils import version_string_to_integer
from jobs.fits import FitsColumn, FitsFile, TableHDU, column_values
from jobs.identify import Models
from jobs.manifest import Product
from jobs.manifest.mistakes import did_you_mean

#: Columns that a file of rejected rows has beside the product's own; see `jobs.rejects`.
REJECT_CARD = "ASTRAREJ"
REJECT_COLUMNS = ("HDU", "ROW", "REASON", "FILE")


@dataclass
class Target:
    """What one table gets of a file's rows.

    Attributes
    ----------
    model : type of Model
    policy : str
        ``create``, ``update`` or ``require``.
    fields : dict of str to int
        Field -> index of the FITS column.
    constants : dict of str to value
        Field -> the value of every row, from the header or the manifest.
    has_pixels : bool
        Whether the file has pixel arrays of the table's rows, so that its path is kept.
    """

    model: Any
    policy: str
    fields: dict[str, int] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    has_pixels: bool = False

    def has(self, name: str) -> bool:
        """Tell whether the model has a column of this name to be written."""
        return name in self.model._meta.fields and name not in GENERATED


@dataclass
class TableMapping:
    """Where the columns of one HDU go.

    Attributes
    ----------
    table : TableHDU
    source, result : Target or None
    spectra : list of Target
    checks : list of (int, Target, str)
        Columns that are not stored but must agree with the flags: index, table, flag.
    versions : list of int
        Columns that must agree with `v_astra`: index.
    source_keys : list of int
        Columns with the key that the file's database has for the source.
    problems : list of str
        Why the HDU cannot be taken in.
    lacking : list of str
        Fields that the file has no column for, as ``Table.field``.
    primary : mapping of str to value
        The primary header's cards.
    kind : object
        The same for files of one kind, whose rows can be shaped together.
    """

    table: TableHDU
    source: Target | None
    spectra: list[Target]
    result: Target | None
    checks: list[tuple[int, Target, str]] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    source_keys: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    primary: Mapping[str, Any] = field(default_factory=dict)
    kind: object = None

    @property
    def targets(self) -> list[Target]:
        """All tables that get something, in the order in which they are written."""
        each = [self.source, *self.spectra, self.result]
        return [target for target in each if target is not None]


def map_table(
    file: FitsFile, table: TableHDU, product: Product, models: Models, path: Path
) -> TableMapping:
    """Find the table and field of every column of an HDU, and what its header gives.

    Parameters
    ----------
    file : FitsFile
    table : TableHDU
    product : Product
        The manifest's entry.
    models : Models
        The tables that the HDU's rows go to.
    path : Path
        Where pixel arrays are to be found later: the file's own place.

    Returns
    -------
    TableMapping
        With every problem that the header alone can tell.
    """
    return with_header(map_columns(file, table, product, models), file, table, path)


def map_columns(file: FitsFile, table: TableHDU, product: Product, models: Models) -> TableMapping:
    """Find the table and field of every column of an HDU.

    What depends on the values in the headers is left to `with_header`, so that files of one kind
    need this only once.
    """
    mapping = _Mapper(file, table, product, models).map()
    mapping.kind = mapping
    return mapping


def with_header(mapping: TableMapping, file: FitsFile, table: TableHDU, path: Path) -> TableMapping:
    """Return a mapping for one more file of the same kind, with what its headers give."""
    copies = {
        id(target): replace(target, constants=dict(target.constants)) for target in mapping.targets
    }
    own = replace(
        mapping,
        table=table,
        source=copies.get(id(mapping.source)),
        spectra=[copies[id(target)] for target in mapping.spectra],
        result=copies.get(id(mapping.result)),
        checks=[(index, copies[id(target)], name) for index, target, name in mapping.checks],
        problems=[f"{path} {table.label}: {text}" for text in mapping.problems],
        primary=file.primary,
    )
    for target in own.targets:
        if target.has_pixels:
            target.constants["path"] = str(path)
    if own.source is not None and "SDSS_ID" in file.primary:
        own.source.constants.update(_source_from_cards(file.primary))
    if own.result is not None and "v_astra" not in {**own.result.fields, **own.result.constants}:
        version = _version(own, own.result)
        if isinstance(version, str):
            own.problems.append(f"{path} {table.label}: {version}")
        else:
            own.result.constants["v_astra"] = version
    return own


def _version(mapping: TableMapping, result: Target) -> int | str:
    """Return the version of results without a column of it, or what is wrong with the card."""
    for cards in (mapping.table.cards, mapping.primary):
        if text := str(cards.get("V_ASTRA") or "").strip():
            try:
                return version_string_to_integer(text)
            except UsageError as error:
                return f"the V_ASTRA card: {error}; set `v_astra` in the manifest"
    default: int = result.model._meta.fields["v_astra"].default
    return default


class _Mapper:
    def __init__(self, file: FitsFile, table: TableHDU, product: Product, models: Models) -> None:
        self.file = file
        self.table = table
        self.product = product
        self.names = _field_names(table, product.columns or {})
        self.of_one_object = "SDSS_ID" in file.primary
        self._without_place: list[FitsColumn] = []
        self.mapping = TableMapping(
            table,
            source=Target(Source, product.sources) if self._has_source() else None,
            spectra=[Target(model, product.spectra) for model in models.spectra],
            result=None if models.result is None else Target(models.result, "update"),
        )
        self._has_problem = models.problem is not None
        if models.problem:
            self._problem(models.problem)

    def _has_source(self) -> bool:
        return self.of_one_object or "sdss_id" in self.names.values()

    def map(self) -> TableMapping:
        self._check_manifest()
        for index, column in enumerate(self.table.columns):
            if column.name not in (self.product.ignore or ()):
                self._place(index, column, self.names[index])
        self._tell_without_place()
        self._share_natural_keys()
        self._add_constants()
        self._check_keys()
        self._check_types()
        self._check_checks()
        self._tell_lacking()
        return self.mapping

    # -- the manifest against the file -----------------------------------------------------

    def _check_manifest(self) -> None:
        present = [column.name for column in self.table.columns]
        for name, column in (self.product.columns or {}).items():
            if column not in present:
                self._problem(
                    f"no column {column}, which the manifest wants for {name}"
                    f"{did_you_mean(column, present)}; it has {_some(present)}"
                )
            if not any(target.has(name) for target in self.mapping.targets):
                tables = ", ".join(target.model.__name__ for target in self.mapping.targets)
                fields = [f for target in self.mapping.targets for f in target.model._meta.fields]
                self._problem(
                    f"the manifest's `columns` names a field {name}, which no table has "
                    f"({tables}){did_you_mean(name, fields)}"
                )

    # -- columns ---------------------------------------------------------------------------

    def _place(self, index: int, column: FitsColumn, name: str) -> None:
        """Find the place of one column, or note that it has none."""
        special = {
            "source": self._place_source_key,
            "source_pk": self._place_source_key,
            "created": self._place_time,
            "modified": self._place_time,
            "spectrum_pk": self._place_spectrum_key,
            "v_astra_major_minor": self._place_version_check,
        }.get(name)
        if special is not None and special(index):
            return
        if column.name in REJECT_COLUMNS and self.table.cards.get(REJECT_CARD):
            return
        for target in self._order():
            if target.has(name):
                self._assign(target, name, index)
                return
        # A flag that both the spectrum and the result have is the result's.
        for target in reversed(self.mapping.targets):
            if self._place_virtual(target, name, index):
                return
        if self.product.new_columns == "error":
            self._without_place.append(column)

    def _order(self) -> list[Target]:
        each = [self.mapping.source, *self.mapping.spectra, self.mapping.result]
        targets = [target for target in each if target is not None]
        if self.of_one_object:
            return [target for target in reversed(targets) if target is not self.mapping.source]
        return targets

    def _assign(self, target: Target, name: str, index: int) -> None:
        if name in target.fields:
            first = self.table.columns[target.fields[name]].name
            self._problem(
                f"columns {first} and {self.table.columns[index].name} both go to "
                f"{target.model.__name__}.{name}; put one of them under `ignore`"
            )
        target.fields[name] = index

    def _place_virtual(self, target: Target, name: str, index: int) -> bool:
        """Place a column that is no column of the table: pixels, or a flag that follows."""
        if name in pixel_arrays(target.model):
            target.has_pixels = "path" in target.model._meta.fields
            return True
        attribute = _class_attribute(target.model, name)
        is_flag = isinstance(attribute, DerivedFlag | Flag)
        if is_flag and bit_fields(target.model, name) <= set(self.names.values()):
            self.mapping.checks.append((index, target, name))
            return True
        return False

    def _place_source_key(self, index: int) -> bool:
        self.mapping.source_keys.append(index)
        if self.mapping.source is not None:
            self.mapping.source.fields.setdefault("pk", index)
        elif self.mapping.result is not None:
            self.mapping.result.fields.setdefault("source_pk", index)
        return True

    def _place_spectrum_key(self, index: int) -> bool:
        # Results are tied to the spectrum that is found or made by it.
        owner = [*self.mapping.spectra, *filter(None, [self.mapping.result])][:1]
        for target in owner:
            self._assign(target, "spectrum_pk", index)
        return bool(owner)

    def _place_time(self, index: int) -> bool:
        # Files of all objects of 0.8 have `created` and `modified` of the source, among its other
        # columns; those of 0.6, whose sources had none, of the result: after the spectrum's key.
        result, names = self.mapping.result, self.names
        if result is None or self.of_one_object:
            return False
        keys = [number for number, name in names.items() if name == "spectrum_pk"]
        if "modified" not in names.values() or (keys and index > keys[0]):
            self._assign(result, names[index], index)
            return True
        return False

    def _place_version_check(self, index: int) -> bool:
        self.mapping.versions.append(index)
        return True

    def _tell_without_place(self) -> None:
        """Name the columns that no table knows, or the one cause that they have in common."""
        left = self._without_place
        if self._has_problem or (left and not self.mapping.targets):
            return  # which is told already: the tables are not known
        if self.mapping.source is None:
            sources = [column.name for column in left if column.name.lower() in Source._meta.fields]
            if sources:
                self._problem(
                    "no column sdss_id, by which sources are known, so there is no place for "
                    f"{_some(sources)}; name its column under `columns`, or put these under "
                    "`ignore`"
                )
                left = [column for column in left if column.name not in sources]
        for column in left:
            self._problem(self._unknown(column))

    def _unknown(self, column: FitsColumn) -> str:
        tables = [target.model.__name__ for target in self.mapping.targets]
        fields = [name for target in self.mapping.targets for name in target.model._meta.fields]
        return (
            f"column {column.name} ({column.label}) has no place in {', '.join(tables)}"
            f"{did_you_mean(column.name.lower(), fields)}; give it a field under `columns`, put "
            "it under `ignore`, or set `new_columns: ignore`"
        )

    # -- what follows ----------------------------------------------------------------------

    def _share_natural_keys(self) -> None:
        """Give each spectrum table the columns that it tells its rows apart by.

        They describe the same observation, whichever table they are counted to.
        """
        by_name = {name: index for index, name in self.names.items()}
        first = True
        for target in self.mapping.spectra:
            for name in target.model.natural_key:
                shareable = name in by_name and (name != "filetype" or first)
                if name not in target.fields and shareable:
                    target.fields[name] = by_name[name]
            if "healpix" in by_name and target.has("healpix"):
                target.fields.setdefault("healpix", by_name["healpix"])
            if "sdss_id" in by_name and target.has("sdss_id"):
                target.fields.setdefault("sdss_id", by_name["sdss_id"])
            first = False

    def _add_constants(self) -> None:
        """Take what the manifest gives."""
        result = self.mapping.result
        if result is None:
            return
        if self.product.v_astra is not None:
            result.fields.pop("v_astra", None)
            result.constants["v_astra"] = self.product.v_astra
        if self.product.tag is not None:
            result.constants["tag"] = self.product.tag

    def _check_keys(self) -> None:
        """Make sure that each table's rows can be told apart."""
        source, result = self.mapping.source, self.mapping.result
        if source is not None and "sdss_id" not in source.fields and not self.of_one_object:
            self._problem("no column sdss_id, by which sources are known")
        is_alone = result is not None and not self.mapping.spectra
        if result is not None and is_alone and "spectrum_pk" not in result.fields:
            self._problem(
                f"no column spectrum_pk, by which {result.model.__name__} is tied to its "
                "spectrum; name its column under `columns`, or give `spectrum:` a table "
                "whose natural key the file has"
            )
        for target in self.mapping.spectra:
            key = [name for name in target.model.natural_key if name not in target.fields]
            if "spectrum_pk" not in target.fields and len(key) == len(target.model.natural_key):
                self._problem(
                    f"neither a column spectrum_pk nor the natural key of "
                    f"{target.model.__name__} ({', '.join(target.model.natural_key)})"
                )
        if not self.mapping.targets:
            self._problem(
                "nothing says which table its rows go to: no PIPELINE card, no sdss_id, no "
                "columns of a known spectrum; set `result:` (and `spectrum:`) in the manifest"
            )

    def _check_types(self) -> None:
        """Find the columns whose type no value of the field could have."""
        for target in self.mapping.targets:
            for name, index in target.fields.items():
                column = self.table.columns[index]
                why = type_problem(self.table, index, target.model._meta.fields[name])
                if name == "v_astra" and (column.form == "A" or column.label in _INTEGERS):
                    continue  # as text or packed, whichever the field is
                if why is not None:
                    self._problem(
                        f"column {column.name} ({column.label}) does not fit "
                        f"{target.model.__name__}.{name}: {why}; put it under `ignore`, or give "
                        "the field another column"
                    )

    def _check_checks(self) -> None:
        """Find the columns that are to be checked against others, and cannot be."""
        columns = self.table.columns
        for index, target, name in self.mapping.checks:
            lacking = sorted(bit_fields(target.model, name) - set(target.fields))
            if lacking:
                self._problem(
                    f"column {columns[index].name} cannot be checked against {lacking[0]}, which "
                    f"does not go to {target.model.__name__}; put both under `ignore`"
                )
        numbers = [index for index, _, _ in self.mapping.checks] + self.mapping.versions
        keys = self.mapping.source_keys
        for index, forms in [*((n, "LBIJK") for n in numbers), *((n, "IJK") for n in keys)]:
            column = columns[index]
            if column.form not in forms or column.repeat != 1:
                self._problem(
                    f"column {column.name} ({column.label}) must be a single "
                    f"{'integer' if index in keys else 'logical or integer'}; put it under `ignore`"
                )

    def _tell_lacking(self) -> None:
        for target in self.mapping.targets:
            have = {*target.fields, *target.constants, *_GIVEN}
            if target is self.mapping.source and self.of_one_object:
                have |= _source_from_cards(self.file.primary).keys()
            lacking = [
                each
                for each in target.model._meta.sorted_fields
                if each.name not in have and not each.primary_key
            ]
            table = target.model.__name__
            self.mapping.lacking += [f"{table}.{each.name}" for each in lacking]
            for each in lacking:
                if not each.null and each.default is None and each.name != "sdss_id":
                    self._problem(
                        f"no column for {table}.{each.name}, which must have a value; name its "
                        "column under `columns`, or declare the field with null=True or a default"
                    )

    def _problem(self, text: str) -> None:
        self.mapping.problems.append(text)


#: Labels of columns with one integer.
_INTEGERS = ("1B", "1I", "1J", "1K")
#: Fields that the job fills itself, so that no file lacks them.
_GIVEN = (
    *("created", "modified", "source", "source_pk", "spectrum_pk", "path", "tag", "v_astra"),
    *GENERATED,
)


def type_problem(table: TableHDU, index: int, model_field: Any) -> str | None:
    """Tell why no value of a column can go into a field, None if some can."""
    storage = storage_of(model_field)
    column = table.columns[index]
    if column.form in "PQ":
        return "an array of varying length"
    if column.form == "A" and _text_count(column) > 1:
        return f"an array of {_text_count(column)} texts"
    values = column_values(np.zeros(0, dtype=table.dtype), index, column)
    try:
        fit(storage, values.values, values.null, values.grid)
    except TypeError as error:
        return str(error)
    return None


def _text_count(column: FitsColumn) -> int:
    """Return how many texts a text column has in a row, by TDIM (standard, 8.2)."""
    lengths = [part for part in column.dim.strip("() ").split(",") if part.strip().isdigit()]
    count = 1
    for length in lengths[1:]:
        count *= int(length)
    return count


def _field_names(table: TableHDU, renamed: Mapping[str, str]) -> dict[int, str]:
    """Return the field that each column's name means: index of the column -> name."""
    by_column = {column: name for name, column in renamed.items()}
    names: dict[int, str] = {}
    for index, column in enumerate(table.columns):
        name = by_column.get(column.name, column.name)
        # Files of one object of 0.6 have the names of the database's columns.
        names[index] = name[: -len("_id")] if name.endswith("_pk_id") else name
    exact = _KNOWN_MIXED_CASE | set(by_column.values())
    return {i: name if name in exact else name.lower() for i, name in names.items()}


#: Fields whose names are not all lower case.
_KNOWN_MIXED_CASE = {"L_fakemag", "L_fakemag_err", "L_fakemag_model_err"}


def _class_attribute(model: Any, name: str) -> Any:
    for base in model.__mro__:
        if name in vars(base):
            return vars(base)[name]
    return None


def bit_fields(model: Any, name: str) -> set[str]:
    """Return the bit fields that a flag is computed from."""
    attribute = _class_attribute(model, name)
    if isinstance(attribute, Flag):
        return {attribute._field.name}
    rules = [model.derived_flags[name]]
    rules += [rule[name] for rule in model.derived_flags_by_version.values() if name in rule]
    fields: set[str] = set()
    for rule in rules:
        for needed in rule:
            for condition in needed:
                kind, _, flag = condition.rpartition(":")
                fields |= {flag} if kind == "nonzero" else bit_fields(model, flag)
    return fields


def _source_from_cards(cards: Mapping[str, Any]) -> dict[str, Any]:
    from jobs.datamodel import layout

    wanted = layout("mwmStar", "DR20").source_cards
    fields = Source._meta.fields
    # A card without a value gives its field all the same: chunks are filled across the files of
    # many stars, and only with rows that have the same columns.
    return {
        name: None if cards[keyword] == "" else cards[keyword]
        for keyword, name in wanted.items()
        if name in fields and keyword in cards
    }


def _some(names: Sequence[str], most: int = 8) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
