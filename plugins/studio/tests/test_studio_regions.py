"""Regions: what is drawn is what `--roi` reads, what was in the file stays, and nothing is lost on the way."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely.geometry import shape
from slideloom import Box, Level, Regions, RoiError, Size, SlideInfo, load_regions
from slideloom.planning.opening import open_slide
from slideloom_cli.main import main
from slideloom_roi import write_csv
from slideloom_studio.geojson_file import GeoJsonFile
from slideloom_studio.outlines import checked
from slideloom_testing.disks import full_disk
from slideloom_testing.fixtures import DemoFiles

SQUARE = ((200, 200), (900, 200), (900, 900), (200, 900))


@pytest.fixture
def page(open_studio: Any, demo_slide: DemoFiles) -> Any:
    return open_studio(demo_slide.path)


def read_back(folder: Path, demo: DemoFiles) -> Regions:
    with open_slide(demo.path) as slide:
        found = load_regions(folder, slide.info)
    assert found is not None
    return found


def tiles(demo: DemoFiles, *words: str) -> list[dict[str, str]]:
    """What `slideloom tiles` lists."""
    out = demo.path.parent / "tiles.csv"
    size = ["--tile-px", "100", "--tile-um", "100"]
    assert main(["tiles", str(demo.path), *size, "--kept-only", "--out", str(out), *words]) == 0
    return list(csv.DictReader(io.StringIO(out.read_text())))


def test_what_is_drawn_is_what_a_run_reads(page: Any, demo_slide: DemoFiles, draw: Any, tmp_path: Path) -> None:
    ring = draw(*SQUARE, name="ring", label="Tumor")
    ring["geometry"]["coordinates"].append([[400, 400], [700, 400], [700, 700], [400, 700], [400, 400]])
    part = draw((1000.5, 100.25), (1900, 100), (1400, 700), name="part", label="Stroma: \N{GREEK SMALL LETTER BETA}")

    answer = page.save([ring, part]).json()

    assert (answer["saved"], answer["dropped"], answer["mended"], answer["notes"]) == ("demo.geojson", [], [], [])
    found = read_back(tmp_path / "rois", demo_slide)
    assert [(each.name, each.label) for each in found.items] == [("ring", "Tumor"), ("part", "Stroma: β")]
    assert found.items[0].shape.equals(shapely.box(200, 200, 900, 900) - shapely.box(400, 400, 700, 700))
    assert shapely.get_coordinates(found.items[1].shape).tolist()[0] == [1000.5, 100.25]
    kept = tiles(demo_slide, "--roi", str(tmp_path / "rois"))
    # Centres of tiles of 100 pixels: 7 x 7 in the square without 3 x 3 in its hole; the triangle by its formula.
    assert sum(row["label"] == "Tumor" for row in kept) == 49 - 9
    centres = [(x, y) for x in range(50, 2000, 100) for y in range(50, 1500, 100)]
    triangle = shapely.Polygon([(1000.5, 100.25), (1900, 100), (1400, 700)])
    assert sum(row["roi_name"] == "part" for row in kept) == sum(triangle.contains(shapely.Point(c)) for c in centres)


def test_a_page_that_is_opened_again_finds_its_regions(open_studio: Any, demo_slide: DemoFiles, draw: Any) -> None:
    feature = draw(*SQUARE, name="a", label="Tumor")
    first = open_studio(demo_slide.path)
    saved = first.save([feature]).json()

    again = open_studio(demo_slide.path).regions()

    assert again["geojson"]["features"] == [feature]
    assert again["revision"] == saved["revision"]
    row = open_studio(demo_slide.path).get("api/slides").json()[0]
    assert (row["status"], row["regions"], row["error"]) == ("regions", 1, None)
    assert first.get("api/session").json()["labels"] == ["Tumor"]


def test_nothing_is_written_before_something_is_saved(page: Any, tmp_path: Path) -> None:
    assert page.regions()["geojson"]["features"] == []
    assert page.get("api/slides").json()[0]["status"] == "untouched"
    assert not (tmp_path / "rois").exists()


def test_unknown_members_and_geometries_stay(
    open_studio: Any, demo_slide: DemoFiles, draw: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "rois"
    folder.mkdir()
    line = {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "properties": None}
    cell = draw(*SQUARE, objectType="cell")
    cell["nucleusGeometry"] = {"type": "Point", "coordinates": [300.5, 300.5]}
    annotation = draw(*SQUARE, name="a", measurements={"Area": 490000.0}, isLocked=True)
    annotation["id"] = "0f9b-uuid"
    collection = {"type": "FeatureCollection", "crs": {"x": 1}, "features": [annotation, line, cell]}
    (folder / "demo.geojson").write_text(json.dumps(collection))
    page = open_studio(demo_slide.path)

    shown = page.regions()["geojson"]["features"]
    assert shown == [annotation, line]  # cells are no regions, and there may be a million of them
    assert page.save([*shown, draw((0, 0), (90, 0), (0, 90))]).status == 200

    saved = json.loads((folder / "demo.geojson").read_text())
    assert saved["crs"] == {"x": 1}
    assert saved["features"][0] == annotation
    assert saved["features"][1] == line
    assert saved["features"][-1] == cell
    assert len(saved["features"]) == 4


@pytest.mark.parametrize("bounds", [None, Box(1000, 500, 4000, 3000)], ids=["whole", "cropped"])
@pytest.mark.parametrize("form", ["qupath", "plain", "ours", "list", "children", "one", "bare"])
def test_a_file_shows_regions_where_the_reader_has_them(
    form: str, bounds: Box | None, draw: Any, tmp_path: Path
) -> None:
    info = SlideInfo(tmp_path / "a.svs", "a", "x", (Level(Size(6000, 5000), 1, 1),), bounds=bounds)
    feature, plain = draw(*SQUARE, name="a", label="T"), {**draw(*SQUARE), "properties": {"name": "a"}}
    child = draw((300, 300), (400, 300), (300, 400), name="b")
    forms: dict[str, Any] = {
        "qupath": {"type": "FeatureCollection", "features": [feature]},
        "plain": {"type": "FeatureCollection", "features": [plain]},
        "ours": {"type": "FeatureCollection", "slideloom": {"origin": [7, 9]}, "features": [feature]},
        "list": [feature, child],
        "children": {"type": "FeatureCollection", "features": [{**feature, "childObjects": [child]}]},
        "one": feature,
        "bare": plain["geometry"],
    }
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps(forms[form]))
    before = load_regions(tmp_path, info)

    opened = GeoJsonFile.parse(path.read_bytes(), info)
    assert before is not None
    assert opened is not None
    assert [shape(each["geometry"]).wkt for each in opened.shown] == [each.shape.wkt for each in before.items]
    path.write_bytes(opened.content(checked(opened.shown, info).features))
    after = load_regions(tmp_path, info)

    assert after is not None
    assert [(each.name, each.label, each.shape.wkt) for each in after.items] == [
        (each.name, each.label, each.shape.wkt) for each in before.items
    ]


def test_a_new_file_counts_as_qupath_does_and_is_read_in_level_0_pixels(draw: Any, tmp_path: Path) -> None:
    info = SlideInfo(
        tmp_path / "a.mrxs", "a", "x", (Level(Size(6000, 5000), 1, 1),), bounds=Box(1000.0, 500.0, 4000, 3000)
    )
    content = GeoJsonFile.new(info).content([draw((1200, 700), (1900, 700), (1900, 900))])

    (tmp_path / "a.geojson").write_bytes(content)
    assert json.loads(content)["features"][0]["geometry"]["coordinates"][0][0] == [200, 200]
    found = load_regions(tmp_path, info)
    assert found is not None
    assert found.items[0].shape.bounds == (1200, 700, 1900, 900)


@pytest.mark.parametrize("points", [[], [(1, 1)], [(1, 1), (5, 5)], [(1, 1), (5, 5), (1, 1)], [(3, 3)] * 5])
def test_a_shape_of_fewer_than_three_points_is_dropped_with_a_word(page: Any, draw: Any, points: Any) -> None:
    dot = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[list(p) for p in points]]},
           "properties": {"name": "dot"}}  # fmt: skip

    answer = page.save([draw(*SQUARE), dot]).json()

    assert answer["dropped"] == ["'dot' was left out, it has fewer than 3 points"]
    assert len(page.regions()["geojson"]["features"]) == 1


def test_a_shape_without_area_is_dropped_with_a_word(page: Any, draw: Any) -> None:
    answer = page.save([draw((0, 0), (50, 50), (100, 100))]).json()

    assert answer["dropped"] == ["region 1 was left out, it encloses no area"]


def test_a_loop_that_crosses_itself_is_mended_as_the_reader_does(
    page: Any, demo_slide: DemoFiles, draw: Any, tmp_path: Path
) -> None:
    bow, twice = [(0, 0), (100, 100), (100, 0), (0, 100)], [*SQUARE, *SQUARE, (300, 100)]
    raw = tmp_path / "raw"
    raw.mkdir()
    features = [draw(*bow, name="bow"), draw(*twice, name="twice")]
    (raw / "demo.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    wanted = read_back(raw, demo_slide)

    answer = page.save(features).json()

    assert answer["mended"] == [
        "'bow' crossed or touched itself and was mended",
        "'twice' crossed or touched itself and was mended",
    ]
    found = read_back(tmp_path / "rois", demo_slide)
    assert [each.shape.equals(other.shape) for each, other in zip(found.items, wanted.items, strict=True)] == [True] * 2
    assert found.items[0].shape.area == 100 * 100 / 2
    assert found.notes == ()  # nothing is left to repair
    assert [shape(each["geometry"]).is_valid for each in page.regions()["geojson"]["features"]] == [True, True]


@pytest.mark.parametrize(
    "feature",
    [
        7, {}, {"type": "Feature"}, {"geometry": {"type": "Polygon"}},
        {"geometry": {"type": "Polygon", "coordinates": []}},
        {"geometry": {"type": "Polygon", "coordinates": [[["a", 1], [2, 2], [3, 1]]]}},
        {"geometry": {"type": "Polygon", "coordinates": [[[1e12, 1], [2, 2], [3, 1]]]}},
        {"geometry": {"type": "MultiPolygon", "coordinates": [7]}},
        {"geometry": {"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [0, 9]]]}, "properties": 3},
    ],
)  # fmt: skip
def test_what_is_no_region_is_refused_and_the_file_stays(page: Any, draw: Any, feature: Any, tmp_path: Path) -> None:
    page.save([draw(*SQUARE)])
    before = (tmp_path / "rois/demo.geojson").read_bytes()

    answer = page.save([draw(*SQUARE), feature])

    assert answer.status == 422
    assert (tmp_path / "rois/demo.geojson").read_bytes() == before


def test_regions_that_no_run_could_read_are_not_saved(page: Any, draw: Any, tmp_path: Path) -> None:
    answer = page.save([draw((5000, 5000), (6000, 5000), (5000, 6000), name="far")])

    assert answer.status == 422
    assert "lies outside the slide" in answer.json()["error"]
    assert not (tmp_path / "rois").exists()


def test_a_region_beside_others_that_lies_off_the_slide_is_told(page: Any, draw: Any) -> None:
    far = draw((5000, 5000), (6000, 5000), (5000, 6000), name="far")

    answer = page.save([draw(*SQUARE), far]).json()

    assert "lies outside the slide of 2000 x 1500 pixels: far (feature 2)" in answer["notes"][0]
    assert len(page.regions()["geojson"]["features"]) == 2


def test_a_file_that_changed_meanwhile_is_not_overwritten(page: Any, draw: Any, tmp_path: Path) -> None:
    old = page.save([draw(*SQUARE)]).json()["revision"]
    theirs = draw((0, 0), (300, 0), (0, 300), name="theirs")
    (tmp_path / "rois/demo.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [theirs]}))

    answer = page.save([draw(*SQUARE, name="mine")], revision=old)

    assert answer.status == 409
    assert "demo.geojson has changed since it was read" in answer.json()["error"]
    assert answer.json()["revision"] == page.regions()["revision"]
    assert page.regions()["geojson"]["features"] == [theirs]
    assert page.save([draw(*SQUARE, name="mine")], revision=answer.json()["revision"]).status == 200


def test_two_studios_on_one_folder_do_not_undo_each_other(open_studio: Any, demo_slide: DemoFiles, draw: Any) -> None:
    one, other = open_studio(demo_slide.path), open_studio(demo_slide.path)
    seen = other.regions()["revision"]
    one.save([draw(*SQUARE, name="one")])

    assert other.save([draw(*SQUARE, name="other")], revision=seen).status == 409
    assert other.regions()["geojson"]["features"][0]["properties"]["name"] == "one"


def test_all_regions_may_be_deleted_again(page: Any, demo_slide: DemoFiles, draw: Any, tmp_path: Path) -> None:
    page.save([draw(*SQUARE)])

    assert page.save([]).status == 200
    assert page.regions()["geojson"]["features"] == []
    assert read_back(tmp_path / "rois", demo_slide).items == ()
    assert page.get("api/slides").json()[0]["regions"] == 0


Writer = Callable[[Regions, Path], None]


def as_csv(regions: Regions, folder: Path) -> None:
    write_csv(regions, folder / "demo.csv")


def as_xml(regions: Regions, folder: Path) -> None:
    points = "".join(
        f'<Vertex X="{x}" Y="{y}"/>' for x, y in shapely.get_coordinates(regions.items[0].shape.exterior)[:-1]
    )
    (folder / "demo.xml").write_text(
        '<Annotations><Annotation Id="1" Name="T"><Regions><Region Id="1" Type="0"><Vertices>'
        f"{points}</Vertices></Region></Regions></Annotation></Annotations>"
    )


def as_labelme(regions: Regions, folder: Path) -> None:
    points = shapely.get_coordinates(regions.items[0].shape.exterior)[:-1].tolist()
    (folder / "demo.json").write_text(json.dumps({"shapes": [{"label": "T", "points": points}]}))


def as_packed(regions: Regions, folder: Path) -> None:
    import gzip

    from slideloom import write_regions_geojson

    write_regions_geojson(folder / "demo.geojson", regions)
    (folder / "demo.geojson.gz").write_bytes(gzip.compress((folder / "demo.geojson").read_bytes()))
    (folder / "demo.geojson").unlink()


def as_utf16(regions: Regions, folder: Path) -> None:
    from slideloom import write_regions_geojson

    write_regions_geojson(folder / "demo.geojson", regions)
    text = (folder / "demo.geojson").read_text()
    (folder / "demo.geojson").write_bytes(text.encode("utf-16"))


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (as_csv, "demo.csv"), (as_xml, "demo.xml"), (as_labelme, "demo.json"), (as_packed, "demo.geojson.gz"),
        (as_utf16, "demo.geojson"),
    ],
)  # fmt: skip
def test_regions_in_another_format_are_moved_only_when_somebody_says_so(
    write: Writer, name: str, open_studio: Any, demo_slide: DemoFiles, draw: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "rois"
    shutil.copytree(demo_slide.rois, folder)
    given = read_back(folder, demo_slide)
    shutil.rmtree(folder)
    folder.mkdir()
    write(given, folder)
    before, content = read_back(folder, demo_slide), (folder / name).read_bytes()
    page = open_studio(demo_slide.path)

    shown = page.regions()
    assert shown["replaces"] == name
    features = shown["geojson"]["features"]
    assert [shape(each["geometry"]).wkt for each in features] == [each.shape.wkt for each in before.items]
    refused = page.save(features)
    assert (refused.status, refused.json()["replaces"]) == (409, name)
    assert [path.name for path in folder.iterdir()] == [name]

    saved = page.save(features, replace=True).json()

    assert saved["moved"] == f"originals/{name}"
    assert (folder / "originals" / name).read_bytes() == content
    assert sorted(path.name for path in folder.iterdir()) == ["demo.geojson", "originals"]
    after = read_back(folder, demo_slide)
    assert [(each.label, each.shape.wkt) for each in after.items] == [
        (each.label, each.shape.wkt) for each in before.items
    ]
    assert page.regions()["replaces"] is None
    assert page.save(features).json()["moved"] is None


def test_two_files_for_a_slide_are_told_as_a_run_tells_them(
    open_studio: Any, demo_slide: DemoFiles, draw: Any, tmp_path: Path
) -> None:
    page = open_studio(demo_slide.path)
    page.save([draw(*SQUARE)])
    write_csv(read_back(tmp_path / "rois", demo_slide), tmp_path / "rois/demo.csv")

    answer = page.get("api/slides/s1/regions")

    assert answer.status == 422
    assert "several files for slide demo" in answer.json()["error"]
    assert page.save([draw(*SQUARE)], revision="new").status == 422
    assert "several files" in page.get("api/slides").json()[0]["error"]


def test_a_csv_copy_holds_the_same_regions_and_is_no_second_file(
    page: Any, demo_slide: DemoFiles, draw: Any, tmp_path: Path
) -> None:
    ring = draw(*SQUARE, name="ring", label="Tumor")
    ring["geometry"]["coordinates"].append([[400, 400], [700, 400], [700, 700], [400, 700], [400, 400]])
    assert page.post("api/slides/s1/regions/csv").status == 409  # there are none yet
    page.save([ring, draw((0, 0), (90, 0), (0, 90), name="=1+1", label="T")])

    saved = page.post("api/slides/s1/regions/csv").json()["saved"]

    assert Path(saved) == tmp_path / "rois/csv/demo.csv"
    copy, own = read_back(tmp_path / "rois/csv", demo_slide), read_back(tmp_path / "rois", demo_slide)
    assert [(each.name, each.label) for each in copy.items] == [(each.name, each.label) for each in own.items]
    assert [each.shape.equals(other.shape) for each, other in zip(copy.items, own.items, strict=True)] == [True, True]


def test_a_full_disk_is_told_and_the_old_file_is_whole(page: Any, draw: Any, tmp_path: Path) -> None:
    page.save([draw(*SQUARE)])
    before = (tmp_path / "rois/demo.geojson").read_bytes()
    many = [draw(*SQUARE, name=f"region {number}") for number in range(200)]

    with full_disk(after_bytes=4096):
        answer = page.save(many)

    assert answer.status == 507
    assert "space" in answer.json()["error"] or "large" in answer.json()["error"]
    # The regions are read back from a temporary file before they are saved, and its disk is the first to be full.
    assert tempfile.gettempdir() in answer.json()["error"]
    assert [path.name for path in (tmp_path / "rois").iterdir()] == ["demo.geojson"]
    assert (tmp_path / "rois/demo.geojson").read_bytes() == before
    assert page.save(many).status == 200


def test_a_full_disk_is_told_with_the_folder_that_lies_on_it(page: Any, draw: Any, tmp_path: Path) -> None:
    page.save([draw(*SQUARE)])

    with full_disk(after_bytes=16):
        answer = page.post("api/slides/s1/regions/csv")

    assert answer.status == 507
    assert str(tmp_path / "rois" / "csv") in answer.json()["error"]


def test_a_full_disk_loses_no_original(open_studio: Any, demo_slide: DemoFiles, draw: Any, tmp_path: Path) -> None:
    folder = tmp_path / "rois"
    folder.mkdir()
    write_csv(read_back(demo_slide.rois, demo_slide), folder / "demo.csv")
    page = open_studio(demo_slide.path)
    features = page.regions()["geojson"]["features"]

    with full_disk(after_bytes=100):
        answer = page.save(features, replace=True)

    assert answer.status == 507
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["demo.csv"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(page: Any, draw: Any, tmp_path: Path) -> None:
    (tmp_path / "rois").mkdir(mode=0o500)

    answer = page.save([draw(*SQUARE)])

    assert answer.status == 500
    assert "rois" in answer.json()["error"]


def test_a_studio_opened_to_read_writes_nothing(
    open_studio: Any, demo_slide: DemoFiles, draw: Any, tmp_path: Path
) -> None:
    page = open_studio(demo_slide.path, "--read-only")

    assert page.get("api/session").json()["can_write_regions"] is False
    assert page.save([draw(*SQUARE)]).status == 403
    assert page.post("api/slides/s1/regions/csv").status == 403
    assert not (tmp_path / "rois").exists()


def test_large_numbers_of_points_are_saved_as_they_are(page: Any, draw: Any) -> None:
    from math import cos, pi, sin

    points = [(1000 + 500 * cos(2 * pi * i / 20000), 700 + 500 * sin(2 * pi * i / 20000)) for i in range(20000)]

    answer = page.save([draw(*points)])

    assert answer.status == 200
    ring = page.regions()["geojson"]["features"][0]["geometry"]["coordinates"][0]
    assert ring[:-1] == [list(point) for point in points]


def test_the_reader_refuses_what_the_studio_would_refuse(demo_slide: DemoFiles, tmp_path: Path) -> None:
    """The rule for two files is the reader's own, which the studio asks."""
    for name in ("demo.csv", "demo.geojson"):
        (tmp_path / name).write_text("x")

    with pytest.raises(RoiError, match="several files"):
        read_back(tmp_path, demo_slide)


def test_a_list_of_slides_finds_files_in_capital_letters_and_with_other_accents(
    open_studio: Any, demo_slide: DemoFiles, draw: Any, tmp_path: Path
) -> None:
    names = ("caf\u00e9", "B2", "b20", "none")
    for name in names:
        shutil.copy(demo_slide.path, tmp_path / f"{name}.svs")
    folder = tmp_path / "rois"
    folder.mkdir()
    content = json.dumps({"type": "FeatureCollection", "features": [draw(*SQUARE), draw(*SQUARE)]})
    for name in ("cafe\u0301.geojson", "B2.svs.GEOJSON", "b20.geojson", "nonesuch.geojson"):
        (folder / name).write_text(content, encoding="utf-8")
    page = open_studio(*(tmp_path / f"{name}.svs" for name in names))

    assert [row["regions"] for row in page.get("api/slides").json()] == [2, 2, 2, 0]
    (folder / "none.geojson").write_text(content)
    assert [row["regions"] for row in page.get("api/slides").json()] == [2, 2, 2, 2]
    (folder / "b20.geojson").unlink()
    assert [row["regions"] for row in page.get("api/slides").json()] == [2, 2, 0, 2]
