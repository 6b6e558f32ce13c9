"""`astra plan`: how a manifest's files are dealt to array tasks, and what to ask Slurm for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.manifest import load_manifest, resolve_all
from jobs.plan import Units, deal, plan
from jobs.text import count, duration, size

#: Bytes a second of uncompressed rows that one task gets in, on the slow side of what was
#: measured; gzipped products have this many times their size in rows.
_BYTES_PER_SECOND = 4e6
_UNPACKED = 5.0
#: A time limit is so many times what is expected.
_MARGIN = 2.0


@dataclass(frozen=True)
class Planned:
    """The deal.

    Attributes
    ----------
    manifest : str
    units : Units
    shares : list of Units
        For each task, its own.
    seconds : float
        What the longest task is expected to take.
    """

    manifest: str
    units: Units
    shares: list[Units]
    seconds: float

    @property
    def useful(self) -> int:
        """How many tasks have something to do."""
        return sum(1 for share in self.shares if share)

    @property
    def time_limit(self) -> str:
        """A time limit for sbatch, in whole quarters of an hour."""
        quarters = max(1, -(-int(self.seconds * _MARGIN) // 900))
        hours, rest = divmod(quarters, 4)
        return f"{hours}:{15 * rest:02}:00"

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON has it."""
        tasks = [
            {
                "task": number,
                "files": len(share.one_of_each_file()),
                "units": len(share),
                "bytes": share.bytes,
            }
            for number, share in enumerate(self.shares)
        ]
        return {
            "manifest": self.manifest,
            "tasks": tasks,
            "array": f"0-{max(self.useful, 1) - 1}",
            "time": self.time_limit,
            "expected_seconds": round(self.seconds),
        }

    def summary(self) -> str:
        """Return the plan for a person to read."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterable[str]:
        tasks = count(len(self.shares), "task")
        yield f"{self.units}, {size(self.units.bytes)}, dealt to {tasks}"
        shown = self.shares[:20]
        for number, share in enumerate(shown):
            yield f"  task {number}: {share}, {size(share.bytes)}"
        if len(self.shares) > len(shown):
            yield f"  ... and {len(self.shares) - len(shown):,} more"
        if self.useful < len(self.shares):
            idle = len(self.shares) - self.useful
            yield f"nothing is left for {count(idle, 'task')}: small files and .gz are not split"
        yield f"the longest task takes about {duration(self.seconds)}, as a rough guess"
        yield (
            f"sbatch --array=0-{max(self.useful, 1) - 1} --time={self.time_limit} "
            f"slurm/ingest.sh {self.manifest}"
        )


def plan_tasks(manifest_path: Path, tasks: int) -> Planned:
    """Deal the files of a manifest, as the tasks of an array of this size would.

    Raises
    ------
    ManifestError
        If the manifest or a path in it is wrong.
    """
    manifest = load_manifest(manifest_path)
    units = plan(resolve_all(manifest, manifest_path))
    dealt = deal(units, tasks)
    work = [
        sum(unit.size * (_UNPACKED if unit.path.suffix == ".gz" else 1.0) for unit in share)
        for share in dealt
    ]
    return Planned(str(manifest_path), units, dealt, max(work) / _BYTES_PER_SECOND)
