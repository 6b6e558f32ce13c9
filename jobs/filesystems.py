"""SQLite's WAL needs one machine and a local disk (https://www.sqlite.org/wal.html)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from astra.errors import UsageError

#: Types of file systems that several machines share, as /proc/self/mountinfo names them.
_SHARED = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "fuse.beegfs", "fuse.ceph-fuse"),
        *("fuse.glusterfs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4"),
        *("orangefs", "panfs", "pvfs2", "smb3", "smbfs", "wekafs"),
    )
)

_WAY_OUT = (
    "put the file on a local disk (ASTRA_DATABASE_PATH=$TMPDIR/astra.db), or configure PostgreSQL"
)


def refuse_shared(path: Path, environ: Mapping[str, str], mounts: str | None = None) -> None:
    """Make sure that a SQLite file is written to by one machine only.

    Parameters
    ----------
    path : Path
        The SQLite file, which need not exist.
    environ : mapping of str to str
        An array of several tasks is known by SLURM_ARRAY_TASK_COUNT.
    mounts : str, optional
        The text of /proc/self/mountinfo.

    Raises
    ------
    UsageError
        If it is on a network file system, or the job is one task of several.
    """
    count = environ.get("SLURM_ARRAY_TASK_COUNT", "1")
    if count.isdigit() and int(count) > 1:
        raise UsageError(
            f"an array of {count} tasks cannot write to one SQLite file ({path}): its WAL works "
            f"on one machine only; submit one task (sbatch --array=0-0), or {_WAY_OUT}"
        )
    kind = file_system_of(path, mounts)
    if kind in _SHARED:
        raise UsageError(
            f"{path} is on {kind}, a network file system, where SQLite's WAL loses rows; {_WAY_OUT}"
        )


def file_system_of(path: Path, mounts: str | None = None) -> str:
    """Return the type of the file system that a path is on, ``""`` if that cannot be told."""
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        parts = fields.split()
        if len(parts) < 5 or not rest:
            continue
        point = parts[4].encode().decode("unicode_escape")  # blanks are written as \040
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind
