"""The areas of a mask as polygons along the edges of its pixels, without an image library."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import affine_transform
from shapely.geometry import Polygon

from slideloom.base.geometry import Box, Mask

MOST_PX = 2048  # along the longer side; a larger mask is sampled, as its outlines are for viewers


def mask_polygons(mask: Mask, *, extent: Box, most_px: int | None = MOST_PX) -> list[Polygon]:
    """One polygon with holes per connected area (pixels that share a side), row by row.

    Args:
        mask: (h, w) bool.
        extent: the level-0 box that the mask covers.
        most_px: above this along a side, only every second, third and so on row and column counts; None counts all.

    Returns:
        Valid polygons in level-0 pixels.
    """
    skip = 1 if most_px is None else -(-max(mask.shape) // most_px)
    seen = mask[::skip, ::skip]
    faces = shapely.get_parts(shapely.polygonize(_walls(seen)))
    inside = shapely.get_coordinates(shapely.point_on_surface(faces)).astype(np.int64)
    # A face is an area or a hole; every pixel of it has one value.
    kept = faces[seen[inside[:, 1], inside[:, 0]]] if len(faces) else faces
    scale_x, scale_y = extent.width / mask.shape[1] * skip, extent.height / mask.shape[0] * skip
    placed = [affine_transform(face, [scale_x, 0, 0, scale_y, extent.x, extent.y]) for face in kept]
    return [_cut(face, extent) for face in placed]


def _cut(face: Polygon, extent: Box) -> Polygon:
    """Within the extent, beyond which the last sampled pixel may reach."""
    if face.bounds[2] <= extent.right and face.bounds[3] <= extent.bottom:
        return face
    cut: Polygon = shapely.clip_by_rect(face, extent.x, extent.y, extent.right, extent.bottom)
    return cut


def _walls(mask: Mask) -> NDArray[np.object_]:
    """The lines between pixels that differ, as long as they are straight and nothing crosses them."""
    padded = np.pad(mask, 1)
    upright = padded[1:-1, 1:] != padded[1:-1, :-1]  # (h, w + 1) left of pixel x
    level = (padded[1:, 1:-1] != padded[:-1, 1:-1]).T  # (w, h + 1) above pixel y
    lines = []
    for walls, others, is_upright in ((upright, level.T, True), (level, upright.T, False)):
        # A wall starts where none leads up to it, or where two others cross its line.
        width = others.shape[1]
        crossed = np.zeros((walls.shape[0] + 1, walls.shape[1]), np.bool_)
        crossed[:, 1:width] = others[:, 1:] & others[:, :-1]
        before, after = np.zeros_like(walls), np.zeros_like(walls)
        before[1:], after[:-1] = walls[:-1], walls[1:]
        starts = np.argwhere((walls & (~before | crossed[:-1])).T)
        ends = np.argwhere((walls & (~after | crossed[1:])).T)
        across, first, last = starts[:, 0], starts[:, 1], ends[:, 1] + 1
        points = np.stack([np.stack([across, first], axis=-1), np.stack([across, last], axis=-1)], axis=1)
        lines.append(points if is_upright else points[..., ::-1])
    return np.asarray(shapely.linestrings(np.concatenate(lines).astype(np.float64)), dtype=object)
