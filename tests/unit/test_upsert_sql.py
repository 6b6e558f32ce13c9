from __future__ import annotations

import numpy as np

from astra.block import Block, Column
from astra.models import Rocket, Source, Spectrum
from astra.upsert import RESULT_KEY, conflict_keys, insert_sql, quote, table_name, upsert_sql


def test_identifiers_are_quoted_whatever_they_hold() -> None:
    assert quote("a", 'b"; DROP TABLE x; --') == '"a"."b""; DROP TABLE x; --"'
    assert table_name(Rocket) == '"rocket"'


def test_an_insert_names_columns_not_fields() -> None:
    sql = insert_sql(Source, ["pk", "sdss_id"], "VALUES (?, ?)")

    assert sql == 'INSERT INTO "source" ("pk", "sdss_id") VALUES (?, ?)'


def test_an_upsert_overwrites_what_it_is_told_to() -> None:
    sql = upsert_sql(
        Rocket, ["spectrum_pk", "v_astra", "teff"], "VALUES (?, ?, ?)", RESULT_KEY, ["teff"]
    )

    assert sql == (
        'INSERT INTO "rocket" ("spectrum_pk", "v_astra", "teff") VALUES (?, ?, ?) '
        'ON CONFLICT ("spectrum_pk", "v_astra_major_minor") '
        'DO UPDATE SET "teff" = EXCLUDED."teff"'
    )


def test_an_upsert_of_nothing_leaves_rows_alone() -> None:
    sql = upsert_sql(Spectrum, ["pk"], "VALUES (?)", ["pk"], [])

    assert sql.endswith('ON CONFLICT ("pk") DO NOTHING')


def test_the_generated_part_of_a_key_is_computed() -> None:
    block = Block(
        {"spectrum_pk": Column(np.array([7, 8])), "v_astra": Column(np.array([8001, 12034056]))}, 2
    )

    keys = conflict_keys(block, RESULT_KEY)

    assert list(keys.columns) == list(RESULT_KEY)
    assert keys.integers("v_astra_major_minor").tolist() == [8, 12034]
