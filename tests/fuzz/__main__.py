"""Products and manifests with bytes that are wrong: only clean errors, and nothing half written.

``python -m tests.fuzz --seconds 600 --seed 7`` is a long round; the tests do a short one.  A
product or manifest that is found to be handled badly is left in the folder, and its name told.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import re
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

#: An input that takes longer than so many seconds, or more memory, is one too many.
_SECONDS, _MEMORY = 30, 3 << 30
_ROWS = 12
_PRODUCTS = ("astraAllStarSlam", "mwmStar", "astraAllVisitCorv")
_NASTY = (b"", b"-1", b"0", b"1", b"999999999999999999999", b"9223372036854775807", b"1E400",
          b"T", b"'", b"';DROP TABLE source;--", b'"', b"\x00", b"\xff", b"%s", b"../..", b"NaN",
          b"&a", b"*a", b"!!python/object:os.system", b"${HOME}", b"\n", b": ", b"- ", b"#", b"{",
          b"[", b"2147483648", b"1PB(1)", b"100000000E", b"0A", b"1X", b"(1,1,1,1)")  # fmt: skip
_MANIFEST = b"""version: 1
root: .
defaults: {tag: fuzz, verify: true}
products:
  - path: product.fits
    hdus: [1]
    ignore: [snr]
    columns: {teff: teff}
    max_rejects: 3
    sources: update
    spectra: create
    new_columns: ignore
"""

Change = Callable[[bytes, random.Random], bytes]


def flip(content: bytes, chance: random.Random) -> bytes:
    """Change a few bits."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(content: bytes, chance: random.Random) -> bytes:
    """Leave out a piece, often the end."""
    start, length = chance.randrange(len(content)), chance.choice((1, 80, 2880, len(content)))
    return content[:start] + content[start + length :]


def double(content: bytes, chance: random.Random) -> bytes:
    """Put a piece in twice."""
    start, length = chance.randrange(len(content)), chance.choice((1, 80, 2880, 28800))
    return content[:start] + content[start : start + length] * 2 + content[start + length :]


def insert(content: bytes, chance: random.Random) -> bytes:
    """Put in, or over what is there, something that is nasty."""
    nasty = chance.choice(_NASTY)
    start = chance.randrange(len(content))
    return content[:start] + nasty + content[start + len(nasty) * chance.randint(0, 1) :]


def change_card(content: bytes, chance: random.Random) -> bytes:
    """Give a card of a FITS header another value."""
    cards = [found.start() for found in re.finditer(rb"(?<![^ ])[A-Z0-9]{2,8} *= ", content)]
    if not cards:
        return flip(content, chance)
    at = chance.choice(cards)
    at += content[at : at + 9].find(b"=") + 2
    value = chance.choice(_NASTY)
    if chance.random() < 0.5:
        value = b"'" + value + b"'"
    value = value.ljust(20)[:70]
    return content[:at] + value + content[at + len(value) :]


def swap_cards(content: bytes, chance: random.Random) -> bytes:
    """Exchange two cards."""
    ends = range(0, min(len(content), 60_000) - 80, 80)
    one, other = sorted(chance.sample(ends, 2)) if len(ends) > 2 else (0, 80)
    first, second = content[one : one + 80], content[other : other + 80]
    return content[:one] + second + content[one + 80 : other] + first + content[other + 80 :]


_FITS: tuple[Change, ...] = (flip, cut, double, insert, change_card, change_card, swap_cards)
_TEXT: tuple[Change, ...] = (flip, cut, double, insert, insert)


def mutated(content: bytes, changes: tuple[Change, ...], chance: random.Random) -> bytes:
    """Change something a few times; FITS headers more often than rows, which are many bytes."""
    for _ in range(chance.randint(1, 3)):
        change = chance.choice(changes)
        head = min(len(content), 60_000) if chance.random() < 0.7 else len(content)
        content = (change(content[:head], chance) if head else b"") + content[head:]
    return content


class Fuzz:
    """A place to ingest into, and what came of each input.

    Parameters
    ----------
    folder : Path
        Inputs that were handled badly stay there.
    seed : int
    """

    def __init__(self, folder: Path, seed: int) -> None:
        from jobs.samples import write_sample

        self.folder = folder
        self.seed = seed
        self.outcomes: Counter[str] = Counter()
        self.bad: list[str] = []
        self.seeds: dict[str, bytes] = {}
        for product in _PRODUCTS:
            path = folder / "seed.fits"
            write_sample(path, product, "DR20", _ROWS, seed)
            self.seeds[product] = path.read_bytes()
            path.unlink()

    def run(self, seconds: float) -> None:
        """Go on for so long."""
        end = time.monotonic() + seconds
        number = 0
        while time.monotonic() < end:
            self.once(number)
            number += 1

    def once(self, number: int) -> None:
        """Make an input, ingest it, and note what came of it."""
        chance = random.Random(f"{self.seed}/{number}")
        product = self.seeds[chance.choice(_PRODUCTS)]
        manifest = (
            _MANIFEST
            if chance.random() < 0.5
            else b"version: 1\nproducts: [{path: product.fits}]\n"
        )
        if chance.random() < 0.3:
            manifest = mutated(manifest, _TEXT, chance)
        else:
            product = mutated(product, _FITS, chance)
        (self.folder / "product.fits").write_bytes(product)
        (self.folder / "manifest.yml").write_bytes(manifest)
        outcome = self._ingest()
        self.outcomes[outcome] += 1
        if not outcome.startswith(("in", "refused", "set aside")):
            name = f"bad-{self.seed}-{number}"
            (self.folder / f"{name}.fits").write_bytes(product)
            (self.folder / f"{name}.yml").write_bytes(manifest)
            self.bad.append(f"{name}: {outcome}")
            print(self.bad[-1], flush=True)  # noqa: T201 (a long round is watched)

    def _ingest(self) -> str:
        from astra.errors import AstraError
        from jobs.ingest import Options, ingest
        from jobs.plan import Shard
        from jobs.progress import LineProgress

        before = _rows()
        options = Options(Shard(0, 1), self.folder / "report.json", batch_rows=5)
        signal.alarm(_SECONDS)
        try:
            report = ingest(self.folder / "manifest.yml", options, LineProgress())
        except AstraError as error:
            # Nothing is written of what is refused, but for whole chunks if it came to light late.
            if _rows() != before and "cut short" not in str(error):
                return f"half written: {error}"
            return f"refused: {type(error).__name__}"
        except Exception as error:  # noqa: BLE001 (that is what is looked for)
            return f"a bug: {type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
        totals = report.totals
        kinds = ("inserted", "updated", "unchanged", "duplicates", "rejected")
        if totals.read != sum(getattr(totals, kind) for kind in kinds):
            return f"counts that do not add up: {totals}"
        return "set aside" if report.status == "rejects" else "in"


def _rows() -> int:
    """Return how many rows are in the tables, and check that the ledger agrees with itself."""
    from astra.models import IngestedTable, Slam, Source, Spectrum

    if not Source.table_exists():
        return 0
    wrong = IngestedTable.select().where(
        IngestedTable.done
        != IngestedTable.inserted
        + IngestedTable.updated
        + IngestedTable.unchanged
        + IngestedTable.duplicates
        + IngestedTable.rejected
    )
    assert not wrong.count()
    return sum(model.select().count() for model in (Source, Spectrum, Slam))


def _too_long(number: int, frame: FrameType | None) -> None:
    raise RuntimeError(f"took longer than {_SECONDS} s")


def main() -> int:
    """Fuzz for a while, and tell what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="astra-fuzz-"))
    os.environ["ASTRA_DATABASE_PATH"] = str(folder / "astra.db")
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    signal.signal(signal.SIGALRM, _too_long)
    logging.getLogger("astra").setLevel(logging.CRITICAL)
    fuzz = Fuzz(folder, options.seed)
    fuzz.run(options.seconds)
    for outcome, count in fuzz.outcomes.most_common(20):
        print(f"{count:6} {outcome}")  # noqa: T201
    print(f"{fuzz.outcomes.total()} inputs, {len(fuzz.bad)} handled badly, in {folder}")  # noqa: T201
    return 1 if fuzz.bad else 0


if __name__ == "__main__":
    sys.exit(main())
