# ruff: noqa: S101 - asserts are what a contract is made of
"""Contracts of the steps that work on batches of tiles: filters and normalizers."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np
import pytest
from attrs import evolve
from slideloom.base.geometry import Mask, RgbBatch, Size
from slideloom.settings.options import options_of
from slideloom.slides.slide import Slide
from slideloom.slides.tiles import TileBatch
from slideloom.steps.normalizer import Normalized, Normalizer
from slideloom.steps.scene import Scene
from slideloom.steps.tile_filter import TileFilter, Verdict

from slideloom_testing.contracts.base import SettingsContract, global_random_state_untouched
from slideloom_testing.slides import PixelsSlide
from slideloom_testing.tiles import read_only, scene_of, stained, take, varied_batch


class _BatchContract(SettingsContract):
    """What filters and normalizers have in common: results are arrays with one row per tile.

    Attributes:
        tile_px: width and height of the tiles in the test.
        tolerance: how far numbers may differ between batch sizes (networks may round differently); 0 is best.
    """

    tile_px: ClassVar[int] = 96
    tolerance: ClassVar[float] = 0.0

    def batch(self) -> TileBatch:
        """Eight very different tiles; override it for a step that works only on others."""
        return varied_batch(self.tile_px)

    def prepared(self, step: Any) -> Any:  # Any: of `kind`, which each contract narrows
        """A step that was just built, as a slide's tiles are given to it."""
        return step

    def answer(self, step: Any, batch: TileBatch) -> list[np.ndarray[Any, Any]]:  # Any: each contract narrows it
        """The step's result as arrays of B rows."""
        raise NotImplementedError

    def same(self, one: list[np.ndarray[Any, Any]], other: list[np.ndarray[Any, Any]], what: str) -> None:
        """Fails unless both results agree: exactly for bool, within `tolerance` for numbers."""
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert a.shape == b.shape, f"{what}: shape {a.shape} became {b.shape}"
            gap = np.abs(np.subtract(a, b, dtype=np.float64)).reshape(len(a), -1).max(axis=1)
            limit = 0.0 if a.dtype == np.bool_ else self.tolerance
            assert (gap <= limit).all(), f"{what}: tiles {np.flatnonzero(~(gap <= limit))} differ by {gap.max()}"

    def test_the_answer_does_not_depend_on_batch_size(self) -> None:
        """A tile alone gives the same result as among others."""
        step, batch = self.built(), self.batch()
        whole = self.answer(step, batch)
        for size in (1, 3):
            parts = [self.answer(step, take(batch, slice(start, start + size))) for start in range(0, len(batch), size)]
            split = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
            self.same(whole, split, f"in batches of {size}")

    def test_the_answer_does_not_depend_on_order(self) -> None:
        """Tiles in reverse order give the results in reverse order."""
        step, batch = self.built(), self.batch()
        whole = self.answer(step, batch)
        reverse = self.answer(step, take(batch, np.arange(len(batch))[::-1]))
        self.same(whole, [column[::-1] for column in reverse], "in reverse order")

    def test_the_answer_does_not_depend_on_what_came_before(self) -> None:
        """A step keeps nothing from tile to tile."""
        step, batch = self.built(), self.batch()
        first = self.answer(step, batch)
        self.same(first, self.answer(step, batch), "asked a second time")

    def test_built_twice_it_answers_the_same(self) -> None:
        """Workers build their own step from pickled settings."""
        batch = self.batch()
        travelled = pickle.loads(pickle.dumps(self.settings))  # noqa: S301 - our own bytes
        self.same(self.answer(self.built(), batch), self.answer(self.prepared(travelled.build()), batch), "built anew")

    def test_the_input_is_left_alone(self) -> None:
        """The same pixels go to other steps. They are read-only here: writing to them is an error."""
        batch = self.batch()
        before = batch.rgb.copy()
        self.answer(self.built(), batch)
        assert np.array_equal(batch.rgb, before), "the step wrote to its input"
        assert not batch.rgb.flags.writeable, "the step made its input writeable"

    def test_a_view_is_as_good_as_a_copy(self) -> None:
        """Pixels may come as a view into a larger array."""
        batch = self.batch()
        count, height, width, _ = batch.rgb.shape
        frame = np.full((count, height + 5, width + 3, 3), 77, np.uint8)
        frame[:, 2 : 2 + height, 1 : 1 + width] = batch.rgb
        frame.flags.writeable = False
        view = evolve(batch, rgb=frame[:, 2 : 2 + height, 1 : 1 + width])
        step = self.built()
        self.same(self.answer(step, batch), self.answer(step, view), "given a view")

    def test_memory_of_pixels_may_be_used_again(self) -> None:
        """A step that says `keeps_pixels = False` neither remembers nor returns the memory of its batch."""
        step, batch = self.built(), self.batch()
        if step.keeps_pixels:
            pytest.skip("the step does not say keeps_pixels = False, so the core leaves it the memory of its batches")
        expected = self.answer(self.built(), batch)
        memory = batch.rgb.copy()
        answer = self.answer(step, evolve(batch, rgb=read_only(memory)))
        memory[...] = 255 - memory
        self.same(expected, answer, "with other pixels in the memory of the batch")
        self.same(expected, self.answer(step, batch), "asked again after the memory of a batch was used again")

    def test_global_randomness_is_not_used(self) -> None:
        """A caller who sets a seed must find the random state unchanged."""
        step, batch = self.built(), self.batch()
        with global_random_state_untouched():
            self.answer(step, batch)

    def test_threads_get_the_same_answers(self) -> None:
        """Several threads call one step at once, unless it says `thread_safe = False`."""
        step, batch = self.built(), self.batch()
        if not step.thread_safe:
            pytest.skip("the step says thread_safe = False, so the core calls it under a lock")
        alone = self.answer(step, batch)
        with ThreadPoolExecutor(4) as pool:
            for together in pool.map(lambda _: self.answer(step, batch), range(8)):
                self.same(alone, together, "in four threads")


class TileFilterContract(_BatchContract):
    """What every tile filter must do. Set `settings`; `tile_px`, `tolerance`, `batch` and `slide` may be overridden."""

    kind: ClassVar[type] = TileFilter

    def slide(self) -> Slide:
        """A stained slide at 2 microns per pixel for `for_slide`."""
        return PixelsSlide(stained(Size(600, 450), seed=3), mpp=2.0, downsamples=(1, 2))

    def scene(self) -> Scene:
        """The filter's context in addition to the slide."""
        return scene_of(tile_px=self.tile_px, footprint=Size(self.tile_px, self.tile_px), mpp=2.0)

    def prepared(self, step: Any) -> Any:
        """The filter for the slide."""
        return step.for_slide(self.slide(), self.scene())

    def built(self) -> Any:
        """A newly built filter, prepared for the slide."""
        return self.prepared(super().built())

    def test_preparing_for_a_slide_gives_a_filter_and_leaves_the_slide_open(self) -> None:
        """One step serves several slides, one after the other."""
        slide, step = self.slide(), self.settings.build()
        first, again = (step.for_slide(slide, self.scene()) for _ in range(2))
        assert isinstance(first, TileFilter)
        self.same(self.answer(first, self.batch()), self.answer(again, self.batch()), "prepared a second time")
        slide.thumbnail(max_px=10)

    def answer(self, step: Any, batch: TileBatch) -> list[np.ndarray[Any, Any]]:
        """Which tiles are kept, and their scores."""
        verdict = step.check(batch)
        return [verdict.keep, verdict.score]

    def test_the_verdict_has_one_bool_and_one_score_per_tile(self) -> None:
        """`keep` (B,) bool, `score` (B,) float32 or float64, and finite."""
        batch = self.batch()
        verdict = self.built().check(batch)
        assert isinstance(verdict, Verdict)
        for column, dtypes in ((verdict.keep, [np.bool_]), (verdict.score, [np.float32, np.float64])):
            assert isinstance(column, np.ndarray)
            assert column.shape == (len(batch),)
            assert column.dtype in dtypes
        assert np.isfinite(verdict.score).all()

    def test_scores_decide_as_pixels_do(self) -> None:
        """A filter with options that are `live` decides by its scores alone, and the same for every tile."""
        step, batch = self.built(), self.batch()
        verdict = step.check(batch)
        decided = step.decided(verdict.score.astype(np.float64))
        if any(info.live for info in options_of(type(self.settings)).values()):
            assert decided is not None
        if decided is not None:
            self.same([verdict.keep], [decided], "by scores")


class NormalizerContract(_BatchContract):
    """What every normalizer must do. Set `settings`; `tile_px`, `tolerance`, `batch` and `slide` may be overridden."""

    kind: ClassVar[type] = Normalizer

    def slide(self) -> Slide:
        """A stained slide at 2 microns per pixel for `for_slide`."""
        return PixelsSlide(stained(Size(600, 450), seed=3), mpp=2.0, downsamples=(1, 2))

    def scene(self) -> Scene:
        """The normalizer's context in addition to the slide."""
        return scene_of(tile_px=self.tile_px, footprint=Size(self.tile_px, self.tile_px), mpp=2.0)

    def answer(self, step: Any, batch: TileBatch) -> list[np.ndarray[Any, Any]]:
        """The pixels, which tiles are good, and where the fallback was used."""
        done = step.apply(batch)
        fallback = np.zeros(len(batch), np.bool_) if done.fallback is None else done.fallback
        # The pixels of a rejected tile mean nothing.
        pixels: RgbBatch = np.where(done.ok[:, None, None, None], done.rgb, np.uint8(0))
        return [pixels, done.ok, fallback]

    def test_the_answer_is_tiles_of_the_same_shape_and_a_bool_each(self) -> None:
        """`rgb` (B, H, W, 3) uint8, `ok` (B,) bool, `fallback` (B,) bool or None."""
        batch = self.batch()
        done = self.built().apply(batch)
        assert isinstance(done, Normalized)
        assert done.rgb.shape == batch.rgb.shape
        assert done.rgb.dtype == np.uint8
        for column in (done.ok, done.fallback):
            if column is not None:
                assert column.shape == (len(batch),)
                assert column.dtype == np.bool_

    def test_a_stained_tile_can_be_normalized(self) -> None:
        """A step that rejects everything would pass every other test."""
        done = self.built().apply(self.batch())
        assert done.ok.any(), "no tile at all could be normalized"

    @pytest.mark.parametrize("with_mask", [False, True])
    def test_a_slide_can_be_prepared_for(self, with_mask: bool) -> None:
        """`for_slide` returns the same normalizer each time, with and without a mask; the slide stays open."""
        slide, batch = self.slide(), self.batch()
        discard: Mask | None = None
        if with_mask:
            discard = np.zeros((45, 60), np.bool_)
            discard[:, :20] = True
        prepared = self.built().for_slide(slide, self.scene(), discard)
        again = self.built().for_slide(slide, self.scene(), discard)
        assert isinstance(prepared, Normalizer)
        self.same(self.answer(prepared, batch), self.answer(again, batch), "prepared a second time")
        slide.thumbnail(max_px=10)

    def test_preparing_for_a_slide_leaves_the_step_as_it_was(self) -> None:
        """One step serves several slides, one after the other."""
        step, batch = self.built(), self.batch()
        before = self.answer(step, batch)
        step.for_slide(self.slide(), self.scene(), None)
        self.same(before, self.answer(step, batch), "after for_slide")
