"""Pictures that are stored with each tile: its mask, and its centre at other fields of view."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

MASK = "mask"


@frozen
class Companion:
    """A picture of each tile besides the tile itself.

    Sinks find its pixels in `TileBatch.companions` under its name, and store them under this name, beside the tile.

    Attributes:
        name: "mask", or such as "context_604um".
        size_px: width and height.
        mpp: microns per pixel.
        classes: for a mask: the names of classes, each with its value; else None.
    """

    name: str
    size_px: int
    mpp: float
    classes: Mapping[str, int] | None = field(default=None, hash=False)

    @property
    def is_mask(self) -> bool:
        """True if it is (H, W) values of classes; else it is (H, W, 3) sRGB."""
        return self.classes is not None

    def extension(self, image_format: Literal["jpg", "png"]) -> str:
        """The ending of its files: masks are never compressed with loss."""
        return "png" if self.is_mask else image_format
