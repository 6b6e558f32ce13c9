"""Which files an array task takes: files become units, and units are dealt by size.  Pure.

A large file is several units, each of which has its own share of the rows of each HDU.

Every task of an array computes the whole deal for itself and takes its own share: no task needs
another one, and the shares are the same whenever the manifest and the sizes of its files are.
"""

from __future__ import annotations

import heapq
import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astra.errors import UsageError
from jobs.files import Files
from jobs.text import count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


#: A part of a file is no larger than so many bytes: a few chunks.
PART_BYTES = 1 << 25


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest piece of work that one task does alone: a file, or a part of a large one.

    Attributes
    ----------
    order : int
        Place among all units of the manifest, from 0.
    product : int
        Index of the product in the manifest, from 0.
    path : Path
        The file.
    size : int
        Bytes to read: what a task's share is measured in.
    part, parts : int
        Which of how many parts of the file it is, from 0.
    """

    order: int
    product: int
    path: Path
    size: int
    part: int = 0
    parts: int = 1

    @property
    def is_last(self) -> bool:
        """Whether it has the end of the file; so every file has one unit that is."""
        return self.part == self.parts - 1

    def rows(self, total: int) -> range:
        """Return which of the rows of an HDU of the file it has."""
        return range(*(total * part // self.parts for part in (self.part, self.part + 1)))


@dataclass(frozen=True, slots=True)
class Shard:
    """One task's share of the work: number `index` (from 0) of `count`."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


class Units:
    """Some units of a manifest, in its order; each is made when it is looked at.

    Parameters
    ----------
    files : Files
        All files of the manifest.
    ends : sequence of int
        For each file, how many units there are up to its end.
    orders : sequence of int
        Which units these are, rising.
    """

    def __init__(self, files: Files, ends: Sequence[int], orders: Sequence[int]) -> None:
        self._files = files
        self._ends = ends
        self._orders = orders

    def __len__(self) -> int:
        return len(self._orders)

    def __getitem__(self, place: int) -> Unit:
        order = self._orders[place]
        number, part, parts = self._place(order)
        product, path, _ = self._files[number]
        return Unit(order, product, path, self.size(place), part, parts)

    def __iter__(self) -> Iterator[Unit]:
        return (self[place] for place in range(len(self)))

    def _place(self, order: int) -> tuple[int, int, int]:
        """Return of which file a unit is, and which of how many parts of it."""
        number = bisect_right(self._ends, order)
        first = self._ends[number - 1] if number else 0
        return number, order - first, self._ends[number] - first

    def size(self, place: int) -> int:
        """Return the bytes of one unit."""
        number, part, parts = self._place(self._orders[place])
        size = self._files.sizes[number]
        return size * (part + 1) // parts - size * part // parts

    @property
    def bytes(self) -> int:
        """The bytes of all together."""
        return sum(map(self.size, range(len(self))))

    def pick(self, places: Iterable[int]) -> Units:
        """Return some of them."""
        return Units(self._files, self._ends, array("I", (self._orders[n] for n in places)))

    def without(self, orders: Set[int]) -> Units:
        """Return those whose order is not among some."""
        return self.pick(n for n, order in enumerate(self._orders) if order not in orders)

    def one_of_each_file(self) -> Units:
        """Return the first unit of each file."""
        files = [self._place(order)[0] for order in self._orders]
        return self.pick(n for n, number in enumerate(files) if n == 0 or files[n - 1] != number)

    def whole_products(self) -> list[int]:
        """Return the products of which these are all units."""
        every = plan(self._files)._of_products()
        here = self._of_products()
        return [product for product, number in every.items() if here[product] == number]

    def _of_products(self) -> Counter[int]:
        """Return how many of them each product has."""
        return Counter(self._files.products[self._place(order)[0]] for order in self._orders)

    def __str__(self) -> str:
        """Return how many files, or parts of files: ``3 files``, ``8 parts of 2 files``."""
        number = len(self.one_of_each_file())
        files = count(number, "file")
        are_whole = all(self._place(order)[2] == 1 for order in self._orders)
        return files if are_whole else f"{count(len(self), 'part')} of {files}"


def plan(files: Files) -> Units:
    """Return a unit for each file, and several for a large one.

    The parts of a file are as large as each other, and a power of two, so that two, four or eight
    tasks can have the same share of it.

    Parameters
    ----------
    files : Files
        In the manifest's order, as `jobs.manifest.resolve_all` returns them.
    """
    ends = array("I")
    end = 0
    for number, size in enumerate(files.sizes):
        end += 1 if size <= PART_BYTES else _parts(files[number].path, size)
        ends.append(end)
    return Units(files, ends, range(end))


def _parts(path: Path, size: int) -> int:
    # Of a gzipped file, nothing can be read without all that is before it.
    return 1 if path.suffix == ".gz" else 1 << ((size - 1) // PART_BYTES).bit_length()


def deal(units: Units, shards: int) -> list[Units]:
    """Deal units to shards so that each gets nearly as many bytes as any other.

    The largest unit goes first, each to the shard that has least so far: no shard has more than
    4/3 of the least that is possible.

    Parameters
    ----------
    units : Units
    shards : int
        How many shares to make, at least 1; more than there are units leaves some empty.

    Returns
    -------
    list of Units
        One a shard; every unit is in exactly one.

    Raises
    ------
    UsageError
        If `shards` is less than 1.
    """
    if shards < 1:
        raise UsageError(f"cannot deal the work to {shards} shards: expected 1 or more")
    import numpy as np  # not for the command line, which needs the rest of this module

    sizes = np.fromiter(map(units.size, range(len(units))), dtype=np.int64, count=len(units))
    dealt = [array("I") for _ in range(shards)]
    # Bytes so far, then units so far (files of no bytes are spread, too), then the shard.
    loads = [(0, 0, shard) for shard in range(shards)]
    # Of units of one size, the first in the manifest goes first.
    for place in np.argsort(-sizes, kind="stable"):
        size, count, shard = loads[0]
        dealt[shard].append(place)
        heapq.heapreplace(loads, (size + int(sizes[place]), count + 1, shard))
    return [units.pick(sorted(places)) for places in dealt]


def parse_shard(text: str) -> Shard:
    """Return the shard that ``I/N`` names: I from 0 to N - 1.

    Raises
    ------
    UsageError
        If the text is of another form, or I is not one of N.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip(), re.ASCII)
    if match is None:
        raise UsageError(
            f"{text!r} is not a shard: write I/N, as in 0/4 for the first of four (I from 0)"
        )
    index, count = int(match[1]), int(match[2])
    if count == 0:
        raise UsageError(f"{text!r} is not a shard: N is 0; write 0/1 for all of the work")
    if index >= count:
        raise UsageError(
            f"{text!r} is not a shard: I counts from 0, so of {count} the last is "
            f"{count - 1}/{count}"
        )
    return Shard(index, count)


def shard_from_environment(environ: Mapping[str, str]) -> Shard:
    """Return the shard of this Slurm array task; all of the work where there is no array.

    Under ``srun`` with several tasks, each of them has its part of that.

    Slurm tells each task the ids of the whole array as it was submitted: lowest, highest, how many,
    and the step.  They make a shard where the ids are evenly spaced: ``--array=0-9``, ``1-10``,
    ``0-18:2``.  A task that is requeued (``scontrol requeue JOB_5``) is told the same again and so
    does the same share.

    A new array of one task, ``--array=5``, tells COUNT = 1 and MIN = MAX = 5: of how many shares
    its task once did the sixth is told nowhere, so it does all of the work, which leaves nothing
    out and changes nothing that is in already.  To do only that share, submit with
    ``--shard 5/10`` and no array.

    Parameters
    ----------
    environ : mapping of str to str
        `os.environ`.

    Raises
    ------
    UsageError
        If the ids have holes (``--array=1,5,7``), so that no task can tell its place among them;
        or the variables are incomplete or contradict each other.
    """
    whole = _array_shard(environ) if environ.get("SLURM_ARRAY_TASK_ID") else Shard(0, 1)
    parts = int(environ.get("SLURM_STEP_NUM_TASKS") or 1)
    part = int(environ["SLURM_PROCID"]) if parts > 1 else 0
    return Shard(whole.index * parts + part, whole.count * parts)


def _array_shard(environ: Mapping[str, str]) -> Shard:
    task, least, count = (_number(environ, name) for name in ("ID", "MIN", "COUNT"))
    step = _number(environ, "STEP") if environ.get("SLURM_ARRAY_TASK_STEP") else 1
    most = least + step * (count - 1)
    if environ.get("SLURM_ARRAY_TASK_MAX"):
        most = _number(environ, "MAX")
    if count < 1 or step < 1:
        raise UsageError(
            f"SLURM_ARRAY_TASK_COUNT is {count} and SLURM_ARRAY_TASK_STEP is {step}; "
            "expected 1 or more; pass --shard I/N"
        )
    index, beside = divmod(task - least, step)
    # As many ids as places from the lowest to the highest: if one of them were beside its place,
    # another place would be empty, and the task that is beside its place fails here.
    if (most - least) // step + 1 != count or beside or not 0 <= index < count:
        raise UsageError(
            f"cannot tell which share of the work array task {task} has: {count} ids from {least} "
            f"to {most} with step {step} leave holes; submit an array without holes, such as "
            f"--array=0-{count - 1}, or each task by itself with --shard I/N"
        )
    return Shard(index, count)


def _number(environ: Mapping[str, str], name: str) -> int:
    """Return one of Slurm's array variables."""
    variable = f"SLURM_ARRAY_TASK_{name}"
    text = environ.get(variable)
    if not text:
        raise UsageError(
            f"SLURM_ARRAY_TASK_ID is set but {variable} is not, so the share of the work cannot be "
            "told; pass all SLURM_ARRAY_TASK_* variables on, or --shard I/N"
        )
    if re.fullmatch(r"[0-9]{1,18}", text.strip(), re.ASCII) is None:
        raise UsageError(f"{variable} is {text!r}; expected a whole number; pass --shard I/N")
    return int(text)
