"""What OpenSlide takes on trust in a TIFF of no known scanner, or of Aperio's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import simplejpeg
from slideloom import Size, SlideError, same_proportions
from slideloom_formats.tiff import (
    PICTURE_TAGS,
    TILE_TAGS,
    StoredTiles,
    TiffDirectory,
    TiffError,
    TiffTag,
    check_orientation,
    check_tile_places,
    is_aside,
    jpeg_check,
    obstacle_in,
    read_tiff_directories,
    stored_tiles,
)

_VENDORS = ("generic-tiff", "aperio")
_SIZES = (TiffTag.WIDTH, TiffTag.HEIGHT)
_TILES = (TiffTag.TILE_WIDTH, TiffTag.TILE_HEIGHT)
_READ = PICTURE_TAGS | {TiffTag.ORIENTATION, *_TILES}
# Photometric interpretations that come out right: white or black is zero, RGB, palette, YCbCr. Of CMYK, for which the
# file may hold a profile, OpenSlide makes RGB without it.
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 6: 3}
_RGB = 2
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
        SlideError: it is to be shown turned or mirrored, it is not one RGB picture of 8 bits, or OpenSlide takes
            another image than the largest for level 0.
    """
    vendor = properties.get("openslide.vendor")
    if vendor not in _VENDORS:
        return
    if vendor == "generic-tiff" and not is_first_largest(path):
        raise SlideError(
            f"{path.name}: its first image is not the largest, which OpenSlide would leave out; take the reader vips"
        )
    _check_places(path)
    try:
        images = read_tiff_directories(path, _READ)
        # Of level 0 and of all that may be its smaller levels, as OpenSlide turns the tiles of each by its own tag.
        levels = [image for image in images if image is images[0] or TiffTag.TILE_WIDTH in image]
        orientations = [image.number(TiffTag.ORIENTATION) for image in levels]
        refusal = _refusal(images)
    except (TiffError, OSError):  # OpenSlide knows better
        return
    for orientation in orientations:
        check_orientation(path, orientation)
    if refusal is not None:
        raise SlideError(f"{path.name}: {refusal}")


def _check_places(path: Path) -> None:
    """Refuse a file in which a level has too few places of tiles: OpenSlide shows other levels wrongly, too."""
    try:
        for image in read_tiff_directories(path, TILE_TAGS):
            if TiffTag.TILE_OFFSETS in image:
                check_tile_places(image)
    except TiffError as error:
        raise SlideError(f"{path.name}: {error}; the file is damaged: copy it again from its source") from error
    except OSError:  # OpenSlide knows better
        return


def is_one_picture(path: Path) -> bool:
    """True if OpenSlide shows all that a TIFF holds beside label and macro images, in the colours it has."""
    try:
        return _refusal(read_tiff_directories(path, _READ)) is None
    except (TiffError, OSError):  # OpenSlide knows better
        return True


def _refusal(images: Sequence[TiffDirectory]) -> str | None:
    return obstacle_in(images) or next((said for image in _levels(images) if (said := _samples(image))), None)


def _levels(images: Sequence[TiffDirectory]) -> list[TiffDirectory]:
    """The first image, and those that OpenSlide may take for smaller versions of it."""
    whole = images[0].size() if images else None
    smaller = [image for image in images[1:] if image.tile_size() is not None and not is_aside(image)]
    sizes = [image.size() for image in smaller]
    alike = [
        image
        for image, size in zip(smaller, sizes, strict=True)
        if whole is not None and size is not None and same_proportions(whole, size)
    ]
    return [*images[:1], *alike]


def _samples(image: TiffDirectory) -> str | None:
    """What OpenSlide shows wrongly among samples that other readers show well."""
    bits = set(image.numbers(TiffTag.BITS).tolist())
    if not bits <= {8}:
        shown = " and ".join(map(str, sorted(bits)))
        return f"its samples have {shown} bits, of which OpenSlide shows the upper 8; take the reader vips"
    colours, samples = image.number(TiffTag.PHOTOMETRIC), image.number(TiffTag.SAMPLES, 1)
    if colours is None or samples == _COLOURS.get(colours) or (colours, samples) == (_RGB, 4):
        return None
    return (
        f"OpenSlide shows {samples} samples of PhotometricInterpretation {colours} in wrong colours; "
        "take the reader vips"
    )


def levels_of(path: Path, sizes: Sequence[Size], properties: Mapping[str, str]) -> tuple[int, ...]:
    """Which of OpenSlide's levels are the slide made smaller, by number.

    Args:
        path: of the slide.
        sizes: of OpenSlide's levels, level 0 first.
        properties: as OpenSlide gives them.
    """
    if properties.get("openslide.vendor") not in (*_VENDORS, "dicom"):
        return tuple(range(len(sizes)))
    asides = _sizes_aside(path)
    found = [0]
    for number, size in enumerate(sizes):
        is_smaller = size.width < sizes[found[-1]].width and size.height < sizes[found[-1]].height
        if is_smaller and size not in asides and same_proportions(sizes[0], size):
            found.append(number)
    return tuple(found)


def _sizes_aside(path: Path) -> set[Size]:
    """Sizes of masks and of named labels and macro images, which OpenSlide may take for levels."""
    try:
        images = read_tiff_directories(path, PICTURE_TAGS)
        asides = {size for image in images if is_aside(image) and (size := image.size()) is not None}
        return asides - {size for image in images if not is_aside(image) and (size := image.size()) is not None}
    except (TiffError, OSError):  # OpenSlide knows better
        return set()


def checks_of(path: Path, sizes: Sequence[Size], properties: Mapping[str, str]) -> list[StoredTiles | None]:
    """For each level, what knows of its damaged tiles that OpenSlide would show; None where nothing does.

    Args:
        path: of the slide.
        sizes: of the levels.
        properties: as OpenSlide gives them.
    """
    if properties.get("openslide.vendor") not in _VENDORS:
        return [None] * len(sizes)
    try:
        images = {image.size(): image for image in read_tiff_directories(path, TILE_TAGS)}
        return [stored_tiles(path, images[size], jpeg_check(images[size], simplejpeg)) for size in sizes]
    except (TiffError, OSError, KeyError):  # OpenSlide knows better
        return [None] * len(sizes)
