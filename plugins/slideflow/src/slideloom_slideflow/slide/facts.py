"""Facts of a slide, of its grid and its levels, by Slideflow's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import slideloom
from numpy.typing import NDArray
from slideloom import ConfigError

from slideloom_slideflow.adapting import adapted


class SlideFacts:
    """What `WSI` says of its slide; nothing is changed or read here."""

    ours: slideloom.WSI

    @property
    def name(self) -> str:
        """The slide's name."""
        return self.ours.name

    @property
    def mpp(self) -> float:
        """Microns per pixel of level 0."""
        return self.ours.mpp

    @property
    def dimensions(self) -> tuple[int, int]:
        """Width and height of level 0."""
        return self.ours.dimensions

    @property
    def width(self) -> int:
        """Width of level 0."""
        return self.ours.dimensions[0]

    @property
    def height(self) -> int:
        """Height of level 0."""
        return self.ours.dimensions[1]

    @property
    def properties(self) -> Mapping[str, str]:
        """What the file says of itself."""
        return self.ours.info.properties

    @property
    def vendor(self) -> str | None:
        """Who made the scanner."""
        return self.ours.info.vendor or None

    @property
    def level_dimensions(self) -> list[tuple[int, int]]:
        """Width and height of each level."""
        return [(level.size.width, level.size.height) for level in self.ours.info.levels]

    @property
    def level_downsamples(self) -> list[float]:
        """How many times smaller each level is."""
        return [level.downsample for level in self.ours.info.levels]

    @property
    def level_mpp(self) -> list[float]:
        """Microns per pixel of each level."""
        return [self.mpp * downsample for downsample in self.level_downsamples]

    @property
    def levels(self) -> list[dict[str, object]]:
        """The same together: "level", "dimensions", "width", "height" and "downsample" of each."""
        return [
            {"level": number, "dimensions": (width, height), "width": width, "height": height, "downsample": downsample}
            for number, ((width, height), downsample) in enumerate(
                zip(self.level_dimensions, self.level_downsamples, strict=True)
            )
        ]

    @property
    def tile_px(self) -> int:
        """Width and height of a tile in pixels."""
        return self.ours.geometry.tile_px

    @property
    def tile_um(self) -> float:
        """Width of a tile in microns."""
        return self.ours.geometry.tile_um

    @property
    def full_extract_px(self) -> int:
        """Width of a tile in level-0 pixels."""
        return self.ours.geometry.footprint.width

    @property
    def full_stride(self) -> int:
        """Distance of neighbouring tiles in level-0 pixels."""
        return self.ours.geometry.stride.width

    @property
    def downsample_level(self) -> int:
        """The level that tiles are read from."""
        return self.ours.geometry.level

    @property
    def grid(self) -> NDArray[np.bool_]:
        """(columns, rows) bool, True where a tile is kept."""
        every = self.ours.ledger.tiles
        shape = int(every.grid_x.max(initial=-1)) + 1, int(every.grid_y.max(initial=-1)) + 1
        grid = np.zeros(shape, np.bool_)
        kept = self.ours.tiles
        grid[kept.grid_x, kept.grid_y] = True
        return grid

    @property
    def shape(self) -> tuple[int, ...]:
        """Columns and rows of the grid."""
        return self.grid.shape

    @property
    def coord(self) -> NDArray[np.int64]:
        """(n, 4) of every planned tile: x and y of the top left corner in level-0 pixels, column and row."""
        every = self.ours.ledger.tiles
        return np.stack((every.x, every.y, every.grid_x, every.grid_y), axis=1)

    @property
    def estimated_num_tiles(self) -> int:
        """Tiles that regions and QC leave; tile filters are not counted."""
        return len(self.ours)

    @adapted("WSI.get_tile_coord")
    def get_tile_coord(self, anchor: Literal["topleft", "center"] = "topleft") -> NDArray[np.int64]:
        """(n, 4) of every kept tile: x, y, column and row."""
        kept = self.ours.tiles
        x, y = (kept.x, kept.y) if _is_corner(anchor) else (kept.loc_x, kept.loc_y)
        return np.stack((x, y, kept.grid_x, kept.grid_y), axis=1)

    @adapted("WSI.get_masked_coord")
    def get_masked_coord(self) -> Any:  # Any: a masked array, which numpy types in part
        """(n, 4) of every planned tile, as `coord`, where rows of dropped tiles are masked."""
        every = self.coord
        dropped = ~self.grid[every[:, 2], every[:, 3]]
        return np.ma.masked_array(every, mask=np.repeat(dropped[:, None], 4, axis=1))

    @adapted("WSI.grid_to_coord")
    def grid_to_coord(
        self, grid_x: int, grid_y: int, *, anchor: Literal["center", "topleft"] = "center"
    ) -> tuple[int, int]:
        """Centre or top left corner, in level-0 pixels, of the tile in a column and row.

        Raises:
            IndexError: the grid has no such place.
        """
        every = self.ours.ledger.tiles
        found = np.flatnonzero((every.grid_x == grid_x) & (every.grid_y == grid_y))
        if not len(found):
            raise IndexError(f"{self.name}: no tile at column {grid_x}, row {grid_y}; the grid is {self.shape}")
        one = every.take(found[:1])
        return (int(one.x[0]), int(one.y[0])) if _is_corner(anchor) else (int(one.loc_x[0]), int(one.loc_y[0]))

    @adapted("WSI.coord_to_grid")
    def coord_to_grid(self, x: int, y: int, *, anchor: Literal["center", "topleft"] = "center") -> tuple[int, int]:
        """Column and row of the tile with this centre or top left corner.

        Raises:
            IndexError: no tile has it.
        """
        every = self.ours.ledger.tiles
        xs, ys = (every.x, every.y) if _is_corner(anchor) else (every.loc_x, every.loc_y)
        found = np.flatnonzero((xs == x) & (ys == y))
        if not len(found):
            raise IndexError(f"{self.name}: no tile has its {anchor} at {x}, {y}")
        return int(every.grid_x[found[0]]), int(every.grid_y[found[0]])

    @adapted("WSI.mpp_to_dim")
    def mpp_to_dim(self, mpp: float) -> tuple[int, int]:
        """Width and height of the whole slide at a resolution."""
        return int(self.width * self.mpp / mpp), int(self.height * self.mpp / mpp)

    @adapted("WSI.dim_to_mpp")
    def dim_to_mpp(self, dimensions: tuple[float, float]) -> float:
        """The resolution at which the whole slide is so wide."""
        return self.width * self.mpp / dimensions[0]


def _is_corner(anchor: str) -> bool:
    if anchor not in ("center", "topleft"):
        raise ConfigError(f"anchor must be center or topleft, not {anchor!r}")
    return anchor == "topleft"
