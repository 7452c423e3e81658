"""Finds pen: an example of a third party's slide QC models, one with a score and one with classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import QcClass, Settings, SlideQc, hookimpl, qc_classes
from slideloom_deepfocus import StridedModelSettings


@frozen
class GreenPen(StridedModelSettings):
    """Discards tiles with green pen."""

    name: ClassVar[str] = "green-pen"

    def load(self) -> object:
        """The model; a network would be loaded here, in the process that uses it."""
        return green_share


@frozen
class PenColours(StridedModelSettings):
    """Tells green and blue pen apart, in one run of a model with three outputs."""

    name: ClassVar[str] = "pen-colours"

    def qc_classes(self) -> tuple[QcClass, ...]:
        """The model's outputs in their order: what is not pen is kept; of pen, a tenth of a tile is too much."""
        return qc_classes(["no-pen", "green-pen:artifact:0.1", "blue-pen:artifact:0.1"])

    def load(self) -> object:
        """The model."""
        return pen_scores


def green_share(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B,) share of pixels that are green; `tiles` is (B, H, W, 3), 0-1."""
    red, green, blue = np.moveaxis(tiles, -1, 0)
    share: NDArray[np.float32] = ((green > red + 0.1) & (green > blue + 0.1)).mean(axis=(1, 2), dtype=np.float32)
    return share


def pen_scores(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, H, W, 3): for each pixel of the tiles, a score for no pen, for green and for blue; the highest wins."""
    red, green, blue = np.moveaxis(tiles, -1, 0)
    is_green, is_blue = (green > red + 0.1) & (green > blue + 0.1), (blue > red + 0.1) & (blue > green + 0.1)
    return np.stack([~is_green & ~is_blue, is_green, is_blue], axis=-1).astype(np.float32)


@hookimpl
def slideloom_slide_qc() -> Sequence[type[Settings[SlideQc]]]:
    """The slide QC steps of this package."""
    return [GreenPen, PenColours]
