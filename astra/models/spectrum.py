"""The table of all spectra, and what the tables of one kind of spectrum each have in common.

Every spectrum has one row in `Spectrum`, whose key is its ``spectrum_pk``; what else is known of it
stands in the table of its kind (`astra.models.boss`, `astra.models.apogee`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from astra.fields import BigAutoField, BitField, DerivedFlag, Flag, ForeignKeyField
from astra.models.base import BaseModel
from astra.models.source import Source
from astra.products import HasFile, PathField

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Spectrum(BaseModel):
    """One spectrum of any kind; the results of pipelines point here."""

    pk = BigAutoField()
    spectrum_flags = BitField()


class SpectrumMixin(HasFile):
    """What all kinds of spectra can do."""

    natural_key: ClassVar[tuple[str, ...]] = ()
    """Fields that tell a spectrum from all others of its kind, where it has no `spectrum_pk`.

    The tables have an index over them that is not unique: products of one release can come from
    two databases, which gave the same spectrum different keys, and the results of both refer to
    the key of their own.
    """

    @property
    def e_flux(self) -> np.ndarray:
        """Uncertainty of the flux, in its shape and unit; infinite where ivar is 0."""
        ivar = np.asarray(self.ivar)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(ivar > 0, ivar**-0.5, np.inf)

    def plot(self, **options: Any) -> Figure:
        """Draw the spectrum; see `astra.plot.plot_spectrum` for the options.

        Returns
        -------
        matplotlib.figure.Figure
            Flux against wavelength with a band of one standard deviation, and the model and
            the continuum where there are.
        """
        from astra.plot import plot_spectrum

        return plot_spectrum(self, **options)


class SpectrumModel(SpectrumMixin, BaseModel):
    """Base of the tables of one kind of spectrum each: their keys, and where their file is."""

    pk = BigAutoField()
    spectrum_pk = ForeignKeyField(
        Spectrum,
        null=False,
        unique=True,
        lazy_load=False,
        column_name="spectrum_pk",
        on_delete="CASCADE",
        backref="+",
    )
    source = ForeignKeyField(Source, null=True, index=True, column_name="source_pk", backref="+")
    path = PathField(null=True)

    @classmethod
    def validate_model(cls) -> None:
        """Make an index of the natural key, and let an alias of the model find inherited flags."""
        super().validate_model()
        index = (tuple(cls.natural_key), False)
        if cls.natural_key and index not in cls._meta.indexes:
            cls._meta.indexes = [index, *cls._meta.indexes]
        # An alias looks for descriptors in its model and the model's bases, but no further up.
        for base in cls.__mro__[1:]:
            for name, value in vars(base).items():
                if isinstance(value, Flag | DerivedFlag) and name not in vars(cls):
                    setattr(cls, name, value)
