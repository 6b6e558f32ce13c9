"""What every result has, whatever the pipeline: keys, version, times and a tag."""

from __future__ import annotations

from typing import Any, Self

from peewee import SQL

from astra import __version__
from astra.fields import (
    BigAutoField,
    DateTimeField,
    FloatField,
    ForeignKeyField,
    GeneratedField,
    IntegerField,
    TextField,
)
from astra.models.base import BaseModel
from astra.models.source import Source
from astra.models.spectrum import Spectrum
from astra.products import HasFile, PathField
from astra.utils import utcnow, version_string_to_integer

#: What a result is known by: its spectrum and the version, without the patch.
RESULT_INDEX = (("spectrum_pk", "v_astra_major_minor"), True)


def _major_minor(result: Any) -> int | None:
    return None if result.v_astra is None else result.v_astra // 1000


class PipelineOutputMixin(BaseModel):
    """Base of the results of a pipeline: one row a spectrum and major.minor version of Astra.

    A pipeline of your own is a subclass with its columns:

    >>> class Rocket(PipelineOutputMixin):
    ...     teff = FloatField(null=True)
    """

    task_pk = BigAutoField()
    source_pk = ForeignKeyField(
        Source,
        null=True,
        lazy_load=False,
        index=True,
        column_name="source_pk",
        on_delete="CASCADE",
        backref="+",
    )
    # No index of its own: the unique one over (spectrum_pk, v_astra_major_minor) serves.
    spectrum_pk = ForeignKeyField(
        Spectrum,
        null=False,
        lazy_load=False,
        index=False,
        column_name="spectrum_pk",
        on_delete="CASCADE",
        backref="+",
    )
    v_astra = IntegerField(default=version_string_to_integer(__version__))
    created = DateTimeField(default=utcnow)
    modified = DateTimeField(default=utcnow)
    t_elapsed = FloatField(null=True)
    t_overhead = FloatField(null=True)
    tag = TextField(default="")
    v_astra_major_minor = GeneratedField(
        compute=_major_minor,
        constraints=[SQL("GENERATED ALWAYS AS (v_astra / 1000) STORED")],
    )

    class Meta:
        indexes = (RESULT_INDEX,)

    @classmethod
    def validate_model(cls) -> None:
        """Keep the unique index where a subclass has a Meta with indexes of its own."""
        super().validate_model()
        if RESULT_INDEX not in cls._meta.indexes:
            cls._meta.indexes = [RESULT_INDEX, *cls._meta.indexes]

    @classmethod
    def from_spectrum(cls, spectrum: Any, **fields: Any) -> Self:
        """Return a result for a spectrum, not saved, with the keys filled in.

        Parameters
        ----------
        spectrum : Spectrum, or a spectrum of some kind such as BossVisitSpectrum
        **fields
            Values of the result's fields.
        """
        if isinstance(spectrum, Spectrum):
            keys = {"spectrum_pk": spectrum.pk}
        else:
            # Not `.source`, which would fetch the row.
            keys = {
                "spectrum_pk": spectrum.spectrum_pk,
                "source_pk": spectrum.__data__.get("source"),
            }
        return cls(**{**keys, **fields})


class PixelOutputMixin(HasFile, PipelineOutputMixin):
    """Base of results that have pixel arrays, in a file with the results of one star."""

    path = PathField(null=True)
