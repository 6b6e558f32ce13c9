"""Corv: radial velocities, temperatures and gravities of white dwarfs."""

from __future__ import annotations

from astra.fields import BitField, FloatField
from astra.models.pipeline import PipelineOutputMixin


class Corv(PipelineOutputMixin):
    """Radial velocity of a white dwarf from its Balmer lines, with the model that fits them."""

    v_rad = FloatField(null=True)
    e_v_rad = FloatField(null=True)
    teff = FloatField(null=True)
    e_teff = FloatField(null=True)
    logg = FloatField(null=True)
    e_logg = FloatField(null=True)

    initial_teff = FloatField(null=True)
    initial_logg = FloatField(null=True)
    initial_v_rad = FloatField(null=True)

    rchi2 = FloatField(null=True)
    result_flags = BitField()
