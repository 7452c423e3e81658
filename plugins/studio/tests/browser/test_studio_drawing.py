"""Looking at a slide and drawing regions by mouse: what is drawn is what `--roi` reads."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely.geometry import Point, Polygon, shape
from slideloom_testing.disks import full_disk
from slideloom_testing.fixtures import DemoFiles

BOX = [(300, 300), (1100, 300), (1100, 1000), (300, 1000)]


def saved_shapes(folder: Path) -> list[Any]:
    features = json.loads((folder / "demo.geojson").read_text(encoding="utf-8"))["features"]
    return [shape(feature["geometry"]) for feature in features]


def saved_features(folder: Path) -> list[Any]:
    features: list[Any] = json.loads((folder / "demo.geojson").read_text(encoding="utf-8"))["features"]
    return features


@pytest.fixture
def studio(open_studio: Callable[..., Any], demo_slide: DemoFiles, tmp_path: Path) -> Any:
    """A studio of the demo slide, with an empty folder of regions."""
    return open_studio(demo_slide.path, "--roi", tmp_path / "rois")


def test_the_slide_is_panned_by_dragging_and_zoomed_by_wheel_key_and_button(user: Any, studio: Any) -> None:
    user.open(studio.server.url)
    before = user.view()

    user.drag([(1000, 700), (997, 698), (950, 675), (900, 650)])
    moved = user.until(f"view.x > {before['x'] + 50}")
    assert moved["x"] - before["x"] == pytest.approx(100, abs=3 * before["resolution"])
    assert moved["y"] - before["y"] == pytest.approx(50, abs=3 * before["resolution"])
    user.page.mouse.wheel(0, -400)
    user.until(f"view.resolution < {before['resolution']}")
    user.page.get_by_role("button", name="Magnification 20", exact=True).click()
    # 20x shows half a micron per screen pixel, and the demo slide has one micron per pixel.
    user.until("Math.abs(view.resolution - 0.5) < 1e-6")
    assert user.page.locator(".magnification").inner_text() == "20\N{MULTIPLICATION SIGN}"
    bar = user.page.locator(".scale-bar")
    assert bar.inner_text().strip() == "50 µm"  # the longest round length that fits into 160 screen pixels
    assert user.page.locator(".scale-bar .line").bounding_box()["width"] == pytest.approx(100, abs=1)
    user.page.keyboard.press("0")
    user.until(f"Math.abs(view.resolution - {before['resolution']}) < 1e-6")


def test_a_polygon_a_freehand_loop_and_a_hole_are_found_after_a_reload(
    user: Any, studio: Any, around: Any, tmp_path: Path
) -> None:
    user.open(studio.server.url)

    user.draw_polygon(BOX)
    user.regions(1)
    user.page.get_by_label("Label", exact=True).fill("Tumour")
    user.page.get_by_label("Label", exact=True).press("Enter")
    user.draw_polygon([(500, 500), (800, 500), (800, 800), (500, 800)], key="h")
    user.page.locator("ul.regions button", has_text="1 hole").wait_for()
    user.page.keyboard.press("f")
    user.drag(around((1500, 700), 250))
    user.regions(2)
    user.saved()
    user.page.reload()
    user.see_slide()
    user.tab("Regions")
    user.regions(2)

    pixel = user.view()["resolution"]
    square, loop = saved_shapes(tmp_path / "rois")
    expected = Polygon(BOX, [[(500, 500), (800, 500), (800, 800), (500, 800)]])
    assert square.symmetric_difference(expected).area < 2 * pixel * (expected.length + 4 * pixel)
    assert len(square.interiors) == 1
    assert loop.symmetric_difference(Point(1500, 700).buffer(250)).area < 2 * pixel * 2 * 3.15 * 250
    first, second = saved_features(tmp_path / "rois")
    assert first["properties"]["classification"]["name"] == "Tumour"
    assert first["properties"]["objectType"] == second["properties"]["objectType"] == "annotation"


def test_the_tiles_command_cuts_what_was_drawn(user: Any, studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    user.open(studio.server.url)
    user.draw_polygon(BOX)
    user.regions(1)
    user.saved()

    size = ["--tile-px", 50, "--tile-um", 50]
    words = [demo_slide.path, "--roi", tmp_path / "rois", *size, "--kept-only", "--out", tmp_path / "t.csv"]
    command = [sys.executable, "-m", "slideloom", "tiles", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)

    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        centres = [(float(row["loc_x"]), float(row["loc_y"])) for row in csv.DictReader(file)]
    # Tiles of 50 pixels whose centre lies in the box: 16 x 14 of them, whose centres are 25 pixels off its edges.
    assert len(centres) == 16 * 14
    assert all(300 < x < 1100 and 300 < y < 1000 for x, y in centres)


def test_undo_and_redo_go_back_and_forth_and_are_saved(user: Any, studio: Any, tmp_path: Path) -> None:
    user.open(studio.server.url)
    user.draw_polygon(BOX)
    user.regions(1)
    user.page.keyboard.press("r")
    user.drag([(1300, 200), (1800, 900)])
    user.regions(2)

    user.page.keyboard.press("Control+z")
    user.regions(1)
    user.page.keyboard.press("Control+z")
    user.regions(0)
    user.page.keyboard.press("Control+Shift+Z")
    user.regions(1)
    user.saved()

    assert len(saved_shapes(tmp_path / "rois")) == 1


def test_corners_are_dragged_and_removed(user: Any, studio: Any, tmp_path: Path) -> None:
    user.open(studio.server.url)
    user.draw_polygon(BOX)
    user.regions(1)
    user.page.keyboard.press("v")

    user.drag([(1100, 1000), (1150, 1050), (1300, 1200)])
    user.page.keyboard.down("Alt")
    user.click((300, 300))
    user.page.keyboard.up("Alt")
    # The corner is gone once no second click has followed; then 0.43 square millimetres are left.
    user.page.locator("ul.regions button", has_text=re.compile(r"0\.4[23]\d? mm")).wait_for()
    user.saved()

    pixel = user.view()["resolution"]
    (drawn,) = saved_shapes(tmp_path / "rois")
    expected = Polygon([(1100, 300), (1300, 1200), (300, 1000)])
    assert drawn.symmetric_difference(expected).area < 2 * pixel * expected.length


def test_a_brush_adds_and_the_cut_brush_takes_away(user: Any, studio: Any, tmp_path: Path) -> None:
    user.open(studio.server.url)
    user.draw_polygon(BOX)
    user.regions(1)
    radius = 20 * user.view()["resolution"]

    user.page.keyboard.press("b")
    user.drag([(1100, 600), (1200, 600), (1400, 600)])
    user.page.keyboard.press("x")
    user.drag([(200, 700), (400, 700), (700, 700)])
    user.saved()

    (painted,) = saved_shapes(tmp_path / "rois")
    added = shapely.LineString([(1100, 600), (1400, 600)]).buffer(radius)
    cut = shapely.LineString([(200, 700), (700, 700)]).buffer(radius)
    expected = Polygon(BOX).union(added).difference(cut)
    assert painted.symmetric_difference(expected).area < 0.02 * expected.area


def test_a_region_is_copied_labelled_and_deleted(user: Any, studio: Any, tmp_path: Path) -> None:
    user.open(studio.server.url)
    user.page.keyboard.press("e")
    user.drag([(400, 400), (600, 600), (800, 700)])
    user.regions(1)
    user.page.keyboard.press("v")
    user.page.keyboard.press("c")
    user.regions(2)
    user.page.get_by_label("Label", exact=True).fill("Stroma")
    user.page.get_by_label("Label", exact=True).press("Tab")
    user.page.get_by_label("Name", exact=True).fill("second")
    user.page.get_by_label("Name", exact=True).press("Tab")
    user.page.locator("ul.regions button").first.click()
    user.page.keyboard.press("Delete")
    user.regions(1)
    user.saved()

    (left,) = saved_features(tmp_path / "rois")
    assert left["properties"]["name"] == "second"
    assert left["properties"]["classification"]["name"] == "Stroma"
    ellipse = shape(left["geometry"])
    # An ellipse of 400 x 300 pixels has pi * 200 * 150; a polygon of 72 corners has 0.13 % less.
    assert ellipse.area == pytest.approx(3.14159 * 200 * 150, rel=0.03)


def test_what_other_programs_wrote_stays(user: Any, studio: Any, tmp_path: Path) -> None:
    folder = tmp_path / "rois"
    folder.mkdir()
    ring = [[300, 300], [900, 300], [900, 900], [300, 900], [300, 300]]
    theirs = {
        "type": "Feature",
        "id": "8d2b-one",
        "geometry": {"type": "Polygon", "coordinates": [ring], "plane": {"c": -1, "z": 0, "t": 0}},
        "properties": {"objectType": "annotation", "isLocked": True, "measurements": {"Area": 12.5}, "mine": [1, 2]},
    }
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [5, 6]}, "properties": {"kind": "mark"}}
    collection = {"type": "FeatureCollection", "features": [theirs, point]}
    (folder / "demo.geojson").write_text(json.dumps(collection), encoding="utf-8")
    user.open(studio.server.url)
    user.tab("Regions")
    user.regions(1)

    user.draw_polygon([(1200, 300), (1800, 300), (1500, 900)])
    user.regions(2)
    user.saved()

    first, second, _ = saved_features(folder)
    assert first == theirs
    assert second == point


def test_a_file_that_is_emptied_is_told_to_mean_the_whole_slide(user: Any, studio: Any, tmp_path: Path) -> None:
    user.open(studio.server.url)
    user.draw_polygon(BOX)
    user.regions(1)
    user.saved()

    user.page.keyboard.press("Delete")
    user.page.locator(".note", has_text="With the method auto a run takes tiles from all of this slide").wait_for()

    assert saved_features(tmp_path / "rois") == []


def test_a_full_disk_is_told_and_the_drawing_is_kept(user: Any, studio: Any, tmp_path: Path) -> None:
    user.open(studio.server.url)
    user.draw_polygon(BOX)
    user.regions(1)
    user.saved()

    with full_disk(after_bytes=64):
        user.page.keyboard.press("r")
        user.drag([(1300, 200), (1800, 900)])
        told = re.compile(rf"Not saved: .*{re.escape(tempfile.gettempdir())}")
        user.page.locator(".panel .saving", has_text=told).wait_for()
        user.regions(2)
        assert len(saved_shapes(tmp_path / "rois")) == 1
    user.page.get_by_role("button", name="Save now").click()
    user.saved()

    assert len(saved_shapes(tmp_path / "rois")) == 2


def test_a_drawing_that_was_not_saved_is_offered_after_a_reload(user: Any, studio: Any, tmp_path: Path) -> None:
    user.open(studio.server.url)
    with full_disk(after_bytes=64):
        user.draw_polygon(BOX)
        user.page.locator("#saving[data-state=failed]").wait_for()
        user.page.on("dialog", lambda dialog: dialog.accept())  # the browser asks whether to leave
        user.page.reload()
        user.page.get_by_role("button", name="Bring them back").wait_for()
    user.page.get_by_role("button", name="Bring them back").click()
    user.saved()

    assert len(saved_shapes(tmp_path / "rois")) == 1


def test_a_file_that_changed_meanwhile_is_asked_about(user: Any, studio: Any, tmp_path: Path) -> None:
    user.open(studio.server.url)
    user.draw_polygon(BOX)
    user.regions(1)
    user.saved()
    path = tmp_path / "rois" / "demo.geojson"
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")

    user.page.keyboard.press("r")
    user.drag([(1300, 200), (1800, 900)])
    user.page.get_by_role("dialog", name="The file changed on disk").wait_for()
    user.page.get_by_role("button", name="Keep these").click()
    user.saved()

    assert len(saved_shapes(tmp_path / "rois")) == 2
