"""Sample products have the shape of the published ones, and belong together."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from astra.errors import UsageError
from jobs import datamodel
from jobs.manifest import load_manifest
from jobs.samples import sample_tables, write_sample, write_samples
from tests.fixtures.products import make_product, overwrite, read_with_astropy, truncate

PUBLISHED = [
    (product, release)
    for product in datamodel.products()
    for release in datamodel.releases(product)
]


def test_the_data_model_has_every_product() -> None:
    assert len(datamodel.products()) == 32
    assert len(PUBLISHED) == 60
    hdus = [hdu for each in PUBLISHED for hdu in datamodel.layout(*each).hdus]
    assert len(hdus) == 148
    assert sum(len(hdu.columns) for hdu in hdus) == 33_054


def test_columns_know_type_unit_and_table() -> None:
    slam = datamodel.layout("astraAllStarSlam", "DR20")
    assert slam.primary == {
        "PIPELINE": "Slam",
        "V_ASTRA": "0.8.1",
        "CREATED": "26-02-12 12:18:34",
    }
    columns = {column.name: column for column in slam.hdus[0].columns}
    assert columns["teff"] == datamodel.Column("teff", "float32", None, "K", "pipeline")
    assert columns["sdss5_target_flags"].tform == "71B"
    assert columns["lead"].tform == "26A"
    assert columns["v_astra"].table == "spectrum"
    assert columns["flag_bad"].table == "derived"


def test_names_that_are_not_in_the_data_model() -> None:
    with pytest.raises(UsageError, match="nearest names are astraAllStarSlam"):
        datamodel.layout("astraAllStarSlan", "DR20")
    with pytest.raises(UsageError, match=r"not part of .*'DR20': it is in DR19"):
        datamodel.layout("astraAllStarCorv", "DR20")
    with pytest.raises(UsageError, match="has no HDU 7: its tables are 1 to 2"):
        sample_tables(datamodel.layout("astraAllStarSlam", "DR20"), 1, 0, hdus={7: 1})
    with pytest.raises(UsageError, match="at most 64 spectra, not 65"):
        sample_tables(datamodel.layout("mwmVisit", "DR20"), 65, 0)


@pytest.mark.parametrize(("product", "release"), PUBLISHED)
def test_a_sample_has_the_shape_of_the_product(tmp_path: Path, product: str, release: str) -> None:
    shape = datamodel.layout(product, release)
    path = write_sample(tmp_path / "sample.fits", product, release, 12, 5)
    with fits.open(path, memmap=False) as file:
        file.verify("exception")
        assert len(file) == 1 + len(shape.hdus)
        header = file[0].header
        assert {key: header[key] for key in shape.primary} == shape.primary
        assert list(header)[4 + len(shape.primary) :] == list(shape.source_cards)
        for table, hdu in zip(file[1:], shape.hdus, strict=True):
            assert table.header["NAXIS2"] == (12 if hdu.rows else 0)
            assert table.columns.names == [column.name for column in hdu.columns]
            assert table.columns.formats == [column.tform for column in hdu.columns]
            assert table.header.get("EXTNAME", "") == hdu.extname
            assert table.header.get("INSTRMNT", "") == hdu.instrument
            assert table.header.get("OBSRVTRY", "") == hdu.observatory
            assert table.header.get("PIPELINE", "") == hdu.pipeline
            assert table.header["V_ASTRA"] == shape.v_astra
            assert table.header["CREATED"] == hdu.created


@pytest.mark.parametrize("product", datamodel.products())
def test_every_table_can_have_rows(tmp_path: Path, product: str) -> None:
    release = datamodel.releases(product)[-1]
    shape = datamodel.layout(product, release)
    several = {hdu.number: 5 for hdu in shape.hdus}
    path = write_sample(tmp_path / "sample.fits", product, release, 0, 5, hdus=several)
    keys = []
    for table in sample_tables(shape, 0, 5, hdus=several):
        values = read_with_astropy(path, table.hdu.number)
        assert list(values) == [column.name for column in table.hdu.columns]
        for column in table.hdu.columns:
            assert len(values[column.name]) == 5
            if column.type == "float32":
                assert not np.isinf(values[column.name]).any(), column
        if "spectrum_pk" in values and shape.source_cards:
            keys += list(values["spectrum_pk"])
    assert len(set(keys)) == len(keys)


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    def content(name: str, seed: int) -> bytes:
        return write_sample(tmp_path / name, "astraAllVisitCorv", "DR20", 50, seed).read_bytes()

    assert content("a.fits", 3) == content("b.fits", 3)
    assert content("a.fits", 3) != content("b.fits", 4)
    assert content("a.fits.gz", 3) == content("b.fits.gz", 3)
    assert gzip.decompress(content("a.fits.gz", 3)) == content("a.fits", 3)


def test_rows_do_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    few = write_sample(tmp_path / "few.fits", "astraAllStarSlam", "DR20", 100, 1)
    many = write_sample(tmp_path / "many.fits", "astraAllStarSlam", "DR20", 20_000, 1)
    some, all_ = read_with_astropy(few), read_with_astropy(many)
    for name, values in some.items():
        np.testing.assert_array_equal(values, all_[name][:100], err_msg=name)
    for name in ("sdss_id", "spectrum_pk", "task_pk", "catalogid"):
        assert len(np.unique(all_[name])) == 20_000


def test_samples_of_a_seed_have_the_same_stars_and_spectra(tmp_path: Path) -> None:
    names = ("astraAllStarSlam", "astraAllStarBossNet", "mwmAllStar", "mwmTargets")
    tables = [
        read_with_astropy(write_sample(tmp_path / f"{name}.fits", name, "DR20", 200, 1))
        for name in names
    ]
    for other in tables[1:]:
        shared = {
            column.name
            for column in datamodel.layout("mwmAllStar", "DR20").hdus[0].columns
            if column.name in other
        }
        for name in shared:
            np.testing.assert_array_equal(tables[0][name], other[name], err_msg=name)


def test_visits_have_several_rows_a_star_and_one_natural_key_each(tmp_path: Path) -> None:
    visits = read_with_astropy(
        write_sample(tmp_path / "visits.fits", "astraAllVisitCorv", "DR20", 1000, 1)
    )
    assert len(np.unique(visits["sdss_id"])) == 400
    key = ("release", "run2d", "fieldid", "mjd", "catalogid")
    assert len(set(zip(*(visits[name].tolist() for name in key), strict=True))) == 1000
    assert (visits["source"] == visits["source_pk"]).all()
    first = visits["sdss_id"] == visits["sdss_id"][6]
    assert len(np.unique(visits["ra"][first])) == 1


def test_values_look_like_a_survey(tmp_path: Path) -> None:
    slam = read_with_astropy(
        write_sample(tmp_path / "slam.fits", "astraAllStarSlam", "DR20", 2000, 1)
    )
    for name in ("teff", "g_mag", "zgr_logg", "snr"):
        assert 0.1 < np.isnan(slam[name]).mean() < 0.2
    np.testing.assert_array_equal(np.isnan(slam["teff"]), np.isnan(slam["e_teff"]))
    assert (slam["e_teff"][~np.isnan(slam["e_teff"])] > 0).all()
    giants = (slam["logg"] < 3) & ~np.isnan(slam["teff"])
    assert 0.1 < giants.mean() < 0.4
    assert slam["teff"][giants].max() < 6500
    assert (slam["gaia_dr3_source_id"] == -1).any()
    assert (slam["sdss4_apogee_id"] == b"").any()
    assert all(len(time) == 26 for time in slam["created"])
    assert (slam["created"] < slam["modified"]).all()


def test_derived_flags_follow_from_the_bits(tmp_path: Path) -> None:
    bossnet = read_with_astropy(
        write_sample(tmp_path / "b.fits", "astraAllStarBossNet", "DR20", 2000, 1)
    )
    flags = bossnet["result_flags"]
    assert 0 < (flags != 0).sum() < 1000
    np.testing.assert_array_equal(bossnet["flag_warn"], flags & 0b11000 != 0)
    np.testing.assert_array_equal(bossnet["flag_bad"], flags & 0b01111 != 0)
    nn = read_with_astropy(
        write_sample(tmp_path / "n.fits", "astraAllStarAstroNN", "DR19", 2000, 1), 2
    )
    flags = nn["result_flags"]
    np.testing.assert_array_equal(nn["flag_warn"], flags != 0)
    np.testing.assert_array_equal(nn["flag_bad"], (flags & 0b101 == 0b101) | (flags & 0b010 != 0))


def test_a_file_of_one_star_has_the_star_in_its_cards(tmp_path: Path) -> None:
    path = write_sample(tmp_path / "v.fits", "mwmVisit", "DR20", 3, 1, first=8)
    stars = read_with_astropy(write_sample(tmp_path / "t.fits", "mwmTargets", "DR20", 9, 1))
    header = fits.getheader(path)
    spectra = read_with_astropy(path, "BOSS/LCO")
    assert header["SDSS_ID"] == stars["sdss_id"][8]
    assert (spectra["sdss_id"] == stars["sdss_id"][8]).all()
    assert np.float32(header["RA"]) == stars["ra"][8]
    for keyword, name in datamodel.layout("mwmVisit", "DR20").source_cards.items():
        value = stars[name][8]
        if header[keyword] is None or isinstance(header[keyword], fits.card.Undefined):
            assert value in (b"", -1) or np.isnan(value), keyword
    assert spectra["flux"].shape == (3, 4648)
    assert 0.2 < np.median(spectra["flux"]) < 2


def test_write_samples_makes_a_manifest(tmp_path: Path) -> None:
    products = ("astraAllStarSlam", "mwmStar")
    manifest = write_samples(tmp_path / "samples", products, rows=10)
    listed = [product.path for product in load_manifest(manifest).products]
    assert listed == ["astraAllStarSlam-0.8.1.fits.gz", "mwmStar-0.8.1-*.fits"]
    assert len(list(manifest.parent.glob("mwmStar-0.8.1-*.fits"))) == 3
    assert len(read_with_astropy(manifest.parent / "astraAllStarSlam-0.8.1.fits.gz")["teff"]) == 10


def test_edits_of_a_product(tmp_path: Path) -> None:
    path = make_product(
        tmp_path,
        "astraAllVisitCorv",
        "DR20",
        4,
        values={
            "teff": lambda teff: np.where(np.arange(4) == 2, -0.0, teff),
            "logg": np.inf,
            "lead": ["a", "é", "trailing ", "x\0y"],
            "mjd": [-1, 0, 32_767, -32_768],
            "fiber_offset": [True, False, True, True],
            "n_exp": [1, 2, 3, 1],
        },
        drop=["snr"],
        rename={"rchi2": "chi_square"},
        add={"extra": np.arange(4.0), "grid": np.ones((4, 2), dtype=np.int16)},
        formats={"e_teff": "D", "mjd": "I"},
        column_cards={"mjd": {"TZERO": 32_768}, "n_exp": {"TNULL": 2, "TSCAL": 1}},
        cards={"PIPELINE": None, "V_ASTRA": "1.2.3"},
    )
    values = read_with_astropy(path)
    assert np.signbit(values["teff"][2])
    assert np.isposinf(values["logg"]).all()
    assert values["lead"].tolist() == [b"a", "é".encode(), b"trailing", b"x"]
    assert values["mjd"].tolist() == [32_767, 32_768, 65_535, 0]
    assert values["mjd"].dtype == np.uint16
    assert values["fiber_offset"].tolist() == [True, False, True, True]
    assert values["n_exp"].mask.tolist() == [False, True, False, False]
    assert values["e_teff"].dtype == np.float64
    assert "snr" not in values
    assert "chi_square" in values
    assert values["extra"].tolist() == [0, 1, 2, 3]
    assert values["grid"].shape == (4, 2)
    header = fits.getheader(path, 1)
    assert "PIPELINE" not in header
    assert header["V_ASTRA"] == "1.2.3"
    assert len(read_with_astropy(path, 2)["teff"]) == 0


def test_damage_to_a_product(tmp_path: Path) -> None:
    path = make_product(tmp_path, "mwmTargets", "DR20", 40)
    size = path.stat().st_size
    overwrite(path, 0, b"JUNK")
    assert path.read_bytes().startswith(b"JUNK")
    truncate(path, 5000)
    assert path.stat().st_size == size - 5000
