"""The contract of normalizers: a batch of tiles in, the same tiles with normalized staining out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Mask, RgbBatch
from slideloom.slides.slide import Slide
from slideloom.slides.tiles import TileBatch
from slideloom.steps.scene import Scene


@frozen
class Normalized:
    """Normalized tiles.

    Attributes:
        rgb: (B, H, W, 3) uint8.
        ok: (B,) bool, False where the tile could not be normalized and is rejected.
        fallback: (B,) bool, True where the step's fallback was used (the original pixels, or the slide's fit); counted
            in the report. None means nowhere.
    """

    rgb: RgbBatch = field(eq=False)
    ok: NDArray[np.bool_] = field(eq=False)
    fallback: NDArray[np.bool_] | None = field(default=None, eq=False)


class Normalizer(ABC):
    """Matches the staining of tiles to a target."""

    thread_safe: ClassVar[bool] = True
    keeps_pixels: bool = True

    def for_slide(self, slide: Slide, scene: Scene, discard: Mask | None) -> Normalizer:
        """The normalizer for one slide. Called once per slide, before any tile.

        Args:
            slide: open, with known mpp.
            scene: regions and tile geometry.
            discard: (h, w) bool over the whole slide, True where QC or regions discard it; None if nothing is
                discarded.

        Returns:
            `self`, unless the step measures the slide.
        """
        return self

    @property
    def needs_slide(self) -> bool:
        """True if `for_slide` measures the slide; code that loads single tiles must then call it first."""
        return type(self).for_slide is not Normalizer.for_slide

    def fit_table(self) -> Mapping[str, Any] | None:
        """The target values as plain numbers and lists (`norm_fit` of a params.json); None if there are none.

        A normalizer that returns them accepts the path of that file as its option `target`, and then behaves
        identically.
        """
        return None

    def tensorflow_form(self) -> Callable[[Any, Any], Any] | None:
        """A function for `tf.data.Dataset.map`, made of TensorFlow operations; None if there is none.

        It takes images (B, H, W, 3) uint8 and the tiles' numbers (B,) int64, which determine random draws, and returns
        images of the same shape; those that cannot be normalized are unchanged. Any: TensorFlow has no types.
        """
        return None

    @abstractmethod
    def apply(self, batch: TileBatch) -> Normalized:
        """The batch with its staining normalized, each tile only from its own pixels and the slide's statistics."""
