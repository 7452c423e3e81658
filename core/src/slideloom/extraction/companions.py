"""Makes the companions of tiles: reads their context, and draws their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.errors import SlideError
from slideloom.base.geometry import Box, Rgb, Size
from slideloom.planning.companions import ContextView, context_views
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord
from slideloom.planning.tile_masks import MaskDrawer, mask_drawer
from slideloom.slides.slide import MAX_READ_PX, Slide
from slideloom.slides.tiles import Tiles
from slideloom.steps.companions import MASK

Pictures = Mapping[str, NDArray[np.uint8]]


@frozen
class CompanionMaker:
    """Makes the companions of the tiles of one slide; threads share it.

    Attributes:
        views: the contexts.
        drawer: what draws masks, or None.
        tile_px: width and height of masks.
    """

    views: tuple[ContextView, ...] = ()
    drawer: MaskDrawer | None = None
    tile_px: int = field(default=0, kw_only=True)

    @classmethod
    def of(cls, plan: SlidePlan, record: SlideRecord) -> Self:
        """For a slide whose regions and slide QC have decided.

        Raises:
            SlideloomError: masks cannot be drawn; see `mask_drawer`.
        """
        geometry = plan.scene.geometry
        views = context_views(plan.pipeline, plan.slide.info, geometry)
        return cls(views, mask_drawer(plan, record), tile_px=geometry.tile_px)

    def largest_source_px(self, slide: Slide) -> float:
        """Pixels of a level that the largest context of a tile is made of; 0 without context."""
        return max((view.source_px(slide) for view in self.views), default=0.0)

    def contexts(
        self, slide: Slide, tiles: Tiles, lock: AbstractContextManager[Any]
    ) -> tuple[Pictures, Sequence[str | None]]:
        """The contexts of B tiles by name, (B, h, w, 3) uint8 each; and for each tile why one cannot be read, or None.

        All boxes of a context are read at once, so the reader decodes each source tile once; unless each is so large
        that it is read in parts, to bound memory.
        """
        pictures: dict[str, NDArray[np.uint8]] = {}
        faults: list[str | None] = [None] * len(tiles)
        for view in self.views:
            rgb = np.empty((len(tiles), view.size.height, view.size.width, 3), np.uint8)
            boxes, images = view.boxes(tiles), list(rgb)
            with lock:
                if view.source_px(slide) > MAX_READ_PX:
                    errors = _in_parts(slide, boxes, images, level=view.level)
                else:
                    errors = slide.read_into(boxes, images, level=view.level)
            faults = [
                fault or (None if error is None else f"{view.companion.name}: {error}")
                for fault, error in zip(faults, errors, strict=True)
            ]
            pictures[view.companion.name] = rgb
        return pictures, faults

    def masks(self, tiles: Tiles) -> Pictures:
        """The masks of B tiles by the name "mask", (B, tile_px, tile_px) uint8; nothing if none are wanted."""
        return {} if self.drawer is None else {MASK: self.drawer.draw(tiles, self.tile_px)}


def _in_parts(slide: Slide, boxes: Sequence[Box], images: Sequence[Rgb], *, level: int) -> list[SlideError | None]:
    """`Slide.read_into` for boxes too large to be read at once."""
    errors: list[SlideError | None] = []
    for box, image in zip(boxes, images, strict=True):
        try:
            image[...] = slide.read_at(box, Size(image.shape[1], image.shape[0]), level=level)
            errors.append(None)
        except SlideError as error:
            errors.append(error)
    return errors
