"""MDwarfType: spectral types of M dwarfs by templates."""

from __future__ import annotations

from astra.fields import BitField, DerivedFlag, FloatField, TextField
from astra.models.pipeline import PipelineOutputMixin


class MDwarfType(PipelineOutputMixin):
    """The template that fits a spectrum best: its type and sub-type."""

    spectral_type = TextField(null=True)
    sub_type = FloatField(null=True)
    rchi2 = FloatField(null=True)
    continuum = FloatField(null=True)

    result_flags = BitField()
    flag_bad = DerivedFlag("nonzero:result_flags", help_text="Do not use")
