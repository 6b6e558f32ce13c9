"""From a file to a `Manifest`: every mistake found, and told with its line and the mend."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from jobs.manifest.checks import EXPECTED
from jobs.manifest.mistakes import Mistake, Place, as_error, did_you_mean
from jobs.manifest.model import Manifest, Position, Product, ProductKeys, Root
from jobs.manifest.source import read_yaml
from jobs.manifest.values import LinedList, LinedMapping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TEXTS = ("path", "result", "spectrum", "columns", "ignore", "root")
_CHOICES = {
    "new_columns": ("error", "ignore"),
    "sources": ("create", "update", "require"),
    "spectra": ("create", "update", "require"),
}


def load_manifest(path: Path) -> Manifest:
    """Return the manifest in a YAML file, checked, with its defaults put into each product.

    No file but the manifest is touched, and no model is looked for: see `resolve_all` and
    `check_names`.

    Parameters
    ----------
    path : Path
        The manifest.

    Raises
    ------
    ManifestError
        If the file cannot be read, or with every mistake in it, a line a mistake.
    """
    data, mistakes = read_yaml(path)
    if data is None:
        raise as_error([*mistakes, Mistake(None, (), f"is empty; {_SMALLEST}")], path)
    if not isinstance(data, LinedMapping):
        text = f"found {_describe(data)} at the top, expected keys; {_SMALLEST}"
        raise as_error([*mistakes, Mistake(_line(data, ()), (), text)], path)
    try:
        manifest = Manifest.model_validate(data)
    except ValidationError as error:
        told = {mistake.place for mistake in mistakes}
        found = _translate(error, data)
        mistakes += [mistake for mistake in found if not _is_under(mistake.place, told)]
        raise as_error(mistakes, path) from None
    products = tuple(_settled(manifest, data))
    for product in products:
        mistakes += _contradictions(product)
    if mistakes:
        raise as_error(mistakes, path)
    return manifest.model_copy(update={"products": products})


def _settled(manifest: Manifest, data: LinedMapping) -> Iterator[Product]:
    entries = data["products"]
    defaults = data["defaults"].lines if "defaults" in data else {}
    root = None if manifest.root is None else Root(manifest.root, data.lines["root"])
    for index, product in enumerate(manifest.products):
        position = Position(index, entries.lines[index], entries[index].lines, defaults, root)
        yield product.settled(manifest.defaults, position)


_SMALLEST = 'the smallest manifest is "version: 1", then "products:", then "- path: FILE"'


def _is_under(place: Place, told: set[Place]) -> bool:
    """Tell whether a mistake at this place, or around it, has been told already."""
    return any(place[:length] in told for length in range(1, len(place) + 1))


def _line(data: Any, place: Place) -> int:
    """Return the line of the value at a place, or of the innermost one around it."""
    value, line = data, getattr(data, "line", 1)
    for part in place:
        if isinstance(value, LinedMapping) and part in value.lines:
            line = value.lines[str(part)]
        elif isinstance(value, LinedList) and isinstance(part, int) and part < len(value):
            line = value.lines[part]
        else:
            break
        value = value[part]
    return int(line)


def _describe(value: Any) -> str:
    """Return a value of the manifest as a message names it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int():
            return f"the number {value}"
        case str():
            return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
        case list():
            return "a list" if value else "an empty list"
        case _:
            return "a mapping"


def _translate(error: ValidationError, data: LinedMapping) -> list[Mistake]:
    """Return pydantic's findings in our words, one for each place."""
    mistakes: dict[Place, Mistake] = {}
    for found in error.errors(include_url=False):
        place = _known_place(found["loc"], data)
        if found["type"] == "too_short" and found["input"]:
            continue  # entries that are wrong were not counted
        if found["type"] == "missing":
            place = found["loc"][:-1]
            text = _missing(str(found["loc"][-1]))
        elif found["type"] == "extra_forbidden":
            text = _unknown_key(found["loc"])
        elif found["type"] == "manifest":
            text = found["msg"]
        else:
            text = _unexpected(place, found["input"])
        key = (*place, text) if found["type"] == "missing" else place
        mistakes.setdefault(key, Mistake(_line(data, place), place, text))
    return list(mistakes.values())


def _known_place(loc: Place, data: LinedMapping) -> Place:
    """Return the part of pydantic's location that stands in the file, not its union branches."""
    value: Any = data
    for depth, part in enumerate(loc):
        inside = isinstance(value, LinedMapping) and part in value
        if isinstance(value, LinedList) and isinstance(part, int):
            inside = part < len(value)
        if not inside:
            return loc[:depth]
        value = value[part]
    return loc


def _missing(key: str) -> str:
    examples = {"version": "version: 1", "products": "products:", "path": "path: FILE"}
    return f'the key "{key}" is missing; expected {EXPECTED[key]}; add "{examples[key]}"'


def _unknown_key(loc: Place) -> str:
    key = str(loc[-1])
    top, keys = tuple(Manifest.model_fields), tuple(ProductKeys.model_fields)
    known = top if len(loc) == 1 else keys if loc[0] == "defaults" else ("path", *keys)
    if loc[0] == "defaults" and key == "path":
        return "defaults may hold any key of a product but path; give each product its own"
    if len(loc) == 1 and key in Product.model_fields:
        return f'"{key}" is a key of a product; put it into an entry of "products", or "defaults"'
    if len(loc) > 1 and key in top:
        return f'"{key}" belongs to the top of the manifest; move it there'
    return f"unknown key{did_you_mean(key, known)} (the keys here are {', '.join(known)})"


def _unexpected(place: Place, value: Any) -> str:
    names = [str(part) for part in place if part in EXPECTED]
    if not names:
        return f'found {_describe(value)}; expected keys, as in "- path: FILE"'
    name = names[1] if len(names) > 1 and names[0] in ("products", "defaults") else names[0]
    if name == "products" and len(place) > 1:
        return f'found {_describe(value)}; expected the keys of a product; write "- path: FILE"'
    text = f"found {_describe(value)}; expected {EXPECTED[name]}"
    if name in _CHOICES and isinstance(value, str):
        return text + did_you_mean(value, _CHOICES[name])
    if name in ("hdus", "ignore") and place[-1] == name and isinstance(value, str | int):
        return f"{text}; write {name}: [{value}]"
    if isinstance(value, int) and name in _TEXTS:
        written = str(value).lower() if isinstance(value, bool) else value
        return f'{text}; put it in quotes if it is text: "{written}"'
    return text


def _contradictions(product: Product) -> Iterator[Mistake]:
    """Yield what each key allows but the product's keys together do not."""
    by_column: dict[str, list[str]] = {}
    for name, column in product.columns.items():
        by_column.setdefault(column.casefold(), []).append(name)
    for names in by_column.values():
        if len(names) > 1:
            text = f"{' and '.join(names)} have the same FITS column; leave one of them out"
            yield product.mistake("columns", text)
    for column in product.ignore:
        if column.casefold() in by_column:
            text = f'"{column}" is among columns, too; remove it from one of the two'
            yield product.mistake("ignore", text)
    for key in ("spectrum", "hdus", "ignore"):
        values: tuple[str | int, ...] = getattr(product, key) or ()
        twice = [str(value) for value, count in Counter(values).items() if count > 1]
        if twice:
            yield product.mistake(key, f"{', '.join(twice)} given twice; keep one")
