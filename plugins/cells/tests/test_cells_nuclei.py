"""The detector of nuclei: how many it finds where they are known, and that blocks do not show."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import shapely
from slideloom import PluginError, pipeline_from_table, registry, run_pipeline
from slideloom.base.geometry import Size
from slideloom_cells import Cellpose, Nuclei, find_nuclei
from slideloom_testing import DemoSlide, PixelsSlide, PlacementContract, scene_of

from plugins.cells.tests.counted_by_eye import FIELDS, Field

# Directions of optical density of haematoxylin and eosin: Ruifrok and Johnston (2001).
H, E = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])


def painted(centres: list[tuple[float, float]], *, radius: float = 6, side: int = 400, mpp: float = 0.5) -> PixelsSlide:
    """Disks of haematoxylin on eosin, by the Beer-Lambert law."""
    y, x = np.mgrid[0:side, 0:side]
    depth = np.full((side, side), -np.inf)
    for cx, cy in centres:
        depth = np.maximum(depth, radius - np.hypot(x - cx, y - cy))
    haematoxylin = 0.8 * np.clip(depth + 0.5, 0, 1)
    density = haematoxylin[..., None] * H + 0.3 * E
    return PixelsSlide(np.floor(245 * np.exp(-density) + 0.5).astype(np.uint8), mpp=mpp)


class TestNuclei(PlacementContract):
    settings = Nuclei()

    def slide(self) -> PixelsSlide:
        return painted([(60, 70), (200, 210), (330, 100)], radius=4, mpp=1.0)


def matched(found: np.ndarray, true: np.ndarray, radius: float) -> int:
    """Number of pairs at most `radius` apart, nearest first, each point in one pair."""
    tree = shapely.STRtree(shapely.points(true))
    first, second = tree.query(shapely.points(found), predicate="dwithin", distance=radius)
    far = np.hypot(*(found[first] - true[second]).T)
    used_first, used_second = set(), set()
    for i in np.argsort(far, kind="stable"):
        if first[i] not in used_first and second[i] not in used_second:
            used_first.add(first[i])
            used_second.add(second[i])
    return len(used_first)


def test_disks_are_found_to_half_a_micron() -> None:
    truth = [(50.0, 60.0), (120.0, 80.0), (300.0, 310.0), (8.0, 390.0)]

    found = find_nuclei(painted(truth))

    assert len(found) == len(truth)
    assert matched(found, np.array(truth), radius=1.0) == len(truth)


def test_touching_nuclei_are_two_and_a_long_one_is_one() -> None:
    pair = [(100.0, 100.0), (111.0, 100.0)]
    long = [(250.0 + i, 250.0) for i in range(-7, 8)]

    assert len(find_nuclei(painted(pair, radius=6))) == 2
    found = find_nuclei(painted(long, radius=4))
    assert len(found) == 1
    assert np.hypot(*(found[0] - [250, 250])) < 2


def test_glass_ink_and_eosin_hold_no_nuclei() -> None:
    glass = PixelsSlide(np.full((400, 400, 3), 244, np.uint8), mpp=0.5)
    eosin = painted([])
    ink = painted([(200.0, 200.0)], radius=90)

    assert len(find_nuclei(glass)) == 0
    assert len(find_nuclei(eosin)) == 0
    assert len(find_nuclei(ink)) == 0


@pytest.fixture(scope="module")
def demo() -> tuple[PixelsSlide, Any]:
    made = DemoSlide(Size(2400, 1800), mpp=0.5, seed=3)
    return PixelsSlide(made.block(0, 0, made.size), mpp=0.5, downsamples=(1, 4)), made.truth


def test_nuclei_of_made_tissue_are_found_within_4_microns(demo: tuple[PixelsSlide, Any]) -> None:
    slide, truth = demo
    unclear = shapely.union_all([truth.blur, truth.pen, truth.fold])

    def clear(points: np.ndarray) -> np.ndarray:
        return points[~shapely.contains_xy(unclear, points[:, 0], points[:, 1])]

    found, true = clear(find_nuclei(slide)), clear(truth.nuclei)
    pairs = matched(found, true, radius=4 / truth.mpp)
    precision, recall = pairs / len(found), pairs / len(true)
    f1 = 2 * precision * recall / (precision + recall)

    assert f1 > 0.85, f"precision {precision:.3f}, recall {recall:.3f}, F1 {f1:.3f}"
    assert precision > 0.85
    assert recall > 0.8


def f1_by_eye(folder: Path, field: Field) -> tuple[float, float]:
    """Precision, and F1, within 4 microns, in the part of a real field that was counted."""
    rgb = np.ascontiguousarray(cv2.imread(str(folder / field.name))[..., ::-1])
    found = find_nuclei(PixelsSlide(rgb, mpp=field.mpp)) - [field.left, field.top]
    inside = found[((found >= 0) & (found < field.side)).all(axis=1)]
    pairs = matched(inside, field.points(), radius=4 / field.mpp)
    return pairs / max(1, len(inside)), 2 * pairs / (len(inside) + len(field.points()))


def test_nuclei_of_real_fields_are_those_that_were_counted_by_eye(real_data: Path) -> None:
    found = {field.name: f1_by_eye(real_data / "fields", field) for field in FIELDS}

    assert np.mean([f1 for _, f1 in found.values()]) > 0.72, found
    # Fields of dense eosin with few nuclei, where two of three centres were in eosin before
    for name in (
        "tcga-vessel-collagen.png",
        "tcga-frozen-edge.png",
        "liver-gtex-fat-20x.jpg",
        "liver-fibrosis-20x.jpg",
    ):
        assert found[name][0] > 0.6, found[name]


def test_nuclei_do_not_depend_on_blocks(demo: tuple[PixelsSlide, Any]) -> None:
    slide, _ = demo
    whole = find_nuclei(slide, block_px=4096)

    for block_px in (300, 777):
        assert np.array_equal(find_nuclei(slide, block_px=block_px), whole)


def test_a_finer_slide_gives_the_same_places() -> None:
    coarse = find_nuclei(painted([(50, 60), (120, 80)], mpp=0.5, side=200))
    fine = find_nuclei(painted([(100.5, 120.5), (240.5, 160.5)], radius=12, mpp=0.25, side=400))

    assert np.abs(fine / 2 - coarse).max() < 1.0


def test_cellpose_that_is_not_installed_is_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cellpose", None)
    monkeypatch.delitem(sys.modules, "slideloom_cells.cellpose", raising=False)

    with pytest.raises(PluginError, match=r"'cellpose' needs cellpose.*: pip install 'slideloom-cells\[cellpose\]'"):
        Cellpose().build()


def test_cellpose_gets_blocks_and_each_cell_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cellpose itself takes weights from the network; a stand-in of its library labels dark disks."""
    import cv2

    class CellposeModel:
        def __init__(self, *, gpu: bool, pretrained_model: str) -> None:
            assert pretrained_model == "cpsam"

        def eval(self, rgb: np.ndarray, **options: float) -> tuple[np.ndarray, None, None]:
            assert options["diameter"] == 16.0  # 8 um at 0.5 um per pixel
            return cv2.connectedComponents((rgb[..., 0] < 190).astype(np.uint8))[1], None, None

    library = ModuleType("cellpose.models")
    library.CellposeModel = CellposeModel  # type: ignore[attr-defined]
    package = ModuleType("cellpose")
    package.models = library  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cellpose", package)
    monkeypatch.setitem(sys.modules, "cellpose.models", library)
    monkeypatch.delitem(sys.modules, "slideloom_cells.cellpose", raising=False)
    truth = [(2048.0, 60.0), (100.0, 2047.0), (2300.0, 2300.0)]
    slide = painted(truth, side=2400)
    geometry = scene_of(tile_px=64, footprint=Size(64, 64), mpp=0.5)

    tiles = Cellpose().build().place(slide, geometry).tiles  # type: ignore[union-attr]

    found = np.stack([tiles.loc_x, tiles.loc_y], axis=1).astype(float)
    assert len(found) == 3
    assert matched(found, np.array(truth), radius=1.5) == 3


def test_tfrecords_hold_tiles_around_nuclei(real_data: Path, tmp_path: Path) -> None:
    slide = real_data / "cmu-1-small-region.svs"
    table = {
        "slideloom": 1,
        "tiles": {"size_px": 64, "size_um": 32},
        "placement": {"use": "nuclei"},
        "filter": [],
        "sink": [{"use": "tfrecord", "shuffle": False}],
    }

    run = run_pipeline(pipeline_from_table(table, where="test"), [slide], tmp_path)

    report = run.slides[0]
    assert report.error == ""
    assert report.written == report.planned > 1000
    stores: Callable[[], Any] = registry().find("store", "tfrecord")
    locations = stores().build().open(tmp_path / report.outputs[0]).locations
    from slideloom import open_slide

    with open_slide(slide) as opened:
        nuclei = find_nuclei(opened)
    stored = {tuple(place) for place in locations.tolist()}
    for x, y in nuclei.tolist():
        near = {(round(x) + dx, round(y) + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)}
        assert near & stored
