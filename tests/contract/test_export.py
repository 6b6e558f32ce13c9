"""What was ingested comes out again: every value, with names, types and units."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astra.errors import SchemaError, UsageError
from astra.models import Corv, Slam, Source
from astra.models.pipeline import PipelineOutputMixin
from jobs import export as export_module
from jobs.datamodel import HDU, Layout, layout
from jobs.export import export
from tests.fixtures.databases import Target
from tests.fixtures.jobs import DONE, WRONG_USE, Job, says
from tests.fixtures.products import make_product, read_with_astropy
from tests.fixtures.releases import RELEASES, ReleaseFile, write_release

ROWS = 3

#: What does not come back as it was, by column: what is there instead.
EXCEPTIONS = {
    "modified": "of a result: when it was last written",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[ReleaseFile]]:
    """All products of all objects of each release, for both databases."""
    folder = tmp_path_factory.mktemp
    return {n: list(write_release(folder(n), n, ROWS, one_object=False)) for n in RELEASES}


@functools.cache
def read(path: Path, hdu: int) -> dict[str, Any]:
    """Read an HDU with astropy, once for both databases."""
    return read_with_astropy(path, hdu)


def header_of(path: Path, hdu: int) -> Mapping[str, Any]:
    from astropy.io import fits

    return dict(fits.getheader(path, hdu))


def check_header(path: Path, hdu: HDU) -> None:
    """Check that columns have the names, types and units of the data model, in its order."""
    header = header_of(path, hdu.number)
    assert header["TFIELDS"] == len(hdu.columns)
    for number, column in enumerate(hdu.columns, start=1):
        assert header[f"TTYPE{number}"] == column.name
        assert header.get(f"TUNIT{number}", "") == column.unit
        form = header[f"TFORM{number}"]
        # A table that was published without rows does not tell how wide its texts and arrays are,
        # and those of sources and spectra have the rows of all products.
        known = column.size is None or (hdu.rows and "task_pk" in header.values())
        assert form == column.tform if known else form.endswith(column.tform.lstrip("0123456789"))


def check_values(ours: Mapping[str, Any], theirs: Mapping[str, Any], hdu: HDU) -> list[str]:
    """Return the columns whose values are not those of the file, to the last bit."""
    key = "spectrum_pk" if "spectrum_pk" in theirs else "sdss_id"
    place = {value: row for row, value in enumerate(ours[key].tolist())}
    rows = [place[value] for value in theirs[key].tolist()]
    skipped = {c.name for c in hdu.columns if c.table == "pipeline"} & set(EXCEPTIONS)
    return [
        f"{name}: {ours[name][rows]}, not {values}"
        for name, values in theirs.items()
        if name not in skipped and not same_values(ours[name][rows], values)
    ]


def same_values(ours: Any, theirs: Any) -> bool:
    if theirs.dtype.kind == "S":  # as wide as needed
        return ours.tolist() == theirs.tolist()
    if theirs.dtype == np.uint8:  # bits, as wide as the widest
        ours, rest = ours[:, : theirs.shape[1]], ours[:, theirs.shape[1] :]
        return ours.tobytes() == theirs.tobytes() and not rest.any()
    if theirs.dtype.kind == "f":
        theirs = np.where(np.isnan(theirs), np.float32("nan"), theirs)
    return ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("release", RELEASES)
def test_every_value_of_every_product_comes_out_again(
    job: Job, tmp_path: Path, files: dict[str, list[ReleaseFile]], release: str
) -> None:
    assert job.ingest(*({"path": path} for path, _, _ in files[release]))["status"] == "done"
    output = tmp_path / "out.fits"
    exported: Layout | None = None

    for path, shape, (hdu,) in files[release]:
        if shape is not exported:
            exported = shape
            export(shape.product, output, release=release, overwrite=True)
        check_header(output, hdu)
        ours, theirs = read_with_astropy(output, hdu.number), read(path, hdu.number)
        wrong = check_values(ours, theirs, hdu)
        assert not wrong, f"{shape.product} {release} HDU {hdu.number}:\n" + "\n".join(wrong)
        if "task_pk" in theirs:  # the tables of sources and spectra have those of all products
            assert len(ours["task_pk"]) == ROWS


def test_odd_values_come_out_again(job: Job, tmp_path: Path) -> None:
    floats = [np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4028235e38, 0.1]
    path = make_product(
        tmp_path,
        "astraAllStarSlam",
        "DR20",
        7,
        values={
            "teff": np.array(floats, dtype=np.float32),
            "status": np.array([-1, 0, 2**31 - 1, -(2**31), 1, 2, 3]),
            "lead": np.array(["", "é" * 30, "\U0001f31f", "N", '"', "a  b", "\\N"]),
            "gaia_dr3_source_id": np.array([2**63 - 1, -(2**63), 0, -1, -2, 5, 6]),
        },
    )
    job.ingest({"path": path})

    export("astraAllStarSlam", tmp_path / "out.fits")

    ours, theirs = read_with_astropy(tmp_path / "out.fits"), read_with_astropy(path)
    assert check_values(ours, theirs, layout("astraAllStarSlam", "DR20").hdus[0]) == []


def test_what_was_null_comes_out_as_astra_writes_missing(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, "astraAllVisitCorv", "DR20", 3, drop=["teff", "lead", "n_exp",
        "fiber_offset", "delta_ra", "initial_teff"])  # fmt: skip
    job.ingest({"path": path})
    Source.update(created=Source.created).execute()

    export("astraAllVisitCorv", tmp_path / "out.fits")

    ours = read_with_astropy(tmp_path / "out.fits")
    assert np.isnan(ours["teff"]).all()
    assert ours["lead"].tolist() == [b""] * 3
    assert ours["n_exp"].tolist() == [-1] * 3
    assert ours["fiber_offset"].tolist() == [False] * 3
    assert np.isnan(ours["delta_ra"]).all()


def test_an_exported_file_ingests_and_changes_nothing(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, "astraAllStarSlam", "DR20", 5)
    job.ingest({"path": path})
    before = job.target.table(Slam), job.target.table(Source)
    output = tmp_path / "astraAllStarSlam-again.fits.gz"
    export("astraAllStarSlam", output)

    report = job.ingest({"path": output})

    assert report["totals"]["updated"] == 5
    after = job.target.table(Slam), job.target.table(Source)
    for table in (before[0], after[0]):
        del table["modified"]
    assert repr(before) == repr(after)


def test_rows_are_read_page_by_page(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = len(layout("astraAllStarSlam", "DR20").hdus[0].columns)
    monkeypatch.setattr(export_module, "PAGE_VALUES", 4 * columns)
    path = make_product(tmp_path, "astraAllStarSlam", "DR20", 12)
    job.ingest({"path": path})

    done = export("astraAllStarSlam", tmp_path / "out.fits")

    assert done.tables[0] == ("astraAllStarSlam HDU 1 (BOSS)", 12)
    ours, theirs = read_with_astropy(tmp_path / "out.fits"), read_with_astropy(path)
    assert ours["task_pk"].tolist() == theirs["task_pk"].tolist()


def test_results_are_of_one_version(job: Job, tmp_path: Path) -> None:
    new = make_product(tmp_path, "astraAllStarSlam", "DR20", 3, name="new.fits")
    old = make_product(tmp_path, "astraAllStarSlam", "DR19", 2, seed=1, name="old.fits")
    job.ingest({"path": new, "result": "Slam"}, {"path": old, "result": "Slam"})

    for release, rows, v_astra in (("DR20", 3, 8001), ("DR19", 2, b"0.6.0")):
        export("astraAllStarSlam", tmp_path / f"{release}.fits", release=release)
        ours = read_with_astropy(tmp_path / f"{release}.fits")
        assert len(ours["task_pk"]) == rows
        assert v_astra in (ours["v_astra"][0], 8001)
    with pytest.raises(UsageError, match=r"no rows for astraAllStarSlam of version 0\.9; there are "
                       r"some for --v-astra 0\.6\.0, 0\.8\.0"):  # fmt: skip
        export("astraAllStarSlam", tmp_path / "none.fits", v_astra="0.9.0")
    assert sorted(path.name for path in tmp_path.glob("none*")) == []


class Boiler(PipelineOutputMixin):
    """A pipeline of somebody's own."""

    steam = Corv._meta.fields["teff"].__class__(null=True)


def test_a_result_table_comes_out_with_its_sources(job: Job, tmp_path: Path) -> None:
    path = make_product(tmp_path, "astraAllStarSlam", "DR20", 3)
    job.ingest({"path": path})

    export("Slam", tmp_path / "out.fits")

    ours, theirs = read_with_astropy(tmp_path / "out.fits"), read_with_astropy(path)
    for name in ("sdss_id", "ra", "lead", "sdss5_target_flags", "teff", "success", "result_flags"):
        assert same_values(ours[name], theirs[name]), name
    header = header_of(tmp_path / "out.fits", 1)
    units = {header[f"TTYPE{n}"]: header.get(f"TUNIT{n}") for n in range(1, header["TFIELDS"] + 1)}
    assert (units["teff"], units["ra"], units["lead"]) == ("K", "deg", None)


def test_the_command_says_what_it_wrote_and_what_it_cannot(target: Target, tmp_path: Path) -> None:
    target.migrate()
    path = make_product(tmp_path, "astraAllStarSlam", "DR20", 3)
    manifest = tmp_path / "manifest.yml"
    manifest.write_text(f"version: 1\nproducts:\n  - path: {path}\n")
    assert target.ingest(manifest).returncode == DONE

    done = target.run("export", "astraAllStarSlam", "-o", "out.fits")

    assert done.returncode == DONE, done.stderr
    assert done.stdout.startswith("out.fits: astraAllStarSlam HDU 1 (BOSS) 3 rows")
    again = target.run("export", "astraAllStarSlam", "-o", "out.fits")
    says(again, WRONG_USE, "out.fits is there already; --overwrite replaces it")


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("astraAllStarSlim", {}, "did you mean.*astraAllStarSlam"),
        ("astraAllStarSlim", {"release": "DR20"}, "nearest names are astraAllStarSlam"),
        ("astraAllStarSlam", {"release": "DR18"}, "it is in DR19 and DR20"),
        ("astraStarASPCAP", {}, "a file for each object"),
        ("nowhere:Thing", {}, "no module nowhere"),
        ("Source", {}, "no product or result table 'Source'"),
        ("astraAllStarSlam", {}, "no rows for astraAllStarSlam of version 0.8$"),
        ("astraAllStarSlam", {"v_astra": "0.9"}, "not a version"),
    ],
)
def test_what_cannot_be_exported(
    tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        export(name, tmp_path / "out.fits", **options)
    assert not list(tmp_path.glob("out*"))


def test_a_table_that_is_not_there_is_told(job: Job, tmp_path: Path) -> None:
    with (
        job.target.bind(Boiler),
        pytest.raises(SchemaError, match="has no table boiler"),
    ):
        export(f"{__name__}:Boiler", tmp_path / "out.fits")
