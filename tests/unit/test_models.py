"""Every column of every product has its field, and every field says what it means."""

from __future__ import annotations

import pydoc
from collections.abc import Iterator
from typing import Any

import astropy.units as u
import peewee
import pytest

import astra.models
from astra.fields import BitField, Flag, PixelArray
from astra.glossary import describe
from astra.models import (
    ASPCAP,
    ApogeeVisitSpectrum,
    BossVisitSpectrum,
    Corv,
    LineForest,
    MWMBest,
    Rocket,
    Source,
    Spectrum,
    ThePayne,
    find,
    models,
    result_models,
    spectrum_models,
)
from astra.pixels import pixel_arrays
from jobs import datamodel

# How the survey's data model spells units, where astropy has another word
SPELLINGS = {
    "A": ("Angstrom",),
    "C": ("deg_C",),
    "M_sun": ("solMass",),
    "R_sun": ("solRad",),
    "Vega": ("mag",),
    "Vega nMgy": ("nmgy",),
    "dex": ("dex", "dex(cm/s2)"),  # it has logg in either
    "log10(cm/s^2)": ("dex(cm/s2)",),
    "mA": ("mAngstrom",),
    "millibar": ("mbar",),
    "particles m^-3 s^-1": ("1/(m3 s)",),
}

FIELD_TYPES = {
    "int32": {"INT"},
    "int64": {"BIGINT", "BIGAUTO"},
    "float32": {"FLOAT"},
    "bool": {"BOOL"},
    "char": {"TEXT"},
    "uint8": {"BLOB"},
}


def columns() -> Iterator[tuple[str, Any, list[type[Any]]]]:
    """Label, column and the models that may hold it, for all columns that are stored."""
    for product in datamodel.products():
        for release in datamodel.releases(product):
            for hdu in datamodel.layout(product, release).hdus:
                tables = [find(name) for name in hdu.models]
                spectra = [model for model in tables if model in spectrum_models]
                by_class = {
                    "source": [Source],
                    "spectrum": spectra,
                    "pipeline": [tables[-1]],
                }
                for column in hdu.columns:
                    if column.table != "derived":
                        label = f"{product} {release} HDU {hdu.number} {column.name}"
                        yield label, column, by_class[column.table]


def field_name(column: str) -> str:
    """Name of the field: files of one object of 0.6.0 have the database's `x_pk_id`."""
    return column.removesuffix("_id") if column.endswith("_pk_id") else column


def field_of(column: Any, tables: list[type[Any]]) -> Any:
    found = [getattr(model, field_name(column.name), None) for model in tables]
    return next((field for field in found if isinstance(field, peewee.Field)), None)


def field_type(field: peewee.Field) -> str:
    return (
        field.rel_field.field_type
        if isinstance(field, peewee.ForeignKeyField)
        else field.field_type
    )


def every_field() -> list[peewee.Field]:
    return [
        field
        for model in models
        for field in (*model._meta.sorted_fields, *pixel_arrays(model).values())
    ]


def test_every_column_of_every_product_has_a_field() -> None:
    assert [label for label, column, tables in columns() if field_of(column, tables) is None] == []


def test_every_field_can_hold_its_columns() -> None:
    misfits = []
    for label, column, tables in columns():
        field, name = field_of(column, tables), field_name(column.name)
        if name == "v_astra":  # text or integer, by the version that wrote the file
            continue
        if name in ("created", "modified", "date_obs"):
            allowed = {"DATETIME"}
        elif column.type == "float32" and column.size is not None:
            allowed = {"FLOAT_ARRAY"} if not isinstance(field, PixelArray) else {"DEFAULT"}
        elif name == "result_flags":
            allowed = {"BIGINT"}  # int32 in a file of Corv
        else:
            allowed = FIELD_TYPES[column.type]
        if field_type(field) not in allowed:
            misfits.append(f"{label} {column.type}: {field!r} {field_type(field)}")
    assert misfits == []


def test_columns_of_flags_are_bit_fields_that_are_never_null() -> None:
    fields = {
        field_of(column, tables)
        for _, column, tables in columns()
        if column.name.endswith("flags") and column.type in ("int32", "int64")
    }

    assert {field for field in fields if not isinstance(field, BitField) or field.null} == set()


def test_every_field_says_what_it_means() -> None:
    assert [field for field in every_field() if not field.help_text] == []


def test_every_unit_is_one_that_astropy_knows() -> None:
    for field in every_field():
        u.Unit(field.unit)


def test_units_are_those_of_the_data_model() -> None:
    wrong = {
        f"{column.name}: {column.unit}, not {field.unit}"
        for _, column, tables in columns()
        if column.unit and (field := field_of(column, tables)) is not None
        if field.unit not in SPELLINGS.get(column.unit, ())
        if column.unit in SPELLINGS or u.Unit(field.unit) != u.Unit(column.unit)
    }

    assert wrong == set()


@pytest.mark.parametrize(
    ("name", "text", "unit"),
    [
        ("teff", "Effective temperature", "K"),
        ("e_logg", "Uncertainty: surface gravity, log10", "dex(cm/s2)"),
        ("raw_e_fe_h", "Before calibration: uncertainty: iron abundance [Fe/H]", "dex"),
        ("doppler_rchi2", "Reduced chi-square of the fit by Doppler", ""),
        ("rho_teff_c12_c13", "Correlation of teff and c12_c13 in the fit", ""),
        (
            "eqw_ca_k_3933",
            "Equivalent width of Ca II K at 3933 A, negative in emission",
            "Angstrom",
        ),
        ("e_g_mag", "Uncertainty: Gaia G magnitude", "mag"),
        ("p_da_ms", "Probability that the spectrum is of class DA+MS", ""),
        ("fuel_left", "", ""),
        ("e_fuel_left", "", ""),
        ("rho_fuel_left", "", ""),
    ],
)
def test_the_glossary_takes_names_apart(name: str, text: str, unit: str) -> None:
    assert describe(name) == (text, unit)


def test_a_field_of_the_users_own_may_say_itself_what_it_means() -> None:
    class Lander(Rocket):
        height = peewee.FloatField(null=True, help_text="Above the ground")
        fuel = peewee.FloatField(null=True)

    assert Lander.height.help_text == "Above the ground"
    assert (Lander.fuel.help_text, Lander.fuel.unit) == ("", "")
    assert Lander.teff.unit == "K"


def test_families_of_columns_are_fields_like_any_other() -> None:
    assert len([name for name in LineForest._meta.fields if name.startswith("eqw_")]) == 104
    assert len([name for name in ThePayne._meta.fields if name.startswith("rho_")]) == 300
    assert isinstance(ASPCAP.model_flux_fe_h, PixelArray)
    assert "raw_e_ti_2_h" in pydoc.render_doc(ASPCAP)
    assert not [name for model in models for name in vars(model) if name in ("_name", "_label")]


def flags_of(model: type[Any]) -> dict[str, Flag]:
    return {name: flag for name in dir(model) if isinstance(flag := getattr(model, name), Flag)}


@pytest.mark.parametrize("model", models, ids=lambda model: model.__name__)
def test_every_flag_says_what_it_means_and_is_a_bit(model: type[Any]) -> None:
    for name, flag in flags_of(model).items():
        assert flag.help_text, name
        assert bin(flag._value).count("1") == 1, name
        assert flag._field is model._meta.fields[flag._field.name]


@pytest.mark.parametrize("model", result_models, ids=lambda model: model.__name__)
@pytest.mark.parametrize("v_astra", ["0.6.0", "0.8.1"])
def test_result_flags_are_those_of_the_data_model(model: type[Any], v_astra: str) -> None:
    rules = datamodel.flag_rules(model.__name__, v_astra)
    if rules is None:
        return
    flags = flags_of(model)
    assert {name: flags[name]._value for name in rules.bits} == {
        name: 2**bit for name, bit in rules.bits.items()
    }
    older = model.derived_flags_by_version.get(v_astra.rpartition(".")[0], {})
    for name, rule in rules.derived.items():
        ours = {frozenset(needed) for needed in older.get(name, model.derived_flags[name])}
        assert ours == {frozenset(needed) for needed in rule}


def test_flags_of_one_name_on_two_fields_are_told_apart() -> None:
    assert ASPCAP.flag_ferre_fail._field is ASPCAP.result_flags
    assert ASPCAP.flag_coarse_ferre_fail._field is ASPCAP.coarse_ferre_flags
    assert Source.flag_sdss4_apogee_telluric._field is Source.sdss4_apogee_target2_flags
    assert Source.flag_sdss4_apogee_extra_telluric._field is Source.sdss4_apogee_extra_target_flags


@pytest.fixture
def database() -> Iterator[peewee.SqliteDatabase]:
    database = peewee.SqliteDatabase(":memory:", pragmas={"foreign_keys": 1})
    with database.bind_ctx(models):
        database.create_tables(models)
        yield database


@pytest.mark.parametrize("model", spectrum_models, ids=lambda model: model.__name__)
def test_a_spectrum_can_be_looked_up_by_its_natural_key_whatever_is_left_out(
    model: type[Any], database: peewee.SqliteDatabase
) -> None:
    del database
    assert all(not model._meta.fields[name].null for name in model.natural_key)
    assert (tuple(model.natural_key), False) in model._meta.indexes
    model.create(spectrum_pk=Spectrum.create().pk)


@pytest.mark.usefixtures("database")
def test_spectra_of_one_kind_have_a_spectrum_pk_each() -> None:
    pk = Spectrum.create().pk
    BossVisitSpectrum.create(spectrum_pk=pk, mjd=1)

    with pytest.raises(peewee.IntegrityError):
        BossVisitSpectrum.create(spectrum_pk=pk, mjd=2)


@pytest.mark.usefixtures("database")
def test_a_result_takes_its_keys_from_the_spectrum() -> None:
    source = Source.create(sdss_id=7)
    spectrum = BossVisitSpectrum.create(spectrum_pk=Spectrum.create().pk, source=source)

    result = Corv.from_spectrum(BossVisitSpectrum.get(), teff=10_000.0)
    assert (result.spectrum_pk, result.source_pk) == (spectrum.spectrum_pk, source.pk)
    assert result.v_astra == astra.utils.version_string_to_integer(astra.__version__)
    assert Corv.select().count() == 0
    result.save()

    found = Corv.select().join(Source, on=(Corv.source_pk == Source.pk)).where(Source.sdss_id == 7)
    assert found.first().teff == 10_000
    assert Corv.from_spectrum(Spectrum.get()).spectrum_pk == spectrum.spectrum_pk


@pytest.mark.usefixtures("database")
def test_there_is_one_result_a_spectrum_and_version() -> None:
    pk = Spectrum.create().pk
    Rocket.create(spectrum_pk=pk, v_astra=8000)
    Rocket.create(spectrum_pk=pk, v_astra=9000)

    with pytest.raises(peewee.IntegrityError):
        Rocket.create(spectrum_pk=pk, v_astra=8001)


@pytest.mark.usefixtures("database")
def test_the_best_results_of_two_pipelines_may_have_one_task_pk() -> None:
    rows = [
        MWMBest.create(spectrum_pk=Spectrum.create().pk, pipeline=name, task_pk=5, id=1)
        for name in ("aspcap", "boss_net")
    ]

    assert rows[0].pk != rows[1].pk
    assert MWMBest._meta.primary_key is MWMBest.pk


def test_models_are_found_by_name_whatever_the_case() -> None:
    assert find("bossvisitspectrum") is BossVisitSpectrum
    assert find("Best") is find("MWMBest") is MWMBest
    assert find("Falcon") is None
    assert all(find(model.__name__) is model for model in models)


def test_tables_have_the_names_of_their_models() -> None:
    names = {model.__name__: model._meta.table_name for model in models}

    assert names["ApogeeVisitSpectrumInApStar"] == "apogee_visit_spectrum_in_ap_star"
    assert names["BossNet"] == "boss_net"
    assert ApogeeVisitSpectrum.source.column_name == "source_pk"
    assert len(set(names.values())) == len(models)
