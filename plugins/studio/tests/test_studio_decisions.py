"""Decisions in the studio are those of a run, told while they are made, and made again without reading pixels."""

from __future__ import annotations

import io
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import shape
from slideloom import WSI, Box, OutputFolder, Size, SlideReport, load_pipeline, run_pipeline
from slideloom_studio.deciding import MOST_KEPT
from slideloom_testing.fixtures import DemoFiles

SIZE = ("--tile-px", "64", "--tile-um", "100")


def decided(page: Any, slide: str = "s1", *, start: bool = True) -> Any:
    """The decisions when the slide's worker has nothing to do."""
    if start:
        assert page.post(f"api/slides/{slide}/decisions").status == 202
    page.studio.deciding.wait(page.studio.shelf.entry(slide))
    return page.get(f"api/slides/{slide}/decisions").json()


def of_a_run(page: Any, demo: DemoFiles, out: Path) -> SlideReport:
    """What a run with the pipeline on screen reports of its first slide."""
    text = page.get("api/pipeline/text?as=toml").json()["text"]
    path = out / "pipeline.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    (report,) = run_pipeline(load_pipeline(path), [demo.path], out).slides
    return report


def picture(answer: Any) -> Any:
    assert answer.status == 200, answer.body
    return np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGBA"))


@pytest.fixture
def page(open_studio: Any, demo_slide: DemoFiles) -> Any:
    return open_studio(
        demo_slide.path,
        *SIZE,
        "--roi",
        str(demo_slide.rois),
        "--qc",
        "otsu:filter_threshold=0.4",
        "--qc",
        "gaussian-v2",
    )


def test_before_anything_is_asked_nothing_is_decided(page: Any) -> None:
    table = page.get("api/slides/s1/decisions").json()

    assert (table["state"], table["revision"], table["planned"], table["counts"]) == ("none", 0, 0, [])
    for path in ("decisions/grid", "decisions/codes", "masks", "masks/0", "tiles/0/0", "proposals/0"):
        assert page.get(f"api/slides/s1/{path}").status == 409


def test_the_counts_are_those_of_a_run(page: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    table = decided(page)

    report = of_a_run(page, demo_slide, tmp_path / "run")
    assert (table["state"], table["error"], table["is_current"]) == ("ready", None, True)
    counts = {entry["reason"]: entry["count"] for entry in table["counts"]}
    assert counts == {"kept": report.written, **report.rejected}
    assert (table["planned"], table["kept"]) == (report.planned, report.written)
    assert len(counts) >= 3
    assert [(step["kind"], step["name"], step["state"]) for step in table["steps"]] == [
        ("qc", "otsu", "done"),
        ("qc", "gaussian-v2", "done"),
        ("filter", "grayspace", "done"),
    ]


def test_the_codes_say_of_each_tile_what_a_run_says_of_it(page: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    import csv

    table = decided(page)
    of_a_run(page, demo_slide, tmp_path / "run")
    columns, rows = table["grid"]["columns"], table["grid"]["rows"]

    content = page.get(f"api/slides/s1/decisions/codes?revision={table['revision']}").body

    codes = np.frombuffer(content, np.uint8).reshape(rows, columns)
    words = ["written" if entry["reason"] == "kept" else entry["reason"] for entry in table["counts"]]
    with OutputFolder(tmp_path / "run", "64px_100um").tile_table("demo").open(newline="") as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == (codes != 255).sum()
    assert [words[codes[int(row["grid_y"]), int(row["grid_x"])]] for row in listed] == [row["status"] for row in listed]
    grid = table["grid"]
    first = listed[0]
    assert int(first["loc_x"]) == grid["x0"] + int(first["grid_x"]) * grid["stride_x"] + grid["tile_w"] // 2
    colours = {tuple(bytes.fromhex(entry["colour"][1:])) for entry in table["counts"]}
    drawn = picture(page.get("api/slides/s1/decisions/grid"))
    assert drawn.shape == (rows, columns, 4)
    assert {tuple(pixel) for pixel in drawn[drawn[..., 3] > 0][:, :3].tolist()} == colours
    assert ((drawn[..., 3] == 0) == (codes == 255)).all()


def test_a_threshold_is_decided_anew_without_reading_the_slide(
    page: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    before = decided(page)
    pipeline = page.get("api/pipeline").json()
    pipeline["qc"][0]["options"]["filter_threshold"] = 0.05
    pipeline["filters"][0]["options"]["fraction"] = 0.3
    shutil.move(demo_slide.path, tmp_path / "away.svs")  # whoever reads pixels now fails
    try:
        changed = page.put("api/pipeline", pipeline).json()
        wsi = page.studio.deciding.decided(page.studio.shelf.entry("s1")).wsi
        wsi.update(qc=page.studio.pipeline.now[1].qc, filters=page.studio.pipeline.now[1].filters)
        counts = wsi.counts
    finally:
        shutil.move(tmp_path / "away.svs", demo_slide.path)

    after = decided(page)

    assert (before["pipeline_revision"], after["pipeline_revision"]) == (1, changed["revision"])
    assert {entry["reason"]: entry["count"] for entry in after["counts"]} == counts
    assert after["kept"] < before["kept"]
    report = of_a_run(page, demo_slide, tmp_path / "run")
    assert {entry["reason"]: entry["count"] for entry in after["counts"]} == {"kept": report.written, **report.rejected}


def test_decisions_of_an_earlier_pipeline_say_so(page: Any) -> None:
    table = decided(page)
    page.put("api/pipeline", {"qc": []})

    now = page.get("api/slides/s1/decisions").json()

    assert (now["state"], now["is_current"], now["counts"]) == ("ready", False, table["counts"])
    assert decided(page)["is_current"] is True


def test_what_is_asked_of_an_earlier_version_is_refused(page: Any) -> None:
    old = decided(page)["revision"]
    page.put("api/pipeline", {"qc": []})
    new = decided(page)["revision"]

    answer = page.get(f"api/slides/s1/decisions/codes?revision={old}")

    assert (answer.status, answer.json()["revision"]) == (409, new)
    assert page.get(f"api/slides/s1/decisions/codes?revision={new}").status == 200


def test_regions_that_were_drawn_count_at_the_next_decision(open_studio: Any, demo_slide: DemoFiles, draw: Any) -> None:
    page = open_studio(demo_slide.path, *SIZE, "--filter", "none")
    assert decided(page)["kept"] == 20 * 15
    page.save([draw((200, 200), (900, 200), (900, 900), (200, 900), label="Tumor")])

    table = decided(page)

    assert table["kept"] == 7 * 7
    assert page.get("api/slides/s1/tiles/3/3").json()["label"] == "Tumor"
    page.save([])
    assert decided(page)["kept"] == 20 * 15


def test_a_tile_tells_why_it_was_dropped(page: Any) -> None:
    table = decided(page)
    columns, rows = table["grid"]["columns"], table["grid"]["rows"]
    codes = np.frombuffer(page.get("api/slides/s1/decisions/codes").body, np.uint8).reshape(rows, columns)

    for code, entry in enumerate(table["counts"]):
        row, column = np.argwhere(codes == code)[0].tolist()
        tile = page.get(f"api/slides/s1/tiles/{column}/{row}").json()
        assert (tile["kept"], tile["reason"]) == ((True, None) if code == 0 else (False, entry["reason"]))
        assert tile["title"] == entry["title"]
        assert (tile["loc_x"], tile["loc_y"]) == (column * 100 + 50, row * 100 + 50)
        scores = {score["step"]: score for score in tile["scores"]}
        assert set(scores) == {"qc:otsu", "qc:gaussian-v2", "filter:grayspace"}
        if entry["reason"] in scores:
            assert scores[entry["reason"]]["value"] > scores[entry["reason"]]["threshold"]
        if code == 0:
            assert all(score["value"] <= score["threshold"] for score in scores.values())


@pytest.mark.parametrize("place", ["20/0", "0/15", "-1/0", "a/0", "999999999/0"])
def test_a_tile_off_the_grid_is_not_there(page: Any, place: str) -> None:
    decided(page)

    assert page.get(f"api/slides/s1/tiles/{place}").status == 404


def test_the_pixels_of_a_tile_are_those_that_a_run_stores(
    open_studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    words = [*SIZE, "--filter", "none", "--normalizer", "macenko", "--sink", "images:format=png"]
    page = open_studio(demo_slide.path, *words, "--qc", "otsu")
    decided(page)
    of_a_run(page, demo_slide, tmp_path / "run")
    stored = sorted((tmp_path / "run").rglob("*.png"))
    assert stored
    x, y = (int(word) for word in stored[0].stem.rsplit("-", 2)[-2:])
    place = f"api/slides/s1/tiles/{x // 100}/{y // 100}"

    assert page.get(place).json()["has_normalized"] is True
    normalized = picture(page.get(f"{place}/picture?form=normalized"))
    original = picture(page.get(f"{place}/picture"))
    masks = picture(page.get(f"{place}/picture?form=masks"))

    assert (normalized[..., :3] == np.asarray(Image.open(stored[0]))).all()
    assert original.shape == masks.shape == (64, 64, 4)
    assert not (original == normalized).all()
    assert page.get(f"{place}/picture?form=other").status == 404


def test_a_tile_without_a_normalizer_has_no_normalized_form(page: Any) -> None:
    decided(page)

    assert page.get("api/slides/s1/tiles/3/3").json()["has_normalized"] is False
    assert page.get("api/slides/s1/tiles/3/3/picture?form=normalized").status == 404


def test_views_are_normalized_once_the_slide_is_decided(open_studio: Any, demo_slide: DemoFiles) -> None:
    page = open_studio(demo_slide.path, *SIZE, "--normalizer", "macenko")
    tile = "api/slides/s1/pyramid/3/3/2"
    plain = page.get(tile).body
    assert page.get(f"{tile}?normalized=1").status == 409
    decided(page)

    normalized = page.get(f"{tile}?normalized=1").body
    page.put("api/pipeline", {"normalizer": {"use": "macenko", "options": {"target": "v1"}}})

    assert page.get(f"{tile}?normalized=2").status == 409
    decided(page)
    assert len({plain, normalized, page.get(f"{tile}?normalized=2").body}) == 3
    assert page.get(tile).body == plain


def test_masks_cover_the_whole_slide_in_the_colour_of_their_step(page: Any) -> None:
    decided(page)
    listed = page.get("api/slides/s1/masks").json()

    assert [(mask["step"], mask["class"]) for mask in listed] == [("otsu", None), ("gaussian-v2", None)]
    results = page.studio.deciding.decided(page.studio.shelf.entry("s1")).wsi.qc_results
    for mask, result in zip(listed, results, strict=True):
        drawn = picture(page.get(f"api/slides/s1/masks/{mask['index']}"))
        assert drawn.shape == (mask["height"], mask["width"], 4)
        assert abs(mask["width"] / mask["height"] - 2000 / 1500) < 0.01
        assert abs((drawn[..., 3] > 0).mean() - result.mask.mean()) < 0.02
        assert abs(mask["share"] - result.mask.mean()) < 1e-9
        colours = {tuple(pixel) for pixel in drawn[drawn[..., 3] > 0][:, :3].tolist()}
        assert colours == {tuple(bytes.fromhex(mask["colour"][1:]))}
    assert page.get("api/slides/s1/masks/2").status == 404


def test_classes_of_a_step_are_masks_of_their_own_and_proposals_with_their_names(
    open_studio: Any, demo_slide: DemoFiles
) -> None:
    from slideloom import QcResult, SlideQc, qc_classes
    from slideloom.plugins.given_steps import settings_of

    class Halves(SlideQc):
        def assess(self, slide: Any, scene: Any) -> Any:
            labels = np.zeros((15, 20), np.uint8)
            labels[:, 10:] = 1
            labels[:5, 15:] = 2
            labels[5:, :5] = 3
            words = ["tissue", "pen:artifact:0.5", "fold:artifact:0.5", "bubble:keep:0.5"]
            return QcResult.of_labels(labels, qc_classes(words))

    import attrs
    from slideloom import QcUse

    page = open_studio(demo_slide.path, *SIZE, "--filter", "none")
    screen = page.studio.pipeline
    given = settings_of("qc", Halves(), travels=False)
    screen._pipeline = attrs.evolve(screen.now[1], qc=(QcUse(step=given),))

    table = decided(page)
    masks = page.get("api/slides/s1/masks").json()
    proposals = page.get("api/slides/s1/proposals/0").json()["features"]

    assert [(mask["step"], mask["class"], mask["title"], mask["share"]) for mask in masks] == [
        ("halves", "pen", "Slide QC: halves, pen", pytest.approx(125 / 300)),
        ("halves", "fold", "Slide QC: halves, fold", pytest.approx(25 / 300)),
        ("halves", "bubble", "Slide QC: halves, bubble (kept)", pytest.approx(50 / 300)),
    ]
    counts = {entry["reason"]: entry["count"] for entry in table["counts"]}
    assert counts == {"kept": 150, "qc:halves:pen": 125, "qc:halves:fold": 25}
    pen_colour = list(bytes.fromhex(masks[0]["colour"].removeprefix("#")))
    place = f"api/slides/s1/tiles/{table['grid']['columns'] * 3 // 5}/10/picture"
    plain, tinted = (picture(page.get(f"{place}{form}"))[..., :3].astype(float) for form in ("", "?form=masks"))
    assert np.abs(plain * 0.55 + np.array(pen_colour) * 0.45 - tinted).max() <= 1
    (pen,) = proposals
    assert pen["properties"]["classification"]["name"] == "pen"
    assert shape(pen["geometry"]).area == 1000 * 1500 - 500 * 500
    saved = page.save(proposals)
    assert saved.status == 200
    assert decided(page)["kept"] == 0  # only tiles with pen are within the region, and these are dropped


def test_a_step_that_fails_is_told_and_earlier_decisions_stay(open_studio: Any, demo_slide: DemoFiles) -> None:
    import attrs
    from slideloom import QcUse, SlideQc
    from slideloom.plugins.given_steps import settings_of

    class Broken(SlideQc):
        def assess(self, slide: Any, scene: Any) -> Any:
            raise RuntimeError("no such luck")

    page = open_studio(demo_slide.path, *SIZE, "--qc", "otsu")
    before = decided(page)
    screen = page.studio.pipeline
    broken = QcUse(step=settings_of("qc", Broken(), travels=False))
    screen._pipeline = attrs.evolve(screen.now[1], qc=(*screen.now[1].qc, broken))

    table = decided(page)

    assert table["state"] == "failed"
    assert "no such luck" in table["error"]
    assert [step["state"] for step in table["steps"]] == ["done", "failed", "waiting"]
    assert table["counts"] == before["counts"]
    screen._pipeline = attrs.evolve(screen.now[1], qc=screen.now[1].qc[:1])
    assert decided(page)["state"] == "ready"


def test_a_step_at_work_is_seen_and_cancelled(open_studio: Any, demo_slide: DemoFiles) -> None:
    import attrs
    from slideloom import QcResult, QcUse, SlideQc
    from slideloom.plugins.given_steps import settings_of

    at_work, go_on = threading.Event(), threading.Event()

    class Slow(SlideQc):
        def assess(self, slide: Any, scene: Any) -> Any:
            at_work.set()
            while not go_on.is_set():
                slide.read_at(Box(0, 0, 64, 64), Size(64, 64))  # reading is where a cancelled call ends
            return QcResult(np.zeros((3, 4), bool), "artifact")

    page = open_studio(demo_slide.path, *SIZE)
    screen = page.studio.pipeline
    screen._pipeline = attrs.evolve(screen.now[1], qc=(QcUse(step=settings_of("qc", Slow(), travels=False)),))
    page.post("api/slides/s1/decisions")
    at_work.wait()

    seen = page.get("api/slides/s1/decisions").json()
    cancelled = page.send("DELETE", "api/slides/s1/decisions")
    after = decided(page, start=False)

    assert seen["state"] == "working"
    assert [step["state"] for step in seen["steps"]] == ["working", "waiting"]
    assert seen["kept"] == 300  # the regions have decided already
    assert cancelled.status == 200
    assert after["state"] == "ready"
    assert [step["state"] for step in after["steps"]] == ["cancelled", "waiting"]
    # What regions alone keep is on screen, and must not pass for what the steps keep.
    told = {name: after[name] for name in ("kept", "is_whole", "is_current", "is_cancelled")}
    assert told == {"kept": 300, "is_whole": False, "is_current": False, "is_cancelled": True}
    assert page.get("api/slides/s1/pyramid/0/0/0?normalized=1").status == 409
    go_on.set()
    again = decided(page)
    assert (again["is_whole"], again["is_current"], again["is_cancelled"]) == (True, True, False)


def test_a_slide_whose_resolution_is_unknown_is_shown_and_not_decided(open_studio: Any, tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    Image.new("RGB", (600, 400), (200, 120, 160)).save(path)
    page = open_studio(path)

    table = decided(page)

    assert page.get("api/slides/s1/pyramid/0/0/0").status == 200
    assert page.get("api/slides/s1").json()["mpp_x"] is None
    assert table["state"] == "failed"
    assert "microns per pixel" in table["error"]


def test_a_grid_of_millions_of_tiles_is_refused_before_it_is_made(open_studio: Any, tmp_path: Path) -> None:
    path = tmp_path / "plain.tif"
    Image.new("RGB", (3000, 2000), (200, 120, 160)).save(path)
    page = open_studio(path, "--tile-px", "1", "--tile-um", "1", "--mpp", "1")

    table = decided(page)

    assert table["state"] == "failed"
    assert "3000 x 2000 tiles are more than the studio shows" in table["error"]
    page.put("api/pipeline", {"tiles": {"tile_px": 100, "tile_um": 100}})
    assert decided(page)["planned"] == 600


def test_masks_of_a_few_slides_are_kept(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.svs" for number in range(MOST_KEPT + 1)]
    for path in paths:
        shutil.copy(demo_slide.path, path)
    page = open_studio(*paths, *SIZE, "--qc", "otsu", "--filter", "none")
    wsis = []
    for number in range(len(paths)):
        decided(page, f"s{number + 1}")
        wsis.append(page.studio.deciding.decided(page.studio.shelf.entry(f"s{number + 1}")).wsi)

    assert [wsi.slide.is_closed for wsi in wsis] == [True, *[False] * MOST_KEPT]
    assert page.get("api/slides/s1/decisions").json()["state"] == "none"
    assert decided(page)["state"] == "ready"


def test_a_slide_that_was_replaced_is_decided_anew(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    shutil.copy(demo_slide.path, path)
    page = open_studio(path, *SIZE, "--filter", "none", "--mpp", "1")
    assert decided(page)["planned"] == 300
    Image.new("RGB", (700, 300), (200, 120, 160)).save(tmp_path / "other.tif")
    (tmp_path / "other.tif").replace(path)

    assert decided(page)["planned"] == 21


def test_a_slide_that_is_gone_cannot_be_decided(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    shutil.copy(demo_slide.path, path)
    page = open_studio(path, *SIZE)
    path.unlink()

    table = decided(page)

    assert (table["state"], table["error"]) == (
        "failed",
        "a.svs: the file is gone; put it back, or open the studio without it",
    )


def test_cells_are_points(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells/demo.csv").write_text("x,y\n300,400\n900,800\n1500,700\n")
    placement = f"cells-csv:folder={json.dumps(str(tmp_path / 'cells'))},unit=px"
    page = open_studio(demo_slide.path, *SIZE, "--filter", "none", "--placement", placement)
    assert page.get("api/slides/s1/points").status == 409

    table = decided(page)

    assert table["state"] == "ready", table["error"]
    assert table["grid"] is None
    assert page.get("api/slides/s1/points").json() == {
        "x": [300, 900, 1500],
        "y": [400, 800, 700],
        "label": ["kept"] * 3,
    }


def test_a_picture_is_unchanged_where_there_is_nothing_to_normalize(demo_slide: DemoFiles) -> None:
    with WSI(demo_slide.path, tile_px=64, tile_um=100) as wsi:
        tissue, box = wsi.view_at(1, 800, 500, 256), Box(800, 500, 256, 256)
        assert wsi.normalized(tissue, box=box) is tissue
        wsi.normalize("macenko")

        assert wsi.normalized(tissue, box=box).shape == tissue.shape
        assert not (wsi.normalized(tissue, box=box) == tissue).all()
        white = np.full_like(tissue, 255)
        assert wsi.normalized(white, box=box) is white  # macenko refuses glass
