"""Pictures as JPEG files that fit a number of bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from slideloom import Rgb

QUALITY = 75
_LOWEST_QUALITY = 55
_SMALLEST_PX = 32
# Tiles of a sheet stand on multiples of the JPEG block with its halved colours, so that none bleeds into the next.
_BLOCK_PX = 16


def jpeg_within(rgb: Rgb, limit: int) -> tuple[bytes, bool]:
    """The picture as JPEG of at most `limit` bytes, made smaller if need be; False if it had to be.

    A limit that not even 32 pixels meet is exceeded.
    """
    image = Image.fromarray(np.ascontiguousarray(rgb))
    encoded = _jpeg(image, QUALITY)
    is_whole = len(encoded) <= limit
    while len(encoded) > limit and min(image.size) > _SMALLEST_PX:
        # Bytes go about with the number of pixels; a little less than that hits the limit at once as a rule.
        scale = min(0.9, 0.95 * (limit / len(encoded)) ** 0.5)
        image = image.resize([max(_SMALLEST_PX // 2, round(side * scale)) for side in image.size], Image.Resampling.BOX)
        encoded = _jpeg(image, QUALITY if min(image.size) > 256 else _LOWEST_QUALITY + 10)
    return encoded, is_whole


def contact_sheet(tiles: Sequence[Rgb | None], *, columns: int, max_px: int, limit: int) -> tuple[bytes, float]:
    """Tiles side by side on white, as one JPEG.

    Args:
        tiles: square pictures; None leaves its place white.
        columns: number of places.
        max_px: width of a tile at most; smaller ones are not enlarged beyond their own size.
        limit: bytes at most, met by smaller tiles.

    Returns:
        The JPEG, and the share of a column's width that its tile takes (the rest is a gap).
    """
    own = max((tile.shape[0] for tile in tiles if tile is not None), default=max_px)
    side = max(_BLOCK_PX, min(max_px, own) // _BLOCK_PX * _BLOCK_PX)
    while True:
        encoded = _jpeg(_sheet(tiles, columns, side), QUALITY)
        if len(encoded) <= limit or side <= 3 * _BLOCK_PX:
            return encoded, side / (side + _BLOCK_PX)
        wanted = side * (limit / len(encoded)) ** 0.5
        side = max(3 * _BLOCK_PX, min(side - _BLOCK_PX, int(wanted) // _BLOCK_PX * _BLOCK_PX))


def _sheet(tiles: Sequence[Rgb | None], columns: int, side: int) -> Image.Image:
    step = side + _BLOCK_PX
    sheet = Image.new("RGB", (columns * step, side), "white")
    for column, tile in enumerate(tiles):
        if tile is not None:
            image = Image.fromarray(np.ascontiguousarray(tile))
            sheet.paste(image.resize((side, side), Image.Resampling.LANCZOS), (column * step, 0))
    return sheet


def _jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, optimize=True)
    return file.getvalue()
