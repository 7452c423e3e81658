"""Pixels of a slide at the model's resolution."""

from __future__ import annotations

from typing import Self

from attrs import frozen
from slideloom import Box, MissingResolution, Size, SlideInfo


@frozen
class ModelGrid:
    """The grid of a whole number of model pixels over a slide.

    Attributes:
        size: in model pixels.
        scale_x, scale_y: level-0 pixels per model pixel; along a side of the slide, at most half a model pixel off.
        um2: area of a model pixel in square microns.
    """

    size: Size
    scale_x: float
    scale_y: float
    um2: float

    @classmethod
    def of(cls, info: SlideInfo, mpp: float) -> Self:
        """The grid for a slide.

        Raises:
            MissingResolution: the slide's microns per pixel are not known.
        """
        if info.mpp is None:
            raise MissingResolution(f"{info.path.name}: segmenting at {mpp} um/px needs the slide's mpp; give it")
        width = max(1, round(info.size.width * info.mpp.x / mpp))
        height = max(1, round(info.size.height * info.mpp.y / mpp))
        scale_x, scale_y = info.size.width / width, info.size.height / height
        return cls(Size(width, height), scale_x, scale_y, scale_x * info.mpp.x * scale_y * info.mpp.y)

    def box(self, x: int, y: int, size: Size) -> Box:
        """The level-0 box of these model pixels."""
        return Box(x, y, size.width, size.height).scaled(x=self.scale_x, y=self.scale_y)
