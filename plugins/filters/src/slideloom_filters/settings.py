"""Settings of the tile filters."""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import frozen
from slideloom import Settings, TileFilter, in_range, option

Measured = Literal["tile", "slideflow"]

_MEASURED_HELP = (
    "the tile's own pixels, or the few pixels of a low level that Slideflow reads, for cohorts that must go on as they "
    "began"
)


@frozen
class Grayspace(Settings[TileFilter]):
    """Drop tiles that are mostly gray."""

    name: ClassVar[str] = "grayspace"
    step: ClassVar[str] = "slideloom_filters.choosing:grayspace"
    install: ClassVar[str] = "slideloom-filters"
    threshold: float = option(
        0.05, help="a pixel is gray if its HSV saturation is below this", validator=in_range(0, 1)
    )
    fraction: float = option(
        0.6,
        help="a tile is rejected if more than this share of it is gray; 1 is off",
        validator=in_range(0, 1),
        live=True,
    )
    measured: Measured = option("tile", help=_MEASURED_HELP)


@frozen
class Whitespace(Settings[TileFilter]):
    """Drop tiles that are mostly bright."""

    name: ClassVar[str] = "whitespace"
    step: ClassVar[str] = "slideloom_filters.choosing:whitespace"
    install: ClassVar[str] = "slideloom-filters"
    threshold: float = option(
        230.0, help="a pixel is white if the mean of its channels is above this", validator=in_range(0, 255)
    )
    fraction: float = option(
        1.0,
        help="a tile is rejected if more than this share of it is white; 1 is off",
        validator=in_range(0, 1),
        live=True,
    )
    measured: Measured = option("tile", help=_MEASURED_HELP)
