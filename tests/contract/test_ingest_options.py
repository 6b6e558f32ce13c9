"""Each key of a manifest does what the README says it does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astra.models import (
    BossCombinedSpectrum,
    BossNet,
    BossVisitSpectrum,
    Corv,
    Slam,
    SnowWhite,
    Source,
    Spectrum,
)
from tests.fixtures.databases import Target
from tests.fixtures.expected import check_product, check_table, stored_as
from tests.fixtures.jobs import DONE, WRONG_INPUT, Job, says, write_manifest
from tests.fixtures.processes import clean_environment
from tests.fixtures.products import make_product, read_with_astropy

ROWS = 30
SLAM = "astraAllStarSlam"


def column(job: Job, model: Any, name: str) -> list[Any]:
    return job.target.table(model)[name]


# -- sources and spectra -----------------------------------------------------------------------


def test_create_leaves_a_source_that_is_there_and_ties_rows_to_it(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, SLAM, "DR20", ROWS)
    fits = read_with_astropy(path)
    # The file says that sources have other keys: this database gave them out on its own.
    taken = {int(fits["sdss_id"][4]): int(fits["source"][9]), int(fits["sdss_id"][9]): 10**12}
    for sdss_id, pk in taken.items():
        Source.insert(pk=pk, sdss_id=sdss_id, ra=1.5).execute()

    report = job.ingest({"path": path, "sources": "create"})

    assert report["totals"]["inserted"] == ROWS
    sources = job.target.table(Source)
    pk = dict(zip(sources["sdss_id"], sources["pk"], strict=True))
    assert {sdss_id: pk[sdss_id] for sdss_id in taken} == taken
    assert len(set(pk.values())) == len(pk)
    ra = dict(zip(sources["sdss_id"], sources["ra"], strict=True))
    for row, sdss_id in enumerate(fits["sdss_id"].tolist()):
        assert ra[sdss_id] == (1.5 if sdss_id in taken else fits["ra"][row])
    # The file's key is kept where nothing else has it.
    free = [s for row, s in enumerate(fits["sdss_id"].tolist()) if row not in (4, 9)]
    wanted = dict(zip(fits["sdss_id"].tolist(), fits["source"].tolist(), strict=True))
    assert all(pk[sdss_id] == wanted[sdss_id] for sdss_id in free)
    for model in (BossCombinedSpectrum, Slam):
        table = job.target.table(model)
        rows = [table["spectrum_pk"].index(key) for key in fits["spectrum_pk"].tolist()]
        check_table(table, rows, "source_pk", [pk[s] for s in fits["sdss_id"].tolist()])


def test_update_overwrites_a_source_but_for_its_key(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, SLAM, "DR20", ROWS)
    sdss_id = int(read_with_astropy(path)["sdss_id"][3])
    Source.insert(pk=10**12, sdss_id=sdss_id, ra=1.5, carton_0="mws").execute()

    job.ingest({"path": path, "sources": "update"})

    source = Source.get(sdss_id=sdss_id)
    assert source.pk == 10**12
    assert source.ra == read_with_astropy(path)["ra"][3]
    assert source.carton_0 == "mws"  # the file says nothing of it
    check_product(job.target, path, SLAM)


def test_require_sets_rows_without_a_source_aside(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, SLAM, "DR20", ROWS)
    for sdss_id in read_with_astropy(path)["sdss_id"][:20].tolist():
        Source.create(sdss_id=sdss_id)

    report = job.ingest({"path": path, "sources": "require"}, batch_rows=7)

    assert report["totals"]["rejected"] == 10
    assert report["totals"]["inserted"] == 20
    aside = read_with_astropy(Path(report["products"][0]["rejects"]))
    assert aside["ROW"].tolist() == list(range(20, 30))
    assert b"is not in the table of sources (sources: require)" in aside["REASON"][0]
    assert len(column(job, Source, "pk")) == len(column(job, Slam, "task_pk")) == 20
    assert len(column(job, Spectrum, "pk")) == 20  # nothing of a rejected row is written


def test_spectra_create_update_and_require(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, SLAM, "DR20", ROWS)
    fits = read_with_astropy(path)
    job.ingest({"path": path, "hdus": [1]})
    changed = make_product(
        tmp_path, SLAM, "DR20", ROWS, name="changed.fits", values={"snr": 7.0, "min_mjd": -1}
    )

    job.ingest({"path": changed, "spectra": "create"})
    assert column(job, BossCombinedSpectrum, "snr") == stored_as(
        fits["snr"], BossCombinedSpectrum.snr
    )

    before = job.target.table(BossCombinedSpectrum)
    job.ingest({"path": changed, "spectra": "update"})
    after = job.target.table(BossCombinedSpectrum)
    assert set(after["snr"]) == {7.0}
    assert set(after["min_mjd"]) == {None}
    assert after["pk"] == before["pk"]
    assert after["created"] == before["created"]

    other = make_product(tmp_path, SLAM, "DR20", ROWS + 2, name="other.fits")
    report = job.ingest({"path": other, "spectra": "require"})
    assert report["totals"]["updated"] == ROWS
    assert report["totals"]["rejected"] == 2
    aside = read_with_astropy(Path(report["products"][0]["rejects"]))
    assert b"(spectra: require)" in aside["REASON"][0]


def test_a_spectrum_of_another_source_is_not_taken_for_this_one(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, SLAM, "DR20", ROWS)
    job.ingest({"path": path})
    other = make_product(
        tmp_path, SLAM, "DR20", ROWS, name="other.fits", values={"sdss_id": lambda old: old + 1000}
    )

    report = job.ingest({"path": other})

    assert report["totals"]["rejected"] == ROWS
    check_product(job.target, path, SLAM)
    assert len(column(job, Source, "pk")) == ROWS


# -- v_astra, tag ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "card", "stored"),
    [
        ({}, "0.8.1", 8001),  # the column, which the file has
        ({"v_astra": "1.2.3"}, "0.8.1", 1002003),
        ({"v_astra": 8002}, "0.8.1", 8002),
    ],
)
def test_the_manifests_version_wins_over_the_column(
    job: Job, tmp_path: Path, key: dict[str, Any], card: str, stored: int
) -> None:
    path = make_product(tmp_path, "astraAllVisitCorv", "DR20", 3, cards={"V_ASTRA": card})

    job.ingest({"path": path, **key})

    assert column(job, Corv, "v_astra") == [stored] * 3
    assert column(job, Corv, "v_astra_major_minor") == [stored // 1000] * 3


def test_without_a_column_the_cards_tell_the_version_and_else_the_package(
    job: Job, tmp_path: Path
) -> None:
    from astra import __version__
    from astra.utils import version_string_to_integer

    # The text v_astra of a Slam file is the combined spectrum's.
    path = make_product(tmp_path, SLAM, "DR20", 3, cards={"V_ASTRA": "0.7.9"})
    job.ingest({"path": path})
    assert column(job, Slam, "v_astra") == [7009] * 3
    assert set(column(job, BossCombinedSpectrum, "v_astra")) == {"0.8.1"}
    job.clear()

    path = make_product(tmp_path, SLAM, "DR20", 3, cards={"V_ASTRA": None})
    job.ingest({"path": path})
    assert column(job, Slam, "v_astra") == [8001] * 3  # the primary header's
    job.clear()

    path.write_bytes(path.read_bytes().replace(b"V_ASTRA =", b"OTHER   =", 1))
    job.ingest({"path": path})
    assert column(job, Slam, "v_astra") == [version_string_to_integer(__version__)] * 3


def test_a_tag_is_for_rows_that_have_none(job: Job, tmp_path: Path) -> None:
    tags = np.array([b"own", b"", b" "])
    path = make_product(tmp_path, SLAM, "DR20", 3, values={"tag": tags})

    job.ingest({"path": path, "tag": "dr20 é"})

    assert column(job, Slam, "tag") == ["own", "dr20 é", "dr20 é"]


def test_without_a_tag_it_is_empty(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, SLAM, "DR20", 3, drop=["tag"])

    job.ingest({"path": path})

    assert column(job, Slam, "tag") == [""] * 3


# -- columns -----------------------------------------------------------------------------------


def test_columns_gives_fields_their_columns(job: Job, tmp_path: Path) -> None:
    renamed = {"teff": "TEFF_RAW", "snr": "S/N", "sdss_id": "SDSS_IDENT"}
    path = make_product(tmp_path, SLAM, "DR20", ROWS, rename=renamed)

    report = job.ingest({"path": path, "columns": renamed})

    assert report["status"] == "done"
    check_product(job.target, path, SLAM, renamed=renamed)


def test_ignored_and_new_columns_leave_no_trace(job: Job, tmp_path: Path) -> None:
    path = make_product(
        tmp_path,
        SLAM,
        "DR20",
        ROWS,
        add={"brand_new": np.arange(ROWS), "newer": np.ones((ROWS, 3))},
    )

    job.ingest({"path": path, "ignore": ["teff", "brand_new"], "new_columns": "ignore"})

    assert column(job, Slam, "teff") == [None] * ROWS
    check_product(job.target, path, SLAM, skip=["teff"])


def test_an_ignored_column_that_only_some_files_have_is_in_no_tasks_way(
    job: Job, tmp_path: Path
) -> None:
    extra = {"brand_new": np.arange(ROWS)}
    make_product(tmp_path, SLAM, "DR20", ROWS, name="a.fits", add=extra)
    entry = {"path": tmp_path / "?.fits", "ignore": ["brand_new"]}
    first = job.ingest(entry)
    make_product(tmp_path, SLAM, "DR20", ROWS, name="b.fits", first=ROWS)

    rest = job.ingest(entry)  # of which only the second is to be checked
    shares = [job.ingest(entry, shard=(index, 2), force=True) for index in (0, 1)]

    assert first["totals"]["inserted"] == rest["totals"]["inserted"] == ROWS
    assert [share["totals"]["updated"] for share in shares] == [ROWS, ROWS]


def test_names_of_columns_may_be_in_capitals(job: Job, tmp_path: Path) -> None:
    from jobs.datamodel import layout

    capitals = {c.name: c.name.upper() for c in layout(SLAM, "DR20").hdus[0].columns}
    path = make_product(tmp_path, SLAM, "DR20", ROWS, rename=capitals)

    report = job.ingest({"path": path})

    assert report["status"] == "done"
    check_product(job.target, path, SLAM, renamed=capitals)


# -- which rows, which tables ------------------------------------------------------------------


@pytest.mark.parametrize("hdus", [[1], ["BOSS"], None])
def test_hdus_by_number_and_by_name(job: Job, tmp_path: Path, hdus: list[Any] | None) -> None:
    path = make_product(
        tmp_path, SLAM, "DR20", ROWS, hdus={1: ROWS, 2: 4}, cards={"EXTNAME": "BOSS"}
    )

    report = job.ingest({"path": path, **({"hdus": hdus} if hdus else {})})

    assert report["totals"]["read"] == ROWS + (0 if hdus else 4)
    check_product(job.target, path, SLAM)


def test_an_hdu_without_rows_is_none_of_the_jobs_business(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, SLAM, "DR20", 0)

    report = job.ingest({"path": path})

    assert report["status"] == "done"
    assert report["totals"]["read"] == 0


def test_result_none_fills_sources_and_spectra_alone(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, "mwmAllStar", "DR20", ROWS)

    report = job.ingest({"path": path, "result": "none"})

    assert report["status"] == "done"
    assert report["totals"]["inserted"] == len(column(job, BossCombinedSpectrum, "pk")) == ROWS
    assert len(column(job, Source, "pk")) == ROWS
    assert report["products"][0]["table"] == "boss_combined_spectrum"


def test_the_result_may_be_named_where_the_card_lies(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, SLAM, "DR20", ROWS, cards={"PIPELINE": "Mystery"})

    report = job.ingest({"path": path, "result": "slam", "spectrum": "BossCombinedSpectrum"})

    assert report["status"] == "done"
    check_product(job.target, path, SLAM)


def test_a_product_without_stars_is_tied_to_those_that_are_there(job: Job, tmp_path: Path) -> None:
    rows = make_product(tmp_path, SLAM, "DR20", ROWS)
    job.ingest({"path": make_product(tmp_path, "astraAllStarBossNet", "DR20", ROWS)})
    pk = dict(zip(*(column(job, Source, name) for name in ("sdss_id", "pk")), strict=True))
    fits = read_with_astropy(rows)
    keep = {"spectrum_pk", "teff", "source_pk", "result_flags", "flag_warn", "flag_bad", "v_astra"}
    bare = make_product(
        tmp_path,
        SLAM,
        "DR20",
        ROWS,
        name="bare.fits",
        values={"source_pk": [pk[int(s)] for s in fits["sdss_id"]]},
        drop=[name for name in fits if name not in keep],
    )

    report = job.ingest({"path": bare})

    assert report["status"] == "done", report
    table = job.target.table(Slam)
    at = [table["spectrum_pk"].index(int(key)) for key in fits["spectrum_pk"]]
    check_table(table, at, "teff", stored_as(fits["teff"], Slam.teff))
    check_table(table, at, "source_pk", [pk[int(s)] for s in fits["sdss_id"]])


# -- files of one star -------------------------------------------------------------------------


def star_files(folder: Path, count: int = 5) -> list[Path]:
    """Write a file for each of some stars: one BOSS spectrum from either observatory."""
    return [
        make_product(
            folder, "astraStarSnowWhite", "DR20", 0, name=f"astraStarSnowWhite-0.8.1-{n}.fits",
            hdus={1: 1, 2: n % 2}, first=n,
        )
        for n in range(count)
    ]  # fmt: skip


def test_files_of_single_stars_fill_one_chunk(target: Target, tmp_path: Path) -> None:
    folder = tmp_path / "stars"
    folder.mkdir()
    files = star_files(folder)
    if target.kind == "postgres":
        target.migrate()

    done = target.ingest(write_manifest(tmp_path, {"path": "stars/astraStar*.fits"}))

    says(done, DONE)
    results, sources = target.table(SnowWhite), target.table(Source)
    assert len(set(results["modified"])) == 2  # times of transactions: one for each HDU
    assert len(sources["pk"]) == len(files)
    spectra = target.table(BossCombinedSpectrum)
    checked = 0
    for path in files:
        from astropy.io import fits as astropy_fits

        sdss_id = astropy_fits.getheader(path)["SDSS_ID"]
        source_pk = sources["pk"][sources["sdss_id"].index(sdss_id)]
        for hdu in (1, 2):
            fits = read_with_astropy(path, hdu)
            for row in range(len(fits["teff"])):
                key = "spectrum_pk_id" if "spectrum_pk_id" in fits else "spectrum_pk"
                at = results["spectrum_pk"].index(int(fits[key][row]))
                check_table(
                    results, [at], "teff", stored_as(fits["teff"][row : row + 1], SnowWhite.teff)
                )
                assert results["source_pk"][at] == source_pk
                assert spectra["spectrum_pk"].count(int(fits[key][row])) == 1
                checked += 1
    assert checked == len(files) + len(files) // 2 == len(results["task_pk"])


# -- a model of one's own ----------------------------------------------------------------------

OWN_MODEL = """
from astra.fields import BitField, FloatField, TextField
from astra.models.pipeline import PipelineOutputMixin


class Comet(PipelineOutputMixin):
    teff = FloatField(null=True)
    note = TextField(null=True)
    result_flags = BitField()
"""


def test_a_model_of_ones_own_has_its_own_table(target: Target, tmp_path: Path) -> None:
    (tmp_path / "my_pipeline.py").write_text(OWN_MODEL)
    path = make_product(
        tmp_path,
        SLAM,
        "DR20",
        ROWS,
        add={"note": np.array([f"star {n}" for n in range(ROWS)])},
        cards={"PIPELINE": "Comet"},
    )
    manifest = write_manifest(
        tmp_path, {"path": path, "result": "my_pipeline:Comet", "new_columns": "ignore"}
    )
    if target.kind == "postgres":
        target.migrate()
        says(target.ingest(manifest), WRONG_INPUT, "tables are missing", "comet")
        make = "from my_pipeline import Comet; Comet.create_table()"
        subprocess.run(
            [sys.executable, "-c", make],
            env=clean_environment(tmp_path / "home", **target.owner_env),
            cwd=tmp_path,
            check=True,
        )

    says(target.ingest(manifest), DONE)

    rows = target.fetch(
        "SELECT c.note, c.teff, c.v_astra_major_minor, s.sdss_id FROM {schema}comet c "
        "JOIN {schema}source s ON s.pk = c.source_pk ORDER BY c.task_pk"
    )
    fits = read_with_astropy(path)
    assert [row[0] for row in rows] == [f"star {n}" for n in range(ROWS)]
    teff = [None if row[1] is None else np.float32(row[1]) for row in rows]
    assert teff == [None if np.isnan(value) else value for value in fits["teff"]]
    assert {row[2] for row in rows} == {8}
    assert [row[3] for row in rows] == fits["sdss_id"].tolist()


def test_defaults_and_several_products(target: Target, tmp_path: Path) -> None:
    make_product(tmp_path, SLAM, "DR20", 5)
    make_product(tmp_path, "astraAllStarBossNet", "DR20", 5)
    manifest = tmp_path / "manifest.yml"
    manifest.write_text(
        "version: 1\n"
        "defaults: {tag: dr20, v_astra: 0.8.5}\n"
        "products:\n"
        f"  - path: $HERE/{SLAM}.fits\n"
        "    tag: mine\n"
        "  - path: ./astraAllStar[B]*.fits\n"
    )
    if target.kind == "postgres":
        target.migrate()

    done = target.run("ingest", manifest, env={"HERE": str(tmp_path)})

    says(done, DONE)
    assert set(target.table(Slam)["tag"]) == {"mine"}
    assert set(target.table(BossNet)["tag"]) == {"dr20"}
    assert set(target.table(BossNet)["v_astra"]) == {8005}
    assert not target.table(BossVisitSpectrum)["pk"]
