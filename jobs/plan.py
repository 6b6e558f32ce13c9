"""Which files an array task takes: files become units, and units are dealt by size.  Pure.

A large file is several units, each of which has its own share of the rows of each HDU.

Every task of an array computes the whole deal for itself and takes its own share: no task needs
another one, and the shares are the same whenever the manifest and the sizes of its files are.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astra.errors import UsageError
from jobs.text import count

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
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


def plan(files: Iterable[tuple[int, Path, int]]) -> list[Unit]:
    """Return a unit for each file, and several for a large one.

    The parts of a file are as large as each other, and a power of two, so that two, four or eight
    tasks can have the same share of it.

    Parameters
    ----------
    files : iterable of (product, path, size)
        In the manifest's order, as `jobs.manifest.resolve_all` returns them; sizes in bytes.
    """
    units: list[Unit] = []
    for product, path, size in files:
        parts = _parts(path, size)
        for part in range(parts):
            share = size * (part + 1) // parts - size * part // parts
            units.append(Unit(len(units), product, path, share, part, parts))
    return units


def _parts(path: Path, size: int) -> int:
    # Of a gzipped file, nothing can be read without all that is before it.
    if path.suffix == ".gz" or size <= PART_BYTES:
        return 1
    return 1 << ((size - 1) // PART_BYTES).bit_length()


def count_files(units: Iterable[Unit]) -> int:
    """Return how many files units are of."""
    return len({(unit.product, unit.path) for unit in units})


def files_text(units: Sequence[Unit]) -> str:
    """Return how many files, or parts of files, units are: `` 3 files``, ``8 parts of 2 files``."""
    files = count(count_files(units), "file")
    if all(unit.parts == 1 for unit in units):
        return files
    return f"{count(len(units), 'part')} of {files}"


def deal(units: Sequence[Unit], shards: int) -> list[list[Unit]]:
    """Deal units to shards so that each gets nearly as many bytes as any other.

    The largest unit goes first, each to the shard that has least so far: no shard has more than
    4/3 of the least that is possible.  The deal depends on the units alone, not on their sequence.

    Parameters
    ----------
    units : sequence of Unit
        With distinct `order`.
    shards : int
        How many shares to make, at least 1; more than there are units leaves some empty.

    Returns
    -------
    list of list of Unit
        One list a shard, each in the manifest's order; every unit is in exactly one.

    Raises
    ------
    UsageError
        If `shards` is less than 1.
    """
    if shards < 1:
        raise UsageError(f"cannot deal the work to {shards} shards: expected 1 or more")
    dealt: list[list[Unit]] = [[] for _ in range(shards)]
    # Bytes so far, then units so far (files of no bytes are spread, too), then the shard.
    loads = [(0, 0, shard) for shard in range(shards)]
    for unit in sorted(units, key=lambda unit: (-unit.size, unit.order)):
        size, count, shard = loads[0]
        dealt[shard].append(unit)
        heapq.heapreplace(loads, (size + unit.size, count + 1, shard))
    for share in dealt:
        share.sort(key=lambda unit: unit.order)
    return dealt


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
