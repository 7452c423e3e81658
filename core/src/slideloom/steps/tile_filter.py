"""The contract of tile filters: a batch of tiles in, keep or reject for each out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.slides.slide import Slide
from slideloom.slides.tiles import TileBatch
from slideloom.steps.scene import Scene


@frozen
class Verdict:
    """What a tile filter decided for a batch.

    Attributes:
        keep: (B,) bool, False where the tile is rejected.
        score: (B,) float32 or float64, the number on which the decision is based.
    """

    keep: NDArray[np.bool_] = field(eq=False)
    score: NDArray[np.floating[Any]] = field(eq=False)


class TileFilter(ABC):
    """Keeps or rejects tiles by their pixels."""

    thread_safe: ClassVar[bool] = True
    keeps_pixels: bool = True

    def for_slide(self, slide: Slide, scene: Scene) -> TileFilter:
        """The filter for one slide. Called once per slide, after slide QC and before any tile.

        Args:
            slide: open, with known mpp, until the last tile of the slide is checked.
            scene: regions and tile geometry.

        Returns:
            `self`, unless the filter looks at more of the slide than the pixels of its tiles.
        """
        return self

    @property
    def needs_slide(self) -> bool:
        """True if `check` may read the slide; it is then called under the lock of a slide that has to have one."""
        return type(self).for_slide is not TileFilter.for_slide

    @abstractmethod
    def check(self, batch: TileBatch) -> Verdict:
        """One decision per tile, each only from the tile's own pixels and place on the slide."""

    def decided(self, score: NDArray[np.floating[Any]]) -> NDArray[np.bool_] | None:
        """What `check` would decide on tiles with these scores, without their pixels.

        Called while a person tries out options, for scores of a filter whose settings differ only in options that are
        `live`. The decision must be the same for every tile; scores are float64 if a rounded one could decide
        otherwise.

        Args:
            score: (N,), as `check` returned them.

        Returns:
            (N,) bool, False where the tile is rejected; None if scores do not tell.
        """
        return None
