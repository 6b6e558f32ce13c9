"""The same rows make the same tables: again, in other chunks, in another order, by many at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astra.models import BossCombinedSpectrum, BossNet, Corv, Slam, Source, Spectrum, models
from tests.fixtures.databases import Target
from tests.fixtures.expected import check_product
from tests.fixtures.jobs import DONE, SOME_FAILED, Job, read_report, says, write_manifest
from tests.fixtures.products import make_product

ROWS = 50
PRODUCTS = ("astraAllStarSlam", "astraAllStarBossNet", "astraAllVisitCorv")
USED = (
    Source,
    Spectrum,
    *(model for model in models if model.__name__.startswith("Boss")),
    Slam,
    Corv,
)
#: When a row came in is of the moment, and so are keys that the database gave.
OF_THE_MOMENT = {"created", "modified", "pk"}


def write_products(folder: Path) -> list[dict[str, Any]]:
    return [{"path": make_product(folder, product, "DR20", ROWS)} for product in PRODUCTS]


def contents(target: Target) -> dict[str, Any]:
    """Return all rows of all tables but for what is of the moment, in the order of their values."""
    rows = {}
    for model in USED:
        table = target.table(model)
        names = [name for name in table if name not in OF_THE_MOMENT]
        sources = dict(
            zip(*(target.table(Source)[name] for name in ("pk", "sdss_id")), strict=True)
        )
        if "source_pk" in names:  # by which it is known, instead of its number
            table["source_pk"] = [sources.get(pk) for pk in table["source_pk"]]
        rows[model.__name__] = sorted(
            tuple(str(table[name][row]) for name in names) for row in range(len(table[names[0]]))
        )
    return rows


def keys(target: Target) -> dict[str, list[Any]]:
    """Return the keys and times of all rows."""
    found = {}
    for model in (Source, BossCombinedSpectrum, Slam, BossNet, Corv):
        table = target.table(model)
        found[model.__name__] = [
            table.get(name) for name in ("pk", "task_pk", "source_pk", "spectrum_pk", "created")
        ]
    return found


def test_the_same_again_changes_no_key_and_no_time_of_creation(job: Job, tmp_path: Path) -> None:
    products = write_products(tmp_path)
    first = job.ingest(*products)
    before, modified = keys(job.target), job.target.table(Slam)["modified"]
    everything = contents(job.target)

    second = job.ingest(*products, batch_rows=7, force=True)

    assert first["status"] == second["status"] == "done"
    assert first["totals"]["inserted"] == second["totals"]["updated"] == 3 * ROWS
    assert first["totals"]["updated"] == second["totals"]["inserted"] == 0
    assert keys(job.target) == before
    assert contents(job.target) == everything
    after = job.target.table(Slam)["modified"]
    assert all(new > old for new, old in zip(after, modified, strict=True))
    for product, entry in zip(PRODUCTS, products, strict=True):
        check_product(job.target, entry["path"], product)


@pytest.mark.parametrize("there", [ROWS, ROWS - 3])
def test_a_result_that_was_of_no_or_another_source_gets_its_own(
    job: Job, tmp_path: Path, there: int
) -> None:
    entry = {"path": make_product(tmp_path, "astraAllStarSlam", "DR20", ROWS)}
    job.ingest(entry)
    expected = contents(job.target)
    source_pk = job.target.table(Source)["pk"]
    with job.target.bind():
        results = list(Slam.select(Slam.task_pk, Slam.source_pk).order_by(Slam.task_pk))
        moved = [(results[0], None), (results[1], source_pk[-1]), (results[2], source_pk[-1])]
        for result, other in moved:
            assert result.source_pk != other
            Slam.update(source_pk=other).where(Slam.task_pk == result.task_pk).execute()
        Slam.delete().where(Slam.task_pk.in_([r.task_pk for r in results[there:]])).execute()
    assert contents(job.target) != expected

    report = job.ingest(entry, batch_rows=20, force=True)

    assert report["totals"]["updated"] == there
    assert report["totals"]["inserted"] == ROWS - there
    assert contents(job.target) == expected


@pytest.mark.parametrize("batch_rows", [1, 3, 49, 50, 51])
def test_the_size_of_chunks_changes_nothing(job: Job, tmp_path: Path, batch_rows: int) -> None:
    products = [{"path": make_product(tmp_path, product, "DR20", 12)} for product in PRODUCTS]
    job.ingest(*products)
    expected = contents(job.target)
    job.clear()

    job.ingest(*products, batch_rows=batch_rows)

    assert contents(job.target) == expected


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_order_of_rows_changes_nothing(job: Job, tmp_path: Path, product: str) -> None:
    job.ingest({"path": make_product(tmp_path, product, "DR20", ROWS)}, batch_rows=8)
    expected = contents(job.target)
    job.clear()
    order = np.random.default_rng(1).permutation(ROWS)
    names = list_of_columns(product)
    shuffled = make_product(
        tmp_path,
        product,
        "DR20",
        ROWS,
        name="shuffled.fits",
        values={name: lambda old: old[order] for name in names},
    )

    job.ingest({"path": shuffled}, batch_rows=8)

    assert contents(job.target) == expected


def list_of_columns(product: str) -> list[str]:
    from jobs.datamodel import layout

    return [column.name for column in layout(product, "DR20").hdus[0].columns]


def test_a_second_version_adds_rows_and_a_patch_replaces_them(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, "astraAllStarSlam", "DR20", ROWS, drop=["task_pk"])
    for version, inserted in (("0.8.1", ROWS), ("0.8.2", 0), ("0.9.0", ROWS)):
        report = job.ingest({"path": path, "v_astra": version})
        assert report["totals"]["inserted"] == inserted

    table = job.target.table(Slam)
    assert sorted(zip(table["v_astra"], table["v_astra_major_minor"], strict=True)) == (
        [(8002, 8)] * ROWS + [(9000, 9)] * ROWS
    )


def test_shards_together_make_what_one_job_makes(job: Job, tmp_path: Path) -> None:
    products = write_products(tmp_path)
    job.ingest(*products)
    expected = contents(job.target)
    job.clear()

    reports = [job.ingest(*products, shard=(index, 3)) for index in (2, 0, 1)]

    assert [report["totals"]["inserted"] for report in reports] == [ROWS] * 3
    assert contents(job.target) == expected


def test_many_jobs_at_once_make_what_one_makes(target: Target, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, *write_products(tmp_path))
    if target.kind == "postgres":
        target.migrate()  # one of the jobs could not know that another one does it

    reports = [tmp_path / f"{number}.json" for number in range(8)]
    running = [
        target.popen("ingest", manifest, "--report", report, "--batch-size", "10")
        for report in reports
    ]
    outputs = [process.communicate(timeout=120)[0] for process in running]

    for process, output in zip(running, outputs, strict=True):
        assert process.returncode in (DONE, SOME_FAILED), output
        assert "Traceback" not in output
    counts = [read_report(report)["totals"] for report in reports]
    assert sum(count["inserted"] for count in counts) == 3 * ROWS
    # A job whose file another one has begun anew leaves it to that one.
    says(target.ingest(manifest), DONE)
    for product in PRODUCTS:
        check_product(target, tmp_path / f"{product}.fits", product)
    assert len(target.table(Slam)["task_pk"]) == ROWS


def test_an_ordinary_insert_follows_explicit_keys(job: Job, tmp_path: Path) -> None:
    job.ingest(*write_products(tmp_path))
    highest = {
        model: max(job.target.table(model)[model._meta.primary_key.column_name])
        for model in (Source, Spectrum, BossCombinedSpectrum, Slam)
    }

    source = Source.create(sdss_id=1)
    spectrum = Spectrum.create()
    combined = BossCombinedSpectrum.create(spectrum_pk=spectrum.pk, source=source)
    slam = Slam.create(spectrum_pk=spectrum.pk, source_pk=source.pk)

    assert source.pk > highest[Source]
    assert spectrum.pk > highest[Spectrum]
    assert combined.pk > highest[BossCombinedSpectrum]
    assert slam.task_pk > highest[Slam]


def test_rows_and_values_are_found_as_peewee_finds_them(job: Job, tmp_path: Path) -> None:
    path = make_product(
        tmp_path,
        "astraAllVisitCorv",
        "DR20",
        ROWS,
        values={"teff": np.linspace(9000, 11000, ROWS), "sdss_id": np.arange(100, 100 + ROWS)},
    )
    job.ingest({"path": path})

    hot = Corv.select().where(Corv.teff > 10000)
    one = Corv.select().join(Source, on=(Corv.source_pk == Source.pk)).where(Source.sdss_id == 103)

    assert hot.count() == ROWS // 2
    assert one.first().teff == np.float32(np.linspace(9000, 11000, ROWS)[3])
    assert one.first().v_astra_major_minor == 8
