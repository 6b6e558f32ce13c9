"""The reader of FITS tables, against astropy's writer and hand-made damage."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from astra.errors import ProductError
from jobs.fits import FitsFile, column_values, read_rows, read_structure

PATH = Path("a.fits")


def structure(hdus: list[Any]) -> tuple[bytes, FitsFile]:
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(out)
    content = out.getvalue()
    return content, read_structure(PATH, io.BytesIO(content), len(content))


def values_of(tmp_path: Path, content: bytes, file: FitsFile, name: str) -> Any:
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    (table,) = file.tables
    names = [column.name for column in table.columns]
    with path.open("rb") as stream:
        rows = read_rows(stream.fileno(), path, table, 0, table.rows)
    index = names.index(name)
    return column_values(rows, index, table.columns[index])


COLUMNS = {
    "logical": ("L", np.array([True, False, True])),
    "byte": ("B", np.array([0, 255, 7], dtype="u1")),
    "short": ("I", np.array([-(2**15), 2**15 - 1, 0], dtype="i2")),
    "int": ("J", np.array([-(2**31), 2**31 - 1, 0], dtype="i4")),
    "long": ("K", np.array([-(2**63), 2**63 - 1, 0], dtype="i8")),
    "float": ("E", np.array([np.inf, -0.0, 1e-45], dtype="f4")),
    "double": ("D", np.array([np.inf, -0.0, 5e-324], dtype="f8")),
    "vector": ("3E", np.arange(9, dtype="f4").reshape(3, 3)),
    "ushort": ("I", np.array([0, 2**16 - 1, 5], dtype="u2")),
    "uint": ("J", np.array([0, 2**32 - 1, 5], dtype="u4")),
    "ulong": ("K", np.array([0, 2**64 - 1, 5], dtype="u8")),
    "sbyte": ("B", np.array([-128, 127, -1], dtype="i1")),
}
ZEROS = {"ushort": 2**15, "uint": 2**31, "ulong": 2**63, "sbyte": -128}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_mean_what_astropy_wrote(tmp_path: Path, name: str) -> None:
    form, array = COLUMNS[name]
    column = fits.Column(name, form, array=array, bzero=ZEROS.get(name))
    content, file = structure([fits.BinTableHDU.from_columns([column])])

    found = values_of(tmp_path, content, file, name)

    assert found.values.tolist() == array.tolist()
    assert found.null is None


def test_text_lies_as_it_was_written(tmp_path: Path) -> None:
    column = fits.Column("text", "5A", array=np.array([b"abc", b"", b"abcde"]))
    content, file = structure([fits.BinTableHDU.from_columns([column])])

    assert values_of(tmp_path, content, file, "text").values.tolist() == [b"abc", b"", b"abcde"]


def test_scaled_and_null_integers(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns(
        [fits.Column("n", "J", array=np.array([1, -99, 3], dtype="i4"))]
    )
    table.header.update({"TSCAL1": 0.5, "TZERO1": 10.0, "TNULL1": -99})
    content, file = structure([table])

    found = values_of(tmp_path, content, file, "n")

    assert found.values[[0, 2]].tolist() == [10.5, 11.5]
    assert found.null is not None
    assert found.null.tolist() == [False, True, False]
    assert found.grid == (0.5, 10.0)


def test_tables_are_found_between_images_by_number_and_name() -> None:
    column = fits.Column("n", "J", array=np.arange(3))
    table = fits.BinTableHDU.from_columns([column], name="BOSS/APO")
    _, file = structure(
        [fits.ImageHDU(np.zeros((7, 5))), table, fits.CompImageHDU(np.zeros((20, 20)))]
    )

    assert [each.number for each in file.tables] == [2]
    assert file.table(2) is file.table("BOSS/APO") is file.tables[0]
    assert file.table(1) is file.table("boss") is None
    assert file.tables[0].label == "HDU 2 (BOSS/APO)"
    assert [number for number, _ in file.others] == [0, 1, 3]


def test_values_of_cards() -> None:
    primary = fits.PrimaryHDU()
    for key, value in {
        "TEXT": "it's", "YES": True, "NO": False, "INT": -5, "FLOAT": 1.5e-3, "EMPTY": "",
    }.items():  # fmt: skip
        primary.header[key] = (value, "a comment / with a slash")
    primary.header["NOTHING"] = None
    out = io.BytesIO()
    primary.writeto(out)
    file = read_structure(PATH, io.BytesIO(out.getvalue()), len(out.getvalue()))

    cards = file.primary
    assert [cards[key] for key in ("TEXT", "YES", "NO", "INT", "FLOAT", "EMPTY")] == [
        "it's", True, False, -5, 1.5e-3, "",
    ]  # fmt: skip
    assert cards["NOTHING"] is None


def one_table(rows: int = 100) -> bytes:
    column = fits.Column("n", "J", array=np.arange(rows))
    content, _ = structure([fits.BinTableHDU.from_columns([column])])
    return content


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kept", [0, 1, 100, 2879, 2880, 4000, 5760, 5761, 6159])
def test_a_cut_is_found_wherever_it_is(kept: int, *, compressed: bool) -> None:
    content = one_table()[:kept]
    if kept in (2880,):  # a whole primary HDU, which may be all
        assert read_structure(PATH, io.BytesIO(content), kept).tables == ()
        return
    with pytest.raises(ProductError, match=r"cut short|empty|not a FITS file"):
        read_structure(PATH, io.BytesIO(content), None if compressed else kept)


def test_padding_that_is_missing_is_no_loss() -> None:
    content = one_table()[: 5760 + 400]

    file = read_structure(PATH, io.BytesIO(content), len(content))

    assert file.tables[0].rows == 100


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"NAXIS1  =                    4", b"NAXIS1  =                    5", "NAXIS1 is 5"),
        (b"NAXIS2  =                  100", b"NAXIS2  =                 -100", "NAXIS2"),
        (b"NAXIS2  =                  100", b"NAXIS2  =                  'a'", "NAXIS2"),
        (b"NAXIS2  =                  100", b"NAXIS2  =          99999999999", "cut short"),
        (b"NAXIS   =                    2", b"NAXIS   =           1000000000", "NAXIS"),
        (b"BITPIX  =                    8", b"BITPIX  =                    9", "BITPIX"),
        (b"TFIELDS =                    1", b"TFIELDS =                 1000", "TFIELDS"),
        (b"TFIELDS =                    1", b"TFIELDS =                    2", "TFORM2"),
        (b"TFORM1  = 'J       '", b"TFORM1  = '?       '", "TFORM1"),
        (b"TFORM1  = 'J       '", b"TFORM1  =          3", "TFORM1"),
        (b"XTENSION= 'BINTABLE'", b"XTENSIOM= 'BINTABLE'", "no HDU"),
    ],
)
def test_a_header_that_contradicts_itself_is_told(old: bytes, new: bytes, said: str) -> None:
    content = one_table()
    assert content[2880:].count(old) == 1
    content = content[:2880] + content[2880:].replace(old, new)

    with pytest.raises(ProductError, match=said):
        read_structure(PATH, io.BytesIO(content), len(content))


def test_a_header_without_end_is_given_up() -> None:
    content = b"SIMPLE  =                    T".ljust(2880) + b" " * 2880 * 6000

    with pytest.raises(ProductError, match=r"END"):
        read_structure(PATH, io.BytesIO(content), len(content))


def test_a_file_that_became_shorter_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(one_table())
    with path.open("rb") as stream:
        table = read_structure(path, stream, path.stat().st_size).tables[0]
        path.write_bytes(one_table()[:5800])
        with path.open("rb") as shorter, pytest.raises(ProductError, match="row 10"):
            read_rows(shorter.fileno(), path, table, 0, table.rows)
