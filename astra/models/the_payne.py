"""ThePayne: stellar parameters and abundances by a neural network of model spectra."""

from __future__ import annotations

from itertools import combinations

from astra.fields import BitField, DerivedFlag, FloatField, PixelArray, add_floats, words
from astra.models.pipeline import PixelOutputMixin

#: What is fitted, each with an uncertainty, adopted and (``raw_e_``) as the fit has it
LABELS = words(
    """
    teff logg v_turb c_h n_h o_h na_h mg_h al_h si_h p_h s_h k_h ca_h ti_h v_h cr_h mn_h fe_h co_h
    ni_h cu_h ge_h c12_c13 v_macro
    """
)


class ThePayne(PixelOutputMixin):
    """Stellar parameters and abundances of a star by The Payne.

    For each of `LABELS`, such as ``fe_h``, the columns ``fe_h``, ``e_fe_h`` and ``raw_e_fe_h``;
    for each two of them, in that order, their correlation, such as ``rho_teff_fe_h``.
    """

    v_rel = FloatField(null=True)
    for _label in LABELS:
        add_floats(locals(), (_label, f"e_{_label}"))
    del _label

    chi2 = FloatField(null=True)
    reduced_chi2 = FloatField(null=True)

    result_flags = BitField()
    flag_fitting_failure = result_flags.flag(2**0, "The fit failed")
    flag_warn_teff = result_flags.flag(2**1, "teff is outside the range where it can be trusted")
    flag_warn_logg = result_flags.flag(2**2, "logg is outside the range where it can be trusted")
    flag_warn_fe_h = result_flags.flag(2**3, "fe_h is outside the range where it can be trusted")
    flag_low_snr = result_flags.flag(2**4, "The signal-to-noise ratio is low")
    flag_warn = DerivedFlag("nonzero:result_flags", help_text="Use with care")
    flag_bad = DerivedFlag("flag_fitting_failure", help_text="Do not use")

    add_floats(locals(), [f"raw_e_{_label}" for _label in LABELS])
    add_floats(locals(), [f"rho_{_first}_{_second}" for _first, _second in combinations(LABELS, 2)])

    wavelength = PixelArray()
    model_flux = PixelArray()
    continuum = PixelArray()
