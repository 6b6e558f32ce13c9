"""The flags of the bit fields of `Source`: for each field, name -> (bit, meaning).

Most say which list a star was picked from, and the name says it all; their meaning is made from
the words of the name.  Where it does not, the words stand here.
"""

from __future__ import annotations

Flags = dict[str, tuple[int, str]]


def _family(prefix: str, pattern: str, names: str, **words: str) -> Flags:
    """Return flags by their bit: ``names`` in order, ``-`` for a bit that has none.

    A name's words take the place of ``{}`` in the pattern, unless other words are given for it.
    """
    return {
        f"flag_{prefix}_{name}": (bit, pattern.format(words.get(name, name.replace("_", " "))))
        for bit, name in enumerate(names.split())
        if name != "-"
    }


APOGEE_TARGET1 = _family(
    "sdss4_apogee",
    "APOGEE-1 target: {}",
    "faint medium bright irac_dered wise_dered sfd_dered no_dered wash_giant wash_dwarf "
    "sci_cluster extended short intermediate long do_not_observe serendipitous first_light "
    "ancillary m31_cluster mdwarf hires old_star disk_red_giant kepler_eb gc_pal1 massive_star "
    "sgr_dsph kepler_seismo kepler_host faint_extra segue_overlap",
    faint="faint part of its cohort",
    medium="middle part of its cohort",
    bright="bright part of its cohort",
    irac_dered="dereddened with IRAC colours",
    wise_dered="dereddened with WISE colours",
    sfd_dered="dereddened with the SFD map",
    no_dered="picked without dereddening",
    wash_giant="giant by Washington photometry",
    wash_dwarf="dwarf by Washington photometry",
    sci_cluster="cluster member, for science",
    extended="extended object",
    short="cohort of short exposure",
    intermediate="cohort of intermediate exposure",
    long="cohort of long exposure",
    do_not_observe="not to be observed",
    serendipitous="of interest by chance",
    m31_cluster="cluster of M31",
    mdwarf="M dwarf",
    hires="known from spectra of high resolution",
    kepler_eb="Kepler eclipsing binary",
    gc_pal1="globular cluster Palomar 1",
    sgr_dsph="Sagittarius dwarf galaxy",
    kepler_seismo="Kepler asteroseismology",
    kepler_host="Kepler planet host",
    faint_extra="fainter than the usual limit",
    segue_overlap="observed by SEGUE too",
)

APOGEE_TARGET2 = _family(
    "sdss4_apogee",
    "APOGEE-1 target: {}",
    "light_trap flux_standard standard_star rv_standard sky sky_bad guide_star bundle_hole "
    "telluric_bad telluric calib_cluster bulge_giant bulge_super_giant embedded_cluster_star "
    "long_bar emission_star kepler_cool_dwarf mir_cluster_star rv_monitor_ic348 "
    "rv_monitor_kepler ges_calibrate bulge_rv_verify 1m_target",
    light_trap="light trap for a bright star",
    standard_star="standard of stellar parameters or abundances",
    rv_standard="standard of radial velocity",
    sky="blank sky",
    sky_bad="sky position that turned out bad",
    telluric_bad="telluric standard that turned out bad",
    telluric="hot star for telluric lines",
    calib_cluster="cluster member, for calibration",
    long_bar="Milky Way's long bar",
    emission_star="emission line star",
    mir_cluster_star="cluster found in the mid infrared",
    rv_monitor_ic348="radial velocities of IC 348",
    rv_monitor_kepler="radial velocities of Kepler stars",
    ges_calibrate="calibration with the Gaia-ESO survey",
    bulge_rv_verify="check of radial velocities in the bulge",
    **{"1m_target": "observed with the 1 m telescope"},
)

APOGEE2_TARGET1 = _family(
    "sdss4_apogee2",
    "APOGEE-2 target: {}",
    "onebit_gt_0_5 twobit_0_5_to_0_8 twobit_gt_0_8 irac_dered wise_dered sfd_dered no_dered "
    "wash_giant wash_dwarf sci_cluster cluster_candidate short medium long normal_sample "
    "manga_led onebin_gt_0_3 wash_noclass stream_member stream_candidate dsph_member "
    "dsph_candidate magcloud_member magcloud_candidate rrlyr bulge_rc sgr_dsph apokasc_giant "
    "apokasc_dwarf faint_extra apokasc",
    onebit_gt_0_5="one colour bin, (J-K)0 above 0.5",
    twobit_0_5_to_0_8="two colour bins, (J-K)0 of 0.5 to 0.8",
    twobit_gt_0_8="two colour bins, (J-K)0 above 0.8",
    onebin_gt_0_3="one colour bin, (J-K)0 above 0.3",
    irac_dered="dereddened with IRAC colours",
    wise_dered="dereddened with WISE colours",
    sfd_dered="dereddened with the SFD map",
    no_dered="picked without dereddening",
    wash_giant="giant by Washington photometry",
    wash_dwarf="dwarf by Washington photometry",
    wash_noclass="no class by Washington photometry",
    sci_cluster="cluster member, for science",
    short="cohort of short exposure",
    medium="cohort of medium exposure",
    long="cohort of long exposure",
    normal_sample="main sample",
    manga_led="beside MaNGA's galaxies",
    dsph_member="dwarf galaxy member",
    dsph_candidate="dwarf galaxy candidate",
    magcloud_member="Magellanic Cloud member",
    magcloud_candidate="Magellanic Cloud candidate",
    rrlyr="RR Lyrae star of the bulge",
    bulge_rc="red clump star of the bulge",
    sgr_dsph="Sagittarius dwarf galaxy",
    apokasc_giant="giant of the APOKASC sample",
    apokasc_dwarf="dwarf of the APOKASC sample",
    apokasc="APOKASC sample",
    faint_extra="fainter than the usual limit",
)

APOGEE2_TARGET2 = _family(
    "sdss4_apogee2",
    "APOGEE-2 target: {}",
    "k2_gap ccloud_as4 standard_star rv_standard sky external_calib internal_calib "
    "disk_substructure_member disk_substructure_candidate telluric calib_cluster "
    "k2_planet_host tidal_binary literature_calib ges_overlap argos_overlap gaia_overlap "
    "galah_overlap rave_overlap commis_south_spec halo_member halo_candidate 1m_target "
    "mod_bright_limit cis cntac external cvz_as4_obaf cvz_as4_gi cvz_as4_ctl cvz_as4_giant",
    k2_gap="K2 Galactic Archaeology Program",
    ccloud_as4="California cloud",
    standard_star="standard of stellar parameters",
    rv_standard="standard of radial velocity",
    sky="blank sky",
    external_calib="calibration with other surveys",
    internal_calib="calibration within the survey",
    telluric="hot star for telluric lines",
    calib_cluster="cluster member, for calibration",
    k2_planet_host="K2 planet host",
    tidal_binary="binary in tidal interaction",
    literature_calib="calibration with published values",
    ges_overlap="observed by the Gaia-ESO survey too",
    argos_overlap="observed by ARGOS too",
    gaia_overlap="observed by Gaia too",
    galah_overlap="observed by GALAH too",
    rave_overlap="observed by RAVE too",
    commis_south_spec="commissioning of the southern spectrograph",
    mod_bright_limit="brighter limit than usual",
    cis="Carnegie's own time",
    cntac="Chile's own time",
    external="somebody else's time",
    cvz_as4_obaf="TESS continuous viewing zone, hot star",
    cvz_as4_gi="TESS continuous viewing zone, guest investigator",
    cvz_as4_ctl="TESS continuous viewing zone, candidate target list",
    cvz_as4_giant="TESS continuous viewing zone, giant",
    **{"1m_target": "observed with the 1 m telescope"},
)

APOGEE2_TARGET3 = _family(
    "sdss4_apogee2",
    "APOGEE-2 target: {}",
    "koi eb koi_control mdwarf substellar_companions young_cluster k2 object ancillary "
    "massive_star qso cepheid low_av_windows be_star young_moving_group ngc6791 label_star "
    "faint_kepler_giants w345 massive_evolved extinction kepler_mdwarf_koi agb m33 ultracool "
    "distant_segue_giants cepheid_mapping sa57 k2_mdwarf rvvar m31",
    koi="Kepler object of interest",
    eb="eclipsing binary",
    koi_control="control sample of the Kepler objects",
    mdwarf="M dwarf",
    substellar_companions="search for substellar companions",
    k2="K2 star",
    object="uncommon object",
    qso="quasar",
    low_av_windows="windows of low extinction in the bulge",
    be_star="Be star",
    ngc6791="open cluster NGC 6791",
    label_star="star of well-known parameters",
    w345="star forming regions W3, W4 and W5",
    massive_evolved="massive evolved star",
    extinction="extinction law",
    kepler_mdwarf_koi="M dwarf that is a Kepler object of interest",
    agb="asymptotic giant branch star",
    m33="galaxy M33",
    distant_segue_giants="distant giant found by SEGUE",
    sa57="selected area 57",
    k2_mdwarf="M dwarf of K2",
    rvvar="variable radial velocity",
    m31="galaxy M31",
)

APOGEE_MEMBER = _family(
    "sdss4_apogee_member",
    "Likely member of {}",
    "m92 m15 m53 ngc_5466 ngc_4147 m2 m13 m3 m5 m12 m107 m71 ngc_2243 be29 ngc_2158 m35 "
    "ngc_2420 ngc_188 m67 ngc_7789 pleiades ngc_6819 coma_berenices ngc_6791 ngc_5053 m68 "
    "ngc_6397 m55 ngc_5634 m22 m79 ngc_3201 m10 ngc_6752 omega_centauri m54 ngc_6229 pal5 "
    "ngc_6544 ngc_6522 ngc_288 ngc_362 ngc_1851 m4 ngc_2808 pal6 47tuc pal1 ngc_6539 "
    "ngc_6388 ngc_6441 ngc_6316 ngc_6760 ngc_6553 ngc_6528 draco urminor bootes1 sexans "
    "fornax sculptor carina",
    be29="Berkeley 29",
    pal1="Palomar 1",
    pal5="Palomar 5",
    pal6="Palomar 6",
    pleiades="the Pleiades",
    coma_berenices="the Coma Berenices cluster",
    omega_centauri="omega Centauri",
    draco="the Draco dwarf galaxy",
    urminor="the Ursa Minor dwarf galaxy",
    bootes1="the Bootes I dwarf galaxy",
    sexans="the Sextans dwarf galaxy",
    fornax="the Fornax dwarf galaxy",
    sculptor="the Sculptor dwarf galaxy",
    carina="the Carina dwarf galaxy",
    **{"47tuc": "47 Tucanae"},
)

# `flag_sdss4_apogee_telluric` is the bit of sdss4_apogee_target2_flags; the one here, which has
# that name in Astra too, is told apart by `extra`.
APOGEE_EXTRA = {
    "flag_sdss4_apogee_not_main": (0, "Not of the main APOGEE sample"),
    "flag_sdss4_apogee_commissioning": (1, "Observed during commissioning"),
    "flag_sdss4_apogee_extra_telluric": (2, "Observed as a telluric standard"),
    "flag_sdss4_apogee_apo1m": (3, "Observed with the APO 1 m telescope"),
    "flag_sdss4_apogee_duplicate": (4, "Duplicate observation of a star"),
}


def _unwise_u(band: int) -> Flags:
    return _family(
        f"unwise_w{band}",
        f"unWISE W{band}: {{}}",
        "in_core_or_wings in_diffraction_spike in_ghost in_first_latent in_second_latent "
        "in_circular_halo saturated in_geometric_diffraction_spike",
        in_core_or_wings="in the core or wings of a bright star",
        in_diffraction_spike="in a diffraction spike",
        in_ghost="in a ghost",
        in_first_latent="in a first latent image",
        in_second_latent="in a second latent image",
        in_circular_halo="in a circular halo",
        in_geometric_diffraction_spike="where geometry puts a diffraction spike",
    )


def _unwise_a(band: int) -> Flags:
    return _family(
        f"unwise_w{band}",
        f"unWISE W{band}: {{}}",
        "in_bright_star_psf in_hyperleda_galaxy in_big_object "
        "pixel_in_very_bright_star_centroid crowdsource_saturation possible_nebulosity "
        "no_aggressive_deblend candidate_sources_must_be_sharp",
        in_bright_star_psf="within the image of a bright star",
        in_hyperleda_galaxy="in a large galaxy of HyperLeda",
        in_big_object="in a large object, such as a Magellanic Cloud",
        pixel_in_very_bright_star_centroid="at the centre of a very bright star",
        crowdsource_saturation="saturated, as crowdsource has it",
        no_aggressive_deblend="not deblended aggressively",
        candidate_sources_must_be_sharp="only sharp sources were taken",
    )


GLIMPSE_SQF = _family(
    "glimpse",
    "GLIMPSE: {}",
    "poor_dark_pixel_current flat_field_questionable latent_image saturated_star_correction - - "
    "muxbleed_correction_applied hot_or_dead_pixels muxbleed_significant "
    "allstar_tweak_positive allstar_tweak_negative - confusion_in_band_merge "
    "confusion_in_cross_band_merge column_pulldown_correction banding_correction stray_light - "
    "no_nonlinear_correction saturated_star_wing_region pre_lumping_in_band_merge "
    "post_lumping_in_cross_band_merge - - - - - - - edge_of_frame truth_list",
)

GLIMPSE_CSF = _family(
    "glimpse",
    "GLIMPSE: {}",
    "no_source_within_3_arcsecond 1_source_within_2p5_and_3_arcsecond "
    "2_sources_within_2_and_2p5_arcsecond 3_sources_within_1p5_and_2_arcsecond "
    "4_sources_within_1_and_1p5_arcsecond 5_sources_within_0p5_and_1_arcsecond "
    "6_sources_within_0p5_arcsecond",
    no_source_within_3_arcsecond="no other source within 3 arcsec",
    **{
        "1_source_within_2p5_and_3_arcsecond": "nearest source at 2.5 to 3 arcsec",
        "2_sources_within_2_and_2p5_arcsecond": "nearest source at 2 to 2.5 arcsec",
        "3_sources_within_1p5_and_2_arcsecond": "nearest source at 1.5 to 2 arcsec",
        "4_sources_within_1_and_1p5_arcsecond": "nearest source at 1 to 1.5 arcsec",
        "5_sources_within_0p5_and_1_arcsecond": "nearest source at 0.5 to 1 arcsec",
        "6_sources_within_0p5_arcsecond": "nearest source within 0.5 arcsec",
    },
)

EBV = _family(
    "ebv",
    "E(B-V) {}",
    "upper_limit from_zhang_2023 from_edenhofer_2023 from_sfd from_rjce_glimpse "
    "from_rjce_allwise from_bayestar_2019",
    upper_limit="is an upper limit",
    from_zhang_2023="is by Zhang et al. (2023)",
    from_edenhofer_2023="is by Edenhofer et al. (2023)",
    from_sfd="is by Schlegel, Finkbeiner and Davis (1998)",
    from_rjce_glimpse="is from H - 4.5 micron colours (GLIMPSE)",
    from_rjce_allwise="is from H - W2 colours (AllWISE)",
    from_bayestar_2019="is by Bayestar 2019",
)

ALL: dict[str, Flags] = {
    "sdss4_apogee_target1_flags": APOGEE_TARGET1,
    "sdss4_apogee_target2_flags": APOGEE_TARGET2,
    "sdss4_apogee2_target1_flags": APOGEE2_TARGET1,
    "sdss4_apogee2_target2_flags": APOGEE2_TARGET2,
    "sdss4_apogee2_target3_flags": APOGEE2_TARGET3,
    "sdss4_apogee_member_flags": APOGEE_MEMBER,
    "sdss4_apogee_extra_target_flags": APOGEE_EXTRA,
    "w1uflags": _unwise_u(1),
    "w2uflags": _unwise_u(2),
    "w1aflags": _unwise_a(1),
    "w2aflags": _unwise_a(2),
    "sqf_4_5": GLIMPSE_SQF,
    "csf": GLIMPSE_CSF,
    "ebv_flags": EBV,
}
