"""Rows that cannot be stored are set aside, whole and as they were; all others come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from astra.models import Corv, Slam, Source
from tests.fixtures.databases import Target
from tests.fixtures.expected import check_product
from tests.fixtures.jobs import SOME_FAILED, Job, read_report, says, write_manifest
from tests.fixtures.products import make_product, read_with_astropy

ROWS = 40
Change = Callable[[Any], Any]


def at(*changes: tuple[int, Any]) -> Change:
    """Return a change of single rows of a column."""

    def change(values: Any) -> Any:
        wide = values
        for row, value in changes:
            if isinstance(value, bytes):
                wide = wide.astype(f"S{max(wide.dtype.itemsize, len(value))}")
            wide[row] = value
        return wide

    return change


def wide(*changes: tuple[int, Any], dtype: str = "i8") -> Change:
    """Return the same in a column of another type."""
    return lambda values: at(*changes)(values.astype(dtype))


#: Row -> what its reason must say.
BAD = {
    3: "sdss_id: is missing, and the table needs a value",
    5: "spectrum_pk: is missing, and the table needs a value",
    7: r"lead: '\xe9t\xe9' is not text in UTF-8",
    9: r"tag: 'ab\xff' is not text in UTF-8",
    11: "n_boss_visits: 1099511627776 is out of the range of a 32-bit integer",
    12: "n_boss_visits: -2147483649 is out of the range of a 32-bit integer",
    13: "teff: 0.1 is not exactly a 32-bit float (it would be rounded)",
    14: "teff: 1e+300 is not exactly a 32-bit float (it would be rounded)",
    15: "created: 'yesterday' is not a date and time in ISO 8601",
    17: "flag_warn: is True, which the bits of the flags contradict",
    19: "status: 4294967295 is out of the range of a 32-bit integer",
    21: "task_pk: is missing, and the table needs a value",
    25: "lead: 'a\\xc3' is not text in UTF-8; created: 'now' is not a date and time in ISO 8601",
}


def bad_slam(folder: Path, name: str = "bad.fits") -> Path:
    """Write a Slam product with the rows that `BAD` lists, and some that only look bad."""
    return make_product(
        folder,
        "astraAllStarSlam",
        "DR20",
        ROWS,
        name=name,
        values={
            "sdss_id": at((3, -1)),
            "spectrum_pk": at((5, -1), (30, 2**53 + 1)),
            "lead": at((7, b"\xe9t\xe9"), (25, b"a\xc3"), (31, "naïve".encode())),
            "tag": at((9, b"ab\xff"), (32, b"ab\0\xff")),
            "n_boss_visits": wide((11, 2**40), (12, -(2**31) - 1), (33, -(2**31)), (34, 2**31 - 1)),
            "teff": wide((13, 0.1), (14, 1e300), (35, 0.5), (36, np.inf), (37, np.nan), dtype="f8"),
            "created": at((15, b"yesterday"), (25, b"now")),
            "result_flags": 0,
            "flag_warn": lambda old: np.arange(len(old)) == 17,
            "flag_bad": lambda old: np.zeros(len(old), dtype=bool),
            "status": lambda old: at((19, 2**31 - 1))(np.full_like(old, 4 - 2**31)),
            "task_pk": at((21, -1)),
        },
        formats={"n_boss_visits": "K", "teff": "D"},
        column_cards={"status": {"TZERO": 2**31, "TSCAL": 1}},
    )


def rows_beyond(text: Mapping[int, str]) -> list[int]:
    return [row for row in range(ROWS) if row not in text]


def check_rejects(
    report: Mapping[str, Any], path: Path, bad: Mapping[int, str], hdu: int = 1
) -> Path:
    """Check the file of rejected rows against the product, as astropy reads both."""
    rejects = Path(report["products"][0]["rejects"])
    with fits.open(rejects) as file:
        assert [type(each) for each in file] == [fits.PrimaryHDU, fits.BinTableHDU]
        assert file[1].verify_checksum() in (1, 2)
    aside = read_with_astropy(rejects)
    whole = read_with_astropy(path, hdu)
    assert list(aside) == [*whole, "HDU", "ROW", "REASON", "FILE"]
    assert aside["ROW"].tolist() == sorted(bad)
    assert aside["HDU"].tolist() == [hdu] * len(bad)
    assert {Path(name.decode()) for name in aside["FILE"]} == {path}
    for row, reason in zip(aside["ROW"].tolist(), aside["REASON"].tolist(), strict=True):
        assert bad[row] in reason.decode()
    for name, values in whole.items():
        assert aside[name].dtype == values.dtype
        assert aside[name].tobytes() == values[sorted(bad)].tobytes(), name
    return rejects


def test_rows_that_do_not_fit_are_set_aside_as_they_were(job: Job, tmp_path: Path) -> None:
    path = bad_slam(tmp_path)

    report = job.ingest({"path": path}, batch_rows=16)

    assert report["status"] == "rejects"
    counts = report["totals"]
    assert counts["rejected"] == len(BAD)
    assert counts["inserted"] == counts["read"] - len(BAD) == ROWS - len(BAD)
    check_rejects(report, path, BAD)
    keep = rows_beyond(BAD)
    check_product(job.target, path, "astraAllStarSlam", keep=keep)
    assert len(job.target.table(Source)["pk"]) == len(keep)


def test_a_mended_file_of_rejects_is_a_product_of_its_own(job: Job, tmp_path: Path) -> None:
    path = bad_slam(tmp_path)
    first = job.ingest({"path": path})
    rejects = check_rejects(first, path, BAD)
    whole = read_with_astropy(make_product(tmp_path, "astraAllStarSlam", "DR20", ROWS))
    with fits.open(rejects, mode="update", character_as_bytes=True) as file:
        rows = file[1].data["ROW"]
        for name in (
            "sdss_id",
            "spectrum_pk",
            "n_boss_visits",
            "task_pk",
            "lead",
            "created",
            "tag",
        ):
            file[1].data[name] = whole[name][rows]
        file[1].data["teff"] = np.round(file[1].data["teff"].clip(0, 9000))
        file[1].data["flag_warn"] = False
        file[1].data["status"] = 0

    second = job.ingest({"path": rejects})

    assert second["status"] == "done", second
    assert second["totals"]["inserted"] == len(BAD)
    assert len(job.target.table(Slam)["task_pk"]) == ROWS
    check_product(job.target, rejects, "astraAllStarSlam")


def test_rejects_can_be_rejected_again(job: Job, tmp_path: Path) -> None:
    path = bad_slam(tmp_path)
    first = job.ingest({"path": path})

    second = job.ingest({"path": first["products"][0]["rejects"]})

    assert second["totals"]["rejected"] == second["totals"]["read"] == len(BAD)
    again = read_with_astropy(Path(second["products"][0]["rejects"]))
    assert list(again)[-4:] == ["HDU", "ROW", "REASON", "FILE"]
    assert len(set(again)) == len(read_with_astropy(path)) + 4
    assert again["ROW"].tolist() == list(range(len(BAD)))


@pytest.mark.parametrize("name", ["bad.fits", "bad.fits.gz"])
def test_the_command_says_what_was_set_aside(target: Target, tmp_path: Path, name: str) -> None:
    path = bad_slam(tmp_path)
    if name.endswith(".gz"):
        import gzip

        packed = tmp_path / name
        packed.write_bytes(gzip.compress(path.read_bytes()))
        path = packed
    if target.kind == "postgres":
        target.migrate()

    done = target.ingest(write_manifest(tmp_path, {"path": path}), "--report", tmp_path / "r.json")

    says(done, SOME_FAILED)
    report = read_report(tmp_path / "r.json")
    assert f"{len(BAD)} rejected" in done.stdout
    assert report["products"][0]["rejects"] in done.stdout
    assert sum(report["products"][0]["reasons"].values()) == len(BAD)
    check_rejects(report, path, BAD)
    if target.kind == "postgres":
        log = done.stdout + done.stderr + (tmp_path / "r.json").read_text()
        assert target.password not in log  # type: ignore[attr-defined]


def test_of_rows_with_one_key_the_last_one_wins(job: Job, tmp_path: Path) -> None:
    keys = lambda old: np.where(np.arange(ROWS) % 4 == 1, np.roll(old, 1), old)  # noqa: E731
    path = make_product(
        tmp_path, "astraAllStarSlam", "DR20", ROWS, values={"spectrum_pk": keys, "sdss_id": keys}
    )
    last = [row for row in range(ROWS) if row % 4 != 0]

    report = job.ingest({"path": path})

    assert report["status"] == "done"
    assert report["totals"]["duplicates"] == ROWS // 4
    assert report["totals"]["inserted"] == len(last)
    check_product(job.target, path, "astraAllStarSlam", keep=last)


def test_a_later_chunk_overwrites_an_earlier_one(job: Job, tmp_path: Path) -> None:
    keys = lambda old: np.where(np.arange(len(old)) == 30, old[2], old)  # noqa: E731
    path = make_product(
        tmp_path,
        "astraAllStarSlam",
        "DR20",
        ROWS,
        values={"spectrum_pk": keys, "sdss_id": keys, "run2d": b"v6_1_3", "telescope": b"apo25m"},
    )

    report = job.ingest({"path": path}, batch_rows=10)

    assert report["totals"]["inserted"] == ROWS - 1
    assert report["totals"]["updated"] == 1
    table = job.target.table(Slam)
    astropy = read_with_astropy(path)
    row = table["spectrum_pk"].index(int(astropy["spectrum_pk"][30]))
    assert table["teff"][row] == astropy["teff"][30]
    # But the key and the time of its first coming stay.
    assert table["task_pk"][row] == astropy["task_pk"][2]


def test_infinity_and_all_kinds_of_nothing_are_no_reason_to_reject(
    job: Job, tmp_path: Path
) -> None:
    path = make_product(
        tmp_path,
        "astraAllVisitCorv",
        "DR20",
        ROWS,
        values={
            "teff": np.inf,
            "logg": -np.inf,
            "rchi2": np.nan,
            "plateid": -1,
            "mapid": lambda old: np.where(np.arange(len(old)) % 3 == 0, 7, old),
            "spec_file": b"",
            "delta_ra": np.full((ROWS, 18), np.nan),
        },
        column_cards={"mapid": {"TNULL": 7}},
    )

    report = job.ingest({"path": path})

    assert report["status"] == "done"
    check_product(job.target, path, "astraAllVisitCorv", keep=range(ROWS), skip=())
    assert set(job.target.table(Corv)["rchi2"]) == {None}


def test_too_many_rejects_end_a_product_but_not_the_job(job: Job, tmp_path: Path) -> None:
    bad = bad_slam(tmp_path)
    good = make_product(tmp_path, "astraAllVisitCorv", "DR20", 5)

    report = job.ingest({"path": bad, "max_rejects": 3}, {"path": good}, batch_rows=8)

    assert report["status"] == "rejects"
    first, second = report["products"]
    assert "max_rejects" in first["error"]
    assert first["counts"]["read"] < ROWS
    assert second["counts"]["inserted"] == 5


def test_a_dry_run_rejects_the_same_rows_and_writes_none(job: Job, tmp_path: Path) -> None:
    path = bad_slam(tmp_path)

    report = job.ingest({"path": path}, dry_run=True)

    assert report["totals"]["rejected"] == len(BAD)
    check_rejects(report, path, BAD)
    assert job.target.table(Slam)["task_pk"] == job.target.table(Source)["pk"] == []
