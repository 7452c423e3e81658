"""What OpenSlide takes on trust in a TIFF of no known scanner, or of Aperio's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from slideloom import (
    Size,
    SlideError,
    TiffError,
    TiffTag,
    check_orientation,
    read_tiff_directories,
    same_proportions,
)

_VENDORS = ("generic-tiff", "aperio")
_SIZES = (TiffTag.WIDTH, TiffTag.HEIGHT)
_TILES = (TiffTag.TILE_WIDTH, TiffTag.TILE_HEIGHT)
_LEAST, _MOST = 16, 8192  # pixels along a tile's side; OpenSlide decodes whole tiles, at 4 bytes a pixel


def is_first_largest(path: Path) -> bool:
    """True if no image of a TIFF has more pixels than the first; else a label or thumbnail comes first."""
    try:
        sizes = [size for image in read_tiff_directories(path, _SIZES) if (size := image.size()) is not None]
    except (TiffError, OSError):  # OpenSlide knows better
        return True
    return not sizes or sizes[0].area == max(size.area for size in sizes)


def unusual_tiles(path: Path) -> str | None:
    """Says so where OpenSlide would have to know millions of tiles, or decode one of gigabytes; else None.

    To be asked before OpenSlide opens the file, which alone takes a minute for 4 million tiles.
    """
    try:
        sizes = [image.tile_size() for image in read_tiff_directories(path, _TILES)]
    except (TiffError, OSError):  # OpenSlide knows better
        return None
    for size in sizes:
        if size is not None and (min(size.width, size.height) < _LEAST or max(size.width, size.height) > _MOST):
            return (
                f"{path.name}: its tiles are {size.width} x {size.height} pixels, and {_LEAST} to {_MOST} are read; "
                f"write it again: vips tiffsave {path.name} OUT.tif --tile --pyramid --compression jpeg"
            )
    return None


def check_plain_tiff(path: Path, properties: Mapping[str, str]) -> None:
    """Refuse what would be read wrongly.

    Args:
        path: of the slide.
        properties: as OpenSlide gives them.

    Raises:
        SlideError: it is to be shown turned or mirrored, or OpenSlide takes another image than the largest for level 0.
    """
    vendor = properties.get("openslide.vendor")
    if vendor not in _VENDORS:
        return
    if vendor == "generic-tiff" and not is_first_largest(path):
        raise SlideError(
            f"{path.name}: its first image is not the largest, which OpenSlide would leave out; take the reader vips"
        )
    try:
        images = read_tiff_directories(path, (TiffTag.ORIENTATION,))
        orientation = images[0].number(TiffTag.ORIENTATION) if images else None
    except (TiffError, OSError):  # OpenSlide knows better
        return
    check_orientation(path, orientation)


def levels_of(sizes: Sequence[Size], properties: Mapping[str, str]) -> tuple[int, ...]:
    """Which of OpenSlide's levels are the slide made smaller, by number.

    Args:
        sizes: of OpenSlide's levels, level 0 first.
        properties: as OpenSlide gives them.
    """
    if properties.get("openslide.vendor") not in _VENDORS:
        return tuple(range(len(sizes)))
    return tuple(number for number, size in enumerate(sizes) if same_proportions(sizes[0], size))
