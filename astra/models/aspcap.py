"""ASPCAP: stellar parameters and abundances from APOGEE spectra by fits of model grids."""

from __future__ import annotations

from typing import Any

from astra.fields import (
    BigIntegerField,
    BitField,
    DerivedFlag,
    FloatField,
    IntegerField,
    PixelArray,
    TextField,
    add_floats,
    words,
)
from astra.models.pipeline import PixelOutputMixin

#: Parameters of the atmosphere
PARAMETERS = words(
    """
    teff logg v_micro v_sini m_h_atm alpha_m_atm c_m_atm n_m_atm
    """
)

#: Abundances; ``c_1_h`` and ``ti_2_h`` are from atomic carbon and ionised titanium
ABUNDANCES = words(
    """
    al_h c_12_13 ca_h ce_h c_1_h c_h co_h cr_h cu_h fe_h k_h mg_h mn_h na_h nd_h ni_h n_h o_h p_h
    si_h s_h ti_h ti_2_h v_h
    """
)

#: Abundances that have upper limits where the lines are too weak to be measured
WITH_UPPER_LIMITS = words("ce_h c_1_h c_h cu_h na_h nd_h n_h o_h p_h s_h v_h")

#: Parameters that have flags for the edges of the grid, in the order of their bits
GRID_PARAMETERS = words(
    """
    teff logg v_micro v_sini m_h_atm alpha_m c_m_atm n_m_atm
    """
)


def add_abundances(namespace: dict[str, Any]) -> None:
    """Put the columns of each of `ABUNDANCES` into the body of a model."""
    for name in ABUNDANCES:
        add_floats(namespace, (name, f"e_{name}"))
        namespace[f"{name}_flags"] = BitField()
        add_floats(namespace, (f"{name}_rchi2",))


def _abundance_flags(name: str) -> dict[str, tuple[int, str]]:
    """Return the flags of one abundance: name -> (bit, meaning)."""
    limits = {
        f"flag_{name}_upper_limit_t{number}": (
            number - 1,
            f"{name}: at least one line is an upper limit, by a threshold of {number}%",
        )
        for number in range(1, 6)
    }
    others = {
        f"flag_{name}_censored_high_teff": (5, f"{name} was removed: the star is too hot"),
        f"flag_{name}_censored_low_teff_vmicro": (
            6,
            f"{name} was removed: the star is too cool for its v_micro",
        ),
        f"flag_{name}_censored_unphysical": (7, f"{name} was removed: it makes no sense"),
        f"flag_{name}_bad_grid_edge": (8, f"{name} is within 1/8 step of the edge of the grid"),
        f"flag_{name}_warn_grid_edge": (9, f"{name} is within 1/2 step of the edge of the grid"),
        f"flag_{name}_warn_teff": (10, f"{name} is not reliable at this teff"),
        f"flag_{name}_warn_m_h": (11, f"{name} is not reliable at this metallicity"),
    }
    return {**limits, **others} if name in WITH_UPPER_LIMITS else others


def _ferre_flags(prefix: str = "flag") -> dict[str, tuple[int, str]]:
    """Return the flags that every run of FERRE has: name -> (bit, meaning)."""
    flags = {
        f"{prefix}_ferre_fail": (0, "FERRE failed"),
        f"{prefix}_missing_model_flux": (1, "FERRE wrote no model flux"),
        f"{prefix}_potential_ferre_timeout": (2, "FERRE may have run out of time"),
        f"{prefix}_no_suitable_initial_guess": (3, "There were no starting values"),
        f"{prefix}_spectrum_io_error": (4, "The spectrum could not be read"),
    }
    for number, name in enumerate(GRID_PARAMETERS):
        near = f"{name} is within {{}} step of the edge of the grid"
        flags[f"{prefix}_{name}_grid_edge_warn"] = (5 + 2 * number, near.format("1"))
        flags[f"{prefix}_{name}_grid_edge_bad"] = (6 + 2 * number, near.format("1/8"))
    return flags


class ASPCAP(PixelOutputMixin):
    """Stellar parameters and abundances of a star by ASPCAP, calibrated and (``raw_``) as fitted.

    For each of `PARAMETERS` and `ABUNDANCES`, such as ``fe_h``, the columns ``fe_h``, ``e_fe_h``,
    ``raw_fe_h`` and ``raw_e_fe_h``; for each of `ABUNDANCES` also ``fe_h_flags``,
    ``fe_h_rchi2``, ``fe_h_task_pk``, flags such as ``flag_fe_h_warn_teff``, and the pixels
    ``model_flux_fe_h``.
    """

    irfm_teff = FloatField(null=True)
    irfm_teff_flags = BitField()
    flag_out_of_v_k_bounds = irfm_teff_flags.flag(2**0, "V - Ks is outside the calibration")
    flag_out_of_fe_h_bounds = irfm_teff_flags.flag(2**1, "fe_h is outside the calibration")
    flag_extrapolated_v_mag = irfm_teff_flags.flag(2**2, "The V magnitude is extrapolated")
    flag_poor_quality_k_mag = irfm_teff_flags.flag(2**3, "The Ks magnitude is poor")
    flag_ebv_used_is_upper_limit = irfm_teff_flags.flag(2**4, "The reddening is an upper limit")
    flag_as_dwarf_for_irfm_teff = irfm_teff_flags.flag(2**5, "Taken for a dwarf")
    flag_as_giant_for_irfm_teff = irfm_teff_flags.flag(2**6, "Taken for a giant")

    for _name in PARAMETERS:
        add_floats(locals(), (_name, f"e_{_name}"))
    add_abundances(locals())
    for _name in ABUNDANCES:
        locals()[f"{_name}_flags"].flags(locals(), **_abundance_flags(_name))

    short_grid_name = TextField(null=True)
    continuum_order = IntegerField(null=True)
    continuum_reject = FloatField(null=True)
    interpolation_order = IntegerField(null=True)

    # Two names for one bit, as Astra has it: a start from Doppler, by either reduction
    initial_flags = BitField()
    flag_initial_guess_from_apogeenet = initial_flags.flag(2**0, "Start from ApogeeNet")
    flag_initial_guess_from_doppler = initial_flags.flag(2**1, "Start from Doppler (SDSS-V)")
    flag_initial_guess_from_doppler_sdss4 = initial_flags.flag(2**1, "Start from Doppler (SDSS-IV)")
    flag_initial_guess_from_user = initial_flags.flag(2**2, "Start from the user")
    flag_initial_guess_from_gaia_xp_andrae23 = initial_flags.flag(
        2**3, "Start from Gaia XP spectra by Andrae et al. (2023)"
    )

    snr = FloatField(null=True)
    rchi2 = FloatField(null=True)
    ferre_log_snr_sq = FloatField(null=True)
    ferre_time_elapsed = FloatField(null=True)

    result_flags = BitField()
    result_flags.flags(locals(), **_ferre_flags())
    flag_suspicious_parameters = result_flags.flag(2**21, "The parameters are suspicious")
    flag_high_v_sini = result_flags.flag(2**22, "The star rotates fast")
    flag_high_v_micro = result_flags.flag(2**23, "v_micro is too high")
    flag_unphysical_parameters = result_flags.flag(2**24, "No star has these parameters")
    flag_high_rchi2 = result_flags.flag(2**25, "The fit is bad")
    flag_low_snr = result_flags.flag(2**26, "The signal-to-noise ratio is low")
    flag_high_std_v_rad = result_flags.flag(2**27, "The velocities of the visits scatter much")
    flag_warn = DerivedFlag("nonzero:result_flags", help_text="Use with care")
    flag_bad = DerivedFlag(
        "flag_suspicious_parameters",
        "flag_high_v_sini",
        "flag_high_v_micro",
        "flag_unphysical_parameters",
        "flag_high_rchi2",
        "flag_low_snr",
        "flag_high_std_v_rad",
        "flag_teff_grid_edge_bad",
        "flag_logg_grid_edge_bad",
        "flag_ferre_fail",
        "flag_missing_model_flux",
        "flag_potential_ferre_timeout",
        "flag_no_suitable_initial_guess",
        "flag_spectrum_io_error",
        help_text="Do not use",
    )

    # The same names as of result_flags in Astra; here those of the coarse run say so.
    coarse_ferre_flags = BitField()
    coarse_ferre_flags.flags(locals(), **_ferre_flags("flag_coarse"))
    flag_caused_timeout = coarse_ferre_flags.flag(2**21, "FERRE ran out of time at this spectrum")
    flag_multiple_equally_good_coarse_results = coarse_ferre_flags.flag(
        2**22, "Several coarse results are equally good"
    )
    flag_no_good_coarse_result = coarse_ferre_flags.flag(2**23, "No coarse result is good")

    # Keys of FERRE's runs, which have no tables here
    stellar_parameters_task_pk = BigIntegerField(null=True)
    for _name in ABUNDANCES:
        locals()[f"{_name}_task_pk"] = BigIntegerField(null=True)

    calibrated_flags = BitField()
    flag_as_dwarf_for_calibration = calibrated_flags.flag(2**0, "Calibrated as a dwarf")
    flag_as_giant_for_calibration = calibrated_flags.flag(2**1, "Calibrated as a giant")
    flag_as_red_clump_for_calibration = calibrated_flags.flag(2**2, "Calibrated as a clump star")
    flag_as_m_dwarf_for_calibration = calibrated_flags.flag(2**3, "Calibrated as an M dwarf")
    flag_censored_logg_for_metal_poor_m_dwarf = calibrated_flags.flag(
        2**4, "logg was removed: a metal-poor M dwarf"
    )
    mass = FloatField(null=True)
    radius = FloatField(null=True)

    for _name in PARAMETERS + ABUNDANCES:
        add_floats(locals(), (f"raw_{_name}", f"raw_e_{_name}"))

    wavelength = PixelArray()
    model_flux = PixelArray()
    continuum = PixelArray()
    for _name in ABUNDANCES:
        locals()[f"model_flux_{_name}"] = PixelArray()
    del _name
