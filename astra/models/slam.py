"""Slam: stellar parameters of cool stars from BOSS spectra."""

from __future__ import annotations

from astra.fields import (
    BitField,
    BooleanField,
    DerivedFlag,
    FloatField,
    IntegerField,
    PixelArray,
)
from astra.models.pipeline import PixelOutputMixin


class Slam(PixelOutputMixin):
    """Stellar parameters of an M dwarf by the Stellar Label Machine."""

    teff = FloatField(null=True)
    e_teff = FloatField(null=True)
    logg = FloatField(null=True)
    e_logg = FloatField(null=True)
    fe_h = FloatField(null=True)
    e_fe_h = FloatField(null=True)
    fe_h_niu = FloatField(null=True)
    e_fe_h_niu = FloatField(null=True)
    alpha_fe = FloatField(null=True)
    e_alpha_fe = FloatField(null=True)

    rho_teff_logg = FloatField(null=True)
    rho_teff_fe_h = FloatField(null=True)
    rho_logg_fe_h = FloatField(null=True)

    initial_teff = FloatField(null=True)
    initial_logg = FloatField(null=True)
    initial_fe_h = FloatField(null=True)
    initial_alpha_fe = FloatField(null=True)
    initial_fe_h_niu = FloatField(null=True)

    success = BooleanField(null=True)
    status = IntegerField(null=True)
    optimality = BooleanField(null=True)

    result_flags = BitField()
    flag_bad_optimizer_status = result_flags.flag(2**0, "The optimiser did not converge")
    flag_teff_outside_bounds = result_flags.flag(2**1, "teff is outside the grid")
    flag_fe_h_outside_bounds = result_flags.flag(2**2, "fe_h is outside the grid")
    flag_outside_photometry_range = result_flags.flag(
        2**3, "The colours are not those of the stars it was made for"
    )
    flag_warn = DerivedFlag(
        "flag_bad_optimizer_status", "flag_outside_photometry_range", help_text="Use with care"
    )
    flag_bad = DerivedFlag(
        "flag_teff_outside_bounds",
        "flag_fe_h_outside_bounds",
        "flag_outside_photometry_range",
        "flag_bad_optimizer_status",
        help_text="Do not use",
    )

    chi2 = FloatField(null=True)
    rchi2 = FloatField(null=True)

    model_flux = PixelArray()
    continuum = PixelArray()
