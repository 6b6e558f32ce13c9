"""`astra report`: one page about what went in, which opens anywhere and needs nothing else."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from astra import statistics
from astra.models import BossNet, Slam, Source, Spectrum
from tests.fixtures.databases import SqliteTarget, Target
from tests.fixtures.jobs import DONE, SOME_FAILED, WRONG_INPUT, WRONG_USE, Job, says, write_manifest
from tests.fixtures.products import make_product, read_with_astropy

ROWS = 80
SLAM, BOSS_NET = "astraAllStarSlam", "astraAllStarBossNet"

# Everything that Chromium would do on its own account, and needs a network or a screen for.
CHROMIUM = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


@pytest.fixture
def filled(target: Target) -> Target:
    """Two products are in."""
    return fill(target)


def fill(target: Target) -> Target:
    if target.kind == "postgres":
        target.migrate()
    teff = np.linspace(3000, 4000, ROWS).astype("f4")
    slam = make_product(target.folder, SLAM, "DR20", ROWS, values={"teff": teff})
    boss_net = make_product(target.folder, BOSS_NET, "DR20", ROWS)
    manifest = write_manifest(target.folder, {"path": slam}, {"path": boss_net})
    says(target.ingest(manifest), DONE)
    return target


def report(target: Target, *args: object, **env: str) -> str:
    """Make a report and return the page; the test fails if it cannot be made."""
    done = target.run("report", "-o", "page.html", *map(str, args), env=env)
    says(done, DONE)
    assert done.stdout.splitlines()[0] == "page.html"
    return (target.folder / "page.html").read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """What the page says, with a blank in place of each tag."""
    body = re.sub(r"<style>.*?</style>|<img [^>]*>", " ", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", body)))


def test_the_page_says_what_went_in(filled: Target) -> None:
    page = report(filled)

    text = text_of(page)
    assert f"slam 1 {ROWS} {ROWS} {ROWS} 0" in text
    assert f"boss_net 1 {ROWS} {ROWS} {ROWS} 0" in text
    assert f"All 2 {2 * ROWS} {2 * ROWS} {2 * ROWS}" in text
    assert (
        f"Slam Stellar parameters of an M dwarf by the Stellar Label Machine. {ROWS} results."
        in (text)
    )
    assert "teff Effective temperature (K) 0.0" not in text  # complete columns are not listed
    assert "rho_teff_logg Correlation of teff and logg in the fit 100.0 %" in text


def test_the_page_needs_no_other_file_and_no_network(filled: Target) -> None:
    from matplotlib.image import imread

    page = report(filled, "--png", "figures")

    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(source.startswith(("data:image/svg+xml;base64,", "#")) for source in sources)
    assert "<script" not in page
    assert "url(" not in page.partition("</style>")[0]
    pictures = [base64.b64decode(s.partition(",")[2]) for s in sources if s.startswith("data:")]
    assert len(pictures) == 7
    assert all(picture.lstrip().startswith(b"<?xml") for picture in pictures)
    drawn = {path.name: imread(path) for path in (filled.folder / "figures").iterdir()}
    assert {"throughput.png", "Slam-kiel.png", "Slam-sky.png", "Slam-labels.png"} <= set(drawn)
    assert len(drawn) == len(pictures)
    assert all(image.shape[0] > 300 and image.std() > 0 for image in drawn.values())


def test_a_report_can_be_of_a_manifest_or_of_a_run(filled: Target) -> None:
    manifest = write_manifest(
        filled.folder, {"path": filled.folder / f"{SLAM}.fits"}, name="one.yml"
    )
    [(run,)] = filled.fetch('SELECT DISTINCT run FROM {schema}"ingest_run"')

    of_manifest = text_of(report(filled, manifest))
    of_run = text_of(report(filled, run))

    assert "boss_net" not in of_manifest
    assert "slam 1" in of_manifest
    assert "boss_net 1" in of_run
    assert f"Run {run}" in of_run
    says(filled.run("report", "nosuchrun"), WRONG_USE, "nosuchrun: no such file, and no run")


def test_rows_that_were_set_aside_are_told_with_the_reason(target: Target, tmp_path: Path) -> None:
    if target.kind == "postgres":
        target.migrate()
    path = make_product(
        tmp_path, SLAM, "DR20", ROWS,
        values={"sdss_id": lambda old: np.where(np.arange(ROWS) < 3, -1, old)},
    )  # fmt: skip
    says(target.ingest(write_manifest(tmp_path, {"path": path})), SOME_FAILED)

    text = text_of(report(target))

    assert "3 rows rejected" in text
    assert re.search(r"slam 3 [^.]*sdss_id", text), text


def test_an_empty_database_has_a_page(target: Target) -> None:
    if target.kind == "postgres":
        target.migrate()
    else:
        Path(target.env["ASTRA_DATABASE_PATH"]).touch()

    assert "nothing was ingested yet" in text_of(report(target))


def test_two_versions_are_compared(job: Job, tmp_path: Path) -> None:
    teff = np.linspace(3000, 4000, ROWS).astype("f4")
    for version, shift in ((7002, 0), (8001, 25)):
        keys = np.arange(ROWS) + 1000 * version
        values = {"teff": teff + np.float32(shift), "task_pk": keys}
        path = make_product(tmp_path, SLAM, "DR20", ROWS, values=values, name=f"v{version}.fits")
        assert job.ingest({"path": path, "v_astra": version})["totals"]["inserted"] == ROWS

    rows = statistics.sample(Slam)
    found = statistics.compare(rows, ["teff"])
    assert found is not None
    assert (found.newer, found.older, found.by) == (8, 7, "spectrum")
    new, old = found.values["teff"]
    assert len(new) == ROWS
    np.testing.assert_array_equal(new - old, 25)

    text = text_of(report(job.target))
    assert "Version 0.8 against 0.7, for the same spectrum" in text
    assert f"teff K {ROWS} +25 0 0 0" in text


def test_figures_of_a_large_table_are_those_of_a_sample(job: Job) -> None:
    many, most = 20_000, 2_000
    Source.insert(pk=1, sdss_id=1, ra=10.0, dec=-20.0).execute()
    rows = [{"pk": key, "spectrum_flags": 0} for key in range(1, many + 1)]
    results = [
        {"spectrum_pk": key, "source_pk": 1, "teff": key, "logg": None if key % 4 else 1.0}
        for key in range(1, many + 1)
    ]
    with job.target.bind() as database, database.atomic():
        for start in range(0, many, 500):
            Spectrum.insert_many(rows[start : start + 500]).execute()
            BossNet.insert_many(results[start : start + 500]).execute()

    with job.target.bind():
        chosen = statistics.sample(BossNet, most)
        teff = statistics.numbers(chosen, ["teff"])["teff"]
        missing = statistics.null_shares(chosen)
        places = statistics.positions(chosen)
        versions = statistics.versions(chosen)

    assert (chosen.rows, chosen.share) == (many, most / many)
    assert 0.5 * most < len(teff) < 1.5 * most
    assert abs(teff.mean() / (many / 2) - 1) < 0.15
    assert abs(missing["logg"] - 0.75) < 0.05
    assert missing["fe_h"] == 1
    assert len(places["ra"]) == len(teff) == sum(versions.values())
    np.testing.assert_array_equal(places["dec"], -20)


def test_a_missing_matplotlib_is_told_with_the_mend(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "matplotlib.py").write_text("raise ImportError('hidden')\n")
    target = SqliteTarget(tmp_path)
    before = os.pathsep.join([str(tmp_path / "hidden"), target._environment({})["PYTHONPATH"]])

    done = target.run("report", env={"PYTHONPATH": before})

    says(done, WRONG_USE, "matplotlib", "pip install 'astra[plot]'")


def test_a_place_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    target = SqliteTarget(tmp_path)
    says(target.run("report", "-o", "no/page.html"), WRONG_USE, "there is no folder no")
    done = target.run("report", env={"ASTRA_DATABASE_PATH": ""})
    says(done, WRONG_INPUT, "no database")


def test_the_page_looks_right_in_a_browser(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("it needs Chromium: apt-get install chromium")
    filled = fill(SqliteTarget(tmp_path))
    report(filled)

    seen = look(chromium, filled.folder, width=1200)

    assert seen["pictures"] == [[True, True]] * 7  # each was decoded, and has an alternative text
    assert seen["wider"] == []
    assert seen["title"].startswith("SQLite")
    assert seen["loaded"] == []  # nothing but the page itself was asked for
    on_a_phone = look(chromium, filled.folder, width=500)
    assert on_a_phone["wider"] == []
    browse(chromium, filled.folder, "--print-to-pdf=page.pdf")
    assert (filled.folder / "page.pdf").read_bytes().startswith(b"%PDF")


# What a reader would notice: pictures that did not load, or something that juts out of the page.
PROBE = """<script>
addEventListener("load", () => {
  const wide = [...document.querySelectorAll("body *")].filter(
    (e) => !e.closest(".wide") && e.getBoundingClientRect().right > innerWidth + 1);
  document.body.dataset.seen = JSON.stringify({
    title: document.title,
    pictures: [...document.images].map((i) => [i.complete && i.naturalWidth > 0, i.alt != ""]),
    wider: wide.map((e) => e.outerHTML.slice(0, 80)),
    loaded: performance.getEntriesByType("resource").map((e) => e.name)
      .filter((name) => !name.startsWith("data:")),
  });
});
</script></body>"""


def look(chromium: str, folder: Path, width: int) -> dict[str, Any]:
    """Open the page in a window so wide, and return what PROBE found."""
    page = (folder / "page.html").read_text(encoding="utf-8")
    (folder / "probed.html").write_text(page.replace("</body>", PROBE), encoding="utf-8")
    shown = browse(chromium, folder, f"--window-size={width},900", "--dump-dom", page="probed.html")
    found = re.search(r'data-seen="([^"]*)"', shown)
    assert found, shown[:1000]
    seen: dict[str, Any] = json.loads(unescape(found[1]))
    return seen


def browse(chromium: str, folder: Path, *options: str, page: str = "page.html") -> str:
    profile = folder / "chromium"
    command = [chromium, *CHROMIUM, f"--user-data-dir={profile}", *options]
    done = subprocess.run(
        [*command, (folder / page).as_uri()],
        cwd=folder, capture_output=True, check=True, encoding="utf-8", timeout=120,
    )  # fmt: skip
    return done.stdout


def test_the_sample_has_the_values_of_the_file(filled: Target) -> None:
    fits = read_with_astropy(filled.folder / f"{SLAM}.fits")

    with filled.bind():
        values = statistics.numbers(statistics.sample(Slam), ["teff", "logg"])

    for name, found in values.items():
        np.testing.assert_array_equal(np.sort(found), np.sort(fits[name].astype("f8")))
