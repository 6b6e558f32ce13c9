"""TheCannon: stellar parameters and abundances by a data-driven model of the spectra."""

from __future__ import annotations

from astra.fields import BitField, FloatField, IntegerField, add_floats, words
from astra.models.pipeline import PipelineOutputMixin

#: What is fitted, each with an uncertainty, adopted and (``raw_e_``) as the fit has it
LABELS = words(
    """
    teff logg fe_h v_micro v_macro c_fe n_fe o_fe na_fe mg_fe al_fe si_fe s_fe k_fe ca_fe ti_fe
    v_fe cr_fe mn_fe ni_fe
    """
)


class TheCannon(PipelineOutputMixin):
    """Stellar parameters and abundances of a star by The Cannon.

    For each of `LABELS`, such as ``fe_h``, the columns ``fe_h``, ``e_fe_h`` and ``raw_e_fe_h``.
    """

    for _label in LABELS:
        add_floats(locals(), (_label, f"e_{_label}"))
    del _label
    chi2 = FloatField(null=True)
    rchi2 = FloatField(null=True)
    add_floats(locals(), [f"raw_e_{_label}" for _label in LABELS])

    ier = IntegerField(null=True)
    nfev = IntegerField(null=True)
    x0_index = IntegerField(null=True)

    result_flags = BitField()
    flag_fitting_failure = result_flags.flag(2**0, "The fit failed")
