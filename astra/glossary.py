"""What a column means and its unit: one place, for all tables that have a column of that name.

`describe` looks a name up among the plain ones, and else takes it apart: ``raw_e_fe_h`` is the
uncertainty of ``fe_h`` before calibration, ``rho_teff_logg`` a correlation.  Units are written so
that astropy can parse them; ``""`` is no unit.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import NamedTuple


class Meaning(NamedTuple):
    """What a column holds.

    Attributes
    ----------
    text : str
        One sentence without a full stop; empty if the name is not in the glossary.
    unit : str
        In astropy's spelling; empty if there is none.
    """

    text: str
    unit: str = ""


LOGG = "dex(cm/s2)"

PLAIN: dict[str, tuple[str, str]] = {
    # Keys and bookkeeping
    "pk": ("Key of the row", ""),
    "id": ("Key of the row in the file that it came from", ""),
    "task_pk": ("Key of the result", ""),
    "source_pk": ("Key of the source in the table of sources", ""),
    "source": ("The source, by its key in the table of sources", ""),
    "spectrum_pk": ("Key of the spectrum in the table of all spectra", ""),
    "drp_spectrum_pk": ("Key of the reduced spectrum that this one was made from", ""),
    "star_pk": ("Key of the star in the APOGEE reduction database", ""),
    "visit_pk": ("Key of the visit in the APOGEE reduction database", ""),
    "rv_visit_pk": ("Key of the visit's radial velocity in the APOGEE reduction database", ""),
    "v_astra": ("Version of Astra", ""),
    "v_astra_major_minor": ("Version of Astra without its patch: v_astra // 1000", ""),
    "created": ("When the row was made (UTC)", ""),
    "modified": ("When the row was changed last (UTC)", ""),
    "t_elapsed": ("Time that the analysis took", "s"),
    "t_overhead": ("Share of the time for common preparation", "s"),
    "tag": ("Label that was given to the run", ""),
    "path": ("File of the pixel arrays, as it was registered", ""),
    "pipeline": ("Pipeline that the values were taken from", ""),
    "release": ("Data release, or sdss5", ""),
    "filetype": ("Kind of file that holds the spectrum", ""),
    # Identifiers
    "sdss_id": ("Identifier of the star in SDSS-V, unique across catalogues", ""),
    "sdss4_apogee_id": ("APOGEE identifier of the star in SDSS-IV", ""),
    "gaia_dr2_source_id": ("Source identifier in Gaia DR2", ""),
    "gaia_dr3_source_id": ("Source identifier in Gaia DR3", ""),
    "tic_v8_id": ("Identifier in the TESS Input Catalog, version 8", ""),
    "healpix": ("HEALPix number of the position (nside 128, ring order)", ""),
    "lead": ("Catalogue that led the cross-match", ""),
    "version_id": ("Cross-match version of catalogid", ""),
    "catalogid": ("Identifier in the SDSS-V cross-match", ""),
    "catalogid21": ("Identifier in the SDSS-V cross-match v0.1", ""),
    "catalogid25": ("Identifier in the SDSS-V cross-match v0.5", ""),
    "catalogid31": ("Identifier in the SDSS-V cross-match v1", ""),
    "n_associated": ("Number of catalogid values that belong to this sdss_id", ""),
    "n_neighborhood": ("Sources within 3 arcsec that are brighter than G + 5", ""),
    "crossmatch_flags": ("Bit field: how sure the cross-match is", ""),
    "carton_0": ("Carton of highest priority that targeted the star", ""),
    # Targeting
    "sdss5_target_flags": ("Bit array: SDSS-V cartons that selected the star", ""),
    "sdss5_dr19_apogee_flag": ("Whether the star has SDSS-V APOGEE data in DR19", ""),
    "sdss4_apogee_target1_flags": ("Bit field: APOGEE-1 targeting, part 1", ""),
    "sdss4_apogee_target2_flags": ("Bit field: APOGEE-1 targeting, part 2", ""),
    "sdss4_apogee2_target1_flags": ("Bit field: APOGEE-2 targeting, part 1", ""),
    "sdss4_apogee2_target2_flags": ("Bit field: APOGEE-2 targeting, part 2", ""),
    "sdss4_apogee2_target3_flags": ("Bit field: APOGEE-2 targeting, part 3", ""),
    "sdss4_apogee_member_flags": ("Bit field: cluster or galaxy that the star belongs to", ""),
    "sdss4_apogee_extra_target_flags": ("Bit field: further APOGEE targeting", ""),
    # Astrometry
    "ra": ("Right ascension", "deg"),
    "dec": ("Declination", "deg"),
    "l": ("Galactic longitude", "deg"),
    "b": ("Galactic latitude", "deg"),
    "plx": ("Parallax", "mas"),
    "pmra": ("Proper motion in right ascension, times cos(dec)", "mas/yr"),
    "pmde": ("Proper motion in declination", "mas/yr"),
    "gaia_v_rad": ("Radial velocity by Gaia", "km/s"),
    "gaia_e_v_rad": ("Uncertainty of the radial velocity by Gaia", "km/s"),
    # Photometry
    "g_mag": ("Gaia G magnitude", "mag"),
    "bp_mag": ("Gaia BP magnitude", "mag"),
    "rp_mag": ("Gaia RP magnitude", "mag"),
    "j_mag": ("2MASS J magnitude", "mag"),
    "h_mag": ("2MASS H magnitude", "mag"),
    "k_mag": ("2MASS Ks magnitude", "mag"),
    "ph_qual": ("2MASS quality of the photometry, a letter a band", ""),
    "bl_flg": ("2MASS number of blended components, a digit a band", ""),
    "cc_flg": ("2MASS contamination and confusion, a character a band", ""),
    "mag4_5": ("Spitzer IRAC magnitude at 4.5 micron (GLIMPSE)", "mag"),
    "d4_5m": ("Uncertainty of the magnitude at 4.5 micron", "mag"),
    "rms_f4_5": ("Scatter of the single fluxes at 4.5 micron", "mJy"),
    "sqf_4_5": ("Bit field: quality of the source at 4.5 micron (GLIMPSE)", ""),
    "mf4_5": ("Bit field: how the flux at 4.5 micron was computed (GLIMPSE)", ""),
    "csf": ("Bit field: how close the neighbours are (GLIMPSE)", ""),
    "c_star": ("Quality of the synthetic photometry: corrected excess of BP and RP", ""),
    # Zhang, Green and Rix (2023), and distances
    "zgr_e": ("Extinction parameter E by Zhang et al. (2023)", "mag"),
    "zgr_e_e": ("Uncertainty of the extinction parameter E by Zhang et al. (2023)", "mag"),
    "zgr_ln_prior": ("Logarithm of the prior by Zhang et al. (2023)", ""),
    "zgr_chi2": ("Chi-square of the fit by Zhang et al. (2023)", ""),
    "zgr_quality_flags": ("Bit field: quality of the fit by Zhang et al. (2023)", ""),
    "bailer_jones_flags": ("Flags of the distances by Bailer-Jones et al. (2021)", ""),
    "ebv": ("Adopted reddening E(B-V); ebv_flags tells whose", "mag"),
    "ebv_flags": ("Bit field: where the adopted reddening comes from", ""),
    "ebv_zhang_2023": ("Reddening E(B-V) by Zhang et al. (2023)", "mag"),
    "ebv_sfd": ("Reddening E(B-V) by Schlegel, Finkbeiner and Davis (1998)", "mag"),
    "ebv_rjce_glimpse": ("Reddening E(B-V) from H - 4.5 micron colours (GLIMPSE)", "mag"),
    "ebv_rjce_allwise": ("Reddening E(B-V) from H - W2 colours (AllWISE)", "mag"),
    "ebv_bayestar_2019": ("Reddening E(B-V) by Bayestar 2019", "mag"),
    "ebv_edenhofer_2023": ("Reddening E(B-V) by Edenhofer et al. (2023)", "mag"),
    # Observations
    "n_boss_visits": ("Number of BOSS visits", ""),
    "boss_min_mjd": ("Day of the first BOSS visit (MJD)", ""),
    "boss_max_mjd": ("Day of the last BOSS visit (MJD)", ""),
    "n_apogee_visits": ("Number of APOGEE visits", ""),
    "apogee_min_mjd": ("Day of the first APOGEE visit (MJD)", ""),
    "apogee_max_mjd": ("Day of the last APOGEE visit (MJD)", ""),
    "min_mjd": ("Day of the first visit that was combined (MJD)", ""),
    "max_mjd": ("Day of the last visit that was combined (MJD)", ""),
    "n_entries": ("Number of rows of the star in the reduction's summary file", ""),
    "n_visits": ("Number of visits", ""),
    "n_good_visits": ("Number of visits that are good enough to combine", ""),
    "n_good_rvs": ("Number of visits with a good radial velocity", ""),
    "run2d": ("Version of the BOSS reduction", ""),
    "apred": ("Version of the APOGEE reduction", ""),
    "apstar": ("Kind of APOGEE combination", ""),
    "starver": ("Version of the APOGEE combination: day of its last visit (MJD)", ""),
    "telescope": ("Telescope: apo25m, lco25m or apo1m", ""),
    "mjd": ("Day of the observation (MJD)", ""),
    "fieldid": ("Number of the BOSS field", ""),
    "field": ("Name of the field", ""),
    "plate": ("Plate, or configuration of the fibre positioners", ""),
    "fiber": ("Number of the fibre", ""),
    "prefix": ("First letters of the file name: ap or as", ""),
    "reduction": ("Name of the reduction (apo1m spectra)", ""),
    "obj": ("Name of the object", ""),
    "spec_file": ("Name of the file of the spectrum", ""),
    "plateid": ("Number of the plate", ""),
    "cartid": ("Number of the cartridge", ""),
    "mapid": ("Number of the plugging map", ""),
    "slitid": ("Number of the slit", ""),
    "date_obs": ("When the exposure began (UTC)", ""),
    "jd": ("Julian date of the middle of the exposure", ""),
    "exptime": ("Exposure time", "s"),
    "n_exp": ("Number of exposures that were combined", ""),
    "n_frames": ("Number of frames that were combined", ""),
    "dithered": ("Whether the detector was dithered", ""),
    "f_night_time": ("Middle of the exposure as a fraction of the night", ""),
    "input_ra": ("Right ascension that was asked for", "deg"),
    "input_dec": ("Declination that was asked for", "deg"),
    "assigned": ("Whether the fibre was assigned to a target", ""),
    "on_target": ("Whether the fibre was on its target", ""),
    "valid": ("Whether the fibre positioner's command was valid", ""),
    "fps": ("Whether fibre positioners were used, not a plate", ""),
    "in_stack": ("Whether the visit went into the combined spectrum", ""),
    "snr": ("Signal-to-noise ratio, a pixel", ""),
    "mean_fiber": ("Mean fibre number of the visits", ""),
    "std_fiber": ("Scatter of the fibre numbers of the visits", ""),
    "psfsky": ("Order of the sky subtraction with the fibre's profile", ""),
    "preject": ("Threshold of the profile's area that rejects a pixel", ""),
    "n_std": ("Number of good standard stars", ""),
    "n_gal": ("Number of good galaxies in the field", ""),
    "lowrej": ("Low rejection of the extraction", ""),
    "highrej": ("High rejection of the extraction", ""),
    "scatpoly": ("Order of the polynomial of scattered light", ""),
    "proftype": ("Kind of profile of the extraction", ""),
    "nfitpoly": ("Number of parameters of the profile", ""),
    "skychi2": ("Mean chi-square of the sky subtraction", ""),
    "schi2min": ("Lowest chi-square of the sky subtraction", ""),
    "schi2max": ("Highest chi-square of the sky subtraction", ""),
    "alt": ("Altitude of the telescope", "deg"),
    "az": ("Azimuth of the telescope", "deg"),
    "seeing": ("Seeing", "arcsec"),
    "airmass": ("Airmass", ""),
    "airtemp": ("Temperature of the air", "deg_C"),
    "dewpoint": ("Dew point", "deg_C"),
    "humidity": ("Relative humidity", "%"),
    "pressure": ("Air pressure", "mbar"),
    "dust_a": ("Counts of dust of 0.3 micron", "1/(m3 s)"),
    "dust_b": ("Counts of dust of 1 micron", "1/(m3 s)"),
    "gust_direction": ("Direction of gusts", "deg"),
    "gust_speed": ("Speed of gusts", "km/s"),
    "wind_direction": ("Direction of the wind", "deg"),
    "wind_speed": ("Speed of the wind", "km/s"),
    "moon_dist_mean": ("Mean distance to the Moon", "deg"),
    "moon_phase_mean": ("Mean phase of the Moon", ""),
    "n_guide": ("Number of guide images", ""),
    "tai_beg": ("When the integration began (TAI)", "s"),
    "tai_end": ("When the integration ended (TAI)", "s"),
    "fiber_offset": ("Whether the fibre was offset from the target on purpose", ""),
    "delta_ra": ("Offsets in right ascension, one an exposure", "arcsec"),
    "delta_dec": ("Offsets in declination, one an exposure", "arcsec"),
    # Quality of spectra
    "spectrum_flags": ("Bit field: quality of the spectrum", ""),
    "gri_gaia_transform_flags": ("Bit field: where the magnitudes of the target come from", ""),
    "zwarning_flags": ("Bit field: warnings of the BOSS redshift fit", ""),
    "nmf_rchi2": ("Reduced chi-square of the continuum fit", ""),
    "nmf_flags": ("Bit field: warnings of the continuum fit", ""),
    # Velocities
    "v_rad": ("Barycentric radial velocity", "km/s"),
    "std_v_rad": ("Scatter of the radial velocities of the visits", "km/s"),
    "median_e_v_rad": ("Median uncertainty of the radial velocities of the visits", "km/s"),
    "v_rel": ("Radial velocity relative to the observer", "km/s"),
    "bc": ("Barycentric correction of the velocity", "km/s"),
    "bn_v_r": ("Radial velocity by BossNet", "km/s"),
    "boss_net_v_rad": ("Radial velocity by BossNet", "km/s"),
    "boss_net_e_v_rad": ("Uncertainty of the radial velocity by BossNet", "km/s"),
    "xcsao_rxc": ("Strength of the cross-correlation peak (XCSAO)", ""),
    "xcsao_meanrxc": ("Mean strength of the cross-correlation peaks (XCSAO)", ""),
    "doppler_flags": ("Bit field: warnings of Doppler", ""),
    "ccfwhm": ("Full width at half maximum of the cross-correlation", ""),
    "autofwhm": ("Full width at half maximum of the auto-correlation", ""),
    "n_components": ("Number of components in the cross-correlation", ""),
    # Stellar parameters
    "teff": ("Effective temperature", "K"),
    "logg": ("Surface gravity, log10", LOGG),
    "fe_h": ("Iron abundance [Fe/H]", "dex"),
    "m_h_atm": ("Metallicity of the atmosphere [M/H]", "dex"),
    "alpha_fe": ("Alpha element abundance [alpha/Fe]", "dex"),
    "alpha_m_atm": ("Alpha element abundance of the atmosphere [alpha/M]", "dex"),
    "c_m_atm": ("Carbon abundance of the atmosphere [C/M]", "dex"),
    "n_m_atm": ("Nitrogen abundance of the atmosphere [N/M]", "dex"),
    "fe_h_niu": ("Iron abundance [Fe/H] on the scale of Niu et al. (2023)", "dex"),
    "v_micro": ("Microturbulence", "km/s"),
    "v_macro": ("Macroturbulence", "km/s"),
    "v_turb": ("Microturbulence", "km/s"),
    "v_sini": ("Projected rotational velocity", "km/s"),
    "c_1_h": ("Abundance [C/H] from atomic carbon lines", "dex"),
    "ti_2_h": ("Abundance [Ti/H] from ionised titanium lines", "dex"),
    "c_12_13": ("Ratio of the carbon isotopes 12 and 13", ""),
    "c12_c13": ("Ratio of the carbon isotopes 12 and 13", ""),
    "mass": ("Stellar mass", "solMass"),
    "radius": ("Stellar radius", "solRad"),
    # Fits
    "chi2": ("Chi-square of the fit", ""),
    "rchi2": ("Reduced chi-square of the fit", ""),
    "reduced_chi2": ("Reduced chi-square of the fit", ""),
    "result_flags": ("Bit field: quality of the result", ""),
    "pipeline_flags": ("Bit field: the result flags of the pipeline that was taken", ""),
    "success": ("Whether the optimiser says that it succeeded", ""),
    "status": ("Status of the optimiser", ""),
    "optimality": ("Whether the optimiser reached its tolerance", ""),
    "ier": ("Status of the optimiser", ""),
    "nfev": ("Number of evaluations of the model", ""),
    "x0_index": ("Number of the starting point that led to the best fit", ""),
    # ASPCAP
    "irfm_teff": ("Effective temperature by the infrared flux method", "K"),
    "irfm_teff_flags": ("Bit field: quality of irfm_teff", ""),
    "short_grid_name": ("Grid of model spectra", ""),
    "continuum_order": ("Order of the continuum", ""),
    "continuum_reject": ("Rejection tolerance of the continuum", ""),
    "interpolation_order": ("Order of the interpolation in the grid", ""),
    "initial_flags": ("Bit field: where the starting values come from", ""),
    "coarse_ferre_flags": ("Bit field: quality of the coarse FERRE run", ""),
    "calibrated_flags": ("Bit field: how the values were calibrated", ""),
    "ferre_log_snr_sq": ("FERRE: log10 of the squared signal-to-noise ratio", ""),
    "ferre_time_elapsed": ("FERRE: time that the fit took", "s"),
    "stellar_parameters_task_pk": ("Key of the FERRE run of the stellar parameters", ""),
    # AstroNN
    "a_k_mag": ("Extinction in Ks", "mag"),
    "L_fakemag": ("Luminosity as 10**(Ks / 5) times parallax ('fake magnitude')", ""),
    "L_fakemag_err": ("Uncertainty of L_fakemag, all parts", ""),
    "L_fakemag_model_err": ("Uncertainty of L_fakemag, the model's part", ""),
    "nn_dist": ("Distance by the neural network", "pc"),
    "nn_dist_err": ("Uncertainty of nn_dist, all parts", "pc"),
    "nn_dist_model_err": ("Uncertainty of nn_dist, the model's part", "pc"),
    "nn_parallax": ("Parallax by the neural network", "mas"),
    "nn_parallax_err": ("Uncertainty of nn_parallax, all parts", "mas"),
    "nn_parallax_model_err": ("Uncertainty of nn_parallax, the model's part", "mas"),
    "gdr3_parallax_w_zp": ("Gaia DR3 parallax, corrected for its zero point", "mas"),
    "gdr3_parallax_err": ("Uncertainty of the Gaia DR3 parallax", "mas"),
    "gdr3_zeropoint": ("Zero point of the Gaia DR3 parallax", "mas"),
    "weighted_parallax": ("Parallax, mean of Gaia's and the network's", "mas"),
    "weighted_parallax_err": ("Uncertainty of weighted_parallax", "mas"),
    "weighted_dist": ("Distance, mean of Gaia's and the network's", "pc"),
    "weighted_dist_err": ("Uncertainty of weighted_dist", "pc"),
    # Classes
    "classification": ("White dwarf class of highest probability", ""),
    "spectral_type": ("Spectral type", ""),
    "sub_type": ("Spectral sub-type", ""),
    # Pixels
    "wavelength": ("Wavelength in vacuum", "Angstrom"),
    "flux": ("Flux", "1e-17 erg/(s cm2 Angstrom)"),
    "ivar": ("Inverse variance of the flux", "1e34 s2 cm4 Angstrom2/erg2"),
    "e_flux": ("Uncertainty of the flux; infinite where ivar is 0", "1e-17 erg/(s cm2 Angstrom)"),
    "wresl": ("Width of the spectral resolution element", "Angstrom"),
    "pixel_flags": ("Bit field of each pixel", ""),
    "continuum": ("Continuum", ""),
    "model_flux": ("Flux of the best-fitting model", ""),
    "nmf_rectified_model_flux": ("Model flux of the continuum fit, relative to the continuum", ""),
}

ELEMENTS = {
    "al": "aluminium",
    "c": "carbon",
    "ca": "calcium",
    "ce": "cerium",
    "co": "cobalt",
    "cr": "chromium",
    "cu": "copper",
    "fe": "iron",
    "ge": "germanium",
    "k": "potassium",
    "mg": "magnesium",
    "mn": "manganese",
    "n": "nitrogen",
    "na": "sodium",
    "nd": "neodymium",
    "ni": "nickel",
    "o": "oxygen",
    "p": "phosphorus",
    "s": "sulphur",
    "si": "silicon",
    "ti": "titanium",
    "v": "vanadium",
}

LINE_QUANTITIES = {
    "eqw": ("Equivalent width of {}, negative in emission", "Angstrom"),
    "abs": ("Depth of {} at its centre, relative to the continuum", ""),
    "detection_stat": ("Share of the network's runs that find {}, calibrated", ""),
    "detection_raw": ("Share of the network's runs that find {}, as counted", ""),
    "eqw_percentiles": ("Percentiles 16, 50 and 84 of the equivalent width of {}", "mAngstrom"),
    "abs_percentiles": ("Percentiles 16, 50 and 84 of the depth of {}", ""),
}

# Who says it, by the prefix of the column
AUTHORS = {
    "doppler": "by Doppler",
    "xcsao": "by XCSAO",
    "xcorr": "by cross-correlation",
    "zgr": "by Zhang et al. (2023)",
}

SYSTEMS = {"jkc": "Johnson-Kron-Cousins", "sdss": "SDSS", "ps1": "Pan-STARRS 1"}


def _lower(text: str) -> str:
    """Write a text so that it can stand within a sentence: ``Flux`` but not ``Gaia G``."""
    is_name = text.startswith("Gaia") or not text[1:2].islower()
    return text if is_name else text[:1].lower() + text[1:]


def _changed(name: str, text: str) -> Meaning | None:
    """Return the meaning of another name in a sentence of its own, with that name's unit."""
    known = describe(name)
    return Meaning(text.format(_lower(known.text)), known.unit) if known.text else None


def _element(symbol: str, of: str) -> Meaning | None:
    if symbol not in ELEMENTS:
        return None
    notation = f"[{symbol.title()}/{of.title()}]"
    return Meaning(f"{ELEMENTS[symbol].title()} abundance {notation}", "dex")


def _authored(author: str, name: str) -> Meaning | None:
    """``doppler_teff``, and ``doppler_e_teff``, whose meaning is that of ``e_teff``."""
    known = describe(name)
    return Meaning(f"{known.text} {AUTHORS[author]}", known.unit) if known.text else None


def _correlation(names: str) -> Meaning | None:
    """``rho_a_b``: the names have underscores too, so each place is tried to part them."""
    for place in (match.start() for match in re.finditer("_", names)):
        first, second = describe(names[:place]), describe(names[place + 1 :])
        if first.text and second.text:
            text = f"Correlation of {names[:place]} and {names[place + 1 :]} in the fit"
            return Meaning(text)
    return None


def _line(quantity: str, line: str) -> Meaning:
    text, unit = LINE_QUANTITIES[quantity]
    series = {"h": "Balmer line H", "pa": "Paschen line Pa"}
    kind, _, rest = line.partition("_")
    if kind == "ca" and rest[:2] in ("h_", "k_"):
        name = f"Ca II {rest[0].upper()} at {rest[2:]} A"
    elif kind in series:
        name = f"{series[kind]}-{rest}"
    else:
        ion, _, wavelength = rest.partition("_")
        name = f"{kind.title()} {ion.upper()} at {wavelength or 6708} A"
    return Meaning(text.format(name), unit)


def _wise(band: str, quantity: str) -> Meaning:
    return {
        "_mag": Meaning(f"unWISE W{band} magnitude (Vega)", "mag"),
        "_flux": Meaning(f"unWISE W{band} flux (Vega)", "nmgy"),
        "_dflux": Meaning(f"Uncertainty of the unWISE W{band} flux", "nmgy"),
        "_frac": Meaning(f"Share of the W{band} flux that is the source's own (unWISE)"),
        "uflags": Meaning(f"Bit field: unWISE flags of the W{band} coadd"),
        "aflags": Meaning(f"Bit field: further unWISE flags in W{band}"),
    }[quantity]


def _synthetic(band: str, system: str, flag: str) -> Meaning:
    name = f"{SYSTEMS[system]} {band} magnitude from Gaia XP spectra"
    return Meaning(f"Whether the {name} is valid, 1 if it is") if flag else Meaning(name, "mag")


def _distance(which: str, kind: str) -> Meaning:
    ends = {"med": "median", "lo": "16th percentile", "hi": "84th percentile"}
    kinds = {"geo": "geometric", "photogeo": "photogeometric"}
    text = f"Distance by Bailer-Jones et al. (2021), {kinds[kind]}, {ends[which]}"
    return Meaning(text, "pc")


def _white_dwarf(kind: str) -> Meaning:
    name = kind.replace("_", "+").upper()
    return Meaning(f"Probability that the spectrum is of class {name}")


# The first pattern that fits the whole name and has an answer is taken.
PATTERNS: tuple[tuple[str, Callable[..., Meaning | None]], ...] = (
    (r"(al|c|ca|ce|co|cr|cu|fe|ge|k|mg|mn|n|na|nd|ni|o|p|s|si|ti|v)_(h|fe)", _element),
    (r"w([12])(_mag|_flux|_dflux|_frac|uflags|aflags)", _wise),
    (r"([ubvrigzy])_(jkc|sdss|ps1)_mag(_flag|)", _synthetic),
    (r"r_(med|lo|hi)_(geo|photogeo)", _distance),
    (r"(eqw_percentiles|abs_percentiles|detection_stat|detection_raw|eqw|abs)_(\w+)", _line),
    (r"p_((?:cv|d[abcoqz]|mwd|hotdq)\w*)", _white_dwarf),
    (r"rho_(\w+)", _correlation),
    (r"(doppler|xcsao|xcorr|zgr)_(\w+)", _authored),
    (r"raw_(\w+)", lambda name: _changed(name, "Before calibration: {}")),
    (r"initial_(\w+)", lambda name: _changed(name, "Starting value of the fit: {}")),
    (r"e_(\w+)", lambda name: _changed(name, "Uncertainty: {}")),
    (r"model_flux_(\w+)", lambda name: _changed(name, "Flux of the model that fits best: {}")),
    (r"(\w+)_confidence", lambda name: _changed(name, "Confidence, from 0 to 1: {}")),
    (r"(\w+)_rchi2", lambda name: _changed(name, "Reduced chi-square of the fit: {}")),
    (r"(\w+)_flags", lambda name: _changed(name, "Bit field, quality of the value: {}")),
    (r"(\w+)_task_pk", lambda name: _changed(name, "Key of the FERRE run: {}")),
)
UNITLESS = re.compile(r"rho_.*|model_flux_.*|.*_(confidence|rchi2|flags|task_pk)")


@functools.cache
def describe(name: str) -> Meaning:
    """Return what a column of this name means, and its unit.

    Parameters
    ----------
    name : str
        A field's name, such as ``e_teff``.

    Returns
    -------
    Meaning
        With empty texts if the glossary does not know the name.
    """
    if name in PLAIN:
        return Meaning(*PLAIN[name])
    for pattern, explain in PATTERNS:
        match = re.fullmatch(pattern, name)
        meaning = explain(*match.groups()) if match else None
        if meaning is not None:
            return Meaning(meaning.text) if UNITLESS.fullmatch(name) else meaning
    return Meaning("")
