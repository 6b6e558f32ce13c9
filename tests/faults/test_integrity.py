"""Files that are not what was written, and more bad rows than are allowed, in whole jobs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits

from tests.fixtures.faults import BATCH, PRODUCTS, REJECTED, ROWS, Scene, check_ledger
from tests.fixtures.jobs import DONE, SOME_FAILED, read_report


def sign(path: Path) -> None:
    """Give every HDU of a product its CHECKSUM and DATASUM."""
    with fits.open(path, mode="update", checksum=True) as file:
        for hdu in file:
            hdu.add_checksum()


def spoil(path: Path, *, header: bool) -> None:
    """Change a bit of the first table: of its last row, or of a comment in its header."""
    with fits.open(path) as file:
        place = file.fileinfo(1)
        size = file[1].header["NAXIS1"] * file[1].header["NAXIS2"]
    content = bytearray(path.read_bytes())
    at = content.index(b"DATASUM ", place["hdrLoc"]) + 60 if header else place["datLoc"] + size - 1
    content[at] ^= 1
    path.write_bytes(content)


def ask(scene: Scene) -> dict[str, Any]:
    """Return what `astra status` says of the first product."""
    shown = scene.target.run("status", scene.manifest, "--json")
    found: dict[str, Any] = json.loads(shown.stdout)
    return found["files"][0]


@pytest.mark.parametrize("header", [False, True], ids=["data", "header"])
def test_a_file_that_is_not_what_was_written(scene: Scene, header: bool) -> None:
    path = scene.path()
    for product in PRODUCTS:
        sign(scene.path(product))
    spoil(path, header=header)

    said = scene.start().end(SOME_FAILED)

    wrong = (
        "the header is not what was written: CHECKSUM does not agree with it"
        if header
        else "the data are not what was written: DATASUM is"
    )
    assert f"{path} HDU 1" in said
    assert wrong in said
    assert "set `verify: false` in the manifest" in said
    report = read_report(scene.report)
    assert list(report["failed_files"]) == [str(path)]
    assert [product["counts"]["read"] for product in report["products"]] == [0, ROWS]
    assert scene.target.fetch("SELECT count(*) FROM {schema}slam") == [(0,)]
    file = ask(scene)
    assert (file["state"], file["done"]) == ("failed", 0)
    assert wrong in file["error"]

    scene.manifest.write_text(scene.manifest.read_text() + "defaults: {verify: false}\n")
    scene.start().end(DONE)

    assert scene.target.fetch("SELECT count(*) FROM {schema}slam") == [(ROWS,)]
    check_ledger(scene.target)


def test_more_bad_rows_than_are_allowed(odd_scene: Scene) -> None:
    scene, whole = odd_scene, odd_scene.manifest.read_text()
    scene.manifest.write_text(whole + "defaults: {max_rejects: 2}\n")

    said = scene.start().end(SOME_FAILED)

    # The third of the bad rows ends the product after its chunk.
    read = (REJECTED[2] // BATCH + 1) * BATCH
    report = read_report(scene.report)
    product, other = report["products"]
    assert (product["counts"]["read"], product["counts"]["rejected"]) == (read, 3)
    assert product["reasons"] == {"task_pk: is missing, and the table needs a value": 3}
    assert report["failed_files"] == {str(scene.path()): product["error"]}
    assert product["error"] in said
    assert product["error"] == (
        "more than 2 rows were set aside (max_rejects), so the rest was left: "
        "3 x task_pk: is missing, and the table needs a value"
    )
    assert other["counts"]["inserted"] == ROWS
    file = ask(scene)
    assert (file["state"], file["error"]) == ("failed", product["error"])
    assert {name: file[name] for name in product["counts"] if name != "read"} == {
        name: number for name, number in product["counts"].items() if name != "read"
    }
    assert file["done"] == read

    scene.manifest.write_text(whole)
    scene.finish()
    scene.check()
