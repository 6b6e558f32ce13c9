"""The stars: identifiers, targeting, astrometry and photometry from other surveys."""

from __future__ import annotations

from astra.fields import (
    BigAutoField,
    BigIntegerField,
    BitArrayField,
    BitField,
    BooleanField,
    DateTimeField,
    FloatField,
    IntegerField,
    TextField,
)
from astra.models import source_flags
from astra.models.base import BaseModel
from astra.utils import utcnow


class Source(BaseModel):
    """One star or other object, known by its `sdss_id`."""

    pk = BigAutoField()

    # Identifiers.  Only sdss_id is unique: the identifiers of other surveys are indexed, but two
    # releases may give one of them to different stars.
    sdss_id = BigIntegerField(unique=True)
    sdss4_apogee_id = TextField(null=True, index=True)
    gaia_dr2_source_id = BigIntegerField(null=True)
    gaia_dr3_source_id = BigIntegerField(null=True, index=True)
    tic_v8_id = BigIntegerField(null=True)
    healpix = IntegerField(null=True)
    lead = TextField(null=True)
    version_id = IntegerField(null=True)
    catalogid = BigIntegerField(null=True, index=True)
    catalogid21 = BigIntegerField(null=True)
    catalogid25 = BigIntegerField(null=True)
    catalogid31 = BigIntegerField(null=True)
    n_associated = IntegerField(null=True)
    n_neighborhood = IntegerField(null=True)
    crossmatch_flags = BitField()

    # Targeting
    carton_0 = TextField(null=True)
    sdss5_target_flags = BitArrayField(null=True)
    sdss5_dr19_apogee_flag = BooleanField(null=True)
    sdss4_apogee_target1_flags = BitField()
    sdss4_apogee_target2_flags = BitField()
    sdss4_apogee2_target1_flags = BitField()
    sdss4_apogee2_target2_flags = BitField()
    sdss4_apogee2_target3_flags = BitField()
    sdss4_apogee_member_flags = BitField()
    sdss4_apogee_extra_target_flags = BitField()

    # Astrometry
    ra = FloatField(null=True)
    dec = FloatField(null=True)
    l = FloatField(null=True)  # noqa: E741 (the name in the files)
    b = FloatField(null=True)
    plx = FloatField(null=True)
    e_plx = FloatField(null=True)
    pmra = FloatField(null=True)
    e_pmra = FloatField(null=True)
    pmde = FloatField(null=True)
    e_pmde = FloatField(null=True)
    gaia_v_rad = FloatField(null=True)
    gaia_e_v_rad = FloatField(null=True)

    # Photometry: Gaia, 2MASS, unWISE, GLIMPSE
    g_mag = FloatField(null=True)
    bp_mag = FloatField(null=True)
    rp_mag = FloatField(null=True)
    j_mag = FloatField(null=True)
    e_j_mag = FloatField(null=True)
    h_mag = FloatField(null=True)
    e_h_mag = FloatField(null=True)
    k_mag = FloatField(null=True)
    e_k_mag = FloatField(null=True)
    ph_qual = TextField(null=True)
    bl_flg = TextField(null=True)
    cc_flg = TextField(null=True)
    w1_mag = FloatField(null=True)
    e_w1_mag = FloatField(null=True)
    w1_flux = FloatField(null=True)
    w1_dflux = FloatField(null=True)
    w1_frac = FloatField(null=True)
    w2_mag = FloatField(null=True)
    e_w2_mag = FloatField(null=True)
    w2_flux = FloatField(null=True)
    w2_dflux = FloatField(null=True)
    w2_frac = FloatField(null=True)
    w1uflags = BitField()
    w2uflags = BitField()
    w1aflags = BitField()
    w2aflags = BitField()
    mag4_5 = FloatField(null=True)
    d4_5m = FloatField(null=True)
    rms_f4_5 = FloatField(null=True)
    sqf_4_5 = BitField()
    mf4_5 = BitField()
    csf = BitField()

    # Stellar parameters from Gaia XP spectra (Zhang, Green and Rix 2023)
    zgr_teff = FloatField(null=True)
    zgr_e_teff = FloatField(null=True)
    zgr_logg = FloatField(null=True)
    zgr_e_logg = FloatField(null=True)
    zgr_fe_h = FloatField(null=True)
    zgr_e_fe_h = FloatField(null=True)
    zgr_e = FloatField(null=True)
    zgr_e_e = FloatField(null=True)
    zgr_plx = FloatField(null=True)
    zgr_e_plx = FloatField(null=True)
    zgr_teff_confidence = FloatField(null=True)
    zgr_logg_confidence = FloatField(null=True)
    zgr_fe_h_confidence = FloatField(null=True)
    zgr_ln_prior = FloatField(null=True)
    zgr_chi2 = FloatField(null=True)
    zgr_quality_flags = BitField()

    # Distances (Bailer-Jones et al. 2021)
    r_med_geo = FloatField(null=True)
    r_lo_geo = FloatField(null=True)
    r_hi_geo = FloatField(null=True)
    r_med_photogeo = FloatField(null=True)
    r_lo_photogeo = FloatField(null=True)
    r_hi_photogeo = FloatField(null=True)
    bailer_jones_flags = TextField(null=True)

    # Reddening
    ebv = FloatField(null=True)
    e_ebv = FloatField(null=True)
    ebv_flags = BitField()
    ebv_zhang_2023 = FloatField(null=True)
    e_ebv_zhang_2023 = FloatField(null=True)
    ebv_sfd = FloatField(null=True)
    e_ebv_sfd = FloatField(null=True)
    ebv_rjce_glimpse = FloatField(null=True)
    e_ebv_rjce_glimpse = FloatField(null=True)
    ebv_rjce_allwise = FloatField(null=True)
    e_ebv_rjce_allwise = FloatField(null=True)
    ebv_bayestar_2019 = FloatField(null=True)
    e_ebv_bayestar_2019 = FloatField(null=True)
    ebv_edenhofer_2023 = FloatField(null=True)
    e_ebv_edenhofer_2023 = FloatField(null=True)

    # Synthetic photometry from Gaia XP spectra
    c_star = FloatField(null=True)
    u_jkc_mag = FloatField(null=True)
    u_jkc_mag_flag = IntegerField(null=True)
    b_jkc_mag = FloatField(null=True)
    b_jkc_mag_flag = IntegerField(null=True)
    v_jkc_mag = FloatField(null=True)
    v_jkc_mag_flag = IntegerField(null=True)
    r_jkc_mag = FloatField(null=True)
    r_jkc_mag_flag = IntegerField(null=True)
    i_jkc_mag = FloatField(null=True)
    i_jkc_mag_flag = IntegerField(null=True)
    u_sdss_mag = FloatField(null=True)
    u_sdss_mag_flag = IntegerField(null=True)
    g_sdss_mag = FloatField(null=True)
    g_sdss_mag_flag = IntegerField(null=True)
    r_sdss_mag = FloatField(null=True)
    r_sdss_mag_flag = IntegerField(null=True)
    i_sdss_mag = FloatField(null=True)
    i_sdss_mag_flag = IntegerField(null=True)
    z_sdss_mag = FloatField(null=True)
    z_sdss_mag_flag = IntegerField(null=True)
    y_ps1_mag = FloatField(null=True)
    y_ps1_mag_flag = IntegerField(null=True)

    # Observations
    n_boss_visits = IntegerField(null=True)
    boss_min_mjd = IntegerField(null=True)
    boss_max_mjd = IntegerField(null=True)
    n_apogee_visits = IntegerField(null=True)
    apogee_min_mjd = IntegerField(null=True)
    apogee_max_mjd = IntegerField(null=True)

    created = DateTimeField(default=utcnow)
    modified = DateTimeField(default=utcnow)

    # The flags of each bit field of that name
    for _name, _meanings in source_flags.ALL.items():
        locals()[_name].flags(locals(), **_meanings)
    del _name, _meanings
