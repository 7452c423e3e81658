"""Classes of slide QC through a whole run: accounts, tables, reports, saved masks, outlines, and their reuse."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import slideloom as sl
from shapely.geometry import shape
from slideloom_cli.main import main
from slideloom_testing.fixtures import DemoFiles

TILES = ["--tile-px", "100", "--tile-um", "100"]
CLASSES = sl.qc_classes(["tissue", "background:background", "fold:artifact:0.2", "pen:artifact:0.1"])


@pytest.fixture
def truth(demo_slide: DemoFiles, tmp_path: Path) -> Path:
    """A folder with the demo slide's truth as a saved result with classes, named `truth`."""
    known = demo_slide.truth
    labels = np.where(known.mask("tissue", downsample=8), 0, 1).astype(np.uint8)
    labels[known.mask("fold", downsample=8)] = 2
    labels[known.mask("pen", downsample=8)] = 3
    with sl.open_slide(demo_slide.path) as slide:
        result = sl.QcResult.of_labels(labels, CLASSES, notes=("as planted",))
        (tmp_path / "masks").mkdir()
        sl.save_mask(result, tmp_path / "masks" / "demo-truth.npy", slide=slide.info)
    return tmp_path / "masks"


def run(slide: Path, masks: Path, of: str, out: Path, *more: str) -> sl.SlideReport:
    words = ["extract", str(slide), *TILES, "--qc", f"saved-mask:folder={masks},of={of}", "--out", str(out), *more]
    assert main(words) == 0
    (table,) = json.loads((out / "extraction_report.json").read_text())["slides"]
    return sl.SlideReport.from_table(table)


def test_tables_and_reports_name_the_class_for_which_a_tile_was_dropped(
    demo_slide: DemoFiles, truth: Path, tmp_path: Path
) -> None:
    report = run(demo_slide.path, truth, "truth", tmp_path / "out", "--report")
    with (tmp_path / "out" / report.tile_table).open() as file:
        rows = list(csv.DictReader(file))

    assert report.qc_classes == {
        "saved-mask-truth": {"background": "background", "fold": "artifact", "pen": "artifact"}
    }
    reasons = {f"qc:saved-mask-truth:{name}" for name in ("background", "fold", "pen")}
    assert reasons <= set(report.rejected)
    for row in rows:
        shares = {name: float(row[f"qc:saved-mask-truth:{name}"]) for name in ("background", "fold", "pen")}
        if row["status"] == "written":
            assert shares["fold"] <= 0.2
            assert shares["pen"] <= 0.1
            assert sum(shares.values()) <= 0.6 + 1e-3
        elif row["status"].endswith(":fold"):
            assert shares["fold"] > 0.2 or shares["fold"] == max(shares.values())
    (page,) = (tmp_path / "out").rglob("*.html")
    assert "QC saved-mask-truth, fold" in page.read_text()
    assert list((tmp_path / "out").glob("*.pdf"))


def test_saved_classes_are_used_again_and_give_the_same_tiles(
    demo_slide: DemoFiles, truth: Path, tmp_path: Path
) -> None:
    first = run(demo_slide.path, truth, "truth", tmp_path / "first", "--save-masks", "--overview")
    masks = tmp_path / "first" / "slideloom" / "100px_100um" / "masks"
    again = run(demo_slide.path, masks, "saved-mask-truth", tmp_path / "again")

    assert (masks / "demo-saved-mask-truth.npy").read_bytes() == (truth / "demo-truth.npy").read_bytes()
    assert again.written == first.written > 0
    assert again.rejected == {
        reason.replace("saved-mask-truth", "saved-mask-saved-mask-truth"): count
        for reason, count in first.rejected.items()
    }


def test_outlines_of_classes_cover_what_the_classes_do(demo_slide: DemoFiles, truth: Path, tmp_path: Path) -> None:
    run(demo_slide.path, truth, "truth", tmp_path / "out", "--save-masks")
    path = tmp_path / "out" / "slideloom" / "100px_100um" / "masks" / "demo-saved-mask-truth.geojson"
    features = json.loads(path.read_text())["features"]
    labels = np.load(truth / "demo-truth.npy")
    with sl.open_slide(demo_slide.path) as slide:
        size = slide.info.size

    assert {feature["properties"]["classification"]["name"] for feature in features} == {"fold", "pen"}
    for name, value in (("fold", 2), ("pen", 3)):
        areas = [shape(one["geometry"]).area for one in features if one["properties"]["classification"]["name"] == name]
        assert sum(areas) == pytest.approx((labels == value).mean() * size.area)


def test_masks_asked_for_later_are_made_with_their_outlines_without_cutting_tiles(
    demo_slide: DemoFiles, truth: Path, tmp_path: Path
) -> None:
    run(demo_slide.path, truth, "truth", tmp_path / "out")
    report = run(demo_slide.path, truth, "truth", tmp_path / "out", "--save-masks")

    assert report.status == "skipped"
    made = {path.name for path in (tmp_path / "out" / "slideloom" / "100px_100um" / "masks").iterdir()}
    assert made == {f"demo-saved-mask-truth.{suffix}" for suffix in ("npy", "json", "geojson")}


@pytest.fixture
def told(demo_slide: DemoFiles, truth: Path, tmp_path: Path) -> Path:
    """A folder with the same result whose folds are told but kept, named `told`."""
    classes = sl.qc_classes(["tissue", "background:background", "fold:keep:0.2", "pen:artifact:0.1"])
    with sl.open_slide(demo_slide.path) as slide:
        result = sl.QcResult.of_labels(np.load(truth / "demo-truth.npy"), classes)
        sl.save_mask(result, truth / "demo-told.npy", slide=slide.info)
    return truth


def test_a_report_outlines_and_counts_what_is_told_but_kept(demo_slide: DemoFiles, told: Path, tmp_path: Path) -> None:
    report = run(demo_slide.path, told, "told", tmp_path / "out", "--report", "--overview")

    with sl.open_slide(demo_slide.path) as slide:
        size = slide.info.size
    labels = np.load(told / "demo-told.npy")
    masks = tmp_path / "out" / "slideloom" / "100px_100um" / "masks"
    features = json.loads((masks / "demo.told.geojson").read_text())["features"]
    area = sum(shape(one["geometry"]).area for one in features)
    assert {one["properties"]["classification"]["name"] for one in features} == {"saved-mask-told:fold"}
    assert area == pytest.approx((labels == 2).mean() * size.area, rel=0.05)
    count = report.qc_told["saved-mask-told"]["fold"]
    assert 0 < count < report.written
    (page,) = (tmp_path / "out").rglob("*.html")
    text = page.read_text()
    (look,) = sl.told_looks(report.qc_told).values()
    colour = "rgb({},{},{})".format(*look.colour)
    share = f"{100 * count / report.written:.1f}%"
    row = f'of kept, with QC saved-mask-told, fold</td><td class="n">{count}</td><td class="n">{share}</td>'
    assert row in text
    assert text.count(f'stroke="{colour}"') >= 2  # the outline and its line in the legend


def test_a_dry_run_outlines_what_is_told_as_a_run_does(demo_slide: DemoFiles, told: Path, tmp_path: Path) -> None:
    words = ["--tile-px", "100", "--tile-um", "100", "--qc", f"saved-mask:folder={told},of=told", "--report"]
    assert main(["extract", str(demo_slide.path), *words, "--out", str(tmp_path / "wet")]) == 0
    assert main(["extract", str(demo_slide.path), *words, "--out", str(tmp_path / "dry"), "--dry-run"]) == 0

    def outlines(out: str) -> list[str]:
        (page,) = (tmp_path / out).rglob("*.html")
        return re.findall(r'<path d="([^"]*)" stroke="rgb\(255,236,0\)" stroke-width="\d+" ', page.read_text())

    assert outlines("wet") == outlines("dry") != []


def test_outlines_for_a_report_asked_for_later_are_made_without_cutting_tiles(
    demo_slide: DemoFiles, told: Path, tmp_path: Path
) -> None:
    run(demo_slide.path, told, "told", tmp_path / "out")
    report = run(demo_slide.path, told, "told", tmp_path / "out", "--report")

    assert report.status == "skipped"
    made = {path.name for path in (tmp_path / "out" / "slideloom" / "100px_100um" / "masks").iterdir()}
    assert made == {"demo.discard.npz", "demo.discard.json", "demo.told.geojson"}
