"""Sample products: FITS files shaped exactly like the published ones, with made-up values.

The stars are those of a pretend survey (`jobs.sample_survey`): one seed gives the same stars and
spectra in every product, so that the samples of one folder belong together.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from astra.errors import UsageError
from jobs.datamodel import Column, layout, widest
from jobs.headers import PRIMARY, header, table_cards
from jobs.sample_survey import VISITS, Rows
from jobs.sample_values import column_values, source_card

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import BinaryIO

    import numpy.typing as npt

    from jobs.datamodel import HDU, Layout

# Rows made at once: a few tens of megabytes of the widest table, and what a processor's cache
# can hold of one column.
_CHUNK = 8192

# Files of one object that `write_samples` makes: enough for a glob to have something to find.
_OBJECTS = 3

_DTYPES = {
    "int32": ">i4",
    "int64": ">i8",
    "float32": ">f4",
    "bool": "S1",
    "char": "S",
    "uint8": "u1",
}


class Table(NamedTuple):
    """One table of a sample: which HDU of which product, of which survey, and how many rows.

    Attributes
    ----------
    layout : Layout
        The product.
    hdu : HDU
        The table; its columns have the sizes that the sample gives them.
    rows : int
        Length of the table.
    seed, first : int
        Which survey, and its first star.
    """

    layout: Layout
    hdu: HDU
    rows: int
    seed: int
    first: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """The rows as they lie in the file: big-endian, nothing between the columns."""
        return np.dtype([_field(column) for column in self.hdu.columns])

    def values(self, rows: range) -> npt.NDArray[Any]:
        """Return some of the rows as a structured array of `dtype`."""
        made = Rows(self.layout, self.hdu, self.seed, rows, self.first)
        block = np.zeros(len(made), dtype=self.dtype)
        for column in self.hdu.columns:
            values = column_values(made, column)
            if column.type == "bool":
                values = np.where(values, b"T", b"F")
            block[column.name] = values
        return block


def sample_tables(
    shape: Layout,
    rows: int,
    seed: int,
    *,
    hdus: Mapping[int, int] | None = None,
    first: int = 0,
) -> tuple[Table, ...]:
    """Return the tables of a sample, before any value is made.

    Parameters
    ----------
    shape : Layout
        The product; see `jobs.datamodel.layout`.
    rows : int
        Rows of each table that has rows in the published file; the others get none.
    seed : int
        Which survey, modulo 100.
    hdus : mapping of int to int, optional
        Rows of single tables by their number in the file, whatever the published file has.
    first : int
        Number of the first star; the only one, in a file of one object.

    Raises
    ------
    UsageError
        If the product has no such HDU, or is a file of one object and cannot have so many rows.
    """
    chosen = hdus or {}
    unknown = sorted(set(chosen) - {hdu.number for hdu in shape.hdus})
    if unknown:
        raise UsageError(
            f"{shape.product} of {shape.release} has no HDU {unknown[0]}: its tables are "
            f"1 to {len(shape.hdus)}"
        )
    most = max([rows, *chosen.values()])
    if shape.source_cards and most > VISITS:
        raise UsageError(
            f"{shape.product} is a file of one star, which has at most {VISITS} spectra, not {most}"
        )
    return tuple(
        Table(shape, _sized(hdu, length), length, seed, first)
        for hdu in shape.hdus
        for length in (chosen.get(hdu.number, rows if hdu.rows else 0),)
    )


def write_sample(
    path: str | Path,
    product: str,
    release: str,
    rows: int,
    seed: int,
    *,
    hdus: Mapping[int, int] | None = None,
    first: int = 0,
) -> Path:
    """Write a file with the cards, tables, columns and types of a product.

    The same arguments give the same bytes.  Memory does not grow with the rows.

    Parameters
    ----------
    path : path
        The file; replaced if it is there, compressed if it ends in ``.gz``.
    product, release : str
        Such as ``astraAllStarSlam`` and ``DR20``.
    rows, seed, hdus, first
        See `sample_tables`.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    UsageError
        If the release has no such product, or the product no such HDU.
    """
    shape = layout(product, release)
    tables = sample_tables(shape, rows, seed, hdus=hdus, first=first)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _writer(path) as stream:
        stream.write(_primary_header(shape, tables[0]))
        for table in tables:
            stream.write(_table_header(table))
            for start in range(0, table.rows, _CHUNK):
                stream.write(table.values(range(start, min(start + _CHUNK, table.rows))).tobytes())
            stream.write(bytes(-table.rows * table.dtype.itemsize % 2880))
    return path


def write_samples(
    directory: str | Path,
    products: Sequence[str] = ("astraAllStarSlam", "astraAllStarBossNet"),
    release: str = "DR20",
    rows: int = 3000,
    seed: int = 1,
) -> Path:
    """Write sample products and a manifest that ingests them.

    Parameters
    ----------
    directory : path
        Folder of the files; made if it is not there.
    products : sequence of str
        Names of products.  Of a product with a file for each object there are three, each with
        as many rows as the published example.
    release : str
        Data release whose shapes they have.
    rows : int
        Rows of each table.
    seed : int
        Which stars; samples of the same seed have the same.

    Returns
    -------
    Path
        ``manifest.yml`` in the folder.
    """
    directory = Path(directory)
    entries = []
    for product in products:
        shape = layout(product, release)
        pattern = Path(shape.location).name.replace("{v_astra}", shape.v_astra)
        if shape.source_cards:
            several = {hdu.number: hdu.rows for hdu in shape.hdus}
            for star in range(_OBJECTS):
                name = pattern.replace("{sdss_id}", str(_sdss_id(shape, seed, star)))
                write_sample(directory / name, product, release, 0, seed, hdus=several, first=star)
            entries.append(
                f"  - path: {pattern.replace('{sdss_id}', '*')}   # a file for each star"
            )
        else:
            write_sample(directory / pattern, product, release, rows, seed)
            entries.append(f"  - path: {pattern}   # {rows} rows")
    manifest = directory / "manifest.yml"
    manifest.write_text(
        f"# Sample products with the shapes of {release}; the values are made up.\n"
        "# Paths are relative to this file; ~, $VARIABLE and globs work too.\n"
        "version: 1\n"
        "products:\n" + "\n".join(entries) + "\n",
        encoding="utf-8",
    )
    return manifest


def _sdss_id(shape: Layout, seed: int, star: int) -> int:
    """Return the identifier of a star."""
    column = Column("sdss_id", "int64", None, "", "source")
    return int(column_values(Rows(shape, shape.hdus[0], seed, range(1), star), column)[0])


def _sized(hdu: HDU, rows: int) -> HDU:
    """Give the columns of a table that was published without rows a size, if it is to have some."""
    if hdu.rows or not rows:
        return hdu
    pixels = {"BOSS": 4648, "APOGEE": 8575}
    columns = []
    for column in hdu.columns:
        size = column.size
        if size is not None:
            size = max(size, widest(column.name))
            if size in pixels.values():
                size = pixels[hdu.instrument]
        columns.append(replace(column, size=size))
    return replace(hdu, columns=tuple(columns))


def _field(column: Column) -> tuple[str, str] | tuple[str, str, tuple[int]]:
    """Return the field of a structured type that a column is in the file."""
    kind = _DTYPES[column.type]
    if column.size is None:
        return column.name, kind
    if column.type == "char":
        return column.name, f"{kind}{column.size}"
    return column.name, kind, (column.size,)


@contextmanager
def _writer(path: Path) -> Iterator[BinaryIO]:
    """Open a file to write to, compressed if its name says so, without a date in it."""
    from isal import igzip

    gzip_file: Any = igzip.IGzipFile  # the package has no types
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip_file("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed:
                yield packed
        else:
            yield raw


def _primary_header(shape: Layout, table: Table) -> bytes:
    """Return HDU 0: where the file comes from and, in a file of one object, the object."""
    columns = {
        column.name: column for column in layout("mwmTargets", shape.release).hdus[0].columns
    }
    star = Rows(shape, table.hdu, table.seed, range(1), table.first)
    cards: dict[str, Any] = {**PRIMARY, **shape.primary}
    for keyword, field in shape.source_cards.items():
        cards[keyword] = source_card(star, columns[field])
    return header(cards)


def _table_header(table: Table) -> bytes:
    """Return the header of a table: its columns, then where it comes from."""
    hdu = table.hdu
    cards: dict[str, Any] = table_cards(table.dtype.itemsize, table.rows, len(hdu.columns))
    for number, column in enumerate(hdu.columns, start=1):
        cards |= {f"TTYPE{number}": column.name, f"TFORM{number}": column.tform}
    named = {
        "EXTNAME": hdu.extname,
        "PIPELINE": hdu.pipeline,
        "V_ASTRA": table.layout.v_astra,
        "CREATED": hdu.created,
        "INSTRMNT": hdu.instrument,
        "OBSRVTRY": hdu.observatory,
    }
    cards |= {keyword: value for keyword, value in named.items() if value}
    if hdu.wavelength:
        crval, cdelt, npixels = hdu.wavelength
        cards |= {"CRVAL": crval, "CDELT": cdelt, "CTYPE": "LOG-LINEAR"}
        cards |= {"CUNIT": "Angstrom (Vacuum)", "CRPIX": 1, "DC-FLAG": 1, "NPIXELS": npixels}
    return header(cards)
