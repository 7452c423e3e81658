"""The size and placement of tiles, such as "299 px of 302 um"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from numbers import Real
from typing import Any, ClassVar, Self

import attrs
from attrs import frozen
from attrs.validators import optional

from slideloom.base.errors import ConfigError, OptionError
from slideloom.settings.options import option
from slideloom.settings.ranges import at_least, positive

# A level counts as a magnification if the two differ by at most this factor: scanners sold as 40x have 0.22 to 0.27 um
# per pixel (45x to 37x by 10 / mpp), and the next level is a factor of 2 away.
MAGNIFICATION_TOLERANCE = 1.25


def _magnification(_instance: Any, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and _times(value) is None:
        raise ValueError(f'{attribute.name} must be a number above 0 and an x, such as "10x", not {value!r}')


@frozen
class Context:
    """One more picture of each tile's centre, at another field of view."""

    told: ClassVar[str] = "sizes in um, such as 604 or 604:256 (um:px)"

    size_um: float = option(help="width and height on the glass", unit="um", validator=positive)
    size_px: int | None = option(
        None, help="width and height of the picture; by default as tiles", unit="px", validator=optional(at_least(1))
    )

    @classmethod
    def of_plain(cls, value: Any) -> Self:
        """Of a number of microns, of text such as "604:256", or of a table.

        Raises:
            ValueError: it is none of these.
        """
        if isinstance(value, Mapping):
            unknown = [key for key in value if key not in ("size_um", "size_px")]
            if unknown or "size_um" not in value:
                raise ValueError(f"wants tables of size_um and, if wanted, size_px, not {dict(value)!r}")
            return cls(**value)
        if isinstance(value, str):
            um, _, px = value.partition(":")
            try:
                return cls(size_um=float(um), size_px=int(px) if px else None)
            except ValueError:
                raise ValueError(f"must be {cls.told}, not {value!r}") from None
        if not isinstance(value, bool) and isinstance(value, Real):
            return cls(size_um=float(value))
        raise ValueError(f"must be {cls.told}, not {value!r}")

    @property
    def name(self) -> str:
        """Such as "context_604um"."""
        return f"context_{self.size_um:g}um"


@frozen
class Tiling:
    """Size and placement of tiles.

    Either `size_um` (every slide is resampled to the same microns per pixel) or `magnification` (the nearest stored
    level, no resampling).
    """

    size_px: int = option(
        help="width and height of a tile image", unit="px", validator=at_least(1), field="tile_px", flag="--tile-px"
    )
    size_um: float | None = option(None, help="width and height of a tile on the glass", unit="um", validator=positive)
    magnification: str | None = option(
        None, help='such as "10x": the nearest stored level, without resizing', validator=_magnification
    )
    stride_div: float = option(
        1.0, help="stride is the tile size divided by this; with 2, tiles overlap by half", validator=positive
    )
    edge_tiles: bool = option(
        False,
        help="also tiles that extend beyond the right and bottom edges, padded with background",
        field="use_edge_tiles",
        flag="--edge-tiles --use-edge-tiles",
    )
    random_origin: bool = option(
        False,
        help="start the grid at a random place, which depends on the seed and the slide's name",
        field="randomize_origin",
        flag="--random-origin --randomize-origin",
    )
    use_bounds: bool = option(False, help="start at, and stay within, the slide's scanned bounds")
    enable_downsample: bool = option(True, help="read from lower levels if they suffice", flag="--no-downsample")
    max_tiles: int | None = option(
        None, help="keep at most this many tiles per slide, chosen at random", validator=at_least(1)
    )
    seed: int = option(0, help="seed of the grid's random origin and of max_tiles", validator=at_least(0))
    context: tuple[Context, ...] = option(
        (),
        help="also store each tile's centre at this field of view: 604, or 604:256 with its pixels",
        field="context_um",
        flag="--context-um",
        metavar="UM",
        omit_default=True,
    )

    def __attrs_post_init__(self) -> None:
        if self.size_um is None and self.magnification is None:
            raise OptionError(
                "size_um", 'is missing: give a tile\'s width in microns, or a magnification such as "10x"'
            )
        if self.size_um is not None and self.magnification is not None:
            raise OptionError("size_um", "does not go with magnification: give one of them")
        names = [each.name for each in self.context]
        if len(set(names)) < len(names):
            raise OptionError("context", f"has two of the same size: {', '.join(names)}")

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
    times = _times(text)
    if times is None:
        raise ConfigError(f'magnification must look like "10x", not {text!r}')
    return times


def _times(text: str) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)[xX]", text.strip())
    times = float(match[1]) if match else 0.0
    return times if 0 < times < math.inf else None
