"""What libvips does not tell of damaged tiles, told by their bytes."""

from __future__ import annotations

from pathlib import Path

import simplejpeg
from slideloom import SlideError
from slideloom_formats.tiff import (
    TILE_TAGS,
    StoredTiles,
    TiffDirectory,
    TiffError,
    check_tile_places,
    first_strip_fault,
    jpeg_check,
    read_tiff_directories,
    read_tiff_sub_images,
    stored_tiles,
)


def checks_of(path: Path, options: tuple[tuple[str, int], ...]) -> StoredTiles | None:
    """Checks of the image that `options` select; None where there is nothing to be told beyond what libvips tells."""
    try:
        image = _chosen(path, options)
        return stored_tiles(path, image, jpeg_check(image, simplejpeg))
    except (TiffError, OSError, IndexError):  # no TIFF, or libvips says what is wrong
        return None


def check_places(path: Path, options: tuple[tuple[str, int], ...]) -> None:
    """Refuse an image whose tiles or strips are not those of its size: libvips makes up what is not there.

    Raises:
        SlideError: the image that `options` select is such a one.
    """
    try:
        image = _chosen(path, options)
    except (TiffError, OSError, IndexError):  # no TIFF, or libvips says what is wrong
        return
    try:
        if image.tile_size() is not None:
            check_tile_places(image)
        fault = first_strip_fault(path, image)
    except TiffError as error:
        fault = str(error)
    if fault is not None:
        raise SlideError(f"{path.name}: {fault}; the file is damaged: copy it again from its source")


def _chosen(path: Path, options: tuple[tuple[str, int], ...]) -> TiffDirectory:
    images = read_tiff_directories(path, TILE_TAGS)
    chosen = dict(options)
    if "subifd" in chosen:
        return read_tiff_sub_images(path, images[0], TILE_TAGS)[chosen["subifd"]]
    return images[chosen.get("page", 0)]
