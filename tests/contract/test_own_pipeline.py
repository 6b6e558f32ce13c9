"""A pipeline of the user's own: a class in a module of theirs, and a line in the manifest."""

from __future__ import annotations

import datetime
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from peewee import (
    CharField,
    DateField,
    DecimalField,
    Field,
    FixedCharField,
    JSONField,
    SmallIntegerField,
    TimeField,
    TimestampField,
    UUIDField,
)
from playhouse.postgres_ext import ArrayField, BinaryJSONField, DateTimeTZField

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
from jobs.export import export
from tests.fixtures.databases import Target
from tests.fixtures.jobs import DONE, Job, write_manifest
from tests.fixtures.products import make_product, read_with_astropy


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


class OddField(IntegerField):
    """Takes odd numbers, and stores the even ones before them."""

    def db_value(self, value: Any) -> Any:
        if value is not None and value % 2 == 0:
            raise ValueError("that is even")
        return None if value is None else value - 1


class RangeField(Field):
    """A type that PostgreSQL knows, and checks, and Peewee does not."""

    field_type = "INT4RANGE"


class Almanac(PipelineOutputMixin):
    """A pipeline with columns whose types have no form in bulk, and one beside them."""

    teff = FloatField(null=True)
    night = DateField(null=True)
    hour = TimeField(null=True)
    sign = FixedCharField(max_length=4, null=True)
    price = DecimalField(max_digits=6, decimal_places=2, null=True)
    mark = UUIDField(null=True)
    notes = JSONField(null=True)
    stamp = TimestampField(null=True, utc=True, resolution=6)
    odd = OddField(null=True)
    band = RangeField(null=True)
    until = DateField(default=datetime.date(2026, 12, 31))


class Lines(PipelineOutputMixin):
    """A pipeline with columns of types that only PostgreSQL has."""

    depths = ArrayField(DoubleField, null=True, index=False)
    narrow = ArrayField(FloatField, null=True, index=False)
    counts = ArrayField(IntegerField, null=True, index=False)
    found = BinaryJSONField(null=True, index=False)
    seen = DateTimeTZField(null=True)


KETTLE = f"{__name__}:Kettle"
ALMANAC = f"{__name__}:Almanac"


@pytest.fixture
def own(job: Job) -> Iterator[Job]:
    """The job, with the tables of the pipelines here."""
    classes = (Kettle, Teapot, Almanac)
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


def almanac(path: Path, **odd: Any) -> Path:
    """Write an almanac of five rows, the last of them missing, with some columns otherwise."""
    columns = {
        "sdss_id": np.arange(1, 6),
        "spectrum_pk": np.arange(11, 16),
        "teff": np.array([-0.0, 0.1, np.inf, 1e-45, np.nan], dtype="f4"),
        "night": np.array(["2026-01-02", "0001-01-01", "9999-12-31", "2024-02-29", ""]),
        "hour": np.array(["01:02:03", "23:59:59.999999", "00:00", "12:00", ""]),
        "sign": np.array([b"Leo", b"abcd", "é".encode(), b"a b", b""]),
        "price": np.array([0.5, -1234.25, 0.1, 9999.99, np.nan]),
        "mark": np.array([str(uuid.UUID(int=n)) for n in range(4)] + [""]),
        "notes": np.array(["one", '"', "{}", "\\", ""]),
        "stamp": np.array(["2026-01-02T03:04:05.678901", *["2026-01-02T03:04:05+01:00"] * 3, ""]),
        "odd": np.array([1, 3, 5, 2**31 - 1, -1], dtype="i4"),
        "band": np.array(["[1,5)", "empty", "[1,)", "(,)", ""]),
    }
    return write(path, **{**columns, **odd})


def test_types_without_a_form_in_bulk_come_in_and_are_queried(own: Job, tmp_path: Path) -> None:
    path = almanac(tmp_path / "almanac.fits")

    report = own.ingest({"path": path, "result": ALMANAC})

    assert report["status"] == "done", report
    rows = list(Almanac.select().order_by(Almanac.spectrum_pk))
    assert [str(row.teff) for row in rows[:3]] == ["-0.0", str(float(np.float32(0.1))), "inf"]
    assert [row.night for row in rows[:2]] == [datetime.date(2026, 1, 2), datetime.date(1, 1, 1)]
    assert rows[1].hour == datetime.time(23, 59, 59, 999999)
    assert [row.sign for row in rows] == ["Leo", "abcd", "é", "a b", None]
    assert [str(row.price) for row in rows[1:3]] in (["-1234.25", "0.10"], ["-1234.25", "0.1"])
    assert rows[3].mark == uuid.UUID(int=3)
    assert [row.notes for row in rows] == ["one", '"', "{}", "\\", None]
    assert rows[0].stamp == datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001
    assert rows[1].stamp == datetime.datetime(2026, 1, 2, 2, 4, 5)  # noqa: DTZ001
    assert own.target.fetch("SELECT sum(odd) FROM {schema}almanac") == [(0 + 2 + 4 + 2**31 - 2,)]
    assert {row.until for row in rows} == {datetime.date(2026, 12, 31)}
    last = rows[-1]
    missing = ("teff", "night", "hour", "sign", "price", "mark", "notes", "stamp", "odd", "band")
    assert [getattr(last, name) for name in missing] == [None] * len(missing)
    assert Almanac.select().where(Almanac.night < datetime.date(2025, 1, 1)).count() == 2

    again = own.ingest({"path": path, "result": ALMANAC}, force=True)

    assert again["totals"]["updated"] == 5
    assert export(ALMANAC, tmp_path / "out.fits").tables == (("Almanac", 5),)
    preview = own.ingest({"path": path, "result": ALMANAC}, force=True, dry_run=True)
    assert set(preview["products"][0]["changes"]) <= {"band"}  # which is read as another type


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"night": ["soon"]}, "night: 'soon' does not go into a DateField: it is no date in ISO"),
        ({"night": ["2026-01-02T03:04"]}, "it is no date in ISO 8601"),
        ({"hour": ["25:00"]}, "hour: '25:00' does not go into a TimeField: it is no time of day"),
        ({"hour": ["12:00+01:00"]}, "it has a zone"),
        ({"sign": ["abcde"]}, "sign: 'abcde' does not go into a FixedCharField"),
        ({"sign": [" ab"]}, "it would be stored as 'ab'"),
        (
            {"price": [0.125]},
            "price: 0.125 does not go into a DecimalField: it has more than 2 dec",
        ),
        ({"price": [10000.0]}, "it is out of the range of 6 digits"),
        ({"price": [np.inf]}, "it is not finite"),
        ({"price": ["a lot"]}, "'a lot' does not go into a DecimalField: it is no number"),
        ({"mark": ["a cross"]}, "mark: 'a cross' does not go into a UUIDField: badly formed"),
        ({"stamp": ["now"]}, "stamp: 'now' does not go into a TimestampField"),
        ({"odd": np.array([2])}, "odd: 2 does not go into a OddField: that is even"),
    ],
)
def test_what_a_type_without_a_form_in_bulk_does_not_take_is_set_aside(
    own: Job, tmp_path: Path, odd: dict[str, Any], reason: str
) -> None:
    ((name, first),) = odd.items()
    usual = {"night": "2026-01-02", "hour": "01:02", "sign": "Leo", "mark": str(uuid.UUID(int=1))}
    usual |= {"price": "0.5" if isinstance(first[0], str) else 0.5, "odd": 1, "stamp": "2026-01-02"}
    values = np.array([*first, *[usual[name]] * 4])
    path = almanac(tmp_path / "almanac.fits", **{name: values})

    report = own.ingest({"path": path, "result": ALMANAC})

    assert report["totals"]["inserted"] == 4
    (told,) = reasons(report)
    assert reason in told
    assert sorted(row.spectrum_pk for row in Almanac.select()) == [12, 13, 14, 15]


def test_what_only_the_server_knows_to_be_wrong_is_set_aside_too(own: Job, tmp_path: Path) -> None:
    bands = np.array(["[1,5)", "[5,1)", "[2,3)", "wide", "[3,4)"])
    path = almanac(tmp_path / "almanac.fits", band=bands)

    report = own.ingest({"path": path, "result": ALMANAC})

    there = sorted(row.spectrum_pk for row in Almanac.select())
    if own.target.kind == "sqlite":  # which takes whatever it is given
        assert there == [11, 12, 13, 14, 15]
        return
    assert there == [11, 13, 15]
    assert reasons(report) == [
        "range lower bound must be less than or equal to range upper bound",
        'malformed range literal: "wide"',
    ]
    again = own.ingest({"path": path, "result": ALMANAC}, force=True)
    assert (again["totals"]["updated"], again["totals"]["rejected"]) == (3, 2)


def reasons(report: dict[str, Any]) -> list[str]:
    """Return why each row was set aside, as the file of rejected rows has it."""
    rejects = read_with_astropy(Path(report["products"][0]["rejects"]))
    return [reason.decode() for reason in rejects["REASON"].tolist()]


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("night", np.zeros(5), "a float cannot go into a DateField"),
        ("price", np.zeros((5, 2)), "a vector of 2 cannot go into a DecimalField"),
        ("notes", np.zeros(5, dtype="c8"), "a complex number cannot go into a JSONField"),
    ],
)
def test_a_type_that_can_never_fit_is_told_before_anything_is_written(
    own: Job, tmp_path: Path, name: str, values: Any, why: str
) -> None:
    path = almanac(tmp_path / "almanac.fits", **{name: values})

    with pytest.raises(ManifestError, match=why):
        own.ingest({"path": path, "result": ALMANAC})


@pytest.mark.parametrize(
    "job", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)
def test_types_that_only_postgresql_has(own: Job, tmp_path: Path) -> None:
    Lines._meta.schema = own.target.config["database"]["schema"]
    with base.database.bind_ctx([Lines], bind_refs=False, bind_backrefs=False):
        base.database.create_tables([Lines])
        path = write(
            tmp_path / "lines.fits",
            spectrum_pk=np.arange(1, 5),
            depths=np.array([[-0.0, np.nan], [0.1, np.inf], [0, 0], [0, 0]]),
            narrow=np.array([[-0.0, 0.5], [np.nan, 1], [0.1, 0], [0, 0]]),
            counts=np.array([[1, -1], [2**31 - 1, 0], [0, 0], [2**31, 0]]),
            found=np.array([[True, False]] * 4),
            seen=np.array(["2026-01-02T03:04:05", "2026-01-02T03:04:05+01:00", "", ""]),
        )

        report = own.ingest({"path": path, "result": f"{__name__}:Lines"})

        one, two = Lines.select().order_by(Lines.spectrum_pk)
        assert str([one.depths, two.depths]) == "[[-0.0, nan], [0.1, inf]]"
        assert str([one.narrow, two.narrow]) == "[[-0.0, 0.5], [nan, 1.0]]"
        assert [one.counts, two.counts] == [[1, -1], [2**31 - 1, 0]]
        assert one.found == [True, False]
        assert (one.seen - two.seen).total_seconds() == 3600
        assert one.seen == datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
        assert reasons(report) == [
            "narrow: [0.1, 0.0] does not go into a ArrayField: an element is not exactly a float32",
            'value "2147483648" is out of range for type integer',
        ]
        base.database.drop_tables([Lines])
    Lines._meta.schema = None
    del Lines._meta.table


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


# Of 250 keys, each third is looked up at first.
@pytest.mark.parametrize("lacking", [151, 152])
def test_a_row_is_set_aside_if_its_source_is_not_there(
    own: Job, tmp_path: Path, lacking: int
) -> None:
    keys = np.arange(1, 251)
    there = [{"pk": key, "sdss_id": key} for key in keys.tolist() if key != lacking]
    Source.insert_many(there).execute()
    path = write(tmp_path / "k.fits", spectrum_pk=keys, source_pk=keys)

    report = own.ingest({"path": path, "result": KETTLE})

    assert (report["totals"]["inserted"], report["totals"]["rejected"]) == (249, 1)
    aside = read_with_astropy(Path(report["products"][0]["rejects"]))
    assert aside["ROW"].tolist() == [lacking - 1]
    assert f"source_pk {lacking} is not in the table of sources".encode() in aside["REASON"][0]
    stored = Kettle.select(Kettle.spectrum_pk, Kettle.source_pk).order_by(Kettle.spectrum_pk)
    assert [(k, s) for k, s in stored.tuples()] == [(k, k) for k in keys if k != lacking]


@pytest.mark.parametrize("lacking", [151, 152])
def test_a_spectrum_is_made_if_it_is_not_there(own: Job, tmp_path: Path, lacking: int) -> None:
    keys = np.arange(1, 251)
    Spectrum.insert_many([{"pk": key} for key in keys.tolist() if key != lacking]).execute()
    path = write(tmp_path / "k.fits", spectrum_pk=keys)

    report = own.ingest({"path": path, "result": KETTLE})

    assert report["totals"]["inserted"] == 250
    assert own.target.table(Spectrum)["pk"] == keys.tolist()


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
