"""Gzipped products: unpacked as a stream to the node's scratch, for as long as they are read.

CFITSIO would hold the whole uncompressed file in memory.  The unpacked copy is removed after use;
what a killed job left behind is removed by the next one on the node.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from astra.errors import ProductError
from jobs.fits import FitsFile, read_structure

_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 20
#: Name of a copy in the scratch folder: this, then what `tempfile` adds.
_PREFIX = "astra-unpacked-"


def is_gzipped(path: Path) -> bool:
    """Tell by its first bytes whether a file is gzipped, whatever its name."""
    try:
        with path.open("rb") as stream:
            return stream.read(2) == _MAGIC
    except OSError as error:
        raise ProductError(f"{path}: cannot be read: {error.strerror}") from error


def scratch_folder() -> Path:
    """Return where unpacked copies go: SLURM_TMPDIR, else TMPDIR, else the system's place."""
    return Path(os.environ.get("SLURM_TMPDIR") or tempfile.gettempdir())


def inspect(path: Path) -> FitsFile:
    """Read the structure of a product; all of a gzipped one is unpacked, and none of it kept.

    Raises
    ------
    ProductError
        If it is damaged, as `jobs.fits.read_structure` says, or the compression is.
    """
    try:
        if not is_gzipped(path):
            with _opened(path) as stream:
                return read_structure(path, stream, os.fstat(stream.fileno()).st_size)
        with _decompressed(path) as stream:
            structure = read_structure(path, stream, None)
            while stream.read(_PIECE):  # at its end stands the checksum of all of it
                pass
            return structure
    except OSError as error:
        raise ProductError(f"{path}: cannot be read: {error.strerror or error}") from error


@contextmanager
def unpacked(path: Path) -> Iterator[tuple[Path, FitsFile]]:
    """Give the structure of a product, and a path where its rows can be read in place.

    Raises
    ------
    ProductError
        If the product is damaged, or the scratch folder has too little room.
    """
    if not is_gzipped(path):
        yield path, inspect(path)
        return
    folder = scratch_folder()
    clear_leftovers(folder)
    with _copy(path, folder) as copy:
        with copy.open("rb") as stream:
            structure = read_structure(path, stream, copy.stat().st_size)
        yield copy, structure


@contextmanager
def _copy(path: Path, folder: Path) -> Iterator[Path]:
    _check_room(path, _existing(folder))
    descriptor, copy = _new_copy(folder)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as out, _decompressed(path) as stream:
            _transfer(stream, out, path, folder)
        yield copy
    finally:
        copy.unlink(missing_ok=True)
        os.close(descriptor)


def _new_copy(folder: Path) -> tuple[int, Path]:
    """Make an empty file, and hold a lock on it that says that it is in use.

    The lock goes when the process does, however it ends.
    """
    while True:
        descriptor, name = tempfile.mkstemp(prefix=_PREFIX, suffix=".fits", dir=folder)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Before the lock, another job could have taken the file for a leftover.
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)


def _check_room(path: Path, folder: Path) -> None:
    """Make sure that an unpacked copy fits, as far as the end of a gzip file tells its length."""
    with _opened(path) as stream:
        packed = stream.seek(0, os.SEEK_END)
        stream.seek(max(packed - 4, 0))
        # The last of its parts' length, modulo 2**32 (RFC 1952, 2.3.1): no less than that.
        length = max(packed, int.from_bytes(stream.read(4), "little"))
    free = shutil.disk_usage(folder).free
    if length > free:
        raise ProductError(
            f"{path}: unpacked, it takes {length:,} bytes or more, and {folder} has {free:,} free; "
            "set SLURM_TMPDIR or TMPDIR to a folder with more room, or unpack the product yourself"
        )


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise ProductError(
            f"{folder}: no such folder to unpack gzipped products in; set SLURM_TMPDIR or TMPDIR "
            "to one on a local disk"
        )
    return folder


def _transfer(stream: BinaryIO, out: BinaryIO, path: Path, folder: Path) -> None:
    done = 0
    while piece := stream.read(_PIECE):
        try:
            out.write(piece)
            out.flush()
        except OSError as error:
            free = shutil.disk_usage(folder).free
            raise ProductError(
                f"{path}: cannot be unpacked to {folder}: {error.strerror or error} after "
                f"{done:,} bytes ({free:,} free); set SLURM_TMPDIR or TMPDIR to a folder with "
                "more room, or unpack the product yourself"
            ) from error
        done += len(piece)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        stream = path.open("rb", buffering=1 << 16)
    except OSError as error:
        raise ProductError(f"{path}: cannot be read: {error.strerror}") from error
    with stream:
        yield stream


@contextmanager
def _decompressed(path: Path) -> Iterator[BinaryIO]:
    # The standard library's gzip takes more than twice the time.
    import zlib

    from isal import igzip, isal_zlib

    open_gzip: Any = igzip.open

    damaged: Any = (EOFError, igzip.BadGzipFile, isal_zlib.error, zlib.error)
    try:
        with open_gzip(path, "rb") as stream:
            yield cast(BinaryIO, stream)
    except damaged as error:
        raise ProductError(
            f"{path}: the gzip stream is damaged or cut short ({error}); copy or make the file "
            "again"
        ) from error


def clear_leftovers(folder: Path) -> None:
    """Remove copies that no process uses any more."""
    for copy in folder.glob(f"{_PREFIX}*.fits"):
        try:
            descriptor = os.open(copy, os.O_RDWR)
        except OSError:
            continue  # somebody else's, or gone
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            copy.unlink(missing_ok=True)
        except OSError:
            pass  # in use
        finally:
            os.close(descriptor)
