"""Pixel arrays: read from their FITS file when they are asked for, never kept in the database."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from peewee import FieldAccessor, VirtualField

from astra.errors import ProductError
from astra.glossary import describe

#: Where one file has a key under a name with `_id` (0.6.0) and another without.
_SUFFIXES = ("", "_id")


class PixelArrayAccessor(FieldAccessor):
    """Keeps a pixel array on the instance once it was read or set; reads it the first time."""

    def __get__(self, instance: Any, instance_type: type | None = None) -> Any:
        if instance is None:
            return self.field
        # Not in `__data__`: that is what peewee writes to the database.
        cache = instance.__dict__.setdefault("_pixels", {})
        if self.name not in cache:
            cache[self.name] = self.read(instance)
        return cache[self.name]

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__.setdefault("_pixels", {})[self.name] = value

    def read(self, instance: Any) -> np.ndarray:
        """Return the array of this instance; subclasses say where from."""
        raise NotImplementedError


class LogLambdaArrayAccessor(PixelArrayAccessor):
    """Wavelengths that are evenly spaced in their logarithm: ``10 ** (crval + cdelt * i)``."""

    def read(self, instance: Any) -> np.ndarray:  # noqa: ARG002 (all have the same grid)
        """Return the wavelengths, shape (naxis,), float64."""
        grid = self.field.accessor_kwargs
        return 10 ** (grid["crval"] + grid["cdelt"] * np.arange(grid["naxis"]))


class PixelArrayAccessorFITS(PixelArrayAccessor):
    """Pixels in an image HDU, in a column of a table, or in a cell of one.

    A column of scalars is the spectrum, a row a pixel.  A column of arrays has a spectrum in each
    row: the one whose keys are those of the instance is taken.
    """

    def read(self, instance: Any) -> np.ndarray:
        """Return the array, in the machine's byte order, only its own cell having been read.

        Raises
        ------
        ProductError
            If the file, the HDU, the column or the row is not there.
        """
        import fitsio

        path = instance.absolute_path
        try:
            fits = fitsio.FITS(path)
        except OSError as error:
            what = "cannot be read as FITS" if Path(path).exists() else "there is no such file"
            raise ProductError(f"{path}: {what}; it should have {self._label(instance)}") from error
        with fits:
            array = self._read(fits, path, instance)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        return array if self.field.transform is None else self.field.transform(array)

    def _label(self, instance: Any) -> str:
        return f"the pixels of {type(instance).__name__}.{self.name}"

    def _read(self, fits: Any, path: str, instance: Any) -> np.ndarray:
        ext = self.field.ext(instance) if callable(self.field.ext) else self.field.ext
        if ext is None:
            return self._read_any(fits, path, instance)
        try:
            hdu = fits[ext]
        except (OSError, IndexError) as error:
            raise ProductError(
                f"{path}: no HDU {ext}, which should have {self._label(instance)}; "
                f"the file has {len(fits)} HDUs"
            ) from error
        where = f"{path} HDU {ext}"
        if not hasattr(hdu, "get_colnames"):
            return self._read_image(fits, hdu, instance)
        column = self._column(hdu)
        if column is None:
            names = ", ".join(hdu.get_colnames())
            raise ProductError(
                f"{where}: no column {self._wanted!r}, which should have {self._label(instance)}; "
                f"it has {names}"
            )
        return self._read_column(hdu, column, instance, where)

    @property
    def _wanted(self) -> str:
        return self.field.file_column or self.name

    def _column(self, hdu: Any) -> str | None:
        return next((c for c in hdu.get_colnames() if c.lower() == self._wanted.lower()), None)

    def _read_any(self, fits: Any, path: str, instance: Any) -> np.ndarray:
        """Look through all tables: a result does not know which instrument it is of."""
        tables = [
            (number, hdu, column)
            for number, hdu in enumerate(fits)
            if hasattr(hdu, "get_colnames") and (column := self._column(hdu)) is not None
        ]
        for number, hdu, column in tables:
            if hdu.get_nrows() and find_row(hdu, instance) is not None:
                return self._read_column(hdu, column, instance, f"{path} HDU {number}")
        if not tables:
            raise ProductError(
                f"{path}: no HDU has a column {self._wanted!r}, which should have "
                f"{self._label(instance)}"
            )
        numbers = ", ".join(str(number) for number, _, _ in tables)
        raise ProductError(f"{path} HDU {numbers}: {_no_row(instance)}")

    def _read_column(self, hdu: Any, column: str, instance: Any, where: str) -> np.ndarray:
        info = hdu.get_info()["colinfo"][hdu.get_colnames().index(column)]
        if info["repeat"] == 1:
            return hdu.read_column(column)
        row = find_row(hdu, instance)
        if row is None:
            raise ProductError(f"{where}: {_no_row(instance)}")
        return hdu.read_column(column, rows=[row])[0]

    def _read_image(self, fits: Any, hdu: Any, instance: Any) -> np.ndarray:
        row = self.field.row
        if callable(row):
            row = row(instance, fits)
        if row is None or len(hdu.get_dims()) == 1:
            return hdu.read()
        return hdu[row : row + 1, :][0]


def _no_row(instance: Any) -> str:
    keys = [", ".join(f"{k}={v!r}" for k, v in key.items()) for key in _keys(instance)]
    sought = " or ".join(keys) or "without a key, and the table has more than one row"
    return f"no row of this {type(instance).__name__}: {sought}"


def _keys(instance: Any) -> Iterator[dict[str, Any]]:
    """Yield the keys that a file may know an instance by, the surest first."""
    for names in (("spectrum_pk",), getattr(instance, "natural_key", ()), ("task_pk",)):
        values = {name: getattr(instance, name, None) for name in names}
        known = {name: value for name, value in values.items() if value not in (None, "", -1)}
        if known:
            yield known


def find_row(hdu: Any, instance: Any) -> int | None:
    """Return the number of the row of a table that is this instance's, or None.

    It is known by its spectrum_pk, else by the fields of its natural key that the table has, else
    by its task_pk; where neither side has any of them, the only row of the table is the one.
    """
    columns = {name.lower(): name for name in hdu.get_colnames()}
    compared = False
    for key in _keys(instance):
        matches = np.ones(hdu.get_nrows(), dtype=bool)
        used = [
            (columns[name + suffix], value)
            for name, value in key.items()
            for suffix in _SUFFIXES
            if name + suffix in columns
        ]
        for column, value in used:
            matches &= hdu.read_column(column) == value
        compared = compared or bool(used)
        if used and matches.sum() == 1:
            return int(np.argmax(matches))
    return 0 if not compared and hdu.get_nrows() == 1 else None


class PixelArray(VirtualField):
    """An array of pixels that belongs to a row but stays in its FITS file.

    No column of the database: it is read when it is asked for, kept on the instance, and can be
    set like any attribute.

    Parameters
    ----------
    ext : int, str or callable, optional
        The HDU, by number or name; a callable takes the instance and returns it.  None looks for
        the table that has the column and the row.
    column_name : str, optional
        The column of the file, if it has another name than the field.
    row : int or callable, optional
        The row of an image; a callable takes the instance and the open file.  None reads all.
    transform : callable, optional
        Takes the array as it is in the file and returns it as it should be.
    accessor_class : type, optional
        What reads it.
    accessor_kwargs : dict, optional
        What the accessor needs to know, such as the wavelength grid.
    help_text : str, optional
        What the array is; the glossary's meaning of the name by default.

    Attributes
    ----------
    unit : str
        Unit of the values, as the glossary has it.
    """

    unit = ""

    def __init__(
        self,
        ext: int | str | Callable[[Any], int | None] | None = None,
        column_name: str | None = None,
        *,
        row: int | Callable[[Any, Any], int] | None = None,
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
        accessor_class: type[PixelArrayAccessor] = PixelArrayAccessorFITS,
        accessor_kwargs: dict[str, Any] | None = None,
        help_text: str | None = None,
    ) -> None:
        self.ext = ext
        self.file_column = column_name
        self.row = row
        self.transform = transform
        self.accessor_class = accessor_class
        self.accessor_kwargs = accessor_kwargs or {}
        super().__init__(help_text=help_text)

    def bind(self, model: Any, name: str, set_attribute: bool = True) -> None:
        """Take the meaning and the unit of the name (called by peewee)."""
        meaning = describe(name)
        self.help_text = self.help_text or meaning.text
        self.unit = meaning.unit
        self.__doc__ = f"{self.help_text} ({self.unit})".removesuffix(" ()")
        super().bind(model, name, set_attribute)


@functools.cache
def pixel_arrays(model: Any) -> Mapping[str, PixelArray]:
    """Return the pixel arrays of a model, by name, those of its bases first."""
    return {
        name: accessor.field
        for base in reversed(model.__mro__)
        for name, accessor in vars(base).items()
        if isinstance(accessor, PixelArrayAccessor)
    }


def ivar_from_error(error: np.ndarray) -> np.ndarray:
    """Return the inverse variance, 0 where the error is no finite number above zero."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ivar = error ** error.dtype.type(-2)
    return np.where(np.isfinite(ivar) & np.isfinite(error), ivar, 0).astype(error.dtype)
