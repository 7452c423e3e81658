# ruff: noqa: S101 - asserts are what a contract is made of
"""Contracts of the steps that work on a whole slide: ROI sources, slide QC and placements."""

from __future__ import annotations

import math
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from shapely.geometry import MultiPolygon, Polygon, box as rectangle
from slideloom.base.errors import Cancelled
from slideloom.base.geometry import Box, Point, Rgb, Size
from slideloom.settings.options import options_of
from slideloom.slides.info import SlideInfo
from slideloom.slides.regions import Region, Regions
from slideloom.slides.slide import Slide
from slideloom.slides.tiles import Tiles
from slideloom.slides.watched_slide import WatchedSlide
from slideloom.steps.placement import Placed, Placement
from slideloom.steps.roi_source import RoiSource
from slideloom.steps.scene import Scene
from slideloom.steps.slide_qc import QcResult, SlideQc

from slideloom_testing.contracts.base import SettingsContract, global_random_state_untouched
from slideloom_testing.slides import AnalyticSlide, PixelsSlide
from slideloom_testing.tiles import info_of, scene_of, smooth_noise, stained

_COLUMNS = ("index", "x", "y", "grid_x", "grid_y", "roi")


class RoiSourceContract(SettingsContract):
    """What every ROI source must do. Set `settings` and `slide_info`, in the class or in an autouse fixture.

    Attributes:
        slide_info: a slide for which the source has regions.
    """

    kind: ClassVar[type] = RoiSource
    slide_info: SlideInfo

    def test_a_known_slide_has_valid_regions(self) -> None:
        """Shapes are valid, non-empty polygons; names are unique."""
        found = self.built().regions(self.slide_info)
        assert isinstance(found, Regions)
        assert found.items, "no region; give the contract a slide that has some"
        for region in found.items:
            assert isinstance(region, Region)
            assert isinstance(region.shape, Polygon | MultiPolygon), f"{region.name} is a {region.shape.geom_type}"
            assert region.shape.is_valid, f"{region.name} is not valid: repair it with shapely.make_valid and say so"
            assert region.shape.area > 0, f"{region.name} is empty"
            assert region.label is None or isinstance(region.label, str)
        names = [region.name for region in found.items]
        assert len(set(names)) == len(names), f"names repeat: {names}"

    def test_an_unknown_slide_has_none(self, tmp_path: Path) -> None:
        """None, not an empty list and not an error: the next source is asked."""
        unknown = info_of("a slide nobody ever heard of", folder=tmp_path)
        assert self.built().regions(unknown) is None

    def test_regions_are_the_same_each_time(self) -> None:
        """Same order, names, labels and shapes from a newly built step."""
        one, other = self.built().regions(self.slide_info), self.built().regions(self.slide_info)
        assert [described(region) for region in one.items] == [described(region) for region in other.items]
        assert one.notes == other.notes


def described(region: Region) -> tuple[str, str | None, str | None, str]:
    """A region as comparable values."""
    return region.name, region.label, region.description, region.shape.wkt


class SlideQcContract(SettingsContract):
    """What every slide QC must do. Set `settings`; `slide` and `scene` may be overridden."""

    kind: ClassVar[type] = SlideQc

    def slide(self, *, levels: int = 3) -> Slide:
        """A stained section on glass, 1800 x 1200 pixels at 1 micron per pixel, with up to 3 levels."""
        return copy(_section_slide((1, 4, 16)[:levels]))

    def scene(self, regions: Regions | None = None) -> Scene:
        """Tiles of 200 pixels at 1 micron per pixel."""
        return scene_of(tile_px=200, footprint=Size(200, 200), mpp=1.0, regions=regions)

    def assess(self, slide: Slide, scene: Scene | None = None) -> QcResult:
        """The result of a newly built step, checked for its form."""
        result: QcResult = self.built().assess(slide, scene or self.scene())
        self.check_form(result, slide)
        return result

    def check_form(self, result: QcResult, slide: Slide) -> None:
        """Fails unless the mask is bool with two axes and on the slide, and the rest is as the report needs it."""
        assert isinstance(result, QcResult)
        assert isinstance(result.mask, np.ndarray)
        assert result.mask.ndim == 2, f"the mask has {result.mask.ndim} axes"
        assert result.mask.dtype == np.bool_, f"the mask is {result.mask.dtype}, not bool"
        assert result.mask.size > 0
        assert result.kind in ("background", "blur", "artifact")
        if result.extent is not None:
            assert inside(result.extent, slide.info.box), f"{result.extent} reaches outside the slide"
        for name, value in result.metrics.items():
            assert isinstance(name, str)
            assert math.isfinite(value), f"metric {name} is {value}"
        self.check_classes(result)

    def check_classes(self, result: QcResult) -> None:
        """Fails unless a result with classes has uint8 labels, a class for each of them, and names fit for files."""
        faults = result.class_faults()
        assert faults == [], "; ".join(faults)
        if result.labels is not None:
            assert result.labels.shape == result.mask.shape

    @pytest.mark.parametrize("levels", [1, 3])
    def test_the_mask_is_bool_with_two_axes(self, levels: int) -> None:
        """With a pyramid and without one."""
        self.assess(self.slide(levels=levels))

    def test_the_answer_is_the_same_each_time(self) -> None:
        """From a newly built step, on a newly opened slide."""
        assert_same(self.assess(self.slide()), self.assess(self.slide()))

    def test_the_answer_is_the_same_for_any_number_of_threads(self) -> None:
        """The step may use `Scene.threads` threads, but its result must not depend on them."""
        scene = self.scene()
        assert_same(*(self.assess(self.slide(), attrs.evolve(scene, threads=threads)) for threads in (1, 3)))

    def test_threads_do_not_read_at_once_a_slide_that_forbids_it(self) -> None:
        """A slide that says `thread_safe = False` is read by one thread at a time."""
        slide = AnalyticSlide(Size(1800, 1200), mpp=1.0, downsamples=(1, 4, 16), thread_safe=False)
        self.assess(slide, attrs.evolve(self.scene(), threads=3))

    def test_what_was_measured_decides_as_the_slide_does(self) -> None:
        """A step with options that are `live` gives its result again without reading the slide."""
        result = self.assess(self.slide())
        again = self.built().again(result)
        if any(info.live for info in options_of(type(self.settings)).values()):
            assert again is not None
        if again is not None:
            assert_same(result, again)

    def test_how_far_it_is_never_goes_beyond_the_whole(self) -> None:
        """`Scene.tell` gets shares from 0 to 1."""
        told: list[float] = []
        self.assess(self.slide(), attrs.evolve(self.scene(), told=told.append))
        assert all(0 <= share <= 1 for share in told)

    def test_who_wants_no_result_any_more_can_say_so(self) -> None:
        """`Cancelled`, raised where the step says how far it is or reads, reaches the caller."""
        asked: list[object] = []

        def cancelled(*said: object) -> None:
            asked.append(said)
            raise Cancelled("nobody waits")

        step, slide = self.built(), self.slide()
        try:
            step.assess(WatchedSlide(slide, before=cancelled), attrs.evolve(self.scene(), told=cancelled))
        except Cancelled:
            asked.clear()
        assert not asked, "the step went on although it was cancelled"
        assert not slide.is_closed

    def test_one_step_serves_several_slides(self) -> None:
        """Nothing is kept from one slide for the next."""
        step = self.built()
        first = step.assess(self.slide(), self.scene())
        step.assess(PixelsSlide(np.full((900, 1200, 3), 244, np.uint8), mpp=1.0), self.scene())
        again = step.assess(self.slide(), self.scene())
        assert_same(first, again)

    def test_classes_are_the_same_on_every_slide(self) -> None:
        """A step tells the same classes apart on glass as on tissue, so that accounts of slides can be added."""
        glass = PixelsSlide(np.full((900, 1200, 3), 244, np.uint8), mpp=1.0)
        assert self.assess(self.slide()).classes == self.assess(glass).classes

    def test_a_slide_of_bare_glass_is_no_error(self) -> None:
        """An empty slide is a fact to report, not a failure."""
        self.assess(PixelsSlide(np.full((1200, 1600, 3), 244, np.uint8), mpp=1.0, downsamples=(1, 4)))

    def test_regions_are_understood(self) -> None:
        """A scene with regions gives a result of the same form."""
        region = Region(name="ROI_0", shape=rectangle(300, 300, 1500, 1000), label="tumor")
        self.assess(self.slide(), self.scene(Regions(items=(region,))))

    def test_the_slide_is_left_open_and_unchanged(self) -> None:
        """Tiles are read from it afterwards."""
        slide = self.slide()
        info, before = slide.info, slide.read(Point(900, 700), 0, Size(50, 50)).copy()
        self.assess(slide)
        assert slide.info == info
        assert np.array_equal(slide.read(Point(900, 700), 0, Size(50, 50)), before)

    def test_global_randomness_is_not_used(self) -> None:
        """A caller who sets a seed must find the random state unchanged."""
        step, slide, scene = self.built(), self.slide(), self.scene()
        with global_random_state_untouched():
            step.assess(slide, scene)


class PlacementContract(SettingsContract):
    """What every placement must do. Set `settings`; `slide` and `scene` may be overridden."""

    kind: ClassVar[type] = Placement

    def slide(self) -> Slide:
        """A stained section on glass, 1800 x 1200 pixels at 1 micron per pixel."""
        return copy(_section_slide((1, 4)))

    def scene(self) -> Scene:
        """Tiles of 200 pixels at 1 micron per pixel."""
        return scene_of(tile_px=200, footprint=Size(200, 200), mpp=1.0)

    def place(self) -> Tiles:
        """The tiles of a newly built step."""
        placed: Tiles | Placed = self.built().place(self.slide(), self.scene())
        return placed.tiles if isinstance(placed, Placed) else placed

    def test_tiles_are_numbered_from_zero(self) -> None:
        """`index` is 0..N-1 in plan order; no region is assigned yet."""
        tiles = self.place()
        assert isinstance(tiles, Tiles)
        assert len(tiles) > 0, "no tile; give the contract a slide that has some"
        assert tiles.index.tolist() == list(range(len(tiles)))
        assert (tiles.roi == -1).all()

    def test_what_it_says_is_fit_for_the_report(self) -> None:
        """Notes are sentences, metrics finite numbers."""
        placed = self.built().place(self.slide(), self.scene())
        if isinstance(placed, Placed):
            assert all(isinstance(note, str) and note.strip() for note in placed.notes)
            for name, value in placed.metrics.items():
                assert math.isfinite(value), f"metric {name} is {value}"

    def test_columns_are_whole_numbers_of_equal_length(self) -> None:
        """(N,) int64 each."""
        tiles = self.place()
        for name in _COLUMNS:
            column = getattr(tiles, name)
            assert column.shape == (len(tiles),), name
            assert column.dtype == np.int64, name

    def test_tiles_have_the_footprint_asked_for(self) -> None:
        """And each of them overlaps the slide."""
        tiles, slide = self.place(), self.slide()
        assert tiles.footprint == self.scene().geometry.footprint
        outside = [place for place in tiles.boxes() if place.intersection(slide.info.box) is None]
        assert outside == [], "tiles without a single pixel of the slide"

    def test_no_tile_is_planned_twice(self) -> None:
        """Grid position is the tile's identity."""
        tiles = self.place()
        cells = set(zip(tiles.grid_x.tolist(), tiles.grid_y.tolist(), strict=True))
        assert len(cells) == len(tiles)

    def test_tiles_are_the_same_each_time(self) -> None:
        """From a newly built step; randomness needs a seed among the options."""
        with global_random_state_untouched():
            one, other = self.place(), self.place()
        for name in _COLUMNS:
            assert np.array_equal(getattr(one, name), getattr(other, name)), name


def assert_same(one: QcResult, other: QcResult) -> None:
    """Fails unless two results are equal in every part but their notes."""
    assert np.array_equal(one.mask, other.mask)
    assert (one.kind, one.extent, dict(one.metrics)) == (other.kind, other.extent, dict(other.metrics))
    assert one.classes == other.classes
    if one.labels is None or other.labels is None:
        assert one.labels is other.labels, "only one of them has labels"
    else:
        assert np.array_equal(one.labels, other.labels)


def inside(part: Box, whole: Box) -> bool:
    """True if `part` is in `whole`, within a millionth of a pixel."""
    common = part.intersection(whole)
    return common is not None and all(
        abs(a - b) < 1e-6
        for a, b in ((common.x, part.x), (common.y, part.y), (common.right, part.right), (common.bottom, part.bottom))
    )


@cache
def _section_slide(downsamples: tuple[int, ...]) -> PixelsSlide:
    """Made once; a copy shares its pixels and may change its own metadata."""
    return PixelsSlide(section_on_glass(Size(1800, 1200)), mpp=1.0, downsamples=downsamples)


def section_on_glass(size: Size, *, seed: int = 0) -> Rgb:
    """A round stained section in the middle of near-white glass; (height, width, 3) uint8."""
    y, x = np.mgrid[0 : size.height, 0 : size.width].astype(np.float32)
    reach = np.hypot((x / size.width - 0.5) * 2.4, (y / size.height - 0.5) * 2.4)
    edge = reach + 0.08 * smooth_noise(size, grain_px=60, seed=seed + 10)
    glass: Any = np.random.default_rng(seed).normal(243, 1.5, (size.height, size.width, 3)).astype(np.float32)
    section: Rgb = np.where((edge < 0.9)[..., None], stained(size, seed=seed), glass).astype(np.uint8)
    return section
