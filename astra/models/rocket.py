"""Rocket: the smallest pipeline there is, as an example."""

from __future__ import annotations

from astra.fields import BitField, FloatField
from astra.models.pipeline import PipelineOutputMixin


class Rocket(PipelineOutputMixin):
    """A pipeline that measures nothing but a temperature and a gravity."""

    teff = FloatField(null=True)
    e_teff = FloatField(null=True)
    logg = FloatField(null=True)
    e_logg = FloatField(null=True)

    result_flags = BitField()
    flag_warn = result_flags.flag(2**0, help_text="Something is odd: use with care")
    flag_bad = result_flags.flag(2**1, help_text="Do not use")
