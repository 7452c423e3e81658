"""Which images of a file are the levels of a slide, and how to find a level's tiles."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray
from slideloom import Size, same_proportions
from slideloom_formats.tiff import TiffDirectory, TiffTag, is_aside, lacks_tiles

_JPEG = 7
_RGB, _YCBCR = 2, 6
_REDUCED_IMAGE = 1  # a bit of the subfile type
_SMALLEST_TILE = 16  # pixels along a side, by TIFF 6.0
_LARGEST_TILE = 8192  # pixels along a side; a larger number is damaged, or the tile is too large to decode at once
_NEARLY = 1.1  # a level within this factor of a stored one is not worth making
# APP14 "Adobe" segment with transform 0: it tells the decoder that the three components are R, G, B.
_ADOBE_RGB = b"\xff\xee" + struct.pack(">H5sHHHB", 14, b"Adobe", 100, 0, 0, 0)


# Of the first two only the presence matters; nothing here is stored in strips.
TAGS = frozenset(TiffTag) - {
    TiffTag.SUB_IFDS, TiffTag.NDPI_FORMAT, TiffTag.STRIP_OFFSETS, TiffTag.STRIP_ROWS, TiffTag.STRIP_BYTES,
    TiffTag.ICC_PROFILE,
}  # fmt: skip


@frozen
class TiledLevel:
    """One level: a grid of JPEG tiles.

    Attributes:
        size: size of the level in pixels.
        tile: size of a tile in pixels; tiles at the right and bottom edges are padded to it.
        columns, rows: size of the grid in tiles.
        offsets, lengths: (rows * columns,) byte ranges; a length of 0 means that the tile was never written.
        shrink: 1, or the factor by which the decoder shrinks stored tiles; `size` and `tile` are the shrunk sizes.
        head: the bytes to put before a tile's bytes, without their first two, to make a complete JPEG.
    """

    size: Size
    tile: Size
    columns: int
    rows: int
    offsets: NDArray[np.int64] = field(eq=False)
    lengths: NDArray[np.int64] = field(eq=False)
    head: bytes
    shrink: int = 1


def with_scaled(levels: Sequence[TiledLevel]) -> list[TiledLevel]:
    """The stored levels, and between them the levels that a JPEG decoder makes by decoding at 1/2, 1/4 or 1/8.

    A pixel decoded at 1/k covers exactly k x k pixels, because a block of 8 x 8 coefficients gives 8/k x 8/k pixels.
    """
    found = []
    for level, coarser in zip(levels, [*levels[1:], None], strict=True):
        found.append(level)
        for shrink in (2, 4, 8):
            size = Size(-(-level.size.width // shrink), -(-level.size.height // shrink))
            is_near_next = coarser is not None and size.width < _NEARLY * coarser.size.width
            if is_near_next or level.tile.width % (8 * shrink) or level.tile.height % (8 * shrink):
                break
            tile = Size(level.tile.width // shrink, level.tile.height // shrink)
            found.append(evolve(level, size=size, tile=tile, shrink=shrink))
    return found


def slide_levels(images: Sequence[TiffDirectory]) -> list[TiledLevel] | None:
    """The levels of an SVS or plain pyramidal TIFF of JPEG tiles, largest first; None for any other file.

    A level without bytes where the first image has some is left out: what it shows there is in a finer one.
    Formats that store levels in another way (NDPI, Leica, Philips, Ventana, Trestle, OME) and other compressions are
    left to other readers.

    Raises:
        TiffError: the file holds an impossible number, such as a size of 0.
    """
    if not images or not _is_tiled(images[0]) or _is_other_vendor(images):
        return None
    base = _level(images[0])
    tiled = [image for image in images[1:] if _is_tiled(image) and not is_aside(image)]
    others = [(image, size) for image in tiled if (size := image.size()) is not None]
    if base is None or any(size.area > base.size.area for _, size in others):
        return None  # the first image is not the slide but its label, or another format's thumbnail
    others.sort(key=lambda other: -other[1].area)
    found = [base]
    for image, size in others:
        is_smaller = size.width < found[-1].size.width and size.height < found[-1].size.height
        is_part = is_aperio(images) or _is_reduced(image)
        if is_smaller and is_part and same_proportions(base.size, size):
            level = _level(image)
            if level is None:
                return None
            if not lacks_tiles(image, images[0]):
                found.append(level)
    return found


def is_aperio(images: Sequence[TiffDirectory]) -> bool:
    """True for an SVS file."""
    return images[0].text(TiffTag.DESCRIPTION).startswith("Aperio")


def _is_tiled(image: TiffDirectory) -> bool:
    return TiffTag.TILE_OFFSETS in image


def _is_reduced(image: TiffDirectory) -> bool:
    return bool((image.number(TiffTag.SUBFILE_TYPE) or 0) & _REDUCED_IMAGE)


def _is_other_vendor(images: Sequence[TiffDirectory]) -> bool:
    first = images[0]
    description = first.text(TiffTag.DESCRIPTION).lstrip()
    software = first.text(TiffTag.SOFTWARE)
    return (
        TiffTag.NDPI_FORMAT in first
        or any(TiffTag.SUB_IFDS in image for image in images)
        or description.startswith("<")
        or b"iScan" in first.raw(TiffTag.XMP)
        or software.startswith(("Philips", "MedScan"))
    )


def _level(image: TiffDirectory) -> TiledLevel | None:
    """The level, or None if its tiles are not baseline 8-bit RGB JPEG."""
    size, tile = image.size(), image.tile_size()
    photometric = image.number(TiffTag.PHOTOMETRIC)
    if size is None or tile is None or photometric not in (_RGB, _YCBCR):
        return None
    if max(tile.width, tile.height) > _LARGEST_TILE or min(tile.width, tile.height) < _SMALLEST_TILE:
        return None
    is_jpeg = image.number(TiffTag.COMPRESSION) == _JPEG and image.number(TiffTag.PLANAR, 1) == 1
    if not is_jpeg or image.number(TiffTag.SAMPLES) != 3 or set(image.numbers(TiffTag.BITS).tolist()) != {8}:
        return None
    columns, rows = -(-size.width // tile.width), -(-size.height // tile.height)
    count = columns * rows
    offsets, lengths = (image.numbers(tag) for tag in (TiffTag.TILE_OFFSETS, TiffTag.TILE_BYTES))
    if len(offsets) != count or len(lengths) != count:
        return None
    tables = image.raw(TiffTag.JPEG_TABLES)
    head = tables[:-2] if len(tables) > 4 else b"\xff\xd8"  # without the end marker; only SOI if there are no tables
    if photometric == _RGB:
        head = head[:2] + _ADOBE_RGB + head[2:]
    return TiledLevel(
        size=size,
        tile=tile,
        columns=columns,
        rows=rows,
        offsets=offsets,
        lengths=lengths,
        head=head,
    )
