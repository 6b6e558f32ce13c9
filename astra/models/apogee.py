"""Spectra of the APOGEE spectrographs: visits, in apStar files, in the rest frame, combined."""

from __future__ import annotations

from typing import Any

from astra.errors import ProductError
from astra.fields import (
    BigIntegerField,
    BitField,
    BooleanField,
    DateTimeField,
    DerivedFlag,
    FloatField,
    IntegerField,
    LogLambdaArrayAccessor,
    PixelArray,
    TextField,
)
from astra.models.spectrum import SpectrumModel
from astra.pixels import ivar_from_error
from astra.products import star_path
from astra.utils import utcnow

#: The grid that visits are resampled to: log10 of the first wavelength, its step, and the pixels.
GRID = {"crval": 4.179, "cdelt": 6e-6, "naxis": 8575}

#: The HDU of a telescope in files of one star
HDUS = {"apo1m": 3, "apo25m": 3, "lco25m": 4}


def _hdu(spectrum: ApogeeCombinedSpectrum | ApogeeRestFrameVisitSpectrum) -> int | None:
    return HDUS.get(spectrum.telescope)


def _visit_file_name(spectrum: Any) -> str:
    """Return the name of the apVisit file, which names a visit within an apStar file too."""
    fiber = f"{spectrum.fiber:0>3d}"
    if spectrum.release == "sdss5":
        parts = (spectrum.apred, spectrum.telescope, spectrum.plate, spectrum.mjd, fiber)
        return "apVisit-{}-{}-{}-{}-{}.fits".format(*parts)
    if spectrum.telescope == "apo1m":
        return f"apVisit-{spectrum.apred}-{spectrum.mjd}-{spectrum.reduction}.fits"
    return f"{spectrum.prefix}Visit-{spectrum.apred}-{spectrum.plate}-{spectrum.mjd}-{fiber}.fits"


def _star_file(spectrum: Any) -> str | None:
    """Return the path of the apStar file."""
    apred, telescope, obj = spectrum.apred, spectrum.telescope, spectrum.obj
    if not apred or not obj or not telescope or not spectrum.release:
        return None
    if spectrum.release == "sdss5":
        if spectrum.healpix is None:
            return None
        root = f"$SAS_BASE_DIR/ipl-4/spectro/apogee/redux/{apred}/{spectrum.apstar}/{telescope}"
        folder = f"{root}/{spectrum.healpix // 1000}/{spectrum.healpix}"
        return f"{folder}/apStar-{apred}-{telescope}-{obj}.fits"
    root = f"$SAS_BASE_DIR/dr17/apogee/spectro/redux/{apred}/{spectrum.apstar}/{telescope}"
    return f"{root}/{spectrum.field}/{spectrum.prefix}Star-{apred}-{obj}.fits"


def _star_file_row(spectrum: ApogeeVisitSpectrumInApStar, fits: Any) -> int:
    """Return the row of a visit in the images of an apStar file.

    The primary header names the visits; where there is more than one, two rows with combined
    spectra come first.
    """
    name = _visit_file_name(spectrum)
    header = fits[0].read_header()
    numbers = [
        int(key.removeprefix("SFILE"))
        for key in header
        if key.startswith("SFILE") and str(header[key]).strip() == name
    ]
    if not numbers:
        raise ProductError(
            f"{spectrum.absolute_path} HDU 0: no card SFILE1, SFILE2, ... is {name}, so the visit "
            "is not in this file"
        )
    dimensions = fits[1].get_dims()
    rows = dimensions[0] if len(dimensions) > 1 else 1
    return numbers[0] - 1 + (2 if rows > 2 else 0)


class _ApogeeSpectrum(SpectrumModel):
    """What all kinds have: the observation's names, quality, and velocities."""

    release = TextField(default="")
    apred = TextField(default="")
    telescope = TextField(default="")
    created = DateTimeField(default=utcnow)
    modified = DateTimeField(default=utcnow)


class _Measured(_ApogeeSpectrum):
    """Quality of the spectrum, and the velocities and parameters that the reduction measured."""

    star_pk = BigIntegerField(null=True)
    snr = FloatField(null=True)
    spectrum_flags = BitField()

    v_rad = FloatField(null=True)
    doppler_teff = FloatField(null=True)
    doppler_e_teff = FloatField(null=True)
    doppler_logg = FloatField(null=True)
    doppler_e_logg = FloatField(null=True)
    doppler_fe_h = FloatField(null=True)
    doppler_e_fe_h = FloatField(null=True)
    doppler_rchi2 = FloatField(null=True)
    doppler_flags = BitField()

    xcorr_v_rad = FloatField(null=True)
    xcorr_v_rel = FloatField(null=True)
    xcorr_e_v_rel = FloatField(null=True)
    ccfwhm = FloatField(null=True)
    autofwhm = FloatField(null=True)
    n_components = IntegerField(null=True)


class _Visit(_Measured):
    """One visit: which plate, fibre and day, how it was exposed, and its velocity."""

    plate = TextField(default="")
    mjd = IntegerField(default=-1)
    fiber = IntegerField(default=-1)
    field = TextField(default="")
    prefix = TextField(default="")
    reduction = TextField(default="")

    catalogid = BigIntegerField(null=True)
    visit_pk = BigIntegerField(null=True)
    rv_visit_pk = BigIntegerField(null=True)
    obj = TextField(null=True)

    date_obs = DateTimeField(null=True)
    jd = FloatField(null=True)
    exptime = FloatField(null=True)
    dithered = BooleanField(null=True)
    f_night_time = FloatField(null=True)
    input_ra = FloatField(null=True)
    input_dec = FloatField(null=True)
    n_frames = IntegerField(null=True)
    assigned = IntegerField(null=True)
    on_target = IntegerField(null=True)
    valid = IntegerField(null=True)
    fps = BooleanField(null=True)

    v_rel = FloatField(null=True)
    e_v_rel = FloatField(null=True)
    bc = FloatField(null=True)

    flag_bad_pixels = _Measured.spectrum_flags.flag(2**0, "Many bad pixels")
    flag_commissioning = _Measured.spectrum_flags.flag(2**1, "Observed during commissioning")
    flag_bright_neighbor = _Measured.spectrum_flags.flag(2**2, "The neighbour is 10 times brighter")
    flag_very_bright_neighbor = _Measured.spectrum_flags.flag(
        2**3, "The neighbour is 100 times brighter"
    )
    flag_low_snr = _Measured.spectrum_flags.flag(2**4, "Signal-to-noise ratio below 5")
    flag_persist_high = _Measured.spectrum_flags.flag(
        2**9, "At least 20% of the pixels are in the region of high persistence"
    )
    flag_persist_med = _Measured.spectrum_flags.flag(
        2**10, "At least 20% of the pixels are in the region of medium persistence"
    )
    flag_persist_low = _Measured.spectrum_flags.flag(
        2**11, "At least 20% of the pixels are in the region of low persistence"
    )
    flag_persist_jump_pos = _Measured.spectrum_flags.flag(
        2**12, "The blue chip has too much flux: persistence"
    )
    flag_persist_jump_neg = _Measured.spectrum_flags.flag(
        2**13, "The blue chip has too little flux: persistence"
    )
    flag_suspect_rv_combination = _Measured.spectrum_flags.flag(
        2**16, "The velocity differs much from the one of the combined spectrum"
    )
    flag_suspect_broad_lines = _Measured.spectrum_flags.flag(
        2**17, "Lines are much broader than those of the best template"
    )
    flag_bad_rv_combination = _Measured.spectrum_flags.flag(
        2**18, "The velocity differs so much that it is bad"
    )
    flag_rv_reject = _Measured.spectrum_flags.flag(
        2**19, "The velocity was rejected: two ways to measure it disagree"
    )
    flag_rv_suspect = _Measured.spectrum_flags.flag(
        2**20, "The velocity is suspicious: two ways to measure it differ"
    )
    flag_multiple_suspect = _Measured.spectrum_flags.flag(
        2**21, "There may be more than one star in the spectrum"
    )
    flag_rv_failure = _Measured.spectrum_flags.flag(2**22, "No velocity could be measured")
    flag_suspect_rotation = _Measured.spectrum_flags.flag(2**23, "The star may rotate fast")
    flag_mtpflux_lt_75 = _Measured.spectrum_flags.flag(
        2**24, "The fibre block's throughput is below 75%"
    )
    flag_mtpflux_lt_50 = _Measured.spectrum_flags.flag(
        2**25, "The fibre block's throughput is below 50%"
    )

    flag_warn = DerivedFlag("nonzero:spectrum_flags", help_text="Use with care")
    flag_bad = DerivedFlag(
        "flag_bad_pixels",
        "flag_very_bright_neighbor",
        "flag_bad_rv_combination",
        "flag_rv_failure",
        help_text="Do not use",
    )


class ApogeeVisitSpectrum(_Visit):
    """A spectrum of one visit as the APOGEE reduction has it: three detectors, not resampled.

    Its arrays have shape (3, 4096), in the order of rising wavelength.
    """

    natural_key = (
        "release",
        "apred",
        "mjd",
        "plate",
        "telescope",
        "field",
        "fiber",
        "prefix",
        "reduction",
    )

    filetype = TextField(null=True, default="apVisit")
    flag_missing_or_corrupted_file = _Measured.spectrum_flags.flag(
        2**26, "The file is missing or cannot be read"
    )

    wavelength = PixelArray(ext=4, transform=lambda image: image[::-1, ::-1])
    flux = PixelArray(ext=1, transform=lambda image: image[::-1, ::-1])
    ivar = PixelArray(ext=2, transform=lambda image: ivar_from_error(image[::-1, ::-1]))
    pixel_flags = PixelArray(ext=3, transform=lambda image: image[::-1, ::-1])

    class Meta:
        indexes = ((("source", "telescope", "mjd", "fiber", "plate", "field"), False),)

    def path_template(self) -> str | None:
        """Return the path of the apVisit file of the APOGEE reduction."""
        if not self.apred or any(number is None or number < 0 for number in (self.mjd, self.fiber)):
            return None
        place = f"visit/{self.telescope}/{self.field}"
        if self.release == "sdss5":
            root = "$SAS_BASE_DIR/ipl-4/spectro/apogee/redux"
        else:
            root = "$SAS_BASE_DIR/dr17/apogee/spectro/redux"
        if self.release == "sdss5" or self.telescope != "apo1m":
            place = f"{place}/{self.plate}"
        return f"{root}/{self.apred}/{place}/{self.mjd}/{_visit_file_name(self)}"


class ApogeeVisitSpectrumInApStar(_ApogeeSpectrum):
    """A spectrum of one visit as the apStar file of its star has it: resampled, at rest.

    What was measured of the visit is in the row of `ApogeeVisitSpectrum` that has the
    `drp_spectrum_pk` of this one.
    """

    natural_key = (
        "release",
        "apred",
        "apstar",
        "obj",
        "telescope",
        "field",
        "prefix",
        "plate",
        "mjd",
        "fiber",
    )

    drp_spectrum_pk = BigIntegerField(null=True)
    filetype = TextField(null=True, default="apStar")
    apstar = TextField(default="stars")
    obj = TextField(default="")
    healpix = IntegerField(null=True)
    field = TextField(default="")
    prefix = TextField(default="")
    plate = TextField(default="")
    mjd = IntegerField(default=-1)
    fiber = IntegerField(default=-1)
    reduction = TextField(null=True)

    wavelength = PixelArray(accessor_class=LogLambdaArrayAccessor, accessor_kwargs=GRID)
    flux = PixelArray(ext=1, row=_star_file_row)
    ivar = PixelArray(ext=2, row=_star_file_row, transform=ivar_from_error)
    pixel_flags = PixelArray(ext=3, row=_star_file_row)

    def path_template(self) -> str | None:
        """Return the path of the apStar file of the star."""
        return _star_file(self)


class _Combined(_Measured):
    """What kinds of combined spectra have: which visits went in, and their velocities."""

    min_mjd = IntegerField(null=True)
    max_mjd = IntegerField(null=True)
    n_entries = IntegerField(null=True)
    n_visits = IntegerField(null=True)
    n_good_visits = IntegerField(null=True)
    n_good_rvs = IntegerField(null=True)
    mean_fiber = FloatField(null=True)
    std_fiber = FloatField(null=True)
    e_v_rad = FloatField(null=True)
    std_v_rad = FloatField(null=True)
    median_e_v_rad = FloatField(null=True)


class ApogeeCoaddedSpectrumInApStar(_Combined):
    """The combined spectrum of a star as its apStar file has it."""

    natural_key = ("release", "apred", "apstar", "obj", "telescope", "field", "prefix")

    filetype = TextField(null=True, default="apStar")
    apstar = TextField(default="stars")
    obj = TextField(default="")
    healpix = IntegerField(null=True)
    field = TextField(default="")
    prefix = TextField(default="")
    starver = IntegerField(null=True)

    wavelength = PixelArray(accessor_class=LogLambdaArrayAccessor, accessor_kwargs=GRID)
    flux = PixelArray(ext=1, row=0)
    ivar = PixelArray(ext=2, row=0, transform=ivar_from_error)
    pixel_flags = PixelArray(ext=3, row=0)

    def path_template(self) -> str | None:
        """Return the path of the apStar file of the star."""
        return _star_file(self)


class ApogeeRestFrameVisitSpectrum(_Visit):
    """A spectrum of one visit, shifted to the rest frame of the star and resampled."""

    natural_key = (
        "release",
        "v_astra",
        "sdss_id",
        "apred",
        "mjd",
        "plate",
        "telescope",
        "field",
        "fiber",
        "prefix",
        "reduction",
    )

    filetype = TextField(null=True, default="mwmVisit")
    v_astra = TextField(default="")
    healpix = IntegerField(null=True)
    sdss_id = BigIntegerField(default=-1)
    in_stack = BooleanField(null=True)
    nmf_rchi2 = FloatField(null=True)
    nmf_flags = BitField()

    wavelength = PixelArray(accessor_class=LogLambdaArrayAccessor, accessor_kwargs=GRID)
    flux = PixelArray(ext=_hdu)
    ivar = PixelArray(ext=_hdu)
    pixel_flags = PixelArray(ext=_hdu)
    continuum = PixelArray(ext=_hdu)

    def path_template(self) -> str | None:
        """Return the path of the mwmVisit file of the star."""
        return star_path("Visit", self.v_astra, self.sdss_id)


class ApogeeCombinedSpectrum(_Combined):
    """The spectrum of a star that all its good visits give together, in its rest frame."""

    natural_key = ("release", "filetype", "v_astra", "healpix", "sdss_id", "telescope", "apred")

    filetype = TextField(default="mwmStar")
    v_astra = TextField(default="")
    healpix = IntegerField(default=-1)
    sdss_id = BigIntegerField(default=-1)
    obj = TextField(null=True)
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
