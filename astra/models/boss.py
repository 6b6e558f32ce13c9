"""Spectra of the BOSS spectrographs: single visits, in the rest frame, and combined."""

from __future__ import annotations

from astra.fields import (
    BigIntegerField,
    BitField,
    BooleanField,
    DateTimeField,
    FloatArrayField,
    FloatField,
    IntegerField,
    LogLambdaArrayAccessor,
    PixelArray,
    TextField,
)
from astra.models.spectrum import SpectrumModel
from astra.products import star_path
from astra.utils import utcnow

#: The grid that visits are resampled to: log10 of the first wavelength, its step, and the pixels.
GRID = {"crval": 3.5523, "cdelt": 1e-4, "naxis": 4648}

#: The HDU of a telescope in files of one star
HDUS = {"apo25m": 1, "lco25m": 2}


def _hdu(spectrum: BossCombinedSpectrum | BossRestFrameVisitSpectrum) -> int | None:
    return HDUS.get(spectrum.telescope)


class _BossSpectrum(SpectrumModel):
    """What all kinds of BOSS spectra have: quality, and XCSAO's velocity and parameters."""

    snr = FloatField(null=True)

    gri_gaia_transform_flags = BitField()
    for _bit, _band in enumerate("ugriz"):
        gri_gaia_transform_flags.flags(
            locals(),
            **{
                f"flag_{_band}_gaia_transformed": (
                    3 * _bit,
                    f"{_band} magnitude of the target was computed from Gaia's",
                ),
                f"flag_{_band}_gaia_outside": (
                    3 * _bit + 1,
                    f"{_band} magnitude: the star is outside the range of the transformation",
                ),
                f"flag_{_band}_gaia_none": (
                    3 * _bit + 2,
                    f"{_band} magnitude: there is no transformation",
                ),
            },
        )
    del _bit, _band
    flag_gaia_neighbor = gri_gaia_transform_flags.flag(2**15, "A bright neighbour in Gaia")
    flag_g_panstarrs = gri_gaia_transform_flags.flag(2**16, "g magnitude is Pan-STARRS's")
    flag_r_panstarrs = gri_gaia_transform_flags.flag(2**17, "r magnitude is Pan-STARRS's")
    flag_i_panstarrs = gri_gaia_transform_flags.flag(2**18, "i magnitude is Pan-STARRS's")
    flag_z_panstarrs = gri_gaia_transform_flags.flag(2**19, "z magnitude is Pan-STARRS's")
    flag_position_offset = gri_gaia_transform_flags.flag(
        2**20, "The position was offset on purpose"
    )

    zwarning_flags = BitField()
    flag_sky_fiber = zwarning_flags.flag(2**0, "Sky fibre")
    flag_little_wavelength_coverage = zwarning_flags.flag(2**1, "Too few good pixels")
    flag_small_delta_chi2 = zwarning_flags.flag(2**2, "The second-best fit is about as good")
    flag_negative_model = zwarning_flags.flag(2**3, "The fitted spectrum is negative")
    flag_many_outliers = zwarning_flags.flag(2**4, "Many pixels are far from the fit")
    flag_z_fit_limit = zwarning_flags.flag(2**5, "The redshift is at the limit of the search")
    flag_negative_emission = zwarning_flags.flag(2**6, "An emission line is negative")
    flag_unplugged = zwarning_flags.flag(2**7, "The fibre was not plugged, or broken")
    flag_bad_target = zwarning_flags.flag(2**8, "The target was bad")
    flag_no_data = zwarning_flags.flag(2**9, "There are no data")

    xcsao_teff = FloatField(null=True)
    xcsao_e_teff = FloatField(null=True)
    xcsao_logg = FloatField(null=True)
    xcsao_e_logg = FloatField(null=True)
    xcsao_fe_h = FloatField(null=True)
    xcsao_e_fe_h = FloatField(null=True)

    created = DateTimeField(default=utcnow)
    modified = DateTimeField(default=utcnow)


class _BossVisit(_BossSpectrum):
    """One visit: which field and day, and how the exposures and the weather were."""

    release = TextField(default="")
    run2d = TextField(default="")
    mjd = IntegerField(default=-1)
    fieldid = IntegerField(default=-1)
    catalogid = BigIntegerField(default=-1)
    healpix = IntegerField(null=True)
    telescope = TextField(null=True)

    n_exp = IntegerField(null=True)
    exptime = FloatField(null=True)
    plateid = IntegerField(null=True)
    cartid = IntegerField(null=True)
    mapid = IntegerField(null=True)
    slitid = IntegerField(null=True)

    psfsky = IntegerField(null=True)
    preject = FloatField(null=True)
    n_std = IntegerField(null=True)
    n_gal = IntegerField(null=True)
    lowrej = IntegerField(null=True)
    highrej = IntegerField(null=True)
    scatpoly = IntegerField(null=True)
    proftype = IntegerField(null=True)
    nfitpoly = IntegerField(null=True)
    skychi2 = FloatField(null=True)
    schi2min = FloatField(null=True)
    schi2max = FloatField(null=True)

    alt = FloatField(null=True)
    az = FloatField(null=True)
    seeing = FloatField(null=True)
    airmass = FloatField(null=True)
    airtemp = FloatField(null=True)
    dewpoint = FloatField(null=True)
    humidity = FloatField(null=True)
    pressure = FloatField(null=True)
    dust_a = FloatField(null=True)
    dust_b = FloatField(null=True)
    gust_direction = FloatField(null=True)
    gust_speed = FloatField(null=True)
    wind_direction = FloatField(null=True)
    wind_speed = FloatField(null=True)
    moon_dist_mean = FloatField(null=True)
    moon_phase_mean = FloatField(null=True)

    n_guide = IntegerField(null=True)
    tai_beg = BigIntegerField(null=True)
    tai_end = BigIntegerField(null=True)
    fiber_offset = BooleanField(null=True)
    f_night_time = FloatField(null=True)
    delta_ra = FloatArrayField(null=True)
    delta_dec = FloatArrayField(null=True)

    xcsao_v_rad = FloatField(null=True)
    xcsao_e_v_rad = FloatField(null=True)
    xcsao_rxc = FloatField(null=True)


class BossVisitSpectrum(_BossVisit):
    """A spectrum of one visit as the BOSS reduction has it, at the velocity of the observer."""

    natural_key = ("release", "run2d", "fieldid", "mjd", "catalogid")

    filetype = TextField(null=True, default="specFull")
    spec_file = TextField(null=True)

    wavelength = PixelArray(ext=1, column_name="loglam", transform=lambda loglam: 10.0**loglam)
    flux = PixelArray(ext=1)
    ivar = PixelArray(ext=1)
    wresl = PixelArray(ext=1)
    pixel_flags = PixelArray(ext=1, column_name="or_mask")

    class Meta:
        indexes = ((("source", "telescope", "mjd", "fieldid", "plateid"), False),)

    def path_template(self) -> str | None:
        """Return the path of the specFull file of the BOSS reduction."""
        numbers = (self.fieldid, self.mjd, self.catalogid)
        if not self.run2d or any(number is None or number < 0 for number in numbers):
            return None
        by_plate = self.run2d in ("v6_0_1", "v6_0_2", "v6_0_3", "v6_0_4")
        number = str(self.fieldid) if by_plate else f"{self.fieldid:0>6d}"
        folder = f"{number}p" if by_plate else number
        name = f"spec-{number}-{self.mjd}-{self.catalogid}.fits"
        if self.run2d == "v6_2_1":
            root, name = "$SAS_BASE_DIR/ipl-4/spectro/boss", self.spec_file or name
        else:
            root = "$SAS_BASE_DIR/sdsswork/bhm/boss/spectro"
        kind = "full"
        if self.run2d.startswith("v6_2"):
            kind = f"daily/full/{self.fieldid // 1000:0>3d}XXX"
        return f"{root}/redux/{self.run2d}/spectra/{kind}/{folder}/{self.mjd}/{name}"


class BossRestFrameVisitSpectrum(_BossVisit):
    """A spectrum of one visit, shifted to the rest frame of the star and resampled."""

    natural_key = ("v_astra", "filetype", "release", "run2d", "fieldid", "mjd", "catalogid")

    drp_spectrum_pk = BigIntegerField(null=True)
    filetype = TextField(default="mwmVisit")
    v_astra = TextField(default="")
    sdss_id = BigIntegerField(null=True)
    in_stack = BooleanField(null=True)
    nmf_rchi2 = FloatField(null=True)
    nmf_flags = BitField()

    wavelength = PixelArray(accessor_class=LogLambdaArrayAccessor, accessor_kwargs=GRID)
    flux = PixelArray(ext=_hdu)
    ivar = PixelArray(ext=_hdu)
    wresl = PixelArray(ext=_hdu)
    pixel_flags = PixelArray(ext=_hdu)
    continuum = PixelArray(ext=_hdu)

    def path_template(self) -> str | None:
        """Return the path of the mwmVisit file of the star."""
        return star_path("Visit", self.v_astra, self.sdss_id)


class BossCombinedSpectrum(_BossSpectrum):
    """The spectrum of a star that all its good visits give together, in its rest frame."""

    natural_key = ("release", "filetype", "v_astra", "healpix", "sdss_id", "telescope", "run2d")

    release = TextField(default="")
    filetype = TextField(default="mwmStar")
    v_astra = TextField(default="")
    healpix = IntegerField(default=-1)
    sdss_id = BigIntegerField(default=-1)
    run2d = TextField(default="")
    telescope = TextField(default="")

    min_mjd = IntegerField(null=True)
    max_mjd = IntegerField(null=True)
    n_visits = IntegerField(null=True)
    n_good_visits = IntegerField(null=True)
    n_good_rvs = IntegerField(null=True)

    v_rad = FloatField(null=True)
    e_v_rad = FloatField(null=True)
    std_v_rad = FloatField(null=True)
    median_e_v_rad = FloatField(null=True)
    xcsao_meanrxc = FloatField(null=True)

    nmf_rchi2 = FloatField(null=True)
    nmf_flags = BitField()

    wavelength = PixelArray(accessor_class=LogLambdaArrayAccessor, accessor_kwargs=GRID)
    flux = PixelArray(ext=_hdu)
    ivar = PixelArray(ext=_hdu)
    pixel_flags = PixelArray(ext=_hdu)
    continuum = PixelArray(ext=_hdu)
    nmf_rectified_model_flux = PixelArray(ext=_hdu)

    def path_template(self) -> str | None:
        """Return the path of the mwmStar file of the star."""
        return star_path("Star", self.v_astra, self.sdss_id)
