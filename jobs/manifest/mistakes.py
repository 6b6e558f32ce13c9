"""A mistake in a manifest, and all of them as one error."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astra.errors import ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

# More than this and the first ones scroll off the screen.
_MOST_TOLD = 100

Place = tuple[str | int, ...]
"""Where a value stands in the manifest: ``("products", 1, "columns")``."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong, where it is, and the mend.

    Attributes
    ----------
    line : int or None
        Line of the manifest, from 1; None where the whole file is meant.
    place : tuple of str and int
        The value's keys and indices (from 0) from the top; empty for the whole file.
    text : str
        What was found, what was expected, and what to do.
    """

    line: int | None
    place: Place
    text: str

    def tell(self, manifest_path: Path) -> str:
        """Return the mistake as the line that the user reads."""
        where = str(manifest_path) if self.line is None else f"{manifest_path}:{self.line}"
        return ": ".join(part for part in (where, spell(self.place), self.text) if part)


def spell(place: Place) -> str:
    """Return a place as text: ``products[1].columns``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def as_error(mistakes: Sequence[Mistake], manifest_path: Path) -> ManifestError:
    """Return one error that tells all mistakes in the order of the lines, and no line twice."""
    ordered = sorted(mistakes, key=lambda mistake: mistake.line or 0)
    lines = list(dict.fromkeys(mistake.tell(manifest_path) for mistake in ordered))
    if len(lines) > _MOST_TOLD:
        left = len(lines) - _MOST_TOLD
        lines[_MOST_TOLD:] = [f"{manifest_path}: and {left} more such mistakes"]
    return ManifestError("\n".join(lines))


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Return the known words, three at most, that are most like `word` in whatever case."""
    by_folded: dict[str, str] = {}
    for name in known:
        by_folded.setdefault(name.casefold(), name)
    folded = word.casefold()
    likeness = {
        known_word: difflib.SequenceMatcher(None, known_word, folded).ratio()
        for known_word in difflib.get_close_matches(folded, by_folded, n=3, cutoff=0.6)
    }
    best = max(likeness.values(), default=0)
    return [by_folded[known_word] for known_word, ratio in likeness.items() if ratio > best - 0.1]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean "columns"?``, or nothing where no known word is like it."""
    close = nearest(word, known)
    return "; did you mean " + " or ".join(f'"{name}"' for name in close) + "?" if close else ""
