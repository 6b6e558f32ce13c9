"""The files of a manifest, held so that a few hundred thousand take a few megabytes."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class InputFile(NamedTuple):
    """A file to ingest.

    Attributes
    ----------
    product : int
        Index of its product in the manifest, from 0.
    path : Path
        Absolute.
    size : int
        Bytes on disk.
    """

    product: int
    path: Path
    size: int


class Files:
    """Files in an order; each is made when it is looked at.

    Parameters
    ----------
    files : iterable of (product, path, size)

    Attributes
    ----------
    sizes, products : array of int
        Of each file, the bytes, and the index of its product.
    """

    def __init__(self, files: Iterable[tuple[int, str | os.PathLike[str], int]] = ()) -> None:
        self.sizes = array("q")
        self.products = array("I")
        self._folders: list[str] = []
        self._folder_of = array("I")
        self._names = bytearray()
        self._ends = array("q", [0])
        for product, path, size in files:
            self.add(product, path, size)

    def add(self, product: int, path: str | os.PathLike[str], size: int) -> None:
        """Add a file at the end."""
        folder, name = os.path.split(path)
        if not self._folders or self._folders[-1] != folder:  # files of one come together
            self._folders.append(folder)
        self._folder_of.append(len(self._folders) - 1)
        self._names += os.fsencode(name)
        self._ends.append(len(self._names))
        self.products.append(product)
        self.sizes.append(size)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, number: int) -> InputFile:
        name = os.fsdecode(bytes(self._names[self._ends[number] : self._ends[number + 1]]))
        path = Path(self._folders[self._folder_of[number]], name)
        return InputFile(self.products[number], path, self.sizes[number])

    def __iter__(self) -> Iterator[InputFile]:
        return (self[number] for number in range(len(self)))
