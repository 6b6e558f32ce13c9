"""What the ledger knows of a task's files before it begins, and what a file is by it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from astra.errors import ProductError
from astra.ledger import Identity, Ledger
from jobs.manifest import Product
from jobs.plan import Unit, Units

#: So many units are looked up at a time.
_UNITS = 500

Entries = Sequence[Mapping[str, Any]]
"""What the ledger has of one file; see `astra.ledger.Ledger.entries`."""


@dataclass(frozen=True)
class Known:
    """What is in, and of what something else is known.

    Attributes
    ----------
    done : set of int
        Units that are in as they are now, by their order.
    entries : dict of str to Entries
        By path, of the files of which a unit is not in, or rows were set aside; so it takes
        little memory, however many files are in.
    """

    done: set[int] = field(default_factory=set)
    entries: dict[str, Entries] = field(default_factory=dict)


def look_up(ledger: Ledger, units: Units, products: Sequence[Product]) -> Known:
    """Return what the ledger knows of units.

    Raises
    ------
    ProductError
        If a file that it knows is not there any more.
    """
    known = Known()
    for start in range(0, len(units), _UNITS):
        some = [units[place] for place in range(start, min(start + _UNITS, len(units)))]
        found = ledger.entries(list(dict.fromkeys(str(unit.path) for unit in some)))
        for unit in some:
            entries = found.get(str(unit.path))
            if entries is None:
                continue
            is_in = is_done(entries, identify(unit, products[unit.product]))
            if is_in:
                known.done.add(unit.order)
            if not is_in or any(entry["rejected"] for entry in entries):
                known.entries[str(unit.path)] = entries
    return known


def identify(unit: Unit, product: Product) -> Identity:
    """Return what a file is on disk, and how the manifest wants it.

    Raises
    ------
    ProductError
        If it is not there any more.
    """
    try:
        status = unit.path.stat()
    except OSError as error:
        raise ProductError(f"{unit.path}: cannot be read: {error.strerror}") from error
    wanted = product.model_dump(mode="json", exclude={"path", "max_rejects", "verify"})
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
    return Identity(
        path=str(unit.path),
        hdu=0,
        target="",
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        datasum=None,
        settings=digest,
        hdus=0,
        part=unit.part,
        parts=unit.parts,
        tag=product.tag or "",
    )


def is_done(entries: Entries, file: Identity) -> bool:
    """Tell from the ledger whether all HDUs of a part of a file are in, as it is now."""
    done = [entry for entry in entries_of(entries, file) if entry["status"] == "done"]
    return bool(done) and len(done) >= done[0]["hdus"]


def entries_of(entries: Entries, file: Identity) -> list[Mapping[str, Any]]:
    """Return those of a file's entries that speak of a part of it, as it is now."""
    names = ("size", "mtime_ns", "settings", "part", "parts")
    return [e for e in entries if all(e[name] == getattr(file, name) for name in names)]


def rows_done(entries: Entries, table: Identity) -> int:
    """Return from the ledger how many rows of a part of an HDU are in, as it is now."""
    for entry in entries:
        same = all(entry[name] == getattr(table, name) for name in ("hdu", "target", "part"))
        if same and table.matches(entry):
            done: int = entry["done"]
            return done
    return 0
