"""A pipeline of the user's own: a class in a module of theirs, and a line in the manifest."""

from __future__ import annotations

import datetime
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peewee import CharField, SmallIntegerField

from astra.errors import ManifestError
from astra.fields import (
    BigIntegerField,
    BitArrayField,
    BitField,
    BooleanField,
    DateTimeField,
    DerivedFlag,
    DoubleField,
    FloatArrayField,
    FloatField,
    IntegerField,
    TextField,
)
from astra.models import BossCombinedSpectrum, BossVisitSpectrum, Source, Spectrum, base
from astra.models.pipeline import PipelineOutputMixin
from astra.table import to_table
from tests.fixtures.databases import Target
from tests.fixtures.jobs import DONE, Job, write_manifest
from tests.fixtures.products import make_product


class Kettle(PipelineOutputMixin):
    """A pipeline that boils stars, with a column of each kind."""

    teff = FloatField(null=True)
    snr = FloatField(null=True)
    jd = DoubleField(null=True)
    n_lines = IntegerField(null=True)
    n_cups = SmallIntegerField(null=True)
    gaia_id = BigIntegerField(null=True)
    label = TextField(null=True)
    code = CharField(max_length=4, null=True)
    boiled = BooleanField(null=True)
    observed = DateTimeField(null=True)
    vector = FloatArrayField(null=True)
    bits = BitArrayField(null=True)
    result_flags = BitField()
    flag_cold = result_flags.flag(2**0, help_text="It did not boil")
    flag_leaks = result_flags.flag(2**40, help_text="It leaks")
    flag_bad = DerivedFlag("flag_cold", "flag_leaks", help_text="Do not use")

    class Meta:
        table_name = "the_kettle"
        indexes = ((("teff",), False),)


class Teapot(PipelineOutputMixin):
    """A pipeline with a column that must have a value."""

    volume = FloatField()


KETTLE = f"{__name__}:Kettle"


@pytest.fixture
def own(job: Job) -> Iterator[Job]:
    """The job, with the tables of the pipelines here."""
    classes = (Kettle, Teapot)
    with base.database.bind_ctx(classes, bind_refs=False, bind_backrefs=False):
        for model in classes:
            model._meta.schema = job.target.config["database"].get("schema")
            del model._meta.table
        base.database.create_tables(classes)
        yield job
        for model in classes:
            model._meta.schema = None
            del model._meta.table


def write(path: Path, cards: dict[str, Any] | None = None, **columns: Any) -> Path:
    """Write a FITS table with astropy, as a pipeline's author would."""
    from astropy.io import fits
    from astropy.table import Table

    hdu = fits.table_to_hdu(Table(columns))
    hdu.header.update(cards or {})
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    return path


def test_a_column_of_each_kind_comes_in_and_is_queried(own: Job, tmp_path: Path) -> None:
    path = write(
        tmp_path / "kettle.fits",
        sdss_id=np.array([11, 12, 13]),
        spectrum_pk=np.array([901, 902, 903]),
        teff=np.array([0.1, np.nan, -0.0], dtype="f4"),
        jd=np.array([2459000.123456789, np.nan, np.inf]),
        n_lines=np.array([2**31 - 1, -1, 0], dtype="i4"),
        n_cups=np.array([-(2**15), 7, -1], dtype="i2"),
        gaia_id=np.array([2**62, -1, 5]),
        label=np.array(["A star", "", "N"]),
        code=np.array(["abcd", "", "x"]),
        boiled=np.array([True, False, True]),
        observed=np.array(["2026-01-02T03:04:05.678901", "", "2026-01-02"]),
        vector=np.array([[1.5, np.nan], [0.1, 2], [3, 4]], dtype="f4"),
        bits=np.array([[1, 2, 3], [0, 0, 0], [255, 0, 1]], dtype="u1"),
        result_flags=np.array([0, 1, 2**40]),
        flag_bad=np.array([False, True, True]),
    )

    report = own.ingest({"path": path, "result": KETTLE, "v_astra": "0.8.1", "tag": "tea"})

    assert report["status"] == "done", report
    assert report["totals"]["inserted"] == 3
    one, two, three = Kettle.select().order_by(Kettle.spectrum_pk)
    assert [row.spectrum_pk for row in (one, two, three)] == [901, 902, 903]
    assert np.float32(one.teff) == np.float32(0.1)
    assert (two.teff, two.jd, two.n_lines, two.gaia_id) == (None, None, None, None)
    assert (two.label, two.code, two.observed) == (None, None, None)
    assert str(three.teff) == "-0.0"
    assert (one.jd, three.jd) == (2459000.123456789, np.inf)
    assert (one.n_lines, one.n_cups, three.n_cups) == (2**31 - 1, -(2**15), None)
    assert (one.gaia_id, one.label, one.code, one.boiled) == (2**62, "A star", "abcd", True)
    assert one.observed.isoformat() == "2026-01-02T03:04:05.678901"
    assert one.vector.tobytes() == np.array([1.5, np.nan], dtype="f4").tobytes()
    assert one.bits == b"\1\2\3"
    assert (one.v_astra, one.v_astra_major_minor, one.tag) == (8001, 8, "tea")

    assert [row.spectrum_pk for row in Kettle.select().where(Kettle.flag_leaks)] == [903]
    assert Kettle.select().where(Kettle.flag_bad).count() == 2
    stars = Kettle.select(Source.sdss_id).join(Source, on=(Kettle.source_pk == Source.pk))
    assert sorted(stars.where(Kettle.boiled).tuples()) == [(11,), (13,)]
    table = to_table(Kettle.select(Kettle.teff, Kettle.flag_cold).order_by(Kettle.spectrum_pk))
    assert str(table["teff"].unit) == "K"
    assert table["flag_cold"].tolist() == [False, True, False]


def test_a_second_run_updates_in_place(own: Job, tmp_path: Path) -> None:
    keys = {"sdss_id": np.array([11, 12]), "spectrum_pk": np.array([901, 902])}
    first = write(tmp_path / "1.fits", teff=np.float32([1, 2]), **keys)
    own.ingest({"path": first, "result": KETTLE})
    before = list(Kettle.select(Kettle.task_pk, Kettle.created).tuples())

    second = write(tmp_path / "2.fits", teff=np.float32([3, 4]), **keys)
    report = own.ingest({"path": second, "result": KETTLE})

    assert report["totals"]["updated"] == 2
    assert [row.teff for row in Kettle.select().order_by(Kettle.spectrum_pk)] == [3, 4]
    assert list(Kettle.select(Kettle.task_pk, Kettle.created).tuples()) == before


def test_keys_alone_make_sources_and_spectra(own: Job, tmp_path: Path) -> None:
    path = write(tmp_path / "k.fits", sdss_id=np.array([7]), spectrum_pk=np.array([2**40]))

    own.ingest({"path": path, "result": KETTLE})

    result, source = Kettle.get(), Source.get(Source.sdss_id == 7)
    assert (result.spectrum_pk, result.source_pk) == (2**40, source.pk)
    assert Spectrum.get_by_id(2**40)
    assert Spectrum.create().pk > 2**40


def test_without_sdss_id_a_result_has_no_source(own: Job, tmp_path: Path) -> None:
    path = write(tmp_path / "k.fits", spectrum_pk=np.array([5, 6]), teff=np.float32([1, 2]))

    own.ingest({"path": path, "result": KETTLE})

    assert [(row.spectrum_pk, row.source_pk) for row in Kettle.select()] == [(5, None), (6, None)]
    assert Source.select().count() == 0


def test_a_spectrum_is_found_or_made_by_its_natural_key(own: Job, tmp_path: Path) -> None:
    """The first of the two visits is there already, from a summary product."""
    own.ingest({"path": make_product(tmp_path, "astraAllVisitCorv", "DR20", 1)})
    known = BossVisitSpectrum.get()
    path = write(
        tmp_path / "k.fits",
        sdss_id=np.array([known.source.sdss_id, 99]),
        release=np.array([known.release] * 2),
        run2d=np.array([known.run2d] * 2),
        fieldid=np.array([known.fieldid, 4], dtype="i4"),
        mjd=np.array([known.mjd] * 2, dtype="i4"),
        catalogid=np.array([known.catalogid] * 2),
        teff=np.float32([1, 2]),
    )

    report = own.ingest({"path": path, "result": KETTLE, "spectrum": "BossVisitSpectrum"})

    assert report["status"] == "done", report
    one, two = Kettle.select().order_by(Kettle.teff)
    assert one.spectrum_pk == known.spectrum_pk
    made = BossVisitSpectrum.get(BossVisitSpectrum.fieldid == 4)
    assert (two.spectrum_pk, made.source.sdss_id) == (made.spectrum_pk, 99)
    assert BossVisitSpectrum.select().count() == 2


def test_columns_of_the_spectrum_and_the_source_go_to_them(own: Job, tmp_path: Path) -> None:
    """In a file of all objects, the first of source, spectrum and result has a name."""
    path = write(
        tmp_path / "k.fits",
        sdss_id=np.array([7]),
        ra=np.float32([12.5]),
        spectrum_pk=np.array([5]),
        telescope=np.array(["apo25m"]),
        snr=np.float32([30]),
        teff=np.float32([5000]),
        label=np.array(["a"]),
    )

    own.ingest({"path": path, "result": KETTLE, "spectrum": "BossCombinedSpectrum"})

    spectrum = BossCombinedSpectrum.get()
    assert (spectrum.spectrum_pk, spectrum.snr, spectrum.telescope) == (5, 30, "apo25m")
    assert spectrum.source.ra == 12.5
    assert (Kettle.get().teff, Kettle.get().label, Kettle.get().snr) == (5000, "a", None)


def test_without_a_table_of_spectra_all_else_is_the_results(own: Job, tmp_path: Path) -> None:
    path = write(tmp_path / "k.fits", spectrum_pk=np.array([5]), snr=np.float32([30]))

    own.ingest({"path": path, "result": KETTLE})

    assert Kettle.get().snr == 30


def test_times_after_the_key_are_the_results(own: Job, tmp_path: Path) -> None:
    """As in astraMWMLite; before the spectrum's key they are the source's."""
    then, now = "2025-01-01T00:00:00.000001", datetime.datetime.now(datetime.UTC)
    path = write(
        tmp_path / "k.fits",
        sdss_id=np.array([7]),
        spectrum_pk=np.array([5]),
        created=np.array([then]),
        modified=np.array([then]),
    )

    own.ingest({"path": path, "result": KETTLE})

    result = Kettle.get()
    assert result.created.isoformat() == then
    assert result.modified >= now.replace(tzinfo=None)
    assert Source.get().created >= now.replace(tzinfo=None)


@pytest.mark.parametrize(
    ("name", "columns", "messages"),
    [
        ("Kettle", {"teff": [1.0]}, ["no column spectrum_pk, by which Kettle is tied to its"]),
        (
            "Kettle",
            {"spectrum_pk": [1], "tef": [1.0], "labl": ["x"]},
            [
                "column tef (1D) has no place in Kettle",
                'did you mean "teff"',
                "column labl (1A) has no place in Kettle",
                'did you mean "label"',
            ],
        ),
        ("Teapot", {"spectrum_pk": [1]}, ["no column for Teapot.volume, which must have a value"]),
        ("Kettel", {"spectrum_pk": [1]}, ['has no class "Kettel"; did you mean "Kettle"?']),
        ("TextField", {"spectrum_pk": [1]}, ["derive the class from astra.models.pipeline.Pip"]),
    ],
)
def test_what_does_not_fit_is_told(
    own: Job, tmp_path: Path, name: str, columns: dict[str, Any], messages: list[str]
) -> None:
    path = write(tmp_path / "k.fits", **columns)

    with pytest.raises(ManifestError) as raised:
        own.ingest({"path": path, "result": f"{__name__}:{name}"})

    for message in messages:
        assert message in str(raised.value)
    assert Spectrum.select().count() == 0


def test_ten_lines_beside_the_manifest_are_enough(target: Target, tmp_path: Path) -> None:
    (tmp_path / "my_rockets.py").write_text(
        textwrap.dedent(
            """
            from astra.fields import BitField, FloatField
            from astra.models.pipeline import PipelineOutputMixin


            class Saturn(PipelineOutputMixin):
                thrust = FloatField(null=True, help_text="Thrust at lift-off")
                result_flags = BitField()
                flag_no_fuel = result_flags.flag(help_text="The tank was empty")
            """
        )
    )
    path = write(
        tmp_path / "saturn.fits",
        sdss_id=np.array([7, 8]),
        spectrum_pk=np.array([5, 6]),
        thrust=np.float32([33.4, np.nan]),
        result_flags=np.array([0, 1]),
    )
    manifest = write_manifest(tmp_path, {"path": path, "result": "my_rockets:Saturn"})
    target.migrate()
    if target.kind == "postgres":
        first = target.ingest(manifest)
        assert "astra migrate" in first.stderr
        assert target.run("migrate", "--manifest", manifest).returncode == DONE

    done = target.ingest(manifest)

    assert done.returncode == DONE, done.stderr
    rows = target.fetch("SELECT spectrum_pk, thrust, result_flags FROM {schema}saturn ORDER BY 1")
    assert rows == [(5, pytest.approx(33.4), 0), (6, None, 1)]
    out = target.run("export", "my_rockets:Saturn", "-o", "out.fits")
    assert out.stdout == "out.fits: Saturn 2 rows\n", out.stderr
