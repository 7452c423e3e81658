"""The tile engine: in which order tiles are read, what steps see of them, and what becomes of each."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from attrs import frozen
from shapely.geometry import box
from slideloom import (
    Box,
    Normalized,
    Normalizer,
    Pipeline,
    PluginError,
    Point,
    Region,
    Regions,
    RoiSource,
    Scene,
    Settings,
    Sink,
    Size,
    Slide,
    SlideInfo,
    TileBatch,
    TileFilter,
    Tiles,
    Verdict,
    Writer,
    plan_slide,
)
from slideloom.extraction.engine import BlockResult, TileEngine, blocks_of
from slideloom.pipeline.pipeline import RoiUse
from slideloom.pipeline.tiling import Tiling
from slideloom.planning.prepared import PreparedSlide
from slideloom_testing import AnalyticSlide

TILING = Tiling(size_px=20, size_um=20.0)  # at 0.5 um per pixel: 40 level-0 pixels


def tiles_at(x: Sequence[int], y: Sequence[int], *, footprint: int = 10) -> Tiles:
    n = np.arange(len(x))
    return Tiles(n, x, y, n, n * 0, n * 0 - 1, footprint=Size(footprint, footprint))


@frozen
class Every(Settings[TileFilter]):
    """Rejects tiles by number, and notes which it saw."""

    name: ClassVar[str] = "every"
    divisor: int = 2
    how: str = ""
    seen: list[list[int]] = attrs.field(factory=list, eq=False)

    def build(self) -> TileFilter:
        return EveryFilter(self)


class EveryFilter(TileFilter):
    def __init__(self, settings: Every) -> None:
        self.settings = settings

    def check(self, batch: TileBatch) -> Verdict:
        index = batch.tiles.index
        self.settings.seen.append(index.tolist())
        if self.settings.how == "writes":
            batch.rgb[0, 0, 0, 0] = 1
        if self.settings.how == "renumbers":
            batch.tiles.index.flags.writeable = True
        if self.settings.how == "exits":
            raise SystemExit(1)
        return Verdict(keep=index % self.settings.divisor != 0, score=index.astype(np.float32))


@frozen
class Halved(Settings[Normalizer]):
    """Halves pixels; refuses every fifth tile, and falls back for every seventh."""

    name: ClassVar[str] = "halved"

    def build(self) -> Normalizer:
        return HalvedNormalizer()


class HalvedNormalizer(Normalizer):
    thread_safe = False

    def apply(self, batch: TileBatch) -> Normalized:
        index = batch.tiles.index
        return Normalized(rgb=batch.rgb // 2, ok=index % 5 != 0, fallback=index % 7 == 0)


@frozen
class Means(Settings[Sink]):
    """Encodes a tile as its number, mean and label."""

    name: ClassVar[str] = "means"

    def build(self) -> Sink:
        return MeansSink()


class MeansSink(Sink):
    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        raise NotImplementedError

    def encode(self, batch: TileBatch) -> Sequence[Any]:
        means = batch.rgb.mean(axis=(1, 2, 3)).round(6).tolist()
        return list(zip(batch.tiles.index.tolist(), means, batch.labels, strict=True))


@frozen
class Left(Settings[RoiSource]):
    """The left half of the slide."""

    name: ClassVar[str] = "left"

    def build(self) -> RoiSource:
        return LeftSource()


class LeftSource(RoiSource):
    def regions(self, info: SlideInfo) -> Regions | None:
        return Regions((Region("R", box(0, 0, info.size.width / 2, info.size.height), "left"),))


def run(*, threads: int = 1, batch_tiles: int = 32, damaged: Sequence[Box] = (), **steps: Any) -> BlockResult:
    """All results of a slide of 6 x 4 tiles, joined."""
    slide = AnalyticSlide(Size(250, 165), mpp=0.5, damaged=damaged, thread_safe=threads == 1)
    prepared = PreparedSlide(plan_slide(slide, Pipeline(tiles=TILING, **steps)))
    prepared.decide()
    engine = TileEngine(prepared.plan, prepared.tile_steps(), threads=threads, batch_tiles=batch_tiles)
    joined = BlockResult()
    ledger = prepared.record.ledger
    for result in engine.run(ledger.tiles.take(ledger.candidates())):
        for name in attrs.asdict(joined, recurse=False):
            getattr(joined, name).extend(getattr(result, name))
    return joined


def kept(result: BlockResult) -> list[int]:
    return [index for tiles in result.kept for index in tiles.index.tolist()]


def rejected(result: BlockResult) -> list[int]:
    return sorted(index for _, which in result.rejected for index in which.tolist())


def test_a_block_is_a_row_of_neighbouring_tiles() -> None:
    blocks = blocks_of(tiles_at([20, 0, 10, 0, 10], [0, 10, 0, 0, 10]))

    assert [block.index.tolist() for block in blocks] == [[3, 2, 0], [1, 4]]


def test_rows_follow_each_other_down_a_column_that_is_16384_level_pixels_wide() -> None:
    x, y = [0, 16_390, 0, 16_390], [0, 0, 10, 10]

    assert [block.index.tolist() for block in blocks_of(tiles_at(x, y))] == [[0], [2], [1], [3]]
    # At half the resolution, both are in one column of 32768 level-0 pixels.
    assert [block.index.tolist() for block in blocks_of(tiles_at(x, y), downsample=2)] == [[0, 1], [2, 3]]


def test_tiles_of_one_row_need_not_begin_at_the_same_height() -> None:
    assert [block.index.tolist() for block in blocks_of(tiles_at([0, 5, 3], [0, 9, 10]))] == [[0, 1], [2]]


def test_without_tiles_there_is_no_block() -> None:
    assert blocks_of(tiles_at([], [])) == []


def test_a_filter_sees_only_what_the_filters_before_it_kept() -> None:
    odd, thirds = Every(divisor=2), Every(divisor=3)
    result = run(filters=(odd, thirds), sinks=(Means(),))

    assert odd.seen == [list(range(start, start + 6)) for start in (0, 6, 12, 18)]
    assert thirds.seen == [[1, 3, 5], [7, 9, 11], [13, 15, 17], [19, 21, 23]]
    assert kept(result) == [1, 5, 7, 11, 13, 17, 19, 23]


def test_rejections_and_scores_name_the_step_and_a_second_one_of_its_name_by_number() -> None:
    result = run(filters=(Every(divisor=2), Every(divisor=3)))

    assert [(step, which.tolist()) for step, which in result.rejected[:2]] == [
        ("filter:every", [0, 2, 4]),
        ("filter:every-2", [3]),
    ]
    assert [(step, which.tolist(), score.tolist()) for step, which, score in result.scores[:2]] == [
        ("filter:every", [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]),
        ("filter:every-2", [1, 3, 5], [1, 3, 5]),
    ]


def test_a_tile_that_cannot_be_read_is_unreadable_and_its_neighbours_are_not() -> None:
    result = run(damaged=[Box(85, 45, 1, 1)], filters=(Every(divisor=2),), sinks=(Means(),))

    assert result.unreadable == [8]  # column 2 of row 1
    assert len(result.first_error) == 1
    assert "the slide is damaged" in result.first_error[0]
    assert kept(result) == list(range(1, 24, 2))


def test_what_the_normalizer_refuses_is_rejected_and_its_fallbacks_are_counted_among_the_rest() -> None:
    result = run(normalizer=Halved(), sinks=(Means(),))

    assert rejected(result) == [0, 5, 10, 15, 20]
    assert {step for step, _ in result.rejected} == {"normalizer"}
    assert result.fallback == [7, 14, 21]
    assert kept(result) == [index for index in range(24) if index % 5]


def encoded(result: BlockResult) -> list[tuple[int, float, str | None]]:
    return [value for batch in result.encoded for value in batch[0]]


def test_pixels_are_those_of_the_slide_and_labels_those_of_the_owner() -> None:
    result = run(roi=(RoiUse(source=Left()),), sinks=(Means(),))

    slide = AnalyticSlide(Size(250, 165), mpp=0.5)
    # Centres at 20, 60 and 100 are left of 125.
    assert [index for index, _, _ in encoded(result)] == [0, 1, 2, 6, 7, 8, 12, 13, 14, 18, 19, 20]
    assert {label for _, _, label in encoded(result)} == {"left"}
    for index, mean, _ in encoded(result):
        exact = slide.expected(Box(index % 6 * 40, index // 6 * 40, 40, 40), Size(20, 20)).mean()
        assert mean == pytest.approx(exact, abs=0.25)  # rounded to whole levels twice


@pytest.mark.parametrize(("threads", "batch_tiles"), [(1, 1), (1, 4), (3, 32), (4, 2)])
def test_results_do_not_depend_on_threads_or_batches(threads: int, batch_tiles: int) -> None:
    steps: dict[str, Any] = {"filters": (Every(divisor=3),), "normalizer": Halved(), "sinks": (Means(),)}
    damaged = [Box(85, 45, 1, 1)]

    one = run(damaged=damaged, **steps)
    other = run(damaged=damaged, threads=threads, batch_tiles=batch_tiles, **steps)

    assert encoded(other) == encoded(one)
    assert (other.unreadable, other.fallback, other.first_error) == (one.unreadable, one.fallback, one.first_error)
    assert sorted(i for _, which in other.rejected for i in which) == sorted(
        i for _, which in one.rejected for i in which
    )


def test_steps_that_are_not_thread_safe_are_called_by_one_thread_at_a_time() -> None:
    busy, overlaps = threading.Lock(), []

    @frozen
    class Alone(Settings[TileFilter]):
        name: ClassVar[str] = "alone"

        def build(self) -> TileFilter:
            return AloneFilter()

    class AloneFilter(TileFilter):
        thread_safe = False

        def check(self, batch: TileBatch) -> Verdict:
            if not busy.acquire(blocking=False):
                overlaps.append(batch.slide)
                return Verdict(keep=np.ones(len(batch), bool), score=np.zeros(len(batch), np.float32))
            try:
                score = batch.rgb.astype(np.float64).std(axis=(1, 2, 3)).astype(np.float32)
                return Verdict(keep=np.ones(len(batch), bool), score=score)
            finally:
                busy.release()

    run(threads=4, batch_tiles=1, filters=(Alone(),))

    assert overlaps == []


@frozen
class Around(Settings[TileFilter]):
    """Keeps tiles by the pixel of a low level at their corner."""

    name: ClassVar[str] = "around"
    how: str = ""

    def build(self) -> TileFilter:
        return AroundFilter(self.how)


class AroundFilter(TileFilter):
    def __init__(self, how: str, slide: Slide | None = None) -> None:
        self.how, self.slide = how, slide

    def for_slide(self, slide: Slide, scene: Scene) -> TileFilter:
        assert scene.geometry.tile_px == 20
        return self.how if self.how else AroundFilter(self.how, slide)  # type: ignore[return-value]  # a misdeed

    def check(self, batch: TileBatch) -> Verdict:
        assert self.slide is not None
        corners = [Point(int(x), int(y)) for x, y in zip(batch.tiles.x, batch.tiles.y, strict=True)]
        found = self.slide.read_many(corners, 0, Size(1, 1))
        score = np.array([rgb.mean() for rgb in found if isinstance(rgb, np.ndarray)], np.float32)
        return Verdict(keep=score > 0, score=score)


def test_a_filter_may_read_the_slide_also_one_that_a_single_thread_may_read_at_a_time() -> None:
    alone, together = run(filters=(Around(),)), run(threads=4, batch_tiles=1, filters=(Around(),))

    slide = AnalyticSlide(Size(250, 165), mpp=0.5)
    corners = {i: slide.read(Point(40 * (i % 6), 40 * (i // 6)), 0, Size(1, 1)).mean() for i in range(24)}
    for result in (alone, together):
        scores = {i: score for _, which, values in result.scores for i, score in zip(which, values, strict=True)}
        assert scores == pytest.approx(corners)


def test_a_filter_that_prepares_to_something_else_is_named() -> None:
    with pytest.raises(PluginError, match=r"filter 'around' .*for_slide: wanted a TileFilter, got str"):
        run(filters=(Around(how="text"),))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("writes", "ValueError: assignment destination is read-only"),
        ("renumbers", "ValueError: cannot set WRITEABLE flag to True of this array"),
        ("exits", "SystemExit: 1"),
    ],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_what_a_step_may_not_do_is_its_error(how: str, said: str, threads: int) -> None:
    with pytest.raises(PluginError, match=f"filter 'every' .*failed on slide analytic: {said}"):
        run(threads=threads, filters=(Every(how=how),))
