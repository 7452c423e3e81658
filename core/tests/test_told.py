"""What slide QC tells but keeps: counted, outlined in pictures, and in looks that readers can tell apart."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray
from shapely.geometry import box
from slideloom import Pipeline, QcClass, QcResult, QcUse, Scene, Settings, Size, Slide, SlideQc, Tiling, plan_slide
from slideloom.drawing.legend import with_legend
from slideloom.drawing.pictures import Colour, Picture
from slideloom.drawing.told import EDGE, TOLD_LOOKS, LineLook, told_looks, with_told
from slideloom.extraction.account import slide_report
from slideloom.extraction.overview import plan_picture, slide_html
from slideloom.planning.deciding import apply_regions, assess_slide
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord
from slideloom.planning.told import told_areas
from slideloom.steps.reports import SlideReport
from slideloom.steps.slide_qc import qc_classes
from slideloom_testing import PixelsSlide

CLASSES = qc_classes(["tissue", "background:background:0.6", "fold:keep:0.2", "bubble:keep:0.5", "dust:keep"])


@attrs.frozen
class Columns(Settings[SlideQc]):
    """Each digit is the class of a tenth of the slide's width."""

    name: ClassVar[str] = "model"
    row: str = "0000000000"

    def build(self) -> SlideQc:
        return ColumnsQc(self)


class ColumnsQc(SlideQc):
    def __init__(self, settings: Columns) -> None:
        self.settings = settings

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        return QcResult.of_labels(np.array([[int(letter) for letter in self.settings.row]]), CLASSES)


def decided(row: str) -> tuple[SlidePlan, SlideRecord]:
    """A grey slide of 10 x 6 tiles of 100 pixels, and what the row decides."""
    slide = PixelsSlide(np.full((600, 1000, 3), 128, np.uint8), mpp=1.0, path=Path("a.svs"))
    plan = plan_slide(slide, Pipeline(tiles=Tiling(size_px=50, size_um=100.0), qc=(QcUse(step=Columns(row=row)),)))
    record = apply_regions(plan)
    assess_slide(plan, record)
    return plan, record


def report_of(row: str) -> SlideReport:
    plan, record = decided(row)
    return slide_report(plan, record, path=Path("a.svs"), digest="", trial="plan-only")


def test_kept_tiles_with_a_class_above_its_threshold_are_counted() -> None:
    _, record = decided("0112200003")

    assert record.qc_told == {"model": {"fold": 12, "bubble": 6}}
    assert record.ledger.rejected == {"qc:model:background": 12}


@pytest.mark.parametrize(("width", "count"), [(2, 0), (3, 6)])
def test_a_tile_with_no_more_of_a_class_than_its_threshold_is_not_counted(width: int, count: int) -> None:
    _, record = decided("2" * width + "0" * (100 - width))

    assert record.qc_told == {"model": {"fold": count, "bubble": 0}}


def test_a_tile_that_something_else_drops_is_not_counted_as_kept() -> None:
    # Of the first column of tiles 30% is fold and 70% glass.
    _, record = decided("2221111111" + "0" * 90)

    assert record.qc_told == {"model": {"fold": 0, "bubble": 0}}


def test_a_report_tells_the_counts_and_one_without_such_classes_is_as_it_was() -> None:
    report = report_of("0112200003")
    without = attrs.evolve(report, qc_told={})

    assert SlideReport.from_table(json.loads(json.dumps(report.as_table()))).qc_told == {
        "model": {"fold": 12, "bubble": 6}
    }
    assert "qc_told" not in without.as_table()


def test_areas_are_those_of_the_class_and_a_class_that_is_nowhere_has_none() -> None:
    plan, record = decided("0112200000")

    areas = told_areas(record, plan.slide.info)

    assert list(areas) == ["qc:model:fold", "qc:model:bubble"]
    (fold,) = areas["qc:model:fold"]
    assert fold.equals(box(300, 0, 500, 600))
    assert not areas["qc:model:bubble"]


def test_areas_are_worked_out_once_and_again_for_another_result() -> None:
    plan, record = decided("0222000000")
    first = told_areas(record, plan.slide.info)

    again = told_areas(record, plan.slide.info)
    assert again["qc:model:fold"] is first["qc:model:fold"]
    _, other = decided("0000002220")
    record.qc = other.qc
    (area,) = told_areas(record, plan.slide.info)["qc:model:fold"]
    assert area.bounds == (600, 0, 900, 600)


def test_a_picture_outlines_what_is_told_and_leaves_its_inside_as_it_is() -> None:
    plan, record = decided("0112200000")

    rgb = plan_picture(plan, record, max_px=1000).rgb

    line = TOLD_LOOKS[0].colour
    assert tuple(rgb[350, 300]) == tuple(rgb[350, 499]) == line
    assert tuple(rgb[350, 298]) == tuple(rgb[350, 301]) == EDGE
    assert tuple(rgb[350, 350]) == (128, 128, 128)


def test_a_notebook_says_how_many_kept_tiles_have_what_is_outlined() -> None:
    plan, record = decided("0112200000")

    html = slide_html(plan, record, title="a")

    assert f"3px solid rgb{TOLD_LOOKS[0].colour}" in html
    assert "12 kept with model:fold" in html
    assert "0 kept with model:bubble" in html


def test_a_broken_line_shows_its_edge_where_it_is_broken() -> None:
    blank, whole = Picture(np.full((700, 700, 3), 128, np.uint8)), Size(700, 700)
    areas = {"qc:model:fold": [box(100, 100, 600, 600)]}

    def shares(pattern: str) -> float:
        look = LineLook((255, 255, 255), pattern)  # type: ignore[arg-type]  # the words of the parameters below
        rgb = with_told(blank, areas, {"qc:model:fold": look}, whole=whole).rgb
        along = rgb[100, 110:590]
        assert {tuple(pixel) for pixel in along.tolist()} <= {(255, 255, 255), EDGE}
        return float((along == 255).all(axis=-1).mean())

    # 4 of 6.5 and 1 of 2.5 widths of the line are drawn; each end of a dash is a line's width wider.
    assert shares("solid") == 1
    assert shares("solid") > shares("dashed") > shares("dotted") > 0.3


def test_a_legend_shows_a_line_on_its_edge_and_a_square_without() -> None:
    pytest.importorskip("PIL", reason="words need Pillow")
    picture = Picture(np.full((400, 800, 3), 200, np.uint8))
    look = TOLD_LOOKS[1]

    strip = with_legend(picture, [((10, 200, 30), "kept"), (look, "kept with fold")], title="a").rgb[400:]

    found = {tuple(pixel) for pixel in strip.reshape(-1, 3).tolist()}
    assert {(10, 200, 30), look.colour, EDGE} <= found


def test_looks_follow_the_order_of_classes_across_steps() -> None:
    looks = told_looks({"artifacts": ["fold", "bubble"], "mine": ["fold"]})

    assert looks == dict(zip(["qc:artifacts:fold", "qc:artifacts:bubble", "qc:mine:fold"], TOLD_LOOKS[:3], strict=True))


# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009),
# severity 1, for linear light.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # sRGB, D65


def linear(colour: Colour) -> NDArray[np.float64]:
    share = np.array(colour) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def lab(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIE 1976 L*a*b* of linear light."""
    share = XYZ @ np.clip(light, 0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISIONS)
def test_lines_of_one_pattern_have_colours_that_every_reader_tells_apart(vision: str) -> None:
    for one, other in itertools.combinations(TOLD_LOOKS, 2):
        apart = np.linalg.norm(lab(VISIONS[vision] @ linear(one.colour)) - lab(VISIONS[vision] @ linear(other.colour)))
        assert one.pattern != other.pattern or apart > 20, (one, other)


def test_neighbouring_looks_differ_in_pattern_and_all_stand_out_from_their_edge() -> None:
    assert all(one.pattern != other.pattern for one, other in itertools.pairwise(TOLD_LOOKS))
    for look in TOLD_LOOKS:
        light, dark = (float((XYZ @ linear(colour))[1]) for colour in (look.colour, EDGE))
        assert (light + 0.05) / (dark + 0.05) > 4.5  # the contrast that WCAG 2.1 asks for


def test_a_class_is_told_if_it_drops_nothing_but_has_a_threshold() -> None:
    assert [one.name for one in CLASSES if one.is_told] == ["fold", "bubble"]
    assert not QcClass(1, "fold", "artifact", 0.2).is_told
