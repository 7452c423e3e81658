"""What several sources of regions decide together, and what is said when they leave nothing."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from attrs import field, frozen
from shapely.geometry import box
from slideloom.pipeline.pipeline import Pipeline, RoiUse
from slideloom.pipeline.tiling import Tiling
from slideloom.planning.deciding import apply_regions
from slideloom.planning.plan import SlidePlan, plan_slide
from slideloom.planning.record import SlideRecord
from slideloom.settings.options import Settings
from slideloom.slides.info import SlideInfo
from slideloom.slides.regions import Region, Regions
from slideloom.steps.roi_source import RoiSource
from slideloom_testing import PixelsSlide


class Given(RoiSource):
    def __init__(self, settings: Boxes) -> None:
        self.settings = settings

    def regions(self, info: SlideInfo) -> Regions | None:
        bounds = self.settings.bounds
        named = [Region(f"{self.settings.name}{i}", box(*given)) for i, given in enumerate(bounds)]
        return Regions(tuple(named)) if named else None


@frozen
class Boxes(Settings[RoiSource]):
    """Rectangles."""

    name: ClassVar[str] = "boxes"
    step: ClassVar[str] = f"{__name__}:Given"
    bounds: tuple[tuple[float, float, float, float], ...] = field(default=())


LEFT, RIGHT, ALL = (0.0, 0.0, 500.0, 1000.0), (500.5, 0.0, 1000.0, 1000.0), (0.0, 0.0, 1000.0, 1000.0)


def planned(*sources: tuple[Any, ...], **options: Any) -> tuple[SlidePlan, SlideRecord]:
    """A slide of 10 x 10 tiles, with the regions of each source applied."""
    uses = tuple(RoiUse(source=Boxes(bounds=bounds), **{"method": "inside", **options}) for bounds in sources)
    pipeline = Pipeline(tiles=Tiling(size_px=100, size_um=100.0), roi=uses)
    plan = plan_slide(PixelsSlide(np.full((1000, 1000, 3), 200, np.uint8), mpp=1.0), pipeline)
    return plan, apply_regions(plan)


def test_a_tile_stays_that_every_source_keeps_and_belongs_to_a_region_of_the_first() -> None:
    plan, record = planned((LEFT,), (ALL, (0.0, 0.0, 300.0, 1000.0)))

    assert len(record.ledger.candidates()) == 50
    kept = record.ledger.owner[record.ledger.candidates()]
    assert {plan.regions[i].shape.bounds for i in kept} == {LEFT}
    assert record.warnings == []


def test_sources_that_have_no_tile_in_common_say_what_each_keeps_and_the_rule() -> None:
    _, record = planned((LEFT,), (RIGHT,))

    assert len(record.ledger.candidates()) == 0
    (said,) = record.warnings
    assert "regions leave no tile: roi 'boxes' (inside) keeps 50, roi 'boxes' (inside) keeps 50 of 100" in said
    assert "each [[roi]] is a separate condition" in said


def test_one_source_that_leaves_nothing_is_told_too() -> None:
    (said,) = planned(((10.0, 10.0, 20.0, 20.0),))[1].warnings

    assert said.startswith(
        "regions leave no tile: roi 'boxes' (inside) keeps 0 of 100; check that regions lie where the tiles are"
    )


@pytest.mark.parametrize(("method", "left", "warnings"), [("inside", 0, 2), ("auto", 50, 1)])
def test_a_source_without_regions_for_the_slide_is_named(method: str, left: int, warnings: int) -> None:
    _, record = planned((LEFT,), (), method=method)

    assert len(record.ledger.candidates()) == left
    assert len(record.warnings) == warnings
    assert "has no regions for this slide" in record.warnings[0]
