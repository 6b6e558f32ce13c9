"""Flags that have names, and flags that follow from others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peewee import SqliteDatabase

from astra.fields import BitArrayField, BitField, DerivedFlag, FloatArrayField, add_floats, words
from astra.models import AstroNN, Source, Spectrum
from astra.models.pipeline import PipelineOutputMixin


class Kettle(PipelineOutputMixin):
    """A pipeline with every kind of flag."""

    result_flags = BitField()
    flag_cold = result_flags.flag(help_text="The water is cold")
    flag_empty = result_flags.flag(help_text="There is no water")
    flag_top = result_flags.flag(2**62, "The last bit")
    result_flags.flags(locals(), flag_red=(5, "It is red"), flag_blue=(6, "It is blue"))

    flag_warn = DerivedFlag("nonzero:result_flags", help_text="Look twice")
    flag_bad = DerivedFlag(
        "flag_empty", ("flag_cold", "flag_red"), by_version={"0.1": ("flag_cold",)}
    )


class SmallKettle(Kettle):
    """It has what a kettle has, in a table of its own."""


@pytest.fixture
def kettles() -> Iterator[None]:
    database = SqliteDatabase(":memory:")
    models = (Source, Spectrum, Kettle, SmallKettle)
    with database.bind_ctx(models):
        database.create_tables(models)
        for flags in (0, 1, 2, 1 | 2**5, 2**62):
            spectrum_pk = Spectrum.create().pk
            Kettle.create(spectrum_pk=spectrum_pk, result_flags=flags)
            SmallKettle.create(spectrum_pk=spectrum_pk, result_flags=flags)
        yield


def test_a_flag_says_what_it_means() -> None:
    assert Kettle.flag_cold.help_text == "The water is cold"
    assert Kettle.flag_blue.help_text == "It is blue"
    assert (Kettle.flag_warn.name, Kettle.flag_warn.help_text) == ("flag_warn", "Look twice")
    assert "The water is cold" in str(vars(Kettle)["flag_cold"].__doc__)


def test_flags_take_the_bits_that_they_are_given() -> None:
    values = {name: getattr(Kettle, f"flag_{name}")._value for name in words("cold empty top red")}

    assert values == {"cold": 1, "empty": 2, "top": 2**62, "red": 32}


def test_a_flag_is_a_bool_of_an_instance_that_can_be_set() -> None:
    kettle = Kettle()
    kettle.flag_empty = True
    kettle.flag_red = True
    kettle.flag_empty = False

    assert kettle.result_flags == 32
    assert (kettle.flag_red, kettle.flag_empty) == (True, False)
    with pytest.raises(ValueError, match="True or False, not 2"):
        kettle.flag_red = 2


@pytest.mark.usefixtures("kettles")
def test_a_flag_is_a_condition_of_a_query() -> None:
    assert Kettle.select().where(Kettle.flag_cold).count() == 2
    assert Kettle.select().where(~Kettle.flag_cold).count() == 3
    assert Kettle.select().where(Kettle.flag_cold & ~Kettle.flag_red).count() == 1
    assert Kettle.select().where(Kettle.flag_top).count() == 1


@pytest.mark.usefixtures("kettles")
def test_a_flag_can_be_set_for_many_rows() -> None:
    Kettle.update(result_flags=Kettle.flag_blue.set()).execute()
    Kettle.update(result_flags=Kettle.flag_cold.clear()).execute()

    assert [row.result_flags for row in Kettle.select().order_by(Kettle.task_pk)] == [
        64,
        64,
        66,
        96,
        64 + 2**62,
    ]


@pytest.mark.usefixtures("kettles")
def test_flags_of_a_subclass_and_of_an_alias_are_those_of_its_own_table() -> None:
    assert SmallKettle.select().where(SmallKettle.flag_bad).count() == 2
    other = Kettle.alias()
    query = (
        Kettle.select()
        .join(other, on=(Kettle.task_pk == other.task_pk + 1))
        .where(other.flag_cold & Kettle.flag_empty)
    )
    assert [row.result_flags for row in query] == [2]
    assert other.select().where(other.flag_bad).count() == 2


@given(st.integers(0, 2**63 - 1))
def test_a_derived_flag_follows_from_its_rule(flags: int) -> None:
    kettle = Kettle(result_flags=flags)

    assert kettle.flag_warn is (flags != 0)
    assert kettle.flag_bad is (bool(flags & 2) or (flags & 33) == 33)


@pytest.mark.usefixtures("kettles")
@pytest.mark.parametrize("name", ["flag_warn", "flag_bad"])
def test_a_derived_flag_says_the_same_of_a_row_and_in_a_query(name: str) -> None:
    found = {row.task_pk for row in Kettle.select().where(getattr(Kettle, name))}

    assert found == {row.task_pk for row in Kettle.select() if getattr(row, name)}
    assert 0 < len(found) < Kettle.select().count()


def test_the_rule_of_a_derived_flag_can_be_read() -> None:
    assert Kettle.derived_flags == {
        "flag_warn": (("nonzero:result_flags",),),
        "flag_bad": (("flag_empty",), ("flag_cold", "flag_red")),
    }
    assert Kettle.derived_flags_by_version == {"0.1": {"flag_bad": (("flag_cold",),)}}
    assert not hasattr(PipelineOutputMixin, "derived_flags")


def test_astronn_knows_the_rules_of_both_versions() -> None:
    assert len(AstroNN.derived_flags["flag_bad"]) == 1
    assert len(AstroNN.derived_flags_by_version["0.6"]["flag_bad"]) == 2


@given(st.binary(max_size=80))
def test_bits_are_counted_from_the_least_of_the_first_byte(value: bytes) -> None:
    number = int.from_bytes(value, "little")

    assert BitArrayField.bits(value) == [n for n in range(8 * len(value)) if number >> n & 1]


def test_an_array_of_bits_that_is_not_there_has_no_bits() -> None:
    assert BitArrayField.bits(None) == []


@given(st.lists(st.floats(width=32), max_size=20))
def test_float_vectors_of_a_plain_sqlite_column_come_back_bit_for_bit(numbers: list[float]) -> None:
    field = FloatArrayField()
    field._db_hook(None)
    back = field.python_value(field.db_value(numbers))

    assert back is not None
    assert back.dtype == np.float32
    assert back.tobytes() == np.array(numbers, dtype=np.float32).tobytes()


def test_a_family_of_columns_is_made_in_the_body_of_a_model() -> None:
    class Family(PipelineOutputMixin):
        add_floats(locals(), words("a b c"))

    assert Family._meta.sorted_field_names[-3:] == ["a", "b", "c"]
    assert Family.b.null
