"""From an open slide to what is decided before tiles are read: places, regions, slide QC, built steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from attrs import frozen
from shapely.geometry import box
from slideloom import (
    Mask,
    Normalized,
    Normalizer,
    Pipeline,
    Placement,
    PluginError,
    QcResult,
    Region,
    Regions,
    RoiSource,
    Scene,
    Settings,
    Size,
    Slide,
    SlideInfo,
    SlidePlan,
    SlideQc,
    SlideRecord,
    Slides,
    TileBatch,
    TileFilter,
    Tiles,
    UnsupportedSlide,
    Verdict,
    apply_regions,
    assess_slide,
    open_slide,
    plan_slide,
)
from slideloom.pipeline.pipeline import QcUse, RoiUse
from slideloom.pipeline.tiling import Tiling
from slideloom.planning.deciding import discard_mask, measure_burden
from slideloom.planning.known import Known
from slideloom.planning.masks import low_resolution
from slideloom.planning.prepared import PreparedSlide
from slideloom_testing import PixelsSlide

TILING = Tiling(size_px=50, size_um=100.0)  # at 1 um per pixel: 100 x 100 level-0 pixels


@frozen
class Drawn(Settings[RoiSource]):
    """Regions as given, and how often they were asked for."""

    name: ClassVar[str] = "drawn"
    found: Regions | None = None
    asked: list[str] = attrs.field(factory=list, eq=False)

    def build(self) -> RoiSource:
        return DrawnSource(self)


class DrawnSource(RoiSource):
    def __init__(self, settings: Drawn) -> None:
        self.settings = settings

    def regions(self, info: SlideInfo) -> Regions | None:
        self.settings.asked.append(info.name)
        return self.settings.found


@frozen
class Part(Settings[SlideQc]):
    """Masks a part of the slide's width, in tenths."""

    name: ClassVar[str] = "part"
    start: int = 0
    end: int = 5
    kind: Any = "background"
    metrics: dict[str, Any] = attrs.field(factory=dict)
    asked: list[str] = attrs.field(factory=list, eq=False)

    def build(self) -> SlideQc:
        return PartQc(self)


class PartQc(SlideQc):
    def __init__(self, settings: Part) -> None:
        self.settings = settings

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        self.settings.asked.append(slide.info.name)
        mask = np.zeros((1, 10), bool)
        mask[:, self.settings.start : self.settings.end] = True
        return QcResult(
            mask=mask, kind=self.settings.kind, metrics=self.settings.metrics, notes=("looked", "part: looked twice")
        )


def plan_of(*, width: int = 1000, height: int = 600, **steps: Any) -> SlidePlan:
    """The plan of a grey slide of 10 x 6 tiles."""
    slide = PixelsSlide(np.full((height, width, 3), 128, np.uint8), mpp=1.0, path=Path("a.svs"))
    return plan_slide(slide, Pipeline(tiles=TILING, **steps))


def regions_of(*shapes: Any, label: str | None = None) -> Regions:
    return Regions(tuple(Region(f"R{number}", shape, label) for number, shape in enumerate(shapes)), notes=("mended",))


def decided(plan: SlidePlan) -> SlideRecord:
    record = apply_regions(plan)
    assess_slide(plan, record)
    return record


def rows_kept(plan: SlidePlan, record: SlideRecord) -> list[list[int]]:
    """1 for a tile that is kept, row by row of the grid."""
    kept = np.zeros((6, 10), int)
    tiles = plan.tiles.take(record.ledger.candidates())
    kept[tiles.grid_y, tiles.grid_x] = 1
    return [row.tolist() for row in kept]


def test_a_plan_has_every_place_of_the_grid_row_by_row() -> None:
    plan = plan_of()

    assert len(plan.tiles) == 60
    assert plan.tiles.x[:11].tolist() == [0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 0]
    assert plan.tiles.y[:11].tolist() == [0] * 10 + [100]
    assert (plan.tiles.footprint, plan.scene.geometry.level, plan.scene.geometry.mpp) == (Size(100, 100), 0, 2.0)
    assert plan.notes == ()


def test_a_plan_does_not_change() -> None:
    plan = plan_of(qc=(QcUse(step=Part()),))
    decided(plan)

    assert plan.tiles.roi.tolist() == [-1] * 60
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        plan.tiles = plan.tiles.take(slice(0, 1))  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        plan.tiles.x[0] = 7


def test_a_slide_smaller_than_a_tile_has_no_place_and_a_note() -> None:
    plan = plan_of(width=99)

    assert len(plan.tiles) == 0
    assert plan.notes == ("no tile fits: a tile covers 100 x 100 level-0 pixels, the slide has 99 x 600",)
    assert SlideRecord.of(plan).warnings == list(plan.notes)


@pytest.mark.parametrize(("size_px", "words"), [(50, None), (100, None), (101, None), (200, "enlarged 2 times")])
def test_tiles_finer_than_the_slide_are_said_to_be_enlarged(size_px: int, words: str | None) -> None:
    """A tile covers 100 pixels of 1 um; rounding to whole pixels is no enlarging."""
    slide = PixelsSlide(np.full((600, 1000, 3), 128, np.uint8), mpp=1.0, path=Path("a.svs"))

    notes = plan_slide(slide, Pipeline(tiles=attrs.evolve(TILING, size_px=size_px, size_um=100))).notes

    assert (not notes) if words is None else (words in notes[0] and "0.5 um per pixel, and the slide 1" in notes[0])


def test_tiles_whose_centre_is_in_a_region_are_kept_and_belong_to_it() -> None:
    # Centres at 50, 150 and 250 are in the first region, 850 and 950 of the last row in the second.
    source = Drawn(regions_of(box(0, 0, 300, 600), box(800, 500, 1000, 600), label="tumour"))
    plan = plan_of(roi=(RoiUse(source=source),))
    record = apply_regions(plan)

    assert rows_kept(plan, record) == [[1, 1, 1, 0, 0, 0, 0, 0, 0, 0]] * 5 + [[1, 1, 1, 0, 0, 0, 0, 0, 1, 1]]
    assert record.ledger.rejected == {"roi": 40}
    assert record.ledger.owner.reshape(6, 10)[5].tolist() == [0, 0, 0, -1, -1, -1, -1, -1, 1, 1]
    assert record.ledger.tiles.roi.tolist() == record.ledger.owner.tolist()
    assert record.warnings == ["mended"]


def test_regions_of_a_second_source_are_counted_on_and_a_tile_must_please_both() -> None:
    first = RoiUse(source=Drawn(regions_of(box(0, 0, 500, 600), box(0, 0, 1, 1))), method="outside")
    second = RoiUse(source=Drawn(regions_of(box(400, 0, 700, 600))))
    plan = plan_of(roi=(first, second))
    record = apply_regions(plan)

    assert rows_kept(plan, record) == [[0, 0, 0, 0, 0, 1, 1, 0, 0, 0]] * 6
    assert [region.name for region in plan.regions] == ["R0", "R1", "R0"]
    assert set(record.ledger.owner[record.ledger.candidates()].tolist()) == {2}


@pytest.mark.parametrize(
    ("method", "kept", "said"),
    [
        ("inside", 0, "roi 'drawn' has no regions for this slide, and method is 'inside'"),
        ("auto", 60, "roi 'drawn' has no regions for this slide: all of it is used"),
        ("outside", 0, "roi 'drawn' has no regions for this slide, and method is 'outside'"),
    ],
)
@pytest.mark.parametrize("found", [None, regions_of()], ids=["no file", "an empty file"])
def test_a_slide_without_regions_is_used_as_the_method_says(method: Any, kept: int, said: str, found: Any) -> None:
    record = apply_regions(plan_of(roi=(RoiUse(source=Drawn(found), method=method),)))

    assert len(record.ledger.candidates()) == kept
    assert record.warnings[-1:] == [said]


def test_regions_that_are_to_be_ignored_are_not_asked_for() -> None:
    source = Drawn(regions_of(box(0, 0, 1, 1)))

    assert plan_of(roi=(RoiUse(source=source, method="ignore"),)).regions == ()
    assert source.asked == []


def test_tiles_that_are_masked_by_more_than_the_threshold_are_rejected() -> None:
    # Three tenths of the width are three columns, of which each is masked as a whole.
    plan = plan_of(qc=(QcUse(step=Part(end=3, metrics={"level": 7})),))
    record = decided(plan)

    assert rows_kept(plan, record) == [[0, 0, 0, 1, 1, 1, 1, 1, 1, 1]] * 6
    assert record.ledger.rejected == {"qc:part": 18}
    assert record.ledger.scores["qc:part"].reshape(6, 10)[0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert record.metrics == {"part.masked": 0.3, "part.level": 7.0}
    assert record.warnings == ["part: looked", "part: looked twice"]
    assert record.qc_kinds == {"part": "background"}
    assert list(record.seconds) == ["qc", "qc:part"]


def test_a_step_that_is_used_twice_has_two_scores_and_two_reasons() -> None:
    plan = plan_of(qc=(QcUse(step=Part(end=3)), QcUse(step=Part(start=2, end=6))))
    record = decided(plan)

    assert record.ledger.rejected == {"qc:part": 18, "qc:part-2": 18}  # column 2 is the first one's
    assert record.ledger.scores["qc:part"].reshape(6, 10)[0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert record.ledger.scores["qc:part-2"].reshape(6, 10)[0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0]
    assert record.metrics == {"part.masked": 0.3, "part-2.masked": 0.4}


def test_slide_qc_is_not_run_where_regions_leave_no_tile() -> None:
    step = Part()
    decided(plan_of(roi=(RoiUse(source=Drawn(None), method="inside"),), qc=(QcUse(step=step),)))

    assert step.asked == []


def test_the_blur_burden_is_the_share_of_tissue_out_of_focus() -> None:
    # The left half is glass; of the right one, two of five tenths are out of focus.
    glass, blur = Part(end=5), Part(start=4, end=7, kind="blur")
    record = decided(plan_of(qc=(QcUse(step=glass), QcUse(step=blur))))

    assert record.burden == pytest.approx(0.4)
    assert record.warnings[-1] == "40.0% of the tissue is out of focus"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), "much", None, 10**400, 1j])
def test_a_metric_that_is_no_finite_number_is_refused_with_step_and_name(value: Any) -> None:
    plan = plan_of(qc=(QcUse(step=Part(metrics={"level": value})),))

    with pytest.raises(
        PluginError, match=r"qc 'part' of .* broke its contract on slide a: metric 'level' must be a finite"
    ):
        decided(plan)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        (Size(4096, 1024), (256, 1024)),
        (Size(2000, 3000), (1024, 683)),  # 2000 * 1024 / 3000 = 682.7
        (Size(100, 50), (50, 100)),
        (Size(1_000_000, 10), (1, 1024)),
    ],
)
def test_a_small_mask_has_1024_pixels_along_the_longer_side(size: Size, shape: tuple[int, int]) -> None:
    assert low_resolution(size) == shape


def test_what_normalizers_are_to_leave_out_is_what_regions_and_masks_discard() -> None:
    region = RoiUse(source=Drawn(regions_of(box(0, 0, 800, 600))))
    plan = plan_of(roi=(region,), qc=(QcUse(step=Part(end=3)),))
    discard = discard_mask(plan, decided(plan))

    assert discard is not None
    assert discard.shape == (600, 1000)
    assert np.unique(np.flatnonzero(~discard.all(axis=0))).tolist() == list(range(300, 800))
    assert discard_mask(plan_of(), apply_regions(plan_of())) is None


@frozen
class Far(Settings[Placement]):
    """Two tiles, and how often they were asked for."""

    name: ClassVar[str] = "far"
    asked: list[str] = attrs.field(factory=list, eq=False)

    def build(self) -> Placement:
        return FarPlacement(self.asked)


class FarPlacement(Placement):
    def __init__(self, asked: list[str]) -> None:
        self.asked = asked

    def place(self, slide: Slide, scene: Scene) -> Tiles:
        self.asked.append(slide.info.name)
        n = np.arange(2)
        return Tiles(n, n * 500, n * 0, n, n * 0, n * 0 - 1, footprint=scene.geometry.footprint)


def test_regions_and_places_are_asked_for_once_whatever_is_decided_anew() -> None:
    source, places = Drawn(regions_of(box(0, 0, 1000, 600))), Far()
    plan = plan_of(roi=(RoiUse(source=source),), placement=places)
    known = Known()

    def status(*uses: QcUse) -> list[str]:
        prepared = PreparedSlide(attrs.evolve(plan, pipeline=attrs.evolve(plan.pipeline, qc=uses)), known=known)
        prepared.decide()
        return prepared.record.ledger.status()

    assert status(QcUse(step=Part()), QcUse(step=Part(start=5, end=10))) == ["qc:part", "qc:part-2"]
    assert status() == ["candidate", "candidate"]
    assert (source.asked, places.asked) == (["a"], ["a"])


def test_what_is_known_decides_as_a_job_that_measures_everything() -> None:
    first, second = QcUse(step=Part(end=3)), QcUse(step=Part(start=2, end=6, kind="blur"))
    plan, known = plan_of(qc=(first, second)), Known()
    for qc in ((first,), (first, second)):
        prepared = PreparedSlide(attrs.evolve(plan, pipeline=attrs.evolve(plan.pipeline, qc=qc)), known=known)
        prepared.decide()
    measure_burden(plan, prepared.record, plan.tiles)
    at_once = decided(plan)

    assert prepared.record.ledger.status() == at_once.ledger.status()
    assert prepared.record.burden == at_once.burden
    assert prepared.record.warnings == at_once.warnings
    assert prepared.record.metrics == at_once.metrics
    assert [finding.label for finding in prepared.record.qc] == ["part", "part-2"]


def test_a_step_that_fails_leaves_what_was_decided() -> None:
    plan, known = plan_of(), Known()
    prepared = PreparedSlide(plan, known=known)
    prepared.decide()
    prepared.plan = attrs.evolve(
        plan, pipeline=attrs.evolve(plan.pipeline, qc=(QcUse(step=Part(metrics={"level": float("nan")})),))
    )
    with pytest.raises(PluginError):
        prepared.decide()

    assert prepared.record.qc == []
    assert len(prepared.record.ledger.candidates()) == 60


@frozen
class Grey(Settings[TileFilter]):
    """Keeps all."""

    name: ClassVar[str] = "grey"

    def build(self) -> TileFilter:
        return GreyFilter()


class GreyFilter(TileFilter):
    thread_safe = False

    def check(self, batch: TileBatch) -> Verdict:
        return Verdict(keep=np.ones(len(batch), bool), score=np.zeros(len(batch), np.float32))


@frozen
class Fitted(Settings[Normalizer]):
    """Notes what it is fitted to."""

    name: ClassVar[str] = "fitted"
    discards: list[Mask | None] = attrs.field(factory=list, eq=False)

    def build(self) -> Normalizer:
        return FittedNormalizer(self.discards)


class FittedNormalizer(Normalizer):
    def __init__(self, discards: list[Mask | None]) -> None:
        self.discards = discards

    def for_slide(self, slide: Slide, scene: Scene, discard: Mask | None) -> Normalizer:
        self.discards.append(discard)
        return self

    def apply(self, batch: TileBatch) -> Normalized:
        return Normalized(rgb=batch.rgb, ok=np.ones(len(batch), bool))


def test_filters_of_one_name_are_numbered_and_those_not_thread_safe_have_a_lock() -> None:
    prepared = PreparedSlide(plan_of(filters=(Grey(), Grey())))
    prepared.decide()
    steps = prepared.tile_steps()

    assert [step.label for step in steps.filters] == ["filter:grey", "filter:grey-2"]
    with steps.filters[0].lock:
        assert not steps.filters[0].lock.acquire(blocking=False)  # type: ignore[attr-defined]
        assert steps.filters[1].lock.acquire(blocking=False)  # type: ignore[attr-defined]
    assert (steps.normalizer, steps.sinks) == (None, ())


def test_the_normalizer_is_fitted_to_what_is_left_and_cannot_change_it() -> None:
    settings = Fitted()
    prepared = PreparedSlide(plan_of(qc=(QcUse(step=Part(end=3)),), normalizer=settings))
    prepared.decide()

    assert prepared.tile_steps().normalizer is not None
    (discard,) = settings.discards
    assert discard is not None
    assert discard.mean() == pytest.approx(0.3)
    with pytest.raises(ValueError, match="read-only"):
        discard[:] = False


def test_no_normalizer_is_fitted_where_no_tile_is_left() -> None:
    settings = Fitted()
    prepared = PreparedSlide(plan_of(qc=(QcUse(step=Part(end=10)),), normalizer=settings))
    prepared.decide()

    assert prepared.tile_steps().normalizer is None
    assert settings.discards == []


def test_a_reader_is_avoided_by_its_own_name_with_an_underscore(
    raw: Callable[..., None], analytic: Callable[..., Path]
) -> None:
    raw(
        "my_plugin",
        """
        from typing import ClassVar
        import attrs
        from slideloom import Reader, Settings, hookimpl
        from slideloom_testing.slides import AnalyticReader

        @attrs.frozen
        class Mine(Settings[Reader]):
            name: ClassVar[str] = "my_reader"
            rank: ClassVar[int] = 1
            def build(self):
                return MyReader()

        class MyReader(AnalyticReader):
            def open(self, path):
                slide = super().open(path)
                slide.info = attrs.evolve(slide.info, reader="my_reader")
                return slide

        @hookimpl
        def slideloom_readers():
            return [Mine]
        """,
    )
    path = analytic()

    assert open_slide(path).info.reader == "my_reader"
    assert open_slide(path, slides=Slides(avoid_readers=("my_reader",))).info.reader == "analytic"
    with pytest.raises(UnsupportedSlide):
        open_slide(path, slides=Slides(avoid_readers=("my_reader", "analytic")))
