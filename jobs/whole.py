"""Files beside the report, which are whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from astra.errors import UsageError


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write beside a path; it is moved there when it is whole and on the disk.

    Raises
    ------
    UsageError
        If it cannot be written; what was at the path stays.
    """
    beside = path.with_name(path.name + ".part")
    try:
        with beside.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UsageError(
            f"{path.name} cannot be written to {path.parent.absolute()}: {error.strerror}; make "
            "room, or name a file elsewhere with --report, and run the job again: what is in "
            "stays in"
        ) from error
