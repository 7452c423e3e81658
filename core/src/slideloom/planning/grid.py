"""The regular grid: footprint, stride and level of its tiles, and the position of each."""

from __future__ import annotations

import zlib

import numpy as np

from slideloom.base.errors import ConfigError, SlideError
from slideloom.base.geometry import Size, floor_tolerant
from slideloom.base.naming import option_given
from slideloom.base.storing import utf8
from slideloom.pipeline.tiling import MAGNIFICATION_TOLERANCE, Tiling, parse_magnification
from slideloom.plugins.builtin import Grid
from slideloom.slides.info import SlideInfo
from slideloom.slides.slide import Slide
from slideloom.slides.tiles import TileGeometry, Tiles
from slideloom.steps.placement import Placement
from slideloom.steps.scene import Scene


def tile_geometry(info: SlideInfo, tiling: Tiling) -> TileGeometry:
    """The footprint, stride and level of tiles on a slide whose mpp is known.

    Raises:
        SlideError: no level is close to the magnification, or a tile would be smaller than one pixel.
    """
    mpp = info.mpp
    if mpp is None:
        raise SlideError(f"{info.path.name}: tiles need the slide's microns per pixel")
    if tiling.size_um is not None:
        footprint = Size(floor_tolerant(tiling.size_um / mpp.x), floor_tolerant(tiling.size_um / mpp.y))
        if min(footprint.width, footprint.height) < 1:
            raise SlideError(
                f"{info.path.name}: {tiling.size_um:g} um are less than a pixel at {mpp.mean:g} um per pixel"
            )
        wanted = min(footprint.width, footprint.height) / tiling.size_px
        level = info.level_for(wanted) if tiling.enable_downsample else 0
        tile_um = tiling.size_um
    else:
        level, footprint = _stored_level(info, tiling)
        tile_um = float(int(footprint.width * mpp.x))
    tile_mpp = (footprint.width * mpp.x + footprint.height * mpp.y) / 2 / tiling.size_px
    stride = Size(
        max(1, int(np.round(footprint.width / tiling.stride_div))),
        max(1, int(np.round(footprint.height / tiling.stride_div))),
    )
    return TileGeometry(
        tile_px=tiling.size_px,
        tile_um=tile_um,
        footprint=footprint,
        stride=stride,
        level=level,
        mpp=tile_mpp,
        label=tiling.label,
    )


def _stored_level(info: SlideInfo, tiling: Tiling) -> tuple[int, Size]:
    if info.mpp is None or tiling.magnification is None:
        raise ConfigError("tiles: a stored level needs a magnification and the slide's microns per pixel")
    wanted = parse_magnification(tiling.magnification)
    usable = info.levels if tiling.enable_downsample else info.levels[:1]
    powers = [10 / (level.downsample * info.mpp.mean) for level in usable]
    factors = [max(power / wanted, wanted / power) for power in powers]
    level = min(range(len(factors)), key=factors.__getitem__)
    if factors[level] > MAGNIFICATION_TOLERANCE:
        stored = ", ".join(f"{power:.3g}x" for power in powers)
        raise SlideError(
            f"{info.path.name}: no level near {tiling.magnification} (stored: {stored}); "
            f"{option_given('tiles', 'size_um', float(f'{tiling.size_px * 10 / wanted:g}'))} resamples instead"
        )
    chosen = info.levels[level]
    footprint = Size(
        floor_tolerant(chosen.downsample_x * tiling.size_px), floor_tolerant(chosen.downsample_y * tiling.size_px)
    )
    return level, footprint


class GridPlacement(Placement):
    """All positions of a regular grid; y is the outer loop."""

    def __init__(self, settings: Grid) -> None:
        self._settings = settings

    def place(self, slide: Slide, scene: Scene) -> Tiles:
        """See `Placement.place`."""
        return plan_grid(slide.info, scene.geometry, self._settings)


def plan_grid(info: SlideInfo, geometry: TileGeometry, settings: Grid) -> Tiles:
    """The tiles of a grid: origins start, start + stride, ... as long as the footprint fits.

    With edge tiles, as long as the tile contains at least one pixel of the slide (or of its bounds).
    """
    area = info.bounds if settings.use_bounds and info.bounds is not None else info.box
    start_x, start_y = int(area.x), int(area.y)
    if settings.random_origin:
        rng = np.random.default_rng([settings.seed, zlib.crc32(utf8(info.name))])
        start_x += int(rng.integers(geometry.stride.width))
        start_y += int(rng.integers(geometry.stride.height))
    xs = _origins(start_x, area.right, geometry.footprint.width, geometry.stride.width, edge=settings.edge_tiles)
    ys = _origins(start_y, area.bottom, geometry.footprint.height, geometry.stride.height, edge=settings.edge_tiles)
    grid_x, grid_y = np.meshgrid(np.arange(len(xs)), np.arange(len(ys)))
    columns, rows = grid_x.ravel(), grid_y.ravel()
    count = len(columns)
    return Tiles(
        np.arange(count), xs[columns], ys[rows], columns, rows, np.full(count, -1), footprint=geometry.footprint
    )


def _origins(
    start: int, end: float, footprint: int, stride: int, *, edge: bool
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    last = end if edge else end + 1 - footprint
    return np.arange(start, max(last, start), stride, dtype=np.int64)
