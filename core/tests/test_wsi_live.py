"""Steps of a `WSI` that come and go: what reads pixels, what follows from what is known, who may look meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from attrs import evolve, field, frozen
from numpy.typing import NDArray
from slideloom import (
    LEGEND,
    WSI,
    Box,
    Cancelled,
    ConfigError,
    Normalized,
    Normalizer,
    QcClass,
    QcResult,
    QcUse,
    Scene,
    Settings,
    Size,
    Slide,
    SlideQc,
    TileBatch,
    TileFilter,
    Verdict,
    option,
)
from slideloom.drawing.told import TOLD_LOOKS


@frozen
class Steps(Settings[SlideQc]):
    """Masks columns of the slide from a limit on, by scores 0, 0.1, ... 0.9 from left to right."""

    name: ClassVar[str] = "steps"
    limit: float = option(0.5, help="masked from this score on", live=True)
    scale: int = option(1, help="changes what is measured")
    runs: list[str] = field(factory=list, eq=False, metadata={"affects_output": False})
    looks_at_regions: bool = option(False, help="whether regions matter", affects_output=False)

    def build(self) -> SlideQc:
        return StepsQc(self)


class StepsQc(SlideQc):
    def __init__(self, settings: Steps) -> None:
        self.settings = settings
        self.uses_regions = settings.looks_at_regions  # type: ignore[misc]

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        self.settings.runs.append("assess")
        for part in range(10):
            slide.read_at(Box(part * 200, 0, 100, 100), Size(10, 10))
            scene.tell((part + 1) / 10)
        return self.judged(np.tile(np.arange(10) / 10, (4, 1)) * self.settings.scale)

    def judged(self, scores: NDArray[np.float64]) -> QcResult:
        return QcResult(scores >= self.settings.limit, "artifact", measured=scores)

    def again(self, earlier: QcResult) -> QcResult | None:
        self.settings.runs.append("again")
        return self.judged(earlier.measured)


@frozen
class Dark(Settings[TileFilter]):
    """Drops tiles that are darker than a limit."""

    name: ClassVar[str] = "dark"
    limit: float = option(0.0, help="mean of the pixels below which a tile is dropped", live=True)
    power: int = option(1, help="changes what is measured")
    seen: list[int] = field(factory=list, eq=False, metadata={"affects_output": False})

    def build(self) -> TileFilter:
        return DarkFilter(self)


class DarkFilter(TileFilter):
    def __init__(self, settings: Dark) -> None:
        self.settings = settings

    def check(self, batch: TileBatch) -> Verdict:
        self.settings.seen.extend(batch.tiles.index.tolist())
        score = batch.rgb.mean(axis=(1, 2, 3)) ** self.settings.power
        return Verdict(keep=self.decided(score), score=score)

    def decided(self, score: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        return score >= self.settings.limit


class Negative(Normalizer):
    def apply(self, batch: TileBatch) -> Normalized:
        ok = batch.tiles.grid_x != 3
        return Normalized(rgb=255 - batch.rgb, ok=ok)


@pytest.fixture
def wsi(raw: object, analytic: Callable[..., Path]) -> Iterator[WSI]:
    with WSI(analytic(), tile_px=60, tile_um=75) as made:
        yield made


def grid_columns(wsi: WSI) -> set[int]:
    return set(wsi.tiles.grid_x.tolist())


def test_another_threshold_of_a_mask_reads_no_pixel(wsi: WSI) -> None:
    step = Steps()
    wsi.qc(step, filter_threshold=0.7)
    before = len(wsi)

    assert not wsi.change("steps", filter_threshold=0.0)
    assert step.runs == ["assess"]
    assert len(wsi) < before
    share = wsi.ledger.scores["qc:steps"]
    assert len(wsi) == np.count_nonzero(share <= 0)


def test_a_live_option_decides_again_from_what_was_measured_and_others_do_not(wsi: WSI) -> None:
    step = Steps()
    wsi.qc(step)
    assert wsi.steps[0].live == {"limit", "filter_threshold"}

    assert not wsi.change("steps", limit=0.8)
    assert step.runs == ["assess", "again"]
    assert wsi.qc_results[0].mask.mean() == pytest.approx(0.2)

    assert wsi.change("qc:steps", scale=2)
    assert step.runs == ["assess", "again", "assess"]
    assert wsi.qc_results[0].mask.mean() == pytest.approx(0.6)


def test_a_step_that_comes_back_is_not_run_again(wsi: WSI) -> None:
    step = Steps()
    wsi.qc(step)
    with_step = wsi.counts
    wsi.remove("steps")
    assert wsi.counts == {"kept": len(wsi.ledger)}
    wsi.qc(Steps(runs=step.runs))

    assert wsi.counts == with_step
    assert step.runs == ["assess"]


def test_an_object_that_nobody_can_compare_is_run_each_time_it_is_given(wsi: WSI) -> None:
    class Local(SlideQc):
        def __init__(self) -> None:
            self.count = 0

        def assess(self, slide: Slide, scene: Scene) -> QcResult:
            self.count += 1
            return QcResult(np.full((1, 1), self.count > 1), "artifact")

    local = Local()
    wsi.qc(local)
    kept = len(wsi)
    wsi.change("local", filter_threshold=0.2)
    assert (local.count, len(wsi)) == (1, kept)
    wsi.qc(local)

    assert (local.count, len(wsi)) == (2, 0)


def test_steps_are_numbered_and_found_by_label_or_reason(wsi: WSI) -> None:
    wsi.qc([Steps(), Steps(limit=0.9)])
    wsi.filter(Dark(), now=False)

    assert [step.reason for step in wsi.steps] == ["qc:steps", "qc:steps-2", "filter:dark"]
    wsi.remove("steps-2")
    assert [step.label for step in wsi.steps] == ["steps", "dark"]
    with pytest.raises(ConfigError, match=r"no step is called 'step' \(did you mean 'qc:steps'\?\)|known: "):
        wsi.remove("step")
    with pytest.raises(ConfigError, match="steps has no option 'limits'"):
        wsi.change("steps", limits=1)
    with pytest.raises(ConfigError, match="filter:dark takes no filter_threshold"):
        wsi.change("dark", filter_threshold=0.5)


def test_a_tile_filter_reads_each_tile_once_whatever_its_threshold(wsi: WSI) -> None:
    step = Dark()
    wsi.qc(Steps(limit=0.5))
    left = len(wsi)
    wsi.filter(step)
    assert sorted(step.seen) == wsi.tiles.index.tolist()
    scores = wsi.ledger.scores["filter:dark"]
    middle = float(np.nanmedian(scores))

    assert not wsi.change("dark", limit=middle)
    assert wsi.counts["filter:dark"] == np.count_nonzero(scores[~np.isnan(scores)] < middle)
    assert len(step.seen) == left

    wsi.remove("steps")  # now there are tiles that the filter has not seen
    assert wsi.unscored == len(wsi.ledger) - left
    assert wsi.score() == len(wsi.ledger) - left
    assert wsi.unscored == 0
    assert sorted(step.seen) == list(range(len(wsi.ledger)))
    assert wsi.change("dark", power=2)


def test_filters_decide_one_after_another_as_in_a_run(wsi: WSI) -> None:
    wsi.filter(Dark())
    bright = np.nanpercentile(wsi.ledger.scores["filter:dark"], [30, 60])
    wsi.update(filters=[Dark(limit=float(bright[0])), Dark(limit=float(bright[1]))])
    wsi.score()

    counts = wsi.counts
    assert counts["filter:dark"] == pytest.approx(0.3 * len(wsi.ledger), abs=1)
    assert counts["filter:dark-2"] == pytest.approx(0.3 * len(wsi.ledger), abs=1)
    assert np.isnan(wsi.ledger.scores["filter:dark-2"]).sum() == counts["filter:dark"]


def test_who_cancels_finds_everything_as_it_was(wsi: WSI) -> None:
    wsi.qc(Steps(limit=0.9))
    before, generation = wsi.counts, wsi.generation
    told: list[tuple[str, float]] = []
    with pytest.raises(Cancelled):
        wsi.qc(
            Steps(scale=3),
            progress=lambda label, share: told.append((label, share)),
            cancel=lambda: len(told) >= 3,
        )

    assert told == [("steps", 0.1), ("steps", 0.2), ("steps", 0.3)]
    assert (wsi.counts, wsi.generation, len(wsi.steps)) == (before, generation, 1)


def test_a_step_that_never_says_how_far_it_is_can_be_cancelled_as_it_reads(wsi: WSI) -> None:
    class Silent(SlideQc):
        def assess(self, slide: Slide, scene: Scene) -> QcResult:
            for part in range(100):
                slide.read_at(Box(part, 0, 100, 100), Size(10, 10))
            raise AssertionError("nobody cancelled it")

    asked: list[int] = []
    with pytest.raises(Cancelled):
        wsi.qc(Silent(), cancel=lambda: asked.append(1) or len(asked) > 5)  # type: ignore[func-returns-value]
    assert wsi.steps == ()
    assert wsi.view_at(1, 0, 0, 10).shape == (10, 10, 3)  # the slide is still open


def test_a_filter_that_is_cancelled_is_gone(wsi: WSI) -> None:
    step = Dark()
    with pytest.raises(Cancelled):
        wsi.filter(step, cancel=lambda: len(step.seen) > 10)

    assert (wsi.steps, wsi.unscored) == ((), 0)


def test_others_see_the_state_before_until_a_change_is_complete(wsi: WSI) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(SlideQc):
        def assess(self, slide: Slide, scene: Scene) -> QcResult:
            inside.set()
            assert go_on.wait(60)
            return QcResult(np.ones((1, 1), bool), "artifact")

    wsi.qc(Steps(limit=0.9))
    before, before_map = wsi.counts, wsi.tile_map
    changing = threading.Thread(target=wsi.qc, args=(Slow(),))
    changing.start()
    try:
        assert inside.wait(60)
        assert wsi.counts == before
        assert wsi.tile_map is before_map
        assert wsi.view_at(2, 0, 0, 64).shape == (64, 64, 3)
        assert wsi.tile(0).scores.keys() == {"qc:steps"}
        assert [layer.label for layer in wsi.layers()] == ["steps"]
        assert len(wsi.pipeline(sinks=[]).qc) == 1
    finally:
        go_on.set()
        changing.join()
    assert wsi.counts == {"kept": 0, "qc:steps": before["qc:steps"], "qc:slow": before["kept"]}


def test_a_slide_that_one_thread_at_a_time_may_read_is_read_so(raw: object, analytic: Callable[..., Path]) -> None:
    with WSI(analytic(thread_safe=False), tile_px=60, tile_um=75) as wsi:
        assert wsi.slide.thread_safe
        failed: list[BaseException] = []

        def look() -> None:
            try:
                for number in range(20):
                    wsi.view_at(1, number, 0, 50)
                    wsi.tile(number)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            wsi.remove_qc()
            wsi.qc(Steps())
        wsi.filter(Dark())
        for thread in threads:
            thread.join()
    assert failed == []


def test_the_map_has_a_pixel_for_each_tile_and_its_word(wsi: WSI) -> None:
    wsi.qc(Steps(limit=0.5))
    shown, ledger = wsi.tile_map, wsi.ledger

    assert shown.codes.shape == shown.index.shape == (1800 // 150, 2200 // 150)
    words = [shown.words[code] for code in shown.codes[ledger.tiles.grid_y, ledger.tiles.grid_x].tolist()]
    assert words == [{"candidate": "kept"}.get(word, word) for word in ledger.status()]
    assert shown.index[ledger.tiles.grid_y, ledger.tiles.grid_x].tolist() == list(range(len(ledger)))
    assert set(shown.colours) == {"kept", "unreadable", "qc:steps"}
    assert sum(wsi.counts.values()) == len(ledger)


def test_layers_are_small_and_name_their_classes(wsi: WSI) -> None:
    class Classes(SlideQc):
        def assess(self, slide: Slide, scene: Scene) -> QcResult:
            labels = np.zeros((300, 400), np.uint8)
            labels[:, 200:] = 7
            classes = [QcClass(0, "tissue"), QcClass(7, "fold", "artifact", 0.2)]
            return QcResult.of_labels(labels, classes, extent=Box(0, 0, 2000, 1500))

    wsi.qc([Classes(), Steps(limit=0.5)])
    classes, steps = wsi.layers(max_px=100)

    assert (classes.values.shape, classes.extent) == ((75, 100), Box(0, 0, 2000, 1500))
    assert [(one.value, one.name, one.kind) for one in classes.classes] == [
        (0, "tissue", None),
        (7, "fold", "artifact"),
    ]
    assert set(np.unique(classes.values[:, 50:])) == {7}
    assert not classes.values[:, :50].any()
    assert (steps.values.shape, steps.extent) == ((4, 10), Box(0, 0, 2200, 1800))
    assert steps.values.tolist() == [[0] * 5 + [1] * 5] * 4
    assert [(one.value, one.name, one.kind) for one in steps.classes] == [(1, "steps", "artifact")]


def test_layers_show_what_is_told_but_kept_in_the_colours_of_its_outlines(wsi: WSI) -> None:
    class Told(SlideQc):
        def assess(self, slide: Slide, scene: Scene) -> QcResult:
            told = [QcClass(1, "fold", threshold=0.2), QcClass(2, "bubble", threshold=0.2)]
            return QcResult.of_labels(np.zeros((30, 40), np.uint8), [QcClass(0, "tissue"), *told])

    wsi.qc(Told())
    (layer,) = wsi.layers()

    assert [(one.name, one.is_told, one.colour) for one in layer.classes] == [
        ("tissue", False, LEGEND["kept"]),
        ("fold", True, TOLD_LOOKS[0].colour),
        ("bubble", True, TOLD_LOOKS[1].colour),
    ]


def test_a_tile_is_shown_with_its_scores_masks_and_normalized_pixels(wsi: WSI) -> None:
    wsi.qc(Steps(limit=0.5), filter_threshold=0.3)
    wsi.filter(Dark())
    wsi.normalize(Negative())
    number = wsi.tile_at(1100, 200)
    assert number is not None
    tile = wsi.tile(number)

    assert (tile.x <= 1100 < tile.x + tile.footprint.width, tile.index) == (True, number)
    assert np.array_equal(tile.rgb, wsi[tile.grid_x, tile.grid_y])
    assert tile.normalized is not None
    assert np.array_equal(tile.normalized, 255 - tile.rgb)
    # Scores from 0.5 on begin at the middle of the slide, level-0 pixel 1100.
    masked = (np.arange(60) + 0.5) * 150 / 60 + tile.x >= 1100
    assert np.array_equal(tile.masks["steps"], np.tile(masked, (60, 1)))
    assert tile.scores["qc:steps"] == pytest.approx((tile.x + 150 - 1100) / 150)
    assert tile.scores["filter:dark"] == tile.rgb.mean()
    assert tile.status == "qc:steps"
    unfit = wsi.tile(3)
    assert (unfit.is_normalizable, unfit.normalized, unfit.status) == (False, None, "kept")
    assert wsi.tile_at(-5, 0) is None
    with pytest.raises(IndexError, match="no tile 9999"):
        wsi.tile(9999)


def test_a_mask_of_ones_own_is_no_pipeline(wsi: WSI) -> None:
    wsi.apply_mask(QcResult(np.ones((1, 1), bool), "artifact"))
    with pytest.raises(ConfigError, match="save_mask"):
        wsi.pipeline(sinks=[])
    wsi.remove("own")

    assert wsi.pipeline(sinks=[]).qc == ()


def test_the_pipeline_is_what_is_on_screen(wsi: WSI) -> None:
    qc, dark = Steps(limit=0.7), Dark(limit=3)
    wsi.qc(qc, filter_threshold=0.25)
    wsi.filter(dark, now=False)
    shown = wsi.pipeline(sinks=[])

    assert shown.qc == (QcUse(step=qc, filter_threshold=0.25),)
    assert shown.filters == (dark,)
    assert shown.slides.include == (str(wsi.info.path),)
    with WSI.of_pipeline(wsi.info.path, shown) as other:
        other.score()
        wsi.score()
        assert other.counts == wsi.counts
        assert other.pipeline(sinks=[]) == shown


def test_another_size_of_tiles_keeps_masks_that_do_not_depend_on_it(wsi: WSI) -> None:
    step = Steps()
    wsi.qc(step)
    tiling = wsi.pipeline(sinks=[]).tiles
    wsi.update(tiling=evolve(tiling, size_px=30))
    assert step.runs == ["assess", "assess"]  # the scene has other tiles, and a step may look at them
    wsi.update(tiling=tiling)

    assert step.runs == ["assess", "assess"]
    assert wsi.geometry.tile_px == 60
