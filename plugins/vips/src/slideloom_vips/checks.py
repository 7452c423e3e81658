"""What libvips does not tell of damaged tiles, told by their bytes."""

from __future__ import annotations

from pathlib import Path

import simplejpeg
from slideloom import (
    TILE_TAGS,
    StoredTiles,
    TiffError,
    jpeg_check,
    read_tiff_directories,
    read_tiff_sub_images,
    stored_tiles,
)

_SIMPLE = ("Gray", "YCbCr", "RGB")  # colours that simplejpeg decodes


def checks_of(path: Path, options: tuple[tuple[str, int], ...]) -> StoredTiles | None:
    """Checks of the image that `options` select; None where there is nothing to be told beyond what libvips tells."""
    try:
        images = read_tiff_directories(path, TILE_TAGS)
        chosen = dict(options)
        if "subifd" in chosen:
            image = read_tiff_sub_images(path, images[0], TILE_TAGS)[chosen["subifd"]]
        else:
            image = images[chosen.get("page", 0)]
        return stored_tiles(path, image, jpeg_check(image, jpeg_fault))
    except (TiffError, OSError, IndexError):  # no TIFF, or libvips says what is wrong
        return None


def jpeg_fault(content: bytes) -> str | None:
    """What is wrong with a JPEG; None if it is whole, or of a kind that only libvips decodes."""
    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours in _SIMPLE:
            # All of it is decoded, but for one pixel in 64: as much as it takes to find every warning.
            simplejpeg.decode_jpeg(content, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        return f"its JPEG is damaged ({error})"
    return None
