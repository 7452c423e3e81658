"""`slideloom tissue`: outlines and masks of what slide QC leaves, which select the same tiles as the QC."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import slideloom as sl
from PIL import Image
from shapely.geometry import shape
from slideloom_cli.main import main
from slideloom_testing.fixtures import DemoFiles

TILES = ("--tile-px", "50", "--tile-um", "50")


def tissue(slide: Path, out: Path, *words: str) -> int:
    return main(["tissue", str(slide), "--out", str(out), *words])


def kept(slide: Path, tmp_path: Path, *words: object) -> set[tuple[str, str]]:
    """Places of the tiles that these options keep."""
    table = tmp_path / "tiles.csv"
    assert main(["tiles", str(slide), *TILES, *map(str, words), "--kept-only", "--out", str(table)]) == 0
    with table.open() as file:
        return {(row["loc_x"], row["loc_y"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def out(demo_slide: DemoFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tissue")
    assert tissue(demo_slide.path, folder, "--png") == 0
    return folder


def test_outlines_have_the_area_that_the_step_keeps(demo_slide: DemoFiles, out: Path) -> None:
    features = json.loads((out / "demo.geojson").read_text())["features"]
    mask = np.asarray(Image.open(out / "masks" / "demo.png"))

    assert {one["properties"]["classification"]["name"] for one in features} == {"tissue"}
    assert {one["properties"]["objectType"] for one in features} == {"annotation"}
    area = sum(shape(one["geometry"]).area for one in features)
    assert area == pytest.approx(mask.mean() * 2000 * 1500)
    assert area == pytest.approx(demo_slide.truth.shape("tissue").area, rel=0.1)


@pytest.mark.parametrize("qc", ["tissue", "otsu"])
def test_outlines_as_regions_select_the_tiles_that_the_step_keeps(
    demo_slide: DemoFiles, tmp_path: Path, qc: str
) -> None:
    """A tile of which at most 0.6 is discarded is one of which at least 0.4 is kept."""
    assert tissue(demo_slide.path, tmp_path / "out", "--qc", qc) == 0
    by_step = kept(demo_slide.path, tmp_path, "--qc", qc, "--filter-threshold", "0.6")
    by_outline = kept(demo_slide.path, tmp_path, "--roi", tmp_path / "out", "--roi-filter", "0.4")

    assert by_outline == by_step
    assert 100 < len(by_step) < 1200


def test_masks_as_qc_select_the_same_tiles(demo_slide: DemoFiles, out: Path, tmp_path: Path) -> None:
    by_step = kept(demo_slide.path, tmp_path, "--qc", "tissue")

    assert kept(demo_slide.path, tmp_path, "--qc", f"mask-files:folder={out / 'masks'},nonzero=keep") == by_step


def test_several_steps_leave_what_none_of_them_discards(demo_slide: DemoFiles, tmp_path: Path) -> None:
    words = ("--qc", "otsu", "--qc", "gaussian-v2:mpp=4", "--label", "sharp tissue")
    assert tissue(demo_slide.path, tmp_path, *words) == 0
    features = json.loads((tmp_path / "demo.geojson").read_text())["features"]
    whole = [shape(one["geometry"]) for one in features]
    blurred = demo_slide.truth.shape("blur")

    assert {one["properties"]["classification"]["name"] for one in features} == {"sharp tissue"}
    inside = sum(each.intersection(blurred.buffer(-60)).area for each in whole)
    assert inside < 0.1 * blurred.buffer(-60).area


def test_classes_that_a_step_keeps_are_told_apart(demo_slide: DemoFiles, tmp_path: Path) -> None:
    labels = np.zeros((15, 20), np.uint8)
    labels[3:9, 5:11] = 1
    labels[9:12, 5:11] = 2
    np.save(tmp_path / "demo.npy", labels)
    words = f"mask-files:folder={tmp_path},labels={tmp_path / 'labels.json'}"
    (tmp_path / "labels.json").write_text('{"glass:background": 0, "tumor": 1, "stroma": 2}')
    assert tissue(demo_slide.path, tmp_path / "out", "--qc", words) == 0
    features = json.loads((tmp_path / "out" / "demo.geojson").read_text())["features"]

    areas = {one["properties"]["classification"]["name"]: shape(one["geometry"]).area for one in features}
    assert areas == {"tumor": 36 * 100 * 100, "stroma": 18 * 100 * 100}


def test_beyond_what_a_mask_covers_the_slide_is_kept_as_in_a_run(demo_slide: DemoFiles, tmp_path: Path) -> None:
    np.save(tmp_path / "demo.npy", np.zeros((10, 10), np.uint8))
    (tmp_path / "demo.json").write_text('{"downsample": 100, "offset": [0, 0]}')
    words = f"mask-files:folder={tmp_path},nonzero=keep"
    assert tissue(demo_slide.path, tmp_path / "out", "--qc", words) == 0
    (feature,) = json.loads((tmp_path / "out" / "demo.geojson").read_text())["features"]

    assert shape(feature["geometry"]).area == 2000 * 1500 - 1000 * 1000


def test_outlines_that_are_there_are_not_replaced_unless_asked_for(
    demo_slide: DemoFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo.geojson").write_text("by hand")

    assert tissue(demo_slide.path, tmp_path) == 1
    assert "demo.geojson: is there, and somebody may have corrected it" in capsys.readouterr().err
    assert (tmp_path / "demo.geojson").read_text() == "by hand"
    assert tissue(demo_slide.path, tmp_path, "--redo") == 0
    assert json.loads((tmp_path / "demo.geojson").read_text())["type"] == "FeatureCollection"


def test_a_slide_of_glass_has_no_outline_and_a_warning_how_to_use_that(
    tmp_path: Path, demo_slide: DemoFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "demo.npy", np.zeros((15, 20), np.uint8))
    assert tissue(demo_slide.path, tmp_path / "out", "--qc", f"mask-files:folder={tmp_path},nonzero=keep") == 0

    assert "nothing is left of it; use its outlines with --roi-method inside" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "demo.geojson").read_text())["features"] == []
    words = ("--roi", tmp_path / "out", "--roi-method", "inside")
    assert kept(demo_slide.path, tmp_path, *words) == set()


def test_a_slide_that_fails_does_not_stop_the_others(
    demo_slide: DemoFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.svs").write_bytes(b"II*\0broken")
    words = ["tissue", str(tmp_path / "a.svs"), str(demo_slide.path), "--out", str(tmp_path / "out")]

    assert main(words) == 1
    assert (tmp_path / "out" / "demo.geojson").exists()
    assert "failed   a:" in capsys.readouterr().err


def test_two_slides_of_one_name_are_refused(demo_slide: DemoFiles, tmp_path: Path) -> None:
    (tmp_path / "demo.svs").write_bytes(demo_slide.path.read_bytes())

    assert main(["tissue", str(tmp_path / "demo.svs"), str(demo_slide.path), "--out", str(tmp_path / "out")]) == 1
    assert not (tmp_path / "out").exists()


def test_outlines_are_read_back_at_level_zero_where_viewers_crop(tmp_path: Path) -> None:
    """QuPath's coordinates begin at the scanned bounds; the file says so."""
    region = sl.Region(
        "tissue 1", shape({"type": "Polygon", "coordinates": [[[30, 40], [90, 40], [90, 80], [30, 40]]]})
    )
    sl.write_regions_geojson(tmp_path / "a.geojson", sl.Regions((region,)), origin=(20, 10))
    from slideloom_testing import info_of

    found = sl.load_regions(tmp_path, info_of("a"))
    assert found is not None
    assert found.items[0].shape.equals(region.shape)
