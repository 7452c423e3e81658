"""The pixel grid of a slide at the model's resolution, and which pixels a region covers."""

from __future__ import annotations

from typing import Self

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from slideloom import Box, Mask, MissingResolution, Size, SlideInfo

Edges = NDArray[np.float64]  # (E, 4): x0, y0, x1, y1 of every edge of every ring


@frozen
class Grid:
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


def edges_of(shape: Polygon | MultiPolygon, *, scale_x: float, scale_y: float) -> Edges:
    """All edges of a shape's rings, divided by the scales."""
    found = []
    for polygon in shape.geoms if isinstance(shape, MultiPolygon) else [shape]:
        for ring in (polygon.exterior, *polygon.interiors):
            points = np.asarray(ring.coords)[:, :2] / (scale_x, scale_y)
            found.append(np.hstack([points[:-1], points[1:]]))
    return np.concatenate(found)


def fill(edges: Edges, *, x: float, y: float, size: Size) -> Mask:
    """Which pixel centres are inside the rings, by the even-odd rule, so that holes remain.

    Args:
        edges: of one valid shape.
        x, y: top left of the mask, in the units of the edges.
        size: of the mask; its pixels are 1 wide.

    Returns:
        (size.height, size.width) bool.
    """
    x0, y0, x1, y1 = (edges - (x, y, x, y)).T
    # An edge crosses the centre lines r + 0.5 of the rows from `first` up to, but not including, `last`.
    first = np.clip(np.ceil(np.minimum(y0, y1) - 0.5), 0, size.height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y0, y1) - 0.5), 0, size.height).astype(np.int64)
    count = last - first
    which = np.repeat(np.arange(len(edges)), count)
    rows = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count) + first[which]
    along = (rows + 0.5 - y0[which]) / (y1 - y0)[which]
    crossing = x0[which] + along * (x1 - x0)[which]
    columns = np.clip(np.ceil(crossing - 0.5), 0, size.width).astype(np.int64)
    stride = size.width + 1
    toggles = np.bincount(rows * stride + columns, minlength=size.height * stride).reshape(size.height, stride)
    inside: Mask = (np.cumsum(toggles, axis=1) & 1).astype(bool)[:, : size.width]
    return inside
