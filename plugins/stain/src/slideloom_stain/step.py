"""The normalizer steps of the tile engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray
from slideloom import Mask, Normalized, Normalizer, Rgb, RgbBatch, Scene, Slide, TileBatch

from slideloom_stain.base import Goal, Method, goal_of
from slideloom_stain.context import slide_statistics
from slideloom_stain.draws import Spread, drawn_fit, flat, normal, spread_of, tile_keys, uniform
from slideloom_stain.fits import StainFit, Unfit, preset
from slideloom_stain.hsv import shifted
from slideloom_stain.methods import method
from slideloom_stain.settings import Around, HsvAugment, StainAugment, TargetSettings
from slideloom_stain.targets import target_fit
from slideloom_stain.tensor_step import Planned, TensorPlan


@frozen
class StainStep(Normalizer):
    """Normalizes tiles by a method to a target.

    Attributes:
        method: the method.
        fit: the target.
        context: "tile" to measure each tile, "slide" to measure the slide once.
        unfit: what happens to a tile that cannot be measured: "reject", "keep-original" or "slide-fit".
        augment: preset of the spread of random targets, or "off".
        around: what random targets are drawn around: the fit ("target"), or each tile's "own" staining.
        seed: seed of the random draws.
        slide_statistics: statistics of the current slide; None before `for_slide`, if they are not needed, or if the
            slide cannot be measured either.
    """

    keeps_pixels = False

    method: Method[Any, Any]  # each method has statistics of its own
    fit: StainFit
    context: Literal["tile", "slide"] = "tile"
    unfit: Literal["reject", "keep-original", "slide-fit"] = "reject"
    augment: str = "off"
    around: Around = "target"
    seed: int = 0
    slide_statistics: Any = field(default=None, eq=False)

    @property
    def needs_slide(self) -> bool:
        """See `Normalizer.needs_slide`."""
        return self.context == "slide" or self.unfit == "slide-fit"

    def fit_table(self) -> Mapping[str, Any]:
        """See `Normalizer.fit_table`."""
        return self.fit.as_table()

    def plan(self) -> TensorPlan:
        """See `Planned.plan`."""
        return TensorPlan(
            method=self.method.name,
            centre=flat(self.fit),
            spread=self._spread(),
            around=self.around,
            seed=self.seed,
            context=self.context,
            unfit=self.unfit,
            statistics=self.slide_statistics,
        )

    def tensorflow_form(self) -> Callable[[Any, Any], Any]:
        """See `Normalizer.tensorflow_form`."""
        return _tensorflow_form(self)

    def for_slide(self, slide: Slide, scene: Scene, discard: Mask | None) -> Normalizer:
        """The step with the slide's statistics, if `context` or `unfit` asks for them."""
        if not self.needs_slide:
            return self
        try:
            statistics = slide_statistics(self.method, slide, discard)
        except Unfit:
            statistics = None  # then every tile that needs them is unfit too, and counted as such
        return evolve(self, slide_statistics=statistics)

    def apply(self, batch: TileBatch) -> Normalized:
        """See `Normalizer.apply`."""
        return self.normalize(batch.rgb, *tile_keys(batch.slide, batch.tiles.index))

    def normalize(self, tiles: RgbBatch, slide: int, index: NDArray[np.int64]) -> Normalized:
        """`apply` for bare pixels.

        Args:
            tiles: (B, H, W, 3) uint8.
            slide: a number for the slide, from `tile_keys`.
            index: (B,) numbers of the tiles; random draws depend on them.
        """
        rgb = np.empty(tiles.shape, np.uint8)
        ok, fallback = np.ones(len(rgb), np.bool_), np.zeros(len(rgb), np.bool_)
        goals = self._goals(slide, index)
        for i, tile in enumerate(tiles):
            ok[i], fallback[i] = self._one(np.ascontiguousarray(tile), goals[i], rgb[i])
        return Normalized(rgb, ok, fallback)

    def succeeded(self, done: Normalized) -> NDArray[np.bool_]:
        """(B,) bool, False where a tile was rejected or returned unchanged."""
        if self.unfit == "keep-original" and done.fallback is not None:
            return done.ok & ~done.fallback
        return done.ok

    def _spread(self) -> Spread | None:
        if self.augment == "off":
            return None
        return spread_of(self.method.family.name, self.method.family.fit, self.augment)

    def _goals(self, slide: int, index: NDArray[np.int64]) -> list[Goal]:
        """What each tile is normalized to."""
        spread = self._spread()
        if spread is None:
            return [self.fit] * len(index)
        drawn = normal(self.seed, slide, index, spread.deviation.size)
        if self.around == "own":
            return [partial(self._own_goal, spread, row) for row in drawn]
        return [drawn_fit(self.fit, spread, row) for row in drawn]

    def _own_goal(self, spread: Spread, drawn: NDArray[np.float64], statistics: Any) -> StainFit:
        return drawn_fit(self.method.fit_of(statistics), spread, drawn)

    def _one(self, tile: Rgb, goal: Goal, out: Rgb) -> tuple[bool, bool]:
        """Write one tile to `out`; returns whether it is good, and whether the fallback was used."""
        if self.context == "tile":
            try:
                self.method.normalize(tile, goal, out)
            except Unfit:
                if self.unfit == "slide-fit" and self.slide_statistics is not None:
                    self.method.render(tile, self.slide_statistics, goal_of(goal, self.slide_statistics), out)
                    return True, True
            else:
                return True, False
        elif self.slide_statistics is not None:
            self.method.render(tile, self.slide_statistics, goal_of(goal, self.slide_statistics), out)
            return True, False
        out[...] = tile
        kept = self.unfit == "keep-original"
        return kept, kept


@frozen
class HsvStep(Normalizer):
    """Random shifts of hue, saturation and value, seeded by slide and tile.

    Attributes:
        hue: largest shift in turns of the colour circle, up or down.
        saturation: largest relative change of the saturation, up or down.
        value: largest relative change of the value, up or down.
        seed: seed of the random draws.
    """

    keeps_pixels = False

    hue: float
    saturation: float
    value: float
    seed: int = 0

    def apply(self, batch: TileBatch) -> Normalized:
        """See `Normalizer.apply`."""
        return self.normalize(batch.rgb, *tile_keys(batch.slide, batch.tiles.index))

    def normalize(self, tiles: RgbBatch, slide: int, index: NDArray[np.int64]) -> Normalized:
        """`apply` for bare pixels; see `StainStep.normalize`."""
        shifts = (2 * uniform(self.seed, slide, index, 3) - 1) * [self.hue, self.saturation, self.value]
        rgb = np.empty(tiles.shape, np.uint8)
        for i, (hue, saturation, value) in enumerate(shifts.tolist()):
            rgb[i] = shifted(tiles[i], hue=hue, saturation=saturation, value=value)
        return Normalized(rgb, np.ones(len(rgb), np.bool_))

    def succeeded(self, done: Normalized) -> NDArray[np.bool_]:
        """(B,) bool, all True: every tile can be shifted."""
        return done.ok

    def plan(self) -> TensorPlan:
        """See `Planned.plan`."""
        return TensorPlan(method="", centre=np.array([self.hue, self.saturation, self.value]), seed=self.seed)

    def tensorflow_form(self) -> Callable[[Any, Any], Any]:
        """See `Normalizer.tensorflow_form`."""
        return _tensorflow_form(self)


def stain_step(settings: TargetSettings) -> StainStep:
    """The step that these settings describe.

    Raises:
        ConfigError: there is no such preset, image or fit file, or the image has too little tissue.
    """
    target = getattr(settings, "target")  # noqa: B009 - each subclass declares the presets it has
    return StainStep(
        method=method(settings.name),
        fit=target_fit(settings.name, target),
        context=settings.context,
        unfit=settings.unfit,
        augment=getattr(settings, "augment", "off"),
        around=getattr(settings, "around", "target"),
        seed=getattr(settings, "seed", 0),
    )


def augment_step(settings: StainAugment) -> StainStep:
    """The augmentation of each tile's own staining."""
    return StainStep(
        method=method(settings.method),
        fit=preset(settings.method),
        unfit="keep-original",
        augment=settings.spread,
        around="own",
        seed=settings.seed,
    )


def hsv_step(settings: HsvAugment) -> HsvStep:
    """The augmentation that these settings describe."""
    return HsvStep(hue=settings.hue, saturation=settings.saturation, value=settings.value, seed=settings.seed)


def _tensorflow_form(step: Planned) -> Callable[[Any, Any], Any]:
    from slideloom_stain.tensorflow_form import TensorflowNormalizer  # TensorFlow, so only for its loaders

    form = TensorflowNormalizer(step)
    return lambda images, numbers: form.normalize(images, numbers)[0]
