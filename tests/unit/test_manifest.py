"""The manifest: what it may hold, and that every mistake is told with its line and the mend."""

# ruff: noqa: E501 - the tables of messages have a case a line

from __future__ import annotations

import dataclasses
import glob
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astra.errors import ManifestError
from jobs.manifest import (
    NO_RESULT,
    Manifest,
    check_names,
    json_schema,
    load_manifest,
    resolve,
    resolve_all,
)
from jobs.manifest import source as yaml_source
from jobs.manifest import values as yaml_values
from jobs.manifest.checks import EXPECTED
from jobs.manifest.model import Product, ProductKeys

Load = Callable[[str], Manifest]
Complaints = Callable[[str], list[str]]

SCHEMA = Path(__file__).parents[2] / "jobs" / "manifest.schema.json"

WHOLE = """\
version: 1
defaults: {tag: dr20}                 # any key of a product
products:
  - path: $MWM_ASTRA/0.8.1/summary/astraAllStarSlam-0.8.1.fits.gz
  - path: results/**/astraVisitCorv-*.fits
    result: Corv
    spectrum: BossVisitSpectrum
    hdus: [1]
    columns: {teff: TEFF_RAW}
    ignore: [snr_median]
    new_columns: error
    sources: create
    spectra: create
    v_astra: 0.8.1
    max_rejects: 1000
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifest.yml"


@pytest.fixture
def load(path: Path) -> Load:
    def write_and_load(text: str) -> Manifest:
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return load_manifest(path)

    return write_and_load


@pytest.fixture
def complaints(load: Load, path: Path) -> Complaints:
    """Return the lines of the error that a text makes, without the folder of the manifest."""

    def lines(text: str) -> list[str]:
        with pytest.raises(ManifestError) as caught:
            load(text)
        return told(caught.value, path)

    return lines


def told(error: ManifestError, path: Path) -> list[str]:
    return str(error).replace(f"{path.parent}{os.sep}", "").splitlines()


def one(product: str) -> str:
    """Return a manifest of one product, whose entry has the given text on line 4."""
    return f"version: 1\nproducts:\n  - path: a.fits\n    {product}\n"


class TestAManifest:
    def test_holds_what_the_file_says(self, load: Load) -> None:
        slam, corv = load(WHOLE).products
        assert slam.path.startswith("$MWM_ASTRA/")
        assert corv.model_dump() == {
            "path": "results/**/astraVisitCorv-*.fits",
            "result": "Corv",
            "spectrum": ("BossVisitSpectrum",),
            "hdus": (1,),
            "columns": {"teff": "TEFF_RAW"},
            "ignore": ("snr_median",),
            "new_columns": "error",
            "sources": "create",
            "spectra": "create",
            "v_astra": 8001,
            "max_rejects": 1000,
            "tag": "dr20",
            "verify": True,
        }

    def test_has_the_documented_defaults(self, load: Load) -> None:
        (product,) = load("version: 1\nproducts: [{path: a.fits}]").products
        assert product.model_dump() == {
            "path": "a.fits",
            "result": None,
            "spectrum": None,
            "hdus": None,
            "columns": {},
            "ignore": (),
            "new_columns": "error",
            "sources": "create",
            "spectra": "create",
            "v_astra": None,
            "max_rejects": 1000,
            "tag": None,
            "verify": True,
        }

    def test_knows_where_its_products_stand(self, load: Load) -> None:
        products = load(WHOLE).products
        assert [(p.index, p.line, p.place) for p in products] == [
            (0, 4, "products[0]"),
            (1, 5, "products[1]"),
        ]

    def test_names_the_line_of_a_key_for_later_messages(self, load: Load, path: Path) -> None:
        product = load(WHOLE).products[1]
        assert product.mistake("hdus", "is out of range").tell(path) == (
            f"{path}:8: products[1].hdus: is out of range"
        )
        assert product.mistake("tag", "no").tell(path) == f"{path}:2: defaults.tag: no"
        assert product.mistake("verify", "no").tell(path) == f"{path}:5: products[1].verify: no"

    def test_cannot_be_changed(self, load: Load) -> None:
        manifest = load(WHOLE)
        with pytest.raises(pydantic.ValidationError):
            manifest.products[0].path = "other"
        with pytest.raises(pydantic.ValidationError):
            manifest.version = 2

    def test_may_begin_with_a_byte_order_mark(self, path: Path) -> None:
        path.write_bytes(b"\xef\xbb\xbf" + WHOLE.encode())
        assert len(load_manifest(path).products) == 2

    def test_reads_its_anchors_and_aliases(self, load: Load) -> None:
        text = """\
            version: 1
            products:
              - {path: a.fits, ignore: &left_out [x, y]}
              - {path: b.fits, ignore: *left_out}
            """
        assert [p.ignore for p in load(text).products] == [("x", "y"), ("x", "y")]

    def test_reads_the_same_without_libyaml(
        self, load: Load, complaints: Complaints, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with_libyaml = load(WHOLE)
        monkeypatch.setattr(yaml_source, "_LOADER", yaml_source.yaml.SafeLoader)
        assert load(WHOLE) == with_libyaml
        assert complaints("version: 1\nproducts:\n  - path: *.fits\n")[0].endswith(
            'put a value that begins with * in quotes, as in path: "*.fits"'
        )


class TestDefaults:
    def test_fill_what_a_product_does_not_give(self, load: Load) -> None:
        text = """\
            version: 1
            defaults: {tag: dr20, columns: {teff: T}, hdus: [2], verify: false}
            products:
              - {path: a.fits}
              - {path: b.fits, tag: mine, columns: {logg: G}, hdus: [BOSS], verify: true}
            """
        first, second = load(text).products
        assert (first.tag, first.columns, first.hdus, first.verify) == (
            "dr20",
            {"teff": "T"},
            (2,),
            False,
        )
        assert (second.tag, second.columns, second.hdus, second.verify) == (
            "mine",
            {"logg": "G"},
            ("BOSS",),
            True,
        )

    def test_take_every_key_of_a_product_but_path(self) -> None:
        assert set(Product.model_fields) - set(ProductKeys.model_fields) == {"path"}

    def test_refuse_path(self, complaints: Complaints) -> None:
        assert complaints("version: 1\ndefaults:\n  path: x\nproducts: [{path: a}]") == [
            (
                "manifest.yml:3: defaults.path: defaults may hold any key of a product but path; give "
                "each product its own"
            )
        ]

    def test_are_told_once_with_their_own_line(self, complaints: Complaints) -> None:
        text = "version: 1\ndefaults:\n  ignore: [a, a]\nproducts: [{path: a}, {path: b}]"
        assert complaints(text) == ["manifest.yml:3: defaults.ignore: a given twice; keep one"]


class TestAValue:
    @pytest.mark.parametrize(
        ("written", "result"),
        [
            ("Corv", "Corv"),
            ("my_pipeline.models:Result", "my_pipeline.models:Result"),
            ("none", NO_RESULT),
            ("None", NO_RESULT),
            ("null", NO_RESULT),
            ("~", NO_RESULT),
            ("", NO_RESULT),
        ],
    )
    def test_of_result(self, load: Load, written: str, result: str) -> None:
        assert load(one(f"result: {written}")).products[0].result == result

    @pytest.mark.parametrize(
        ("written", "spectrum"),
        [
            ("A", ("A",)),
            ("p.m:A", ("p.m:A",)),
            ("[A, p:B]", ("A", "p:B")),
        ],
    )
    def test_of_spectrum(self, load: Load, written: str, spectrum: tuple[str, ...]) -> None:
        assert load(one(f"spectrum: {written}")).products[0].spectrum == spectrum

    @pytest.mark.parametrize(
        ("written", "version"),
        [("0.8.1", 8001), ('"0.8.1"', 8001), ("8001", 8001), ("1.0.0", 1_000_000), ("0", 0)],
    )
    def test_of_v_astra(self, load: Load, written: str, version: int) -> None:
        assert load(one(f"v_astra: {written}")).products[0].v_astra == version

    @pytest.mark.parametrize(
        ("written", "tag"),
        [
            ("dr20", "dr20"),
            ("20", "20"),
            ("0.10", "0.10"),
            ("010", "010"),
            ("2024-01-01", "2024-01-01"),
            ("12:30", "12:30"),
            ("yes", "yes"),
            ('""', ""),
            ("'null'", "null"),
        ],
    )
    def test_of_tag_is_what_is_written(self, load: Load, written: str, tag: str) -> None:
        assert load(one(f"tag: {written}")).products[0].tag == tag

    def test_of_hdus_may_mix_numbers_and_names(self, load: Load) -> None:
        assert load(one("hdus: [1, BOSS, '3']")).products[0].hdus == (1, "BOSS", "3")

    def test_of_columns_keeps_names_that_yaml_would_read_otherwise(self, load: Load) -> None:
        columns = load(one("columns: {no: NO, y: Y, null: 'NULL'}")).products[0].columns
        assert columns == {"no": "NO", "y": "Y", "null": "NULL"}


NAMES = ", ".join(("path", *ProductKeys.model_fields))
RESULT = "the name of a result model, package.module:Class, or none"
SPECTRUM = "the name of a spectrum model, package.module:Class, or a list of these"
HDUS = "a list of HDU numbers (from 1) and EXTNAMEs, as in [1, BOSS]"
IGNORE = "a list of FITS columns, as in [snr_median]"
COLUMNS = "a mapping of field to FITS column, as in {teff: TEFF_RAW}"

WRONG_KEYS = [
    ("colums: {}", "colums", f'unknown key; did you mean "columns"? (the keys here are {NAMES})'),
    ("qqq: 1", "qqq", f"unknown key (the keys here are {NAMES})"),
    ("version: 1", "version", '"version" belongs to the top of the manifest; move it there'),
    ("result: 3", "result", f'found the number 3; expected {RESULT}; put it in quotes if it is text: "3"'),
    ("result: true", "result", f'found true; expected {RESULT}; put it in quotes if it is text: "true"'),
    ("result: [Corv]", "result", f"found a list; expected {RESULT}"),
    ("result: a.b.Corv", "result", '"a.b.Corv" is no name of a model; write a class as "a.b:Corv"'),
    (
        "result: 'C orv'",
        "result",
        '"C orv" is no name of a model; write a name such as Corv, or a class as "package.module:Class"',
    ),
    ("spectrum:", "spectrum", f"is empty; expected {SPECTRUM}; give a value or remove the key"),
    ("spectrum: []", "spectrum", f"is empty; expected {SPECTRUM}; remove the key for the default"),
    ("spectrum: {a: b}", "spectrum", f"found a mapping; expected {SPECTRUM}"),
    ("spectrum: [A, {}]", "spectrum[1]", f"found a mapping; expected {SPECTRUM}"),
    ("spectrum: [A, A]", "spectrum", "A given twice; keep one"),
    ("hdus: 1", "hdus", f"found the number 1; expected {HDUS}; write hdus: [1]"),
    ("hdus: BOSS", "hdus", f'found "BOSS"; expected {HDUS}; write hdus: [BOSS]'),
    ("hdus: []", "hdus", f"is empty; expected {HDUS}; remove the key for the default"),
    ("hdus: [1, 0]", "hdus[1]", "found 0, the primary HDU, which holds no table; number the HDUs from 1, as in [1]"),
    ("hdus: [-2]", "hdus[0]", "found -2, no HDU; number the HDUs from 1, as in [1]"),
    ("hdus: [true]", "hdus[0]", f"found true; expected {HDUS}"),
    ("hdus: ['']", "hdus[0]", f'found ""; expected {HDUS}'),
    ("hdus: [1, 1]", "hdus", "1 given twice; keep one"),
    ("columns: [a]", "columns", f"found a list; expected {COLUMNS}"),
    ("columns: {teff: [a]}", "columns.teff", f"found a list; expected {COLUMNS}"),
    ("columns: {a b: c}", "columns.a b", '"a b" cannot be the name of a field; write field: FITS column, as in {teff: TEFF_RAW}'),
    ("columns: {a: X, b: x}", "columns", "a and b have the same FITS column; leave one of them out"),
    ("columns: {a: 1}", "columns.a", f'found the number 1; expected {COLUMNS}; put it in quotes if it is text: "1"'),
    ("ignore: snr", "ignore", f'found "snr"; expected {IGNORE}; write ignore: [snr]'),
    ("ignore: [a, null]", "ignore[1]", f"found nothing; expected {IGNORE}"),
    ("ignore: [a, a]", "ignore", "a given twice; keep one"),
    ("new_columns: igore", "new_columns", 'found "igore"; expected error or ignore; did you mean "ignore"?'),
    ("sources: Create", "sources", 'found "Create"; expected create, update or require; did you mean "create"?'),
    ("spectra: 1", "spectra", "found the number 1; expected create, update or require"),
    ("v_astra: 0.8", "v_astra", "'0.8' is not a version: write it as major.minor.patch, as in 0.8.1; give all three parts, as in 0.8.0"),
    ("v_astra: [1]", "v_astra", "found a list; expected a version as major.minor.patch, as in 0.8.1, or packed, as in 8001"),
    ("v_astra: true", "v_astra", "found true; expected a version as major.minor.patch, as in 0.8.1, or packed, as in 8001"),
    ("v_astra: -1", "v_astra", "-1 is not a packed version: expected 0 to 2147483647"),
    ("max_rejects: -1", "max_rejects", "found the number -1; expected a whole number, 0 or more"),
    ("max_rejects: '5'", "max_rejects", 'found "5"; expected a whole number, 0 or more'),
    ("max_rejects: true", "max_rejects", "found true; expected a whole number, 0 or more"),
    ("tag: true", "tag", "found true; expected text, as in dr20"),
    ("tag:", "tag", "is empty; expected text, as in dr20; give a value or remove the key"),
    ("verify: yes", "verify", 'found "yes"; expected true or false'),
    ("verify: 1", "verify", "found the number 1; expected true or false"),
    ("? [a]\n    : b", "", "a list or mapping stands where a key should; quote text that begins with [ or {"),
    ("<<: {tag: x}", "<<", 'merge keys (<<) are not read; put shared keys under "defaults"'),
    ("tag: *x", "tag", 'no "&x" stands before the alias *x; quote text that begins with *'),
    ("ignore: &x [*x]", "ignore[0]", "the alias *x stands inside the value that it names; write it out"),
    ("*path : b", "", "the alias *path stands for a key; write the key out"),
]  # fmt: skip


class TestAMistake:
    @pytest.mark.parametrize(
        ("written", "key", "text"), WRONG_KEYS, ids=[row[0] for row in WRONG_KEYS]
    )
    def test_in_a_key(self, complaints: Complaints, written: str, key: str, text: str) -> None:
        place = f"products[0].{key}" if key else "products[0]"
        assert complaints(one(written))[0] == f"manifest.yml:4: {place}: {text}"

    def test_in_columns_and_ignore_together(self, complaints: Complaints) -> None:
        text = one("columns: {teff: TEFF_RAW}\n    ignore: [teff_raw]")
        assert complaints(text) == [
            (
                'manifest.yml:5: products[0].ignore: "teff_raw" is among columns, too; remove it from '
                "one of the two"
            )
        ]

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            (
                "products: [{path: a}]",
                (
                    'manifest.yml:1: the key "version" is missing; expected the number 1; '
                    'add "version: 1"'
                ),
            ),
            (
                "version: 2\nproducts: [{path: a}]",
                "manifest.yml:1: version: found the number 2; expected the number 1",
            ),
            (
                "version: '1'\nproducts: [{path: a}]",
                'manifest.yml:1: version: found "1"; expected the number 1',
            ),
            (
                "version: 1",
                (
                    'manifest.yml:1: the key "products" is missing; expected a list of one product or '
                    'more, each begun by "- path: FILE"; add "products:"'
                ),
            ),
            (
                "version: 1\nproducts: []",
                (
                    "manifest.yml:2: products: found an empty list; expected a list of one product or "
                    'more, each begun by "- path: FILE"'
                ),
            ),
            (
                "version: 1\nproducts:",
                (
                    "manifest.yml:2: products: found nothing; expected a list of one product or more, "
                    'each begun by "- path: FILE"'
                ),
            ),
            (
                "version: 1\nproducts: {path: a}",
                (
                    "manifest.yml:2: products: found a mapping; expected a list of one product or "
                    'more, each begun by "- path: FILE"'
                ),
            ),
            (
                "version: 1\nproducts:\n- a.fits",
                (
                    'manifest.yml:3: products[0]: found "a.fits"; expected the keys of a product; '
                    'write "- path: FILE"'
                ),
            ),
            (
                "version: 1\nproducts:\n- tag: x",
                (
                    'manifest.yml:3: products[0]: the key "path" is missing; expected a file or glob, '
                    'as in results/**/*.fits; add "path: FILE"'
                ),
            ),
            (
                "version: 1\nproducts:\n- path:",
                (
                    "manifest.yml:3: products[0].path: is empty; expected a file or glob, as in "
                    "results/**/*.fits; give a value"
                ),
            ),
            (
                "version: 1\nproducts:\n- path: ' '",
                (
                    "manifest.yml:3: products[0].path: is blank; expected a file or glob, as in "
                    "results/**/*.fits"
                ),
            ),
            (
                'version: 1\nproducts:\n- path: "a\\0b"',
                (
                    "manifest.yml:3: products[0].path: holds a character that no file name has (NUL or "
                    "a surrogate); remove it"
                ),
            ),
            (
                "version: 1\nroot:\nproducts: [{path: a}]",
                (
                    "manifest.yml:2: root: is empty; expected a folder, as in $MWM_ASTRA/0.8.1; give "
                    "a value or remove the key"
                ),
            ),
            (
                "version: 1\nroot: 7\nproducts: [{path: a}]",
                (
                    "manifest.yml:2: root: found the number 7; expected a folder, as in "
                    '$MWM_ASTRA/0.8.1; put it in quotes if it is text: "7"'
                ),
            ),
            (
                "version: 1\nproducts: [{path: a, root: b}]",
                (
                    'manifest.yml:2: products[0].root: "root" belongs to the top of the manifest; '
                    "move it there"
                ),
            ),
            (
                "version: 1\ndefaults: [tag]\nproducts: [{path: a}]",
                (
                    "manifest.yml:2: defaults: found a list; expected keys of a product, as in "
                    '"defaults: {tag: dr20}"'
                ),
            ),
            (
                "version: 1\npath: a\nproducts: [{path: a}]",
                (
                    'manifest.yml:2: path: "path" is a key of a product; put it into an entry of '
                    '"products", or "defaults"'
                ),
            ),
            (
                "version: 1\nprodcts: [{path: a}]\nproducts: [{path: a}]",
                (
                    'manifest.yml:2: prodcts: unknown key; did you mean "products"? (the keys here are '
                    "version, defaults, root, products)"
                ),
            ),
            (
                "version: 1\nproducts:\n- path: a\n  path: b",
                (
                    "manifest.yml:4: products[0].path: this key is given twice (first on line 3); keep "
                    "one"
                ),
            ),
        ],
    )
    def test_in_the_frame(self, complaints: Complaints, text: str, line: str) -> None:
        assert complaints(text) == [line]

    def test_is_told_with_all_others_in_the_order_of_the_lines(
        self, complaints: Complaints
    ) -> None:
        text = """\
            version: 2
            products:
              - tag: true
                hdus: [0, x, 0]
              - path: b
                path: c
                colums: {}
              - just text
              - path: !!str d
            deflts: {}
            """
        assert [line.split(": ")[0] for line in complaints(text)] == [
            f"manifest.yml:{line}" for line in (1, 3, 3, 4, 4, 6, 7, 8, 9, 10)
        ]

    def test_says_nothing_of_pydantic(self, complaints: Complaints) -> None:
        for written, *_ in WRONG_KEYS:
            text = "\n".join(complaints(one(written)))
            assert "pydantic" not in text
            assert "https:" not in text
            assert "Input should" not in text

    def test_without_end_is_cut_short(self, complaints: Complaints) -> None:
        lines = complaints("version: 1\nproducts:\n" + "- {path: a, x: 1}\n" * 150)
        assert len(lines) == 101
        assert lines[-1] == "manifest.yml: and 50 more such mistakes"

    def test_every_key_has_its_expectation(self) -> None:
        assert set(EXPECTED) == {*Manifest.model_fields, *Product.model_fields}


class TestAFile:
    def test_that_is_not_there(self, tmp_path: Path) -> None:
        missing = tmp_path / "m.yml"
        with pytest.raises(ManifestError) as caught:
            load_manifest(missing)
        assert str(caught.value) == f"{missing}: no such file; give the path of a manifest (YAML)"

    def test_that_is_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ManifestError, match=r"is a folder; give the manifest in it, as in "):
            load_manifest(tmp_path)

    def test_whose_name_cannot_be(self) -> None:
        with pytest.raises(ManifestError, match="cannot be read: embedded null byte; check"):
            load_manifest(Path("a\0b"))

    def test_in_a_file(self, path: Path) -> None:
        path.write_text(WHOLE)
        with pytest.raises(ManifestError, match="cannot be read: Not a directory; check the path"):
            load_manifest(path / "m.yml")

    def test_that_is_not_utf8(self, path: Path) -> None:
        path.write_bytes(b"version: 1\ntag: \xff\n")
        with pytest.raises(ManifestError) as caught:
            load_manifest(path)
        assert told(caught.value, path) == [
            "manifest.yml:2: not UTF-8 (byte 0xff at offset 16); save the manifest as UTF-8 text"
        ]

    @pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "null\n"])
    def test_that_is_empty(self, complaints: Complaints, text: str) -> None:
        assert complaints(text) == [
            (
                'manifest.yml: is empty; the smallest manifest is "version: 1", then "products:", then '
                '"- path: FILE"'
            )
        ]

    @pytest.mark.parametrize(
        ("text", "found"), [("- a\n- b\n", "a list"), ("SIMPLE  =", '"SIMPLE  ="'), ("3", "the number 3")]
    )  # fmt: skip
    def test_that_is_no_mapping(self, complaints: Complaints, text: str, found: str) -> None:
        assert complaints(text) == [
            (
                f"manifest.yml:1: found {found} at the top, expected keys; the smallest manifest is "
                '"version: 1", then "products:", then "- path: FILE"'
            )
        ]

    def test_of_two_documents(self, complaints: Complaints) -> None:
        assert complaints("version: 1\n---\nversion: 1\n") == [
            "manifest.yml:2: a second document (---) begins here; a manifest is one: remove the line"
        ]

    @pytest.mark.parametrize(
        ("text", "line", "mend"),
        [
            ("a:\n  - path: *.fits", 2, 'put a value that begins with * in quotes, as in path: "*.fits"'),
            ("a:\n  - path: **/x", 2, 'put a value that begins with * in quotes, as in path: "*.fits"'),
            ("a:\n\tb: 1", 2, "indent with spaces: YAML takes no tabs"),
            ("a: @x", 1, "put a value that begins with @, %, ` or a tab in quotes"),
            ("a: 1\nb: c: d", 2, 'check the indentation, and put a value that holds ": " in quotes'),
            ("a: 1\nb: 'c\n\n\n", 2, "close the quote or bracket"),
            ("a: 1\nb: [c\n\n\n", 2, "close the quote or bracket"),
            ("a: 1\n b: 2\nc", 2, 'check the indentation, and put a value that holds ": " in quotes'),
            ("a: 1\nb: \x01", 2, "remove it"),
        ],
    )  # fmt: skip
    def test_that_is_not_yaml(
        self, complaints: Complaints, text: str, line: int, mend: str
    ) -> None:
        (said,) = complaints(text)
        assert said.startswith(f"manifest.yml:{line}: not YAML: ")
        assert said.endswith(mend)

    def test_that_is_a_fits_file(self, path: Path) -> None:
        path.write_bytes(b"SIMPLE  =                    T".ljust(2880) + bytes(2880))
        with pytest.raises(ManifestError, match=r"manifest.yml:1: not YAML: .*"):
            load_manifest(path)


class TestNothing:
    """Nothing in a manifest is executed, and none takes more than its share."""

    @pytest.mark.parametrize(
        "tag",
        [
            "!!python/object/apply:os.system",
            "!!python/object/new:subprocess.Popen",
            "!!python/name:os.system",
            "!!binary",
            "!!set",
            "!env",
            "!include",
            "!<tag:example.org,2020:x>",
        ],
    )
    @pytest.mark.parametrize("value", ["[touch ran]", "{a: b}", "x"])
    def test_is_made_from_a_tag(
        self, complaints: Complaints, tmp_path: Path, tag: str, value: str
    ) -> None:
        lines = complaints(f"version: 1\nproducts:\n- path: {tag} {value}\n")
        shown = tag.removeprefix("!<").removesuffix(">")
        assert lines == [
            (
                f"manifest.yml:3: products[0].path: the tag {shown} is refused, as all are: a manifest "
                "holds plain values only; remove the tag (put text in quotes)"
            )
        ]
        assert [file.name for file in tmp_path.iterdir()] == ["manifest.yml"]

    def test_is_made_from_a_tagged_key(self, complaints: Complaints) -> None:
        assert "the tag !x is refused" in complaints("!x version: 1\nproducts: [{path: a}]")[0]

    def test_grows_by_aliases(self, complaints: Complaints) -> None:
        text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in range(1, 12):
            text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n"
        (said,) = complaints(text)
        assert said.startswith(f"manifest.yml:7: more than {yaml_values.MOST_VALUES} values, ")
        assert said.endswith(
            'put what the products share under "defaults", and name files by globs'
        )

    @pytest.mark.parametrize("bracket", ["[", "{a: ", "- "])
    def test_is_nested_without_end(self, complaints: Complaints, bracket: str) -> None:
        (said,) = complaints("a:\n  " + bracket * 5000)
        assert "more than 50 levels deep; a manifest needs five" in said or "not YAML" in said

    def test_is_too_large(self, complaints: Complaints, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(yaml_source, "MOST_BYTES", 2**20)
        assert complaints("#" * (2**20 + 1)) == [
            "manifest.yml: is larger than 1 MiB; name files by globs, not one by one"
        ]

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
    def test_but_a_manifest_error_comes_of_any_bytes(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        with pytest.raises(ManifestError):
            load_manifest(path)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(
        data=st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["version", "products", "defaults", *Product.model_fields]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=20,
        )
    )
    def test_but_a_manifest_or_its_error_comes_of_any_values(
        self, path: Path, data: object
    ) -> None:
        path.write_text(json.dumps({"version": 1, "products": data}))
        with suppress(ManifestError):
            assert load_manifest(path).products


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "a.fits",
        "b.fits",
        "notes.txt",
        ".hidden.fits",
        "odd[1].fits",
        "deep/c.fits",
        "deep/er/a.fits",
        "deep/er/still/d.fits",
        ".git/e.fits",
    ):
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * len(name))
    (tmp_path / "tree" / "folder.fits").mkdir()
    return tmp_path / "tree"


def found(product_path: str, tree: Path) -> list[str]:
    product = Product(path=product_path)
    return [str(path.relative_to(tree)) for path in resolve(product, tree / "manifest.yml")]


class TestAPath:
    @pytest.mark.parametrize(
        ("written", "files"),
        [
            ("a.fits", ["a.fits"]),
            ("./deep/../a.fits", ["deep/../a.fits"]),
            ("*.fits", ["a.fits", "b.fits", "odd[1].fits"]),
            ("?.fits", ["a.fits", "b.fits"]),
            ("[!a].fits", ["b.fits"]),
            (".*.fits", [".hidden.fits"]),
            ("odd[1].fits", ["odd[1].fits"]),
            ("odd[[]1].fits", ["odd[1].fits"]),
            ("**/a.fits", ["a.fits", "deep/er/a.fits"]),
            ("**/**/a.fits", ["a.fits", "deep/er/a.fits"]),
            ("deep/**", ["deep/c.fits", "deep/er/a.fits", "deep/er/still/d.fits"]),
            ("**/er/**/*.fits", ["deep/er/a.fits", "deep/er/still/d.fits"]),
            ("*/*/a.fits", ["deep/er/a.fits"]),
            (".git/*", [".git/e.fits"]),
        ],
    )
    def test_leads_to(self, tree: Path, written: str, files: list[str]) -> None:
        assert found(written, tree) == files

    @pytest.mark.parametrize(
        "written",
        ["*/*.fits", "**/*.fits", "a*/**", "**/a/**/*.fits", "**/**/x.fits", "**/*/**/*.fits"],
    )
    def test_with_stars_gives_each_file_once_in_the_order_of_its_text(
        self, tmp_path: Path, written: str
    ) -> None:
        for name in ("a", "a-b", "a0", "a/a", "a/a-b", "a/a.fits", "a/a/a", "b/a"):
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "x.fits").touch()
        (tmp_path / "a.fits").touch()
        others = glob.glob(str(tmp_path / written), recursive=True)  # noqa: PTH207 - ** of Path.glob is folders

        files = resolve(Product(path=written), tmp_path / "manifest.yml")

        assert [str(file) for file in files] == sorted({o for o in others if Path(o).is_file()})

    def test_starts_at_the_manifest_not_at_the_current_folder(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tree / "deep")
        (file,) = resolve(Product(path="a.fits"), Path("../manifest.yml"))
        assert file.is_absolute()
        assert file.samefile(tree / "a.fits")

    def test_of_a_manifest_in_a_folder_with_brackets(self, tmp_path: Path) -> None:
        folder = tmp_path / "old [1]*"
        folder.mkdir()
        (folder / "a.fits").touch()
        assert found("*.fits", folder) == ["a.fits"]

    @pytest.mark.parametrize("written", ["$DATA/a.fits", "${DATA}/a.fits", "${DATA}/a.f?ts"])
    def test_expands_variables(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch, written: str
    ) -> None:
        monkeypatch.setenv("DATA", str(tree))
        assert resolve(Product(path=written), Path("/manifest.yml")) == [tree / "a.fits"]

    def test_expands_the_home_folder(self, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tree))
        assert resolve(Product(path="~/a.fits"), Path("/manifest.yml")) == [tree / "a.fits"]

    def test_keeps_a_dollar_that_names_nothing(self, tree: Path) -> None:
        (tree / "a$.fits").touch()
        assert found("a$.fits", tree) == ["a$.fits"]

    def test_follows_links_but_not_in_circles(self, tree: Path) -> None:
        (tree / "deep" / "up").symlink_to(tree)
        (tree / "link").symlink_to(tree / "deep" / "er")
        assert "link/a.fits" in found("**/a.fits", tree)
        assert len(found("**/a.fits", tree)) < 6

    @pytest.mark.parametrize(
        ("written", "text"),
        [
            ("$NO_SUCH/a.fits", "the environment variable NO_SUCH is not set (in $NO_SUCH/a.fits); set it, or write the path out"),
            ("${NO_SUCH}/a", "the environment variable NO_SUCH is not set (in ${NO_SUCH}/a); set it, or write the path out"),
            ("$EMPTY/a", "the environment variable EMPTY is empty (in $EMPTY/a); set it, or write the path out"),
            ("~nobody-here/a", "there is no home folder for ~nobody-here; write the path out"),
            ("c.fits", "no such file: {tree}/c.fits; did you mean {tree}/b.fits or {tree}/a.fits?"),
            ("deeep/c.fits", "no such file: {tree}/deeep/c.fits; there is no folder {tree}/deeep; did you mean {tree}/deep?"),
            ("zzz/c.fits", "no such file: {tree}/zzz/c.fits; there is no folder {tree}/zzz; check the path"),
            ("a.fits/x", "no such file: {tree}/a.fits/x; there is no folder {tree}/a.fits; did you mean"),
            ("deep", "{tree}/deep is a folder; name its files, as in {tree}/deep/*.fits"),
            ("dangling.fits", "{tree}/dangling.fits is a link to nothing (nowhere); mend the link"),
            ("dang*.fits", "{tree}/dangling.fits is a link to nothing; remove it, or make the glob narrower"),
            ("pipe", "{tree}/pipe is a device or pipe; expected a file"),
            ("*.gz", "no file matches {tree}/*.gz; check it with ls"),
            ("deep/no/*.fits", "no file matches {tree}/deep/no/*.fits; there is no folder {tree}/deep/no; check the path"),
            ("deeep/**/*.fits", "no file matches {tree}/deeep/**/*.fits; there is no folder {tree}/deeep; did you mean {tree}/deep?"),
            ("fold*", "{tree}/fold* matches 1 folders or devices, but no file; add a file name to it"),
        ],
    )  # fmt: skip
    def test_that_leads_nowhere_is_told(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch, written: str, text: str
    ) -> None:
        monkeypatch.setenv("EMPTY", "")
        (tree / "dangling.fits").symlink_to("nowhere")
        os.mkfifo(tree / "pipe")
        manifest_path = tree / "manifest.yml"
        manifest_path.write_text(f"version: 1\nproducts:\n- tag: x\n  path: '{written}'\n")
        with pytest.raises(ManifestError) as caught:
            resolve_all(load_manifest(manifest_path), manifest_path)
        expected = f"{manifest_path}:4: products[0].path: " + text.replace("{tree}", str(tree))
        assert str(caught.value).startswith(expected)

    def test_through_an_unreadable_folder_is_told(
        self, tree: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Root, whom the tests may run as, is refused no folder.
        scandir = os.scandir

        def refuse(folder: str) -> object:
            if str(folder).endswith("er"):
                raise PermissionError(13, "Permission denied", folder)
            return scandir(folder)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(ManifestError, match="deep/er cannot be read: Permission denied; the"):
            found("**/a.fits", tree)


class TestARoot:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """``in`` with a file, links out of it, and one to it; a file outside."""
        inside = tmp_path / "in"
        (inside / "deep").mkdir(parents=True)
        for file in (inside / "a.fits", inside / "deep" / "b.fits", tmp_path / "out.fits"):
            file.touch()
        (inside / "link.fits").symlink_to(tmp_path / "out.fits")
        (inside / "away").symlink_to(tmp_path)
        (tmp_path / "root").symlink_to(inside)
        return tmp_path

    @staticmethod
    def files(load: Load, path: Path, root: str, *products: str) -> list[Path]:
        entries = "".join(f"- path: {product}\n" for product in products)
        manifest = load(f"version: 1\nroot: {root}\nproducts:\n{entries}")
        return [file.path for file in resolve_all(manifest, path)]

    @pytest.mark.parametrize("root", ["in", "./in", "deep/../in", "root", "$ROOT", "."])
    def test_may_be_written_in_any_way(
        self, folder: Path, load: Load, path: Path, root: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "deep").mkdir()
        monkeypatch.setenv("ROOT", str(folder / "in"))
        names = ("in/a.fits", "in/deep/../deep/*.fits")
        assert self.files(load, path, root, *names) == [
            folder / "in" / "a.fits",
            folder / "in" / "deep" / ".." / "deep" / "b.fits",
        ]
        assert self.files(load, path, root, "root/a.fits") == [folder / "root" / "a.fits"]

    @pytest.mark.parametrize(
        "product",
        ["out.fits", "in/../out.fits", "in/link.fits", "in/away/out.fits", "in/away/*.fits"],
    )
    def test_refuses_what_leads_out_of_it(
        self, folder: Path, load: Load, path: Path, product: str
    ) -> None:
        which = "" if product == "out.fits" else ", which is out.fits,"
        line = (
            f"manifest.yml:5: products[1].path: {product.replace('*', 'out')}{which} is not under "
            "the root in (line 2); name files under it, or correct the root"
        )
        for written in (product, str(folder / product)):
            with pytest.raises(ManifestError) as error:
                self.files(load, path, "in", "in/a.fits", written)
            assert told(error.value, path) == [line]

    def test_counts_what_leads_out_of_it(self, folder: Path, load: Load, path: Path) -> None:
        (folder / "in" / "zero.fits").symlink_to("/dev/null")
        (folder / "in" / "more.fits").symlink_to(folder / "out.fits")
        with pytest.raises(ManifestError, match=r"link.fits, which .* and 1 more files are not"):
            self.files(load, path, "in", "in/*.fits")

    @pytest.mark.parametrize(
        ("root", "text"),
        [
            ("none", "there is no folder none; make it, or correct the root"),
            ("out.fits", "there is no folder out.fits; make it, or correct the root"),
            ("$NOWHERE/x", "the environment variable NOWHERE is not set (in $NOWHERE/x); set it, or write the path out"),
        ],
    )  # fmt: skip
    def test_that_is_not_there_is_told_once(
        self, folder: Path, load: Load, path: Path, root: str, text: str
    ) -> None:
        with pytest.raises(ManifestError) as error:
            self.files(load, path, root, "in/a.fits", "out.fits")
        assert told(error.value, path) == [f"manifest.yml:2: root: {text}"]

    def test_whose_name_is_too_long(self, folder: Path, load: Load, path: Path) -> None:
        with pytest.raises(ManifestError, match="there is no folder"):
            self.files(load, path, "x" * 5000, "in/a.fits")


class TestAllFiles:
    def test_come_in_the_order_of_the_manifest_with_their_sizes(
        self, tree: Path, load: Load, path: Path
    ) -> None:
        manifest = load(
            "version: 1\nproducts: [{path: tree/b.fits}, {path: 'tree/deep/**/*.fits'}]"
        )
        files = resolve_all(manifest, path)
        assert [(f.product, str(f.path.relative_to(tree)), f.size) for f in files] == [
            (0, "b.fits", 6),
            (1, "deep/c.fits", 11),
            (1, "deep/er/a.fits", 14),
            (1, "deep/er/still/d.fits", 20),
        ]

    def test_have_their_mistakes_told_together(self, tree: Path, load: Load, path: Path) -> None:
        manifest = load(
            f"version: 1\nproducts:\n- path: {tree}/nope\n- path: {tree}/a.fits\n- path: $NOPE\n"
        )
        with pytest.raises(ManifestError) as caught:
            resolve_all(manifest, path)
        assert [line.split(": ")[0] for line in told(caught.value, path)] == [
            "manifest.yml:3",
            "manifest.yml:5",
        ]

    def test_may_be_named_twice_for_other_hdus_or_tables(
        self, tree: Path, load: Load, path: Path
    ) -> None:
        manifest = load(
            f"""\
            version: 1
            products:
            - {{path: {tree}/a.fits, hdus: [1]}}
            - {{path: {tree}/a.fits, hdus: [2]}}
            - {{path: {tree}/a.fits, hdus: [1], result: Corv}}
            - {{path: {tree}/a.fits, hdus: [1], spectrum: X}}
            """
        )
        assert len(resolve_all(manifest, path)) == 4

    def test_named_twice_for_the_same_are_told_once_for_two_products(
        self, tree: Path, load: Load, path: Path
    ) -> None:
        manifest = load(
            f"""\
            version: 1
            products:
            - path: {tree}/a.fits
            - path: {tree}/deep/../?.fits
            - path: {tree}/?.fits
            """
        )
        with pytest.raises(ManifestError) as caught:
            resolve_all(manifest, path)
        assert [line.replace("tree/", "") for line in told(caught.value, path)] == [
            (
                "manifest.yml:4: products[1].path: deep/../a.fits is named by products[0] (line 3), "
                "too, with the same hdus, spectrum and result; remove one of the two, or tell them "
                "apart by hdus"
            ),
            (
                "manifest.yml:5: products[2].path: a.fits is named by products[0] (line 3), too, with "
                "the same hdus, spectrum and result; remove one of the two, or tell them apart by hdus"
            ),
            (
                "manifest.yml:5: products[2].path: b.fits is named by products[1] (line 4), too, with "
                "the same hdus, spectrum and result; remove one of the two, or tell them apart by hdus"
            ),
        ]

    @pytest.mark.usefixtures("tree")
    def test_shared_by_globs_are_counted(self, load: Load, path: Path) -> None:
        manifest = load("version: 1\nproducts: [{path: 'tree/*.fits'}, {path: 'tree/**/*.fits'}]")
        with pytest.raises(ManifestError, match=r"a\.fits and 2 more files are named by products"):
            resolve_all(manifest, path)


MODULE = """\
from astra.models.pipeline import PipelineOutputMixin

class Result(PipelineOutputMixin):
    pass

class Other:
    pass

number = 3
"""


@pytest.fixture
def fresh_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the modules and folders that a test brings in."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield
    for name in ("mine", "mine.pipes", "broken", "needy", "garbled"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("fresh_imports")
class TestNames:
    def test_stand_for_models(self, load: Load, path: Path) -> None:
        from astra.models import BossVisitSpectrum, Corv

        classes = check_names(load(WHOLE), path)
        assert classes == {"Corv": Corv, "BossVisitSpectrum": BossVisitSpectrum}

    def test_may_be_absent(self, load: Load, path: Path) -> None:
        assert check_names(load(one("result: none")), path) == {}

    @pytest.mark.parametrize("where", ["manifest", "current", "installed"])
    def test_of_classes_are_imported_from(
        self, load: Load, path: Path, where: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = path.parent / where
        folder.mkdir()
        if where == "installed":
            monkeypatch.syspath_prepend(folder)
        if where == "current":
            monkeypatch.chdir(folder)
        package = (path.parent if where == "manifest" else folder) / "mine"
        package.mkdir()
        (package / "pipes.py").write_text(MODULE)
        before = list(sys.path)
        classes = check_names(load(one("result: mine.pipes:Result")), path)
        assert classes["mine.pipes:Result"].__name__ == "Result"
        added = {"manifest": [str(path.parent)], "current": [str(folder)], "installed": []}
        assert sys.path == before + added[where]

    @pytest.mark.parametrize(
        ("written", "key", "text"),
        [
            ("result: Corvv", "result", 'no result model is called "Corvv"; did you mean "Corv"? (there are '),
            ("result: Xyzzyx", "result", 'no result model is called "Xyzzyx" (there are '),
            ("result: Source", "result", "Source is no result model (there are "),
            ("spectrum: [BossVisitSpectrum, BossVisitSpectra]", "spectrum", 'no spectrum model is called "BossVisitSpectra"; did you mean "BossVisitSpectrum"'),
            ("spectrum: Corv", "spectrum", "Corv is no spectrum model (there are "),
            ("result: nowhere.at_all:X", "result", "there is no module nowhere.at_all: it is not installed, nor in "),
            ("result: mine:Reslt", "result", "{folder}/mine.py has no class \"Reslt\"; did you mean \"Result\"? (it has Other, PipelineOutputMixin, Result)"),
            ("result: mine:number", "result", '{folder}/mine.py has no class "number"'),
            ("result: mine:Other", "result", "mine:Other is no result model: derive the class from astra.models.pipeline.PipelineOutputMixin"),
            ("spectrum: mine:Result", "spectrum", "mine:Result is no spectrum model: derive the class from astra.models.spectrum.SpectrumMixin"),
            ("result: broken:X", "result", 'the module broken cannot be imported: ZeroDivisionError: division by zero; mend it until "import broken" works in Python'),
            ("result: needy:X", "result", "the module needy needs the module not_there_at_all, which is not installed"),
            ("result: garbled:X", "result", "the module garbled cannot be imported: SyntaxError: "),
        ],
    )  # fmt: skip
    def test_that_stand_for_nothing_are_told(
        self, load: Load, path: Path, written: str, key: str, text: str
    ) -> None:
        folder = path.parent
        (folder / "mine.py").write_text(MODULE)
        (folder / "broken.py").write_text("1 / 0")
        (folder / "needy.py").write_text("import not_there_at_all")
        (folder / "garbled.py").write_text("class")
        before = list(sys.path)
        manifest = load(one(written))
        with pytest.raises(ManifestError) as caught:
            check_names(manifest, path)
        expected = f"{path}:4: products[0].{key}: {text.replace('{folder}', str(folder))}"
        assert str(caught.value).startswith(expected)
        assert sys.path in (before, [*before, str(folder)])

    def test_are_told_together_each_at_its_line(self, load: Load, path: Path) -> None:
        manifest = load(
            """\
            version: 1
            defaults: {result: Corvv}
            products:
            - path: a
            - path: b
            - path: c
              result: Slamm
              spectrum: Bos
            """
        )
        with pytest.raises(ManifestError) as caught:
            check_names(manifest, path)
        assert [": ".join(line.split(": ")[:2]) for line in told(caught.value, path)] == [
            "manifest.yml:2: defaults.result",
            "manifest.yml:7: products[2].result",
            "manifest.yml:8: products[2].spectrum",
        ]


class TestTheSchema:
    def test_is_the_committed_one(self) -> None:
        assert json.loads(SCHEMA.read_text()) == json_schema(), (
            "write jobs/manifest.schema.json anew: see the docstring of jobs.manifest.schema"
        )

    def test_describes_every_key(self) -> None:
        schema = json_schema()
        keys = schema["$defs"]["Product"]["properties"]
        assert set(keys) == set(Product.model_fields)
        for entry in (*keys.values(), *schema["properties"].values()):
            assert entry["description"].endswith((".", "1."))

    def test_refuses_unknown_keys(self) -> None:
        schema = json_schema()
        for definition in (schema, *schema["$defs"].values()):
            assert definition["additionalProperties"] is False

    def test_example_is_a_manifest(self, load: Load) -> None:
        (example,) = json_schema()["examples"]
        assert len(load(json.dumps(example)).products) == 2


def test_a_position_is_immutable(load: Load) -> None:
    product = load(WHOLE).products[0]
    with pytest.raises(dataclasses.FrozenInstanceError):
        product._position.line = 3
