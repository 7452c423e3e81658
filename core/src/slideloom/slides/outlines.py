"""Shapes in level-0 pixels as masks of any window and size, judged by pixel centres."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import shapely
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Box, Mask

Points = NDArray[np.float64]  # (E, 2), x and y
# At most this many crossings of edges and pixel rows are in memory at once.
_CROSSINGS = 2_000_000


@frozen(eq=False)
class Outlines:
    """The outlines of shapes as separate edges, prepared once to be filled in many windows.

    Attributes:
        start, end: (E, 2) where the edges of all rings begin and end, in level-0 pixels.
        turn: (E,) 1 for edges of rings that run clockwise around a shape or counterclockwise around a hole, as
            seen with y down, else -1.
    """

    start: Points = field(repr=False)
    end: Points = field(repr=False)
    turn: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, shapes: Iterable[Any]) -> Self:
        """The outlines of valid polygons or multipolygons. Any: shapely geometries have no types."""
        parts = shapely.get_parts(np.array(list(shapes), dtype=object))
        rings, polygon = shapely.get_rings(parts, return_index=True)
        is_outer = np.diff(polygon, prepend=-1) != 0  # the first ring of a polygon
        direction = np.where(shapely.is_ccw(rings) == is_outer, 1, -1)
        points, ring = shapely.get_coordinates(rings, return_index=True)
        is_edge = ring[1:] == ring[:-1]
        return cls(points[:-1][is_edge], points[1:][is_edge], direction[ring[:-1][is_edge]])

    def near(self, box: Box) -> Self:
        """The edges that can matter to a mask of this box: those beside its rows, and not wholly to its right."""
        start, end = self.start, self.end
        used = (np.minimum(start[:, 1], end[:, 1]) < box.bottom) & (np.maximum(start[:, 1], end[:, 1]) > box.y)
        used &= np.minimum(start[:, 0], end[:, 0]) < box.right
        return type(self)(start[used], end[used], self.turn[used])

    def mask(self, *, extent: Box, shape: tuple[int, int]) -> Mask:
        """Which pixels have their centre in one of the shapes.

        A centre exactly on a boundary is inside if the shape lies to its right, or below it for a horizontal edge, so
        that exactly one of two neighbouring shapes has it.

        Where an edge crosses a row of centres, it adds its turn to the pixels on the right, or subtracts it if it runs
        upwards. So the running sum along a row is the number of shapes around a pixel.

        Args:
            extent: the level-0 box that the mask covers.
            shape: (h, w) of the mask.

        Returns:
            (h, w) bool.
        """
        height, width = shape
        count = np.zeros((height, width + 1), np.int32)
        if not len(self.start) or not height or not width:
            return np.zeros(shape, np.bool_)
        # In pixels, with whole numbers at pixel centres.
        corner, scale = (extent.x, extent.y), (width / extent.width, height / extent.height)
        start, end = (self.start - corner) * scale - 0.5, (self.end - corner) * scale - 0.5
        sign = np.where(end[:, 1] > start[:, 1], 1, -1) * self.turn
        low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
        first = np.clip(np.ceil(low), 0, height).astype(np.int64)
        rows = np.clip(np.ceil(high), 0, height).astype(np.int64) - first  # none for a horizontal edge
        used = np.flatnonzero(rows)
        groups = np.cumsum(rows[used]) // _CROSSINGS
        for group in np.split(used, np.flatnonzero(np.diff(groups)) + 1):
            edge = np.repeat(group, rows[group])
            within = np.arange(len(edge)) - np.repeat(np.cumsum(rows[group]) - rows[group], rows[group])
            row = first[edge] + within
            slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
            column = np.clip(np.ceil(start[edge, 0] + (row - start[edge, 1]) * slope), 0, width).astype(np.int64)
            np.add.at(count, (row, column), sign[edge])
        inside: Mask = np.cumsum(count[:, :width], axis=1, dtype=np.int32) != 0
        return inside
