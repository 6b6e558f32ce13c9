"""AstroNN: stellar parameters and abundances from APOGEE spectra by a neural network."""

from __future__ import annotations

from astra.fields import BitField, DerivedFlag, add_floats
from astra.models.pipeline import PipelineOutputMixin

#: What the network gives, each with an uncertainty, calibrated and (``raw_``) as it came out
LABELS = (
    "teff",
    "logg",
    "c_h",
    "c_1_h",
    "n_h",
    "o_h",
    "na_h",
    "mg_h",
    "al_h",
    "si_h",
    "p_h",
    "s_h",
    "k_h",
    "ca_h",
    "ti_h",
    "ti_2_h",
    "v_h",
    "cr_h",
    "mn_h",
    "fe_h",
    "co_h",
    "ni_h",
)


class AstroNN(PipelineOutputMixin):
    """Stellar parameters and abundances of a star by the astroNN network.

    For each of `LABELS`, such as ``fe_h``, the columns ``fe_h``, ``e_fe_h``, ``raw_fe_h`` and
    ``raw_e_fe_h``.
    """

    for _label in LABELS:
        add_floats(locals(), (_label, f"e_{_label}"))
    for _label in LABELS:
        add_floats(locals(), (f"raw_{_label}", f"raw_e_{_label}"))
    del _label

    result_flags = BitField()
    flag_uncertain_logg = result_flags.flag(2**0, "logg is uncertain")
    flag_uncertain_teff = result_flags.flag(2**1, "teff is uncertain")
    flag_uncertain_fe_h = result_flags.flag(2**2, "fe_h is uncertain")
    flag_no_result = result_flags.flag(2**11, "The pipeline failed")

    flag_warn = DerivedFlag("nonzero:result_flags", help_text="Use with care")
    flag_bad = DerivedFlag(
        ("flag_uncertain_logg", "flag_uncertain_fe_h", "flag_uncertain_teff"),
        help_text="Do not use",
        by_version={"0.6": (("flag_uncertain_logg", "flag_uncertain_fe_h"), "flag_uncertain_teff")},
    )
