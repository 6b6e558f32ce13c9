"""ApogeeNet: stellar parameters from APOGEE spectra by a neural network."""

from __future__ import annotations

from astra.fields import BitField, DerivedFlag, FloatField
from astra.models.pipeline import PipelineOutputMixin


class ApogeeNet(PipelineOutputMixin):
    """Stellar parameters of a star, young ones included, by the APOGEE Net network."""

    teff = FloatField(null=True)
    e_teff = FloatField(null=True)
    logg = FloatField(null=True)
    e_logg = FloatField(null=True)
    fe_h = FloatField(null=True)
    e_fe_h = FloatField(null=True)
    raw_e_teff = FloatField(null=True)
    raw_e_logg = FloatField(null=True)
    raw_e_fe_h = FloatField(null=True)

    result_flags = BitField()
    flag_runtime_exception = result_flags.flag(2**0, "The pipeline failed")
    flag_unreliable_teff = result_flags.flag(2**1, "teff is outside the range of the training")
    flag_unreliable_logg = result_flags.flag(2**2, "logg is outside the range of the training")
    flag_unreliable_fe_h = result_flags.flag(2**3, "fe_h is outside the range of the training")

    flag_warn = DerivedFlag("flag_unreliable_fe_h", help_text="Use with care")
    flag_bad = DerivedFlag(
        "flag_unreliable_teff",
        "flag_unreliable_logg",
        "flag_unreliable_fe_h",
        "flag_runtime_exception",
        help_text="Do not use",
    )
