"""What the page shows of results, of work that is stopped, of cells, and of proposals, by mouse."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import shapely
from shapely.geometry import shape
from slideloom import OutputFolder, Project, QcUse, SlideReport
from slideloom.plugins.given_steps import settings_of
from slideloom_cli.main import main
from slideloom_testing.fixtures import DemoFiles

SIZE = ("--tile-px", 50, "--tile-um", 50, "--filter", "none")
WAITING = '''
from pathlib import Path

import numpy as np
from slideloom import Box, QcResult, Size, SlideQc


class Waiting(SlideQc):
    """Waits until a file is there."""

    def assess(self, slide, scene):
        while not Path(GO).exists():
            slide.read_at(Box(0, 0, 64, 64), Size(64, 64))  # reading is where a cancelled call ends
        return QcResult(np.zeros((3, 4), bool), "artifact")
'''


def counts(user: Any) -> dict[str, int]:
    """The legend: tiles by reason."""
    rows = user.page.locator(".legend li")
    return {
        row.get_attribute("data-reason"): int(row.locator(".count").inner_text().replace(",", "")) for row in rows.all()
    }


@pytest.fixture
def waiting(
    open_studio: Callable[..., Any], demo_slide: DemoFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """A studio of the demo slide with a slide QC that waits for the file `tmp_path / "go"`."""
    (tmp_path / "waiting_qc.py").write_text(f"GO = {str(tmp_path / 'go')!r}\n{WAITING}", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import waiting_qc  # type: ignore[import-not-found]  # just written

    page = open_studio(demo_slide.path, *SIZE)
    screen = page.studio.pipeline
    screen._pipeline = attrs.evolve(screen.now[1], qc=(QcUse(step=settings_of("qc", waiting_qc.Waiting())),))
    yield page
    del sys.modules["waiting_qc"]


@pytest.fixture
def finished(demo_slide: DemoFiles, tmp_path: Path) -> Path:
    """The output folder of a run of two copies of the demo slide, with regions for both."""
    slides, out = tmp_path / "slides", tmp_path / "finished"
    slides.mkdir()
    for name in ("alpha", "demo"):
        shutil.copyfile(demo_slide.path, slides / f"{name}.svs")
    words = ["--tile-px", "64", "--tile-um", "100", "--qc", "otsu", "--normalizer", "macenko"]
    assert main(["extract", str(slides), "--out", str(out), *words]) == 0
    return out


def test_results_show_what_was_kept_and_why_not_and_remarks_choose_slides(
    user: Any, open_studio: Callable[..., Any], finished: Path, tmp_path: Path
) -> None:
    report = SlideReport.load(OutputFolder(finished, "64px_100um").report("alpha"))
    assert report.rejected["qc:otsu"] > 0
    user.open(open_studio(finished).server.url)

    user.tab("Tiles")
    user.page.locator(".legend li[data-reason='qc:otsu']").wait_for()
    assert counts(user) == {"kept": report.written, **report.rejected}
    words = f"{report.written} of {report.planned} tiles"
    assert user.page.locator("#slides .badge", has_text=words).count() == 2
    user.click((50, 50))
    user.page.locator(".tile-detail .verdict", has_text="Slide QC: otsu").wait_for()
    user.page.wait_for_function("() => document.querySelector('.tile-pictures img')?.naturalWidth === 64")
    assert user.page.locator(".tile-pictures img").count() == 1  # a run stores no masks of a tile

    user.tab("Slide")
    user.page.get_by_label("Status", exact=True).select_option("reviewed")
    user.page.locator("#slides .badge.reviewed").wait_for()
    user.page.keyboard.press(".")
    user.page.locator("#bar h1", has_text="demo").wait_for()
    user.page.get_by_label("Status", exact=True).select_option("excluded")
    user.page.get_by_label("Note").fill("folds")
    user.page.get_by_label("Note").press("Tab")
    user.page.locator("#slides .badge.excluded[title=folds]").wait_for()

    project = Project.create(tmp_path / "project", slides=str(tmp_path / "slides"), annotations=finished / "review.csv")
    assert list(project.dataset(64, 100, filters={"review": "reviewed"}).slide_paths()) == ["alpha"]


def test_a_run_with_a_normalizer_is_compared_once_the_studio_has_decided(
    user: Any, open_studio: Callable[..., Any], finished: Path
) -> None:
    user.open(open_studio(finished).server.url)

    with user.page.expect_response(lambda answer: "normalized=" in answer.url and answer.ok):
        user.page.get_by_role("button", name="Compare normalized").click()

    user.page.locator(".normalized-layer").wait_for(state="attached")
    assert user.page.locator(".note.error").count() == 0


def test_decisions_that_are_cancelled_say_that_steps_are_missing(user: Any, waiting: Any, tmp_path: Path) -> None:
    user.open(waiting.server.url)
    user.page.keyboard.press("t")
    user.tab("Tiles")
    user.page.locator(".total", has_text="1,200 of 1,200 tiles kept").wait_for()  # by regions alone

    user.page.locator(".working-card").get_by_role("button", name="Cancel").click()

    partial = user.page.locator(".panel .warning", has_text="Cancelled before all steps had decided")
    partial.wait_for()
    user.page.locator(".working-card").wait_for(state="hidden")
    user.tab("Steps")
    assert user.page.locator("[data-step='qc.0'] .state").inner_text() == "cancelled"
    (tmp_path / "go").touch()
    user.tab("Tiles")
    partial.get_by_role("button", name="Decide now").click()
    partial.wait_for(state="hidden")
    user.page.locator(".working-card").wait_for(state="hidden")
    assert counts(user) == {"kept": 1200}  # the step masks nothing


def test_a_run_that_is_cancelled_says_so_and_can_be_started_again(user: Any, waiting: Any, tmp_path: Path) -> None:
    user.open(waiting.server.url)
    user.tab("Run")
    user.page.get_by_role("button", name="This slide").click()
    state = user.page.locator(".run-state")

    state.get_by_role("button", name="Cancel").click()

    state.locator(".outcome.cancelled", has_text="Cancelled; finished slides stay").wait_for()
    assert not list((tmp_path / "out").rglob("*.tfrecords"))
    (tmp_path / "go").touch()
    user.page.get_by_role("button", name="This slide").click()
    state.locator(".outcome.done", has_text="Done: 1,200 of 1,200 tiles").wait_for()


def test_cells_are_drawn_as_points_where_they_are(
    user: Any, open_studio: Callable[..., Any], demo_slide: DemoFiles, tmp_path: Path
) -> None:
    places = [(300, 400), (900, 800), (1500, 700)]
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells/demo.csv").write_text("x,y\n" + "".join(f"{x},{y}\n" for x, y in places))
    placement = f"cells-csv:folder={json.dumps(str(tmp_path / 'cells'))},unit=px"
    user.open(open_studio(demo_slide.path, *SIZE, "--placement", placement).server.url)

    user.page.keyboard.press("t")
    user.tab("Tiles")
    user.page.locator(".total", has_text="3 of 3 tiles kept").wait_for()

    kept = user.page.locator(".legend .swatch").evaluate(
        "one => getComputedStyle(one).backgroundColor.match(/[0-9]+/g).map(Number)"
    )
    box = user.map.bounding_box()
    assert box is not None
    for place, colour in [*((each, kept) for each in places), ((600, 600), None)]:
        x, y = user.on_screen(place)
        user.page.wait_for_function(
            """([x, y, colour]) => [...document.querySelectorAll("canvas.tile-grid")].some((canvas) => {
                // A point may lie between pixels, which then share it.
                const { data } = canvas.getContext("2d").getImageData(x - 2, y - 2, 4, 4);
                const solid = Array.from({ length: 16 }, (_, at) => [...data.slice(4 * at, 4 * at + 4)])
                    .filter(([, , , alpha]) => alpha > 60);
                const close = ([red, green, blue]) =>
                    [red, green, blue].every((value, at) => Math.abs(value - colour[at]) < 8);
                return colour ? solid.some(close) : solid.length === 0;
            })""",
            arg=[round(x - box["x"]), round(y - box["y"]), colour],
        )


def test_proposals_are_accepted_edited_and_refused(
    user: Any, open_studio: Callable[..., Any], demo_slide: DemoFiles, tmp_path: Path
) -> None:
    user.open(open_studio(demo_slide.path, *SIZE, "--qc", "otsu").server.url)
    user.page.keyboard.press("t")
    user.tab("Steps")
    user.page.locator(".masks").get_by_role("button", name="Propose as regions").click()
    proposals = user.page.locator(".proposals")
    proposals.get_by_role("button", name="Accept otsu 1", exact=True).wait_for()
    offered = int(proposals.locator("h3").inner_text().split()[0])
    assert offered > 1

    proposals.get_by_role("button", name="Refuse otsu 2", exact=True).click()
    proposals.locator("h3", has_text=f"{offered - 1} proposed").wait_for()
    proposals.get_by_role("button", name="Accept otsu 1", exact=True).click()
    user.regions(1)
    user.saved()
    (before,) = json.loads((tmp_path / "rois" / "demo.geojson").read_text(encoding="utf-8"))["features"]
    radius = 20 * user.view()["resolution"]
    user.page.keyboard.press("x")  # it is selected, as what is drawn would be
    with user.page.expect_response(lambda answer: answer.request.method == "PUT" and answer.ok):
        user.drag([(20, 20), (600, 20), (1200, 20)])
    user.saved()

    (after,) = json.loads((tmp_path / "rois" / "demo.geojson").read_text(encoding="utf-8"))["features"]
    cut = shapely.LineString([(20, 20), (1200, 20)]).buffer(radius)
    expected = shape(before["geometry"]).difference(cut)
    assert shape(after["geometry"]).symmetric_difference(expected).area < 0.01 * cut.area
    assert after["properties"]["classification"]["name"] == "otsu"
    assert proposals.locator("h3").inner_text() == f"{offered - 2} proposed"
