"""AstroNNdist: luminosities and distances from APOGEE spectra by a neural network."""

from __future__ import annotations

from astra.fields import BitField, DerivedFlag, FloatField
from astra.models.pipeline import PipelineOutputMixin


class AstroNNdist(PipelineOutputMixin):
    """Distance of a star by the astroNN network, alone and weighted with Gaia's parallax."""

    a_k_mag = FloatField(null=True)
    L_fakemag = FloatField(null=True)
    L_fakemag_err = FloatField(null=True)
    L_fakemag_model_err = FloatField(null=True)
    nn_dist = FloatField(null=True)
    nn_dist_err = FloatField(null=True)
    nn_dist_model_err = FloatField(null=True)
    nn_parallax = FloatField(null=True)
    nn_parallax_err = FloatField(null=True)
    nn_parallax_model_err = FloatField(null=True)
    gdr3_parallax_w_zp = FloatField(null=True)
    gdr3_parallax_err = FloatField(null=True)
    gdr3_zeropoint = FloatField(null=True)
    weighted_parallax = FloatField(null=True)
    weighted_parallax_err = FloatField(null=True)
    weighted_dist = FloatField(null=True)
    weighted_dist_err = FloatField(null=True)

    result_flags = BitField()
    flag_fakemag_unreliable = result_flags.flag(2**0, "L_fakemag is unreliable")
    flag_missing_photometry = result_flags.flag(2**1, "There is no Ks magnitude")
    flag_missing_extinction = result_flags.flag(2**2, "There is no extinction")
    flag_no_result = result_flags.flag(2**11, "The pipeline failed")

    flag_warn = DerivedFlag("flag_missing_extinction", help_text="Use with care")
    flag_bad = DerivedFlag(
        "flag_fakemag_unreliable",
        "flag_missing_photometry",
        "flag_no_result",
        help_text="Do not use",
    )
