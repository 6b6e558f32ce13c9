"""Pixel arrays: read from where they are, equal to what astropy reads."""

from __future__ import annotations

import pydoc
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from astra.errors import AstraError, ProductError
from astra.fields import LogLambdaArrayAccessor, PixelArray
from astra.models import (
    ASPCAP,
    ApogeeCoaddedSpectrumInApStar,
    ApogeeCombinedSpectrum,
    ApogeeRestFrameVisitSpectrum,
    ApogeeVisitSpectrum,
    ApogeeVisitSpectrumInApStar,
    BossCombinedSpectrum,
    BossRestFrameVisitSpectrum,
    BossVisitSpectrum,
    Rocket,
    SnowWhite,
    ThePayne,
    spectrum_models,
)
from astra.pixels import pixel_arrays

RNG = np.random.default_rng(4)


def pixels(*shape: int) -> np.ndarray:
    return RNG.uniform(1, 2, shape).astype(np.float32)


def table(**columns: Any) -> fits.BinTableHDU:
    """A table HDU with the columns given, in their NumPy types."""
    fits_columns = []
    for name, values in columns.items():
        array = np.asarray(values)
        width = array.shape[1] if array.ndim == 2 else 1
        if array.dtype.kind == "U":
            form = f"{max(1, array.dtype.itemsize // 4)}A"
        else:
            form = f"{width}{ {'f4': 'E', 'i4': 'J', 'i8': 'K'}[array.dtype.str[1:]] }"
        fits_columns.append(fits.Column(name=name, format=form, array=array))
    return fits.BinTableHDU.from_columns(fits_columns)


def write(path: Path, *hdus: Any, primary: Any = None) -> Path:
    fits.HDUList([primary or fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


EMPTY = fits.BinTableHDU.from_columns([fits.Column(name="flux", format="4648E")])


@pytest.fixture
def star_file(tmp_path: Path) -> Path:
    """A file like mwmVisit of 0.6.0, with three visits of one star from LCO."""
    visits = table(
        spectrum_pk_id=np.array([11, 12, 13]),
        release=np.array(["sdss5"] * 3),
        v_astra=np.array(["0.6.0"] * 3),
        sdss_id=np.array([7] * 3),
        mjd=np.array([60001, 60002, 60003], dtype=np.int32),
        flux=pixels(3, 8575),
        ivar=pixels(3, 8575),
        pixel_flags=pixels(3, 8575),
        continuum=pixels(3, 8575),
    )
    return write(tmp_path / "mwmVisit.fits", EMPTY, EMPTY, EMPTY, visits)


def visit(path: Path | str, **fields: Any) -> ApogeeRestFrameVisitSpectrum:
    return ApogeeRestFrameVisitSpectrum(path=str(path), telescope="lco25m", **fields)


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("name", ["flux", "ivar", "pixel_flags", "continuum"])
def test_a_cell_is_read_from_the_row_of_its_spectrum(star_file: Path, row: int, name: str) -> None:
    spectrum = visit(star_file, spectrum_pk=11 + row)

    array = getattr(spectrum, name)

    assert array.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(array, fits.getdata(star_file, 4)[name][row])


def test_a_spectrum_that_the_file_has_no_key_for_is_found_by_its_natural_key(
    star_file: Path,
) -> None:
    spectrum = visit(star_file, spectrum_pk=900, release="sdss5", sdss_id=7, mjd=60002)

    np.testing.assert_array_equal(spectrum.flux, fits.getdata(star_file, 4)["flux"][1])


def test_the_only_row_serves_a_spectrum_without_a_key(tmp_path: Path) -> None:
    path = write(tmp_path / "one.fits", table(flux=pixels(1, 4648)))

    spectrum = BossCombinedSpectrum(path=str(path), telescope="apo25m")

    np.testing.assert_array_equal(spectrum.flux, fits.getdata(path, 1)["flux"][0])


def test_pixels_are_read_once_and_can_be_set(star_file: Path) -> None:
    spectrum = visit(star_file, spectrum_pk=11)
    flux = spectrum.flux
    star_file.unlink()

    assert spectrum.flux is flux
    spectrum.flux = np.ones(3)
    assert spectrum.flux.sum() == 3
    assert "flux" not in spectrum.__data__
    assert visit("nowhere.fits", flux=[1.0]).flux == [1.0]


def test_wavelengths_come_from_the_grid() -> None:
    boss, apogee = BossCombinedSpectrum().wavelength, ApogeeCombinedSpectrum().wavelength

    assert (boss.shape, apogee.shape) == ((4648,), (8575,))
    np.testing.assert_array_equal(boss, 10 ** (3.5523 + 1e-4 * np.arange(4648)))
    np.testing.assert_array_equal(apogee, 10 ** (4.179 + 6e-6 * np.arange(8575)))


def test_a_model_tells_its_pixel_arrays() -> None:
    names = ["wavelength", "flux", "ivar", "pixel_flags", "continuum", "nmf_rectified_model_flux"]

    assert list(pixel_arrays(BossCombinedSpectrum)) == names
    assert pixel_arrays(SnowWhite)["wavelength"] is SnowWhite.wavelength
    assert "Wavelength in vacuum (Angstrom)" in pydoc.render_doc(SnowWhite)
    assert pixel_arrays(Rocket) == {}


def test_a_model_of_the_users_own_can_have_pixels(tmp_path: Path) -> None:
    class Telescope(Rocket):
        depth = PixelArray(ext="PIXELS", column_name="d", transform=lambda array: 2 * array)
        grid = PixelArray(
            accessor_class=LogLambdaArrayAccessor,
            accessor_kwargs={"crval": 0, "cdelt": 1, "naxis": 3},
            help_text="Powers of ten",
        )
        absolute_path = str(tmp_path / "t.fits")

    hdu = table(task_pk=np.array([4, 5]), d=pixels(2, 6))
    hdu.name = "PIXELS"
    write(tmp_path / "t.fits", hdu)

    np.testing.assert_array_equal(Telescope(task_pk=5).depth, 2 * hdu.data["d"][1])
    assert Telescope().grid.tolist() == [1, 10, 100]
    assert Telescope.grid.help_text == "Powers of ten"
    assert "depth" not in Telescope._meta.fields


def test_the_pixels_of_specfull_are_whole_columns(tmp_path: Path) -> None:
    columns = {name: pixels(4000) for name in ("flux", "ivar", "wresl")}
    loglam = np.linspace(3.55, 4.0, 4000).astype(np.float32)
    or_mask = np.arange(4000, dtype=np.int32)
    path = write(tmp_path / "spec.fits", table(**columns, loglam=loglam, or_mask=or_mask))
    spectrum = BossVisitSpectrum(path=str(path))

    for name, values in columns.items():
        np.testing.assert_array_equal(getattr(spectrum, name), values)
    np.testing.assert_array_equal(spectrum.pixel_flags, or_mask)
    np.testing.assert_array_equal(spectrum.wavelength, 10**loglam)


def images(path: Path, *shape: int, primary: Any = None) -> list[np.ndarray]:
    """Write images of flux, error, mask and wavelength."""
    arrays = [pixels(*shape) for _ in range(4)]
    write(path, *(fits.ImageHDU(array) for array in arrays), primary=primary)
    return arrays


def test_apvisit_images_are_turned_round(tmp_path: Path) -> None:
    path = tmp_path / "apVisit.fits"
    flux, error, mask, wavelength = images(path, 3, 4096)
    spectrum = ApogeeVisitSpectrum(path=str(path))

    np.testing.assert_array_equal(spectrum.flux, flux[::-1, ::-1])
    np.testing.assert_array_equal(spectrum.ivar, error[::-1, ::-1] ** -2)
    np.testing.assert_array_equal(spectrum.pixel_flags, mask[::-1, ::-1])
    np.testing.assert_array_equal(spectrum.wavelength, wavelength[::-1, ::-1])


VISIT = {
    "release": "sdss5",
    "apred": "1.3",
    "telescope": "apo25m",
    "plate": "15001",
    "mjd": 59800,
    "fiber": 7,
}
NAME = "apVisit-1.3-apo25m-15001-59800-007.fits"


@pytest.mark.parametrize(("n_rows", "row"), [(1, 0), (2, 1), (5, 4)])
def test_a_visit_is_found_in_its_apstar_file_by_the_primary_header(
    tmp_path: Path, n_rows: int, row: int
) -> None:
    primary = fits.PrimaryHDU()
    n_visits = n_rows - 2 if n_rows > 2 else n_rows
    for number in range(1, n_visits + 1):
        primary.header[f"SFILE{number}"] = NAME if number == n_visits else f"other{number}.fits"
    path = tmp_path / "apStar.fits"
    flux, error, _, _ = images(path, n_rows, 8575, primary=primary)
    spectrum = ApogeeVisitSpectrumInApStar(path=str(path), **VISIT)

    np.testing.assert_array_equal(spectrum.flux, flux[row])
    np.testing.assert_array_equal(spectrum.ivar, error[row] ** -2)
    other = ApogeeVisitSpectrumInApStar(path=str(path), **{**VISIT, "fiber": 8})
    with pytest.raises(ProductError, match=r"apStar\.fits HDU 0: no card SFILE1.*-008\.fits"):
        _ = other.flux


@pytest.mark.parametrize("shape", [(8575,), (1, 8575), (4, 8575)])
def test_the_combined_spectrum_is_the_first_row_of_an_apstar_file(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "apStar.fits"
    flux, _, _, _ = images(path, *shape)

    spectrum = ApogeeCoaddedSpectrumInApStar(path=str(path))

    np.testing.assert_array_equal(spectrum.flux, np.atleast_2d(flux)[0])


def test_an_error_that_is_no_number_above_zero_has_no_weight(tmp_path: Path) -> None:
    error = np.array([[2, 0, np.nan, np.inf, 1e10]], dtype=np.float32)
    path = write(tmp_path / "a.fits", fits.ImageHDU(error), fits.ImageHDU(error))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ivar = ApogeeCoaddedSpectrumInApStar(path=str(path)).ivar

    np.testing.assert_allclose(ivar, [0.25, 0, 0, 0, 1e-20])


def test_e_flux_is_infinite_where_there_is_no_weight() -> None:
    spectrum = BossCombinedSpectrum(ivar=np.array([4, 0, -1, np.nan], dtype=np.float32))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        e_flux = spectrum.e_flux

    assert e_flux.tolist() == [0.5, np.inf, np.inf, np.inf]
    assert e_flux.dtype == np.float32


def test_a_result_finds_its_row_in_whichever_table_has_it(tmp_path: Path) -> None:
    def results(first: int) -> fits.BinTableHDU:
        return table(
            spectrum_pk_id=np.arange(first, first + 2),
            task_pk=np.arange(first + 100, first + 102),
            wavelength=pixels(2, 8575),
            model_flux=pixels(2, 8575),
            continuum=pixels(2, 8575),
            model_flux_fe_h=pixels(2, 8575),
        )

    path = write(tmp_path / "astraStar.fits", EMPTY, EMPTY, results(1), results(3))

    for model, name, hdu, row, keys in [
        (ASPCAP, "model_flux_fe_h", 3, 1, {"spectrum_pk": 2}),
        (ASPCAP, "continuum", 4, 0, {"spectrum_pk": 3, "task_pk": 999}),
        (ThePayne, "model_flux", 4, 1, {"spectrum_pk": 4}),
        (SnowWhite, "wavelength", 3, 0, {"spectrum_pk": 999, "task_pk": 101}),
    ]:
        array = getattr(model(path=str(path), **keys), name)
        np.testing.assert_array_equal(array, fits.getdata(path, hdu)[name][row])

    with pytest.raises(ProductError, match=r"HDU 3, 4: no row of this ASPCAP: spectrum_pk=9"):
        _ = ASPCAP(path=str(path), spectrum_pk=9).model_flux
    with pytest.raises(ProductError, match="no HDU has a column 'model_flux_v_h'"):
        _ = ASPCAP(path=str(path), spectrum_pk=2).model_flux_v_h


def test_what_is_not_there_is_named(star_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match=r"gone\.fits: there is no such file.*Spectrum\.flux"):
        _ = visit(tmp_path / "gone.fits").flux
    text = tmp_path / "text.fits"
    text.write_text("no FITS")
    with pytest.raises(ProductError, match=r"text\.fits: cannot be read as FITS"):
        _ = visit(text).flux
    with pytest.raises(ProductError, match=r"mwmVisit\.fits HDU 4: no row of this Apogee.*=99"):
        _ = visit(star_file, spectrum_pk=99).flux
    short = write(tmp_path / "short.fits", table(spectrum_pk=np.array([1])))
    with pytest.raises(ProductError, match=r"short\.fits: no HDU 4.*the file has 2 HDUs"):
        _ = visit(short).flux
    with pytest.raises(ProductError, match=r"HDU 1: no column 'flux'.*it has spectrum_pk"):
        _ = BossCombinedSpectrum(path=str(short), telescope="apo25m").flux


def test_a_path_that_is_not_known_is_an_error_with_the_mend(monkeypatch: Any) -> None:
    with pytest.raises(ProductError, match=r"ASPCAP None: no file is registered.*set \.path"):
        _ = ASPCAP().model_flux
    monkeypatch.delenv("MWM_ASTRA", raising=False)
    spectrum = BossCombinedSpectrum(v_astra="0.8.1", sdss_id=12345678)
    with pytest.raises(ProductError, match=r"\$MWM_ASTRA is not set.*mwmStar-0\.8\.1-12345678"):
        _ = spectrum.flux


APOGEE = {"apred": "1.3", "telescope": "apo25m", "field": "f", "plate": "9", "mjd": 8, "fiber": 7}
BOSS = {"fieldid": 15001, "mjd": 59800, "catalogid": 42}
STAR = {"v_astra": "0.8.1", "sdss_id": 7}
REDUX = "$SAS_BASE_DIR/ipl-4/spectro/apogee/redux"
DR17 = "$SAS_BASE_DIR/dr17/apogee/spectro/redux"
IPL4 = "$SAS_BASE_DIR/ipl-4/spectro/boss/redux"
DAILY = "$SAS_BASE_DIR/sdsswork/bhm/boss/spectro/redux"


@pytest.mark.parametrize(
    ("model", "fields", "path"),
    [
        (
            BossCombinedSpectrum,
            {"v_astra": "0.6.0", "sdss_id": 103020000},
            "$MWM_ASTRA/0.6.0/spectra/star/00/00/mwmStar-0.6.0-103020000.fits",
        ),
        (
            ApogeeRestFrameVisitSpectrum,
            {"v_astra": "0.8.1", "sdss_id": 70344997},
            "$MWM_ASTRA/0.8.1/spectra/visit/49/97/mwmVisit-0.8.1-70344997.fits",
        ),
        (
            ApogeeCombinedSpectrum,
            STAR,
            "$MWM_ASTRA/0.8.1/spectra/star/00/07/mwmStar-0.8.1-7.fits",
        ),
        (
            BossRestFrameVisitSpectrum,
            STAR,
            "$MWM_ASTRA/0.8.1/spectra/visit/00/07/mwmVisit-0.8.1-7.fits",
        ),
        (
            ApogeeVisitSpectrum,
            {"release": "sdss5", **APOGEE},
            f"{REDUX}/1.3/visit/apo25m/f/9/8/apVisit-1.3-apo25m-9-8-007.fits",
        ),
        (
            ApogeeVisitSpectrum,
            {"release": "dr17", "prefix": "as", **APOGEE},
            f"{DR17}/1.3/visit/apo25m/f/9/8/asVisit-1.3-9-8-007.fits",
        ),
        (
            ApogeeVisitSpectrum,
            {"release": "dr17", "reduction": "2M00", **APOGEE, "telescope": "apo1m"},
            f"{DR17}/1.3/visit/apo1m/f/8/apVisit-1.3-8-2M00.fits",
        ),
        (
            ApogeeCoaddedSpectrumInApStar,
            {
                "release": "sdss5",
                "apred": "1.3",
                "telescope": "lco25m",
                "obj": "o",
                "healpix": 4321,
            },
            f"{REDUX}/1.3/stars/lco25m/4/4321/apStar-1.3-lco25m-o.fits",
        ),
        (
            ApogeeVisitSpectrumInApStar,
            {"release": "dr17", "obj": "o", "prefix": "ap", **APOGEE},
            f"{DR17}/1.3/stars/apo25m/f/apStar-1.3-o.fits",
        ),
        (
            BossVisitSpectrum,
            {"run2d": "v6_2_1", "spec_file": "s.fits", **BOSS},
            f"{IPL4}/v6_2_1/spectra/daily/full/015XXX/015001/59800/s.fits",
        ),
        (
            BossVisitSpectrum,
            {"run2d": "v6_2_0", **BOSS},
            f"{DAILY}/v6_2_0/spectra/daily/full/015XXX/015001/59800/spec-015001-59800-42.fits",
        ),
        (
            BossVisitSpectrum,
            {"run2d": "v6_1_3", **BOSS},
            f"{DAILY}/v6_1_3/spectra/full/015001/59800/spec-015001-59800-42.fits",
        ),
        (
            BossVisitSpectrum,
            {"run2d": "v6_0_4", **BOSS},
            f"{DAILY}/v6_0_4/spectra/full/15001p/59800/spec-15001-59800-42.fits",
        ),
    ],
)
def test_a_spectrum_tells_where_its_file_is(
    model: type[Any], fields: dict[str, Any], path: str, monkeypatch: Any
) -> None:
    spectrum = model(**fields)
    assert spectrum.path == path

    monkeypatch.setenv("SAS_BASE_DIR", "/sas")
    monkeypatch.setenv("MWM_ASTRA", "/mwm")
    expanded = path.replace("$SAS_BASE_DIR", "/sas").replace("$MWM_ASTRA", "/mwm")
    assert spectrum.absolute_path == expanded

    assert spectrum.__data__.get("path") is None
    spectrum.path = "/elsewhere.fits"
    assert spectrum.absolute_path == "/elsewhere.fits"


@pytest.mark.parametrize("model", spectrum_models, ids=lambda model: model.__name__)
def test_a_spectrum_that_knows_nothing_tells_no_path(model: type[Any]) -> None:
    assert model().path is None
    assert model(__no_default__=True, apred="1", run2d="v", obj="o", v_astra="0").path is None


def combined(**fields: Any) -> BossCombinedSpectrum:
    arrays = {name: pixels(4648) for name in ("flux", "ivar", "continuum")}
    return BossCombinedSpectrum(
        spectrum_pk=3, nmf_rectified_model_flux=pixels(4648), **{**arrays, **fields}
    )


def test_a_plot_has_units_a_band_and_the_model() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot as plt

    spectrum = combined()
    spectrum.ivar[100:200] = 0
    result = SnowWhite(model_flux=pixels(4648))
    figure = spectrum.plot(result=result)
    [axes] = figure.axes

    assert axes.get_xlabel() == "Wavelength in vacuum (Angstrom)"
    assert axes.get_ylabel() == "Flux (1e-17 erg/(s cm2 Angstrom))"
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == [
        "flux",
        "one standard deviation",
        "continuum",
        "model of the continuum fit",
        "model (SnowWhite)",
    ]
    plt.close(figure)


def test_a_plot_of_three_detectors_has_a_line_each() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot as plt

    arrays = {name: pixels(3, 50) for name in ("flux", "ivar")}
    wavelength = np.linspace(15000, 17000, 150).reshape(3, 50)
    figure = ApogeeVisitSpectrum(wavelength=wavelength, **arrays).plot()

    assert len(figure.axes[0].lines) == 3
    assert len(figure.axes[0].get_legend().get_texts()) == 2
    plt.close(figure)


def test_a_plot_of_nothing_good_is_still_a_plot() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot as plt

    figure = combined(ivar=np.zeros(4648, dtype=np.float32)).plot()

    assert figure.axes[0].get_ylim() == (0, 1)
    plt.close(figure)


def test_without_matplotlib_a_plot_says_how_to_get_it(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)

    with pytest.raises(AstraError, match=r"pip install 'astra\[plot\]'"):
        combined().plot()
