"""What is stored with each tile besides its picture: which companions there are, and where they lie on the slide."""

from __future__ import annotations

from attrs import evolve, frozen

from slideloom.base.errors import SlideError
from slideloom.base.geometry import Box, Size, floor_tolerant
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.tiling import Context
from slideloom.slides.info import SlideInfo
from slideloom.slides.slide import Slide
from slideloom.slides.tiles import TileGeometry, Tiles
from slideloom.steps.companions import MASK, Companion


@frozen
class ContextView:
    """Where one context of the tiles of a slide is read.

    Attributes:
        companion: what it is called.
        footprint: its size in level-0 pixels, by the same rule as that of tiles.
        level: the level it is read from.
    """

    companion: Companion
    footprint: Size
    level: int

    @property
    def size(self) -> Size:
        """Of its pictures."""
        return Size(self.companion.size_px, self.companion.size_px)

    def source_px(self, slide: Slide) -> float:
        """Pixels of its level that one picture is made of."""
        level = slide.info.levels[self.level]
        return self.footprint.area / (level.downsample_x * level.downsample_y)

    def boxes(self, tiles: Tiles) -> list[Box]:
        """The level-0 box of each tile's context, around the exact centre of the tile."""
        left = tiles.x + (tiles.footprint.width - self.footprint.width) / 2
        top = tiles.y + (tiles.footprint.height - self.footprint.height) / 2
        width, height = self.footprint.width, self.footprint.height
        return [Box(x, y, width, height) for x, y in zip(left.tolist(), top.tolist(), strict=True)]

    def tiles(self, tiles: Tiles) -> Tiles:
        """The contexts as tiles with the same numbers, for steps that work on tiles."""
        left = tiles.x + (tiles.footprint.width - self.footprint.width) // 2
        top = tiles.y + (tiles.footprint.height - self.footprint.height) // 2
        return evolve(tiles, x=left, y=top, footprint=self.footprint)


def context_view(context: Context, info: SlideInfo, geometry: TileGeometry, *, downsample: bool) -> ContextView:
    """Where a context is read.

    Raises:
        SlideError: the slide's mpp is not known, or it would be smaller than one pixel.
    """
    mpp = info.mpp
    if mpp is None:
        raise SlideError(f"{info.path.name}: context needs the slide's microns per pixel")
    footprint = Size(floor_tolerant(context.size_um / mpp.x), floor_tolerant(context.size_um / mpp.y))
    if min(footprint.width, footprint.height) < 1:
        raise SlideError(
            f"{info.path.name}: a context of {context.size_um:g} um is less than a pixel at {mpp.mean:g} um per pixel"
        )
    size_px = context.size_px or geometry.tile_px
    level = info.level_for(min(footprint.width, footprint.height) / size_px) if downsample else 0
    own_mpp = (footprint.width * mpp.x + footprint.height * mpp.y) / 2 / size_px
    return ContextView(Companion(context.name, size_px, own_mpp), footprint, level)


def context_views(pipeline: Pipeline, info: SlideInfo, geometry: TileGeometry) -> tuple[ContextView, ...]:
    """Every context of the tiles of a slide."""
    tiles = pipeline.tiles
    return tuple(context_view(each, info, geometry, downsample=tiles.enable_downsample) for each in tiles.context)


def companions_of(pipeline: Pipeline, info: SlideInfo, geometry: TileGeometry) -> tuple[Companion, ...]:
    """What is stored with each tile: the mask first."""
    masks = [Companion(MASK, geometry.tile_px, geometry.mpp, pipeline.mask.values)] if pipeline.mask.of else []
    return (*masks, *(view.companion for view in context_views(pipeline, info, geometry)))
