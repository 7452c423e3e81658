"""From "299 px of 302 um" to level-0 boxes: tile geometry, and the grid that existing datasets use."""

from __future__ import annotations

import re
import zlib
from typing import ClassVar

import numpy as np
from attrs import frozen

from slideloom.errors import ConfigError, SlideError
from slideloom.geometry import Size, floor_tolerant
from slideloom.settings import Settings, at_least, option, positive
from slideloom.slide import Slide, SlideInfo
from slideloom.steps import Placement, Scene
from slideloom.tiles import TileGeometry, Tiles

# A level is taken for a magnification if neither is more than this many times the other: scanners sold as 40x have
# 0.22 to 0.27 um per pixel (45x to 37x by 10 / mpp), and the next level is a factor of 2 away.
MAGNIFICATION_TOLERANCE = 1.25


@frozen
class Tiling:
    """Size and placement of tiles.

    Either `size_um` (every slide is resampled to the same microns per pixel) or `magnification` (the nearest stored
    level, no resampling).
    """

    size_px: int = option(help="width and height of a tile image", unit="px", validator=at_least(1))
    size_um: float | None = option(None, help="width and height of a tile on the glass", unit="um", validator=positive)
    magnification: str | None = option(None, help='such as "10x": the nearest stored level, without resizing')
    stride_div: float = option(
        1.0, help="stride is the tile's size divided by this; 2 overlaps by half", validator=positive
    )
    edge_tiles: bool = option(False, help="also tiles that reach over the far sides, padded with background")
    random_origin: bool = option(
        False, help="start the grid at a random place, drawn from the seed and the slide's name"
    )
    use_bounds: bool = option(False, help="start at, and stay within, the slide's scanned bounds")
    enable_downsample: bool = option(True, help="read from lower levels where they suffice; false reads level 0 only")
    max_tiles: int | None = option(
        None, help="keep at most this many tiles of a slide, drawn at random", validator=at_least(1)
    )
    seed: int = option(0, help="of random_origin and max_tiles", validator=at_least(0))

    def __attrs_post_init__(self) -> None:
        if (self.size_um is None) == (self.magnification is None):
            raise ConfigError("tiles: give either size_um or magnification (for example size_um = 302)")
        if self.magnification is not None:
            parse_magnification(self.magnification)

    @property
    def label(self) -> str:
        """`299px_302um` or `299px_10x`."""
        size = f"{self.size_um:g}um" if self.size_um is not None else str(self.magnification).lower()
        return f"{self.size_px}px_{size}"


def parse_magnification(text: str) -> float:
    """10.0 for "10x".

    Raises:
        ConfigError: the text is not a number above 0 followed by x.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)[xX]", text.strip())
    if not match or float(match[1]) <= 0:
        raise ConfigError(f'magnification must look like "10x", not {text!r}')
    return float(match[1])


def tile_geometry(info: SlideInfo, tiling: Tiling) -> TileGeometry:
    """The footprint, stride and level of tiles on a slide whose mpp is known.

    Raises:
        SlideError: no level is near the magnification, or a tile would be less than one pixel.
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
            f"use size_um = {tiling.size_px * 10 / wanted:g} to resample instead"
        )
    chosen = info.levels[level]
    footprint = Size(
        floor_tolerant(chosen.downsample_x * tiling.size_px), floor_tolerant(chosen.downsample_y * tiling.size_px)
    )
    return level, footprint


@frozen
class Grid(Settings[Placement]):
    """A regular grid over the slide."""

    name: ClassVar[str] = "grid"

    edge_tiles: bool = option(False, help="also tiles that reach over the far sides")
    random_origin: bool = option(False, help="start at a random place, drawn from the seed and the slide's name")
    use_bounds: bool = option(False, help="start at, and stay within, the slide's scanned bounds")
    seed: int = option(0, help="of random_origin", validator=at_least(0))

    def build(self) -> Placement:
        """See `Settings.build`."""
        return GridPlacement(self)


class GridPlacement(Placement):
    """All places of a regular grid; y is the outer loop."""

    def __init__(self, settings: Grid) -> None:
        self._settings = settings

    def place(self, slide: Slide, scene: Scene) -> Tiles:
        """See `Placement.place`."""
        return plan_grid(slide.info, scene.geometry, self._settings)


def plan_grid(info: SlideInfo, geometry: TileGeometry, settings: Grid) -> Tiles:
    """The tiles of a grid: origins start, start + stride, ... as long as the footprint fits.

    With edge tiles, as long as the tile holds at least one pixel of the slide (or of its bounds).
    """
    area = info.bounds if settings.use_bounds and info.bounds is not None else info.box
    start_x, start_y = int(area.x), int(area.y)
    if settings.random_origin:
        rng = np.random.default_rng([settings.seed, zlib.crc32(info.name.encode())])
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
