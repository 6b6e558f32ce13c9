"""FITS checksums: whether an HDU is what was written (standard 4.0, 4.4.2.7 and appendix J)."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from astra.errors import ProductError
from jobs.fits import BLOCK, TableHDU

_PIECE = 1 << 23
_ALL_ONES = 0xFFFF_FFFF


def verify(descriptor: int, path: Path, table: TableHDU) -> None:
    """Compare an HDU with its DATASUM and CHECKSUM cards, where it has them.

    Parameters
    ----------
    descriptor : int
        Of the uncompressed file.
    path : Path
        For messages.
    table : TableHDU

    Raises
    ------
    ProductError
        If the data or the header are not what was written.
    """
    datasum = str(table.cards.get("DATASUM", "")).strip()
    checksum = str(table.cards.get("CHECKSUM", "")).strip()
    if not datasum.isdigit() and not checksum.strip("0"):
        return
    found = _sum(descriptor, table.start, table.data_bytes)
    mend = (
        "copy or make the file again, or set `verify: false` in the manifest if it was edited on "
        "purpose"
    )
    if datasum.isdigit() and found != int(datasum):
        raise ProductError(
            f"{path} {table.label}: the data are not what was written: DATASUM is {datasum}, and "
            f"they sum up to {found}; {mend}"
        )
    if checksum.strip("0"):
        header = _sum(descriptor, table.header_start, table.start - table.header_start)
        if _fold(header + found) not in (0, _ALL_ONES):
            raise ProductError(
                f"{path} {table.label}: the header is not what was written: CHECKSUM does not "
                f"agree with it; {mend}"
            )


def _sum(descriptor: int, start: int, length: int) -> int:
    """Return the 32-bit ones' complement sum of some whole blocks of a file.

    What is missing of the last block counts as zeros.
    """
    end = start + -(-length // BLOCK) * BLOCK
    total = 0
    while start < end:
        piece = os.pread(descriptor, min(_PIECE, end - start), start)
        if not piece:
            break
        start += len(piece)
        piece += bytes(-len(piece) % 4)
        words = np.frombuffer(piece, dtype=">u4").astype(np.uint32)
        total = _fold(total + int(words.sum(dtype=np.uint64)))
    return total


def _fold(total: int) -> int:
    """Add the carries back in."""
    while total > _ALL_ONES:
        total = (total & _ALL_ONES) + (total >> 32)
    return total
