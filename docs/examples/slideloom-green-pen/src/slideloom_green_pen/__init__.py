"""Finds green pen: an example of a third party's slide QC model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Settings, SlideQc, hookimpl
from slideloom_deepfocus import StridedModelSettings


@frozen
class GreenPen(StridedModelSettings):
    """Discards tiles with green pen."""

    name: ClassVar[str] = "green-pen"

    def load(self) -> object:
        """The model; a network would be loaded here, in the process that uses it."""
        return green_share


def green_share(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B,) share of pixels that are green; `tiles` is (B, H, W, 3), 0-1."""
    red, green, blue = np.moveaxis(tiles, -1, 0)
    share: NDArray[np.float32] = ((green > red + 0.1) & (green > blue + 0.1)).mean(axis=(1, 2), dtype=np.float32)
    return share


@hookimpl
def slideloom_slide_qc() -> Sequence[type[Settings[SlideQc]]]:
    """The slide QC steps of this package."""
    return [GreenPen]
