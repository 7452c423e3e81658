"""Whether the sizes that a TIFF's directories give can be those of its pictures.

A damaged width or height leaves a file that every decoder shows: tiles in the wrong rows, sheared rows, a part of the
slide, or a smaller level in its place. What else the file says tells: the number of places of tiles and strips, their
bytes where these are not compressed, which images are made smaller, and what Aperio writes into its description.

Source: TIFF 6.0 (Adobe 1992), TileOffsets, StripOffsets, NewSubfileType.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from slideloom import Size

from slideloom_formats.tiff.directories import TiffDirectory, TiffTag
from slideloom_formats.tiff.layout import first_strip_bytes, planes_of, strip_rows

SIZE_TAGS = frozenset({
    TiffTag.WIDTH, TiffTag.HEIGHT, TiffTag.TILE_WIDTH, TiffTag.TILE_HEIGHT, TiffTag.TILE_BYTES, TiffTag.STRIP_ROWS,
    TiffTag.STRIP_BYTES, TiffTag.PLANAR, TiffTag.SAMPLES, TiffTag.BITS, TiffTag.COMPRESSION, TiffTag.PHOTOMETRIC,
    TiffTag.SUBFILE_TYPE, TiffTag.DESCRIPTION,
})  # fmt: skip
_REDUCED = 1  # a bit of the subfile type
_PLAIN, _YCBCR = 1, 6  # compression; photometric interpretation
_PADDING = 1  # byte behind a strip, so that the next one begins at an even place
_APERIO_SIZE = re.compile(r"Aperio[^\n]*\n(?:\d+x\d+ \[\d+,\d+[ ,](\d+)x(\d+)\]|(\d+)x(\d+)) \(")
_REMEDY = "the file is damaged: copy it again from its source"


def size_fault(pictures: Sequence[TiffDirectory], base: TiffDirectory) -> str | None:
    """Why the sizes of a file's pictures cannot be true, and what to do; None if nothing speaks against them.

    Args:
        pictures: the images of the file that are no masks, labels or macro images, read with `SIZE_TAGS`.
        base: the largest of them.

    Raises:
        TiffError: a number in them is impossible.
    """
    found = (
        next((fault for image in pictures if (fault := _count_fault(image))), None)
        or next((fault for image in pictures if (fault := _strip_fault(image))), None)
        or _order_fault(pictures, base)
        or _aperio_fault(pictures, base)
    )
    return None if found is None else f"{found}; {_REMEDY}"


def _count_fault(image: TiffDirectory) -> str | None:
    """What is wrong if an image has more or fewer tiles or strips than its size takes."""
    size, tile = image.size(), image.tile_size()
    found = len(image.numbers(TiffTag.STRIP_BYTES if tile is None else TiffTag.TILE_BYTES))
    if not found:  # it does not say how many bytes they have, or it was not asked
        return None
    word = "strips" if tile is None else "tiles"
    if size is None:
        return f"the image of the directory at {image.at} has {found} {word}, and no size"
    planes, _ = planes_of(image)
    across, rows = (1, strip_rows(image, size)) if tile is None else (-(-size.width // tile.width), tile.height)
    needed = across * -(-size.height // rows) * planes
    if found == needed:
        return None
    return (
        f"the image of the directory at {image.at} says that it is {size.width} x {size.height} pixels, which take "
        f"{needed} {word}, and it has {found}"
    )


def _strip_fault(image: TiffDirectory) -> str | None:
    """What is wrong if the first strip of an image that is not compressed has other bytes than its rows take.

    Not of chroma that pixels share, and not of a strip that is too short: readers say that themselves.
    """
    size = image.size()
    lengths = image.numbers(TiffTag.STRIP_BYTES, most=1)
    is_plain = image.number(TiffTag.COMPRESSION, _PLAIN) == _PLAIN and image.number(TiffTag.PHOTOMETRIC) != _YCBCR
    if size is None or image.tile_size() is not None or not len(lengths) or not is_plain:
        return None
    needed, found = first_strip_bytes(image, size), int(lengths[0])
    if found <= needed + _PADDING:
        return None
    return (
        f"its first strip of {size.width} x {strip_rows(image, size)} pixels takes {needed} bytes, and it has {found}"
    )


def _order_fault(pictures: Sequence[TiffDirectory], base: TiffDirectory) -> str | None:
    """What is wrong if the largest image is one made smaller, or not the first of Aperio's.

    Of the former only among images in strips, whose number does not tell their width.
    """
    if base.tile_size() is None and _is_reduced(base):
        whole = next((image for image in pictures if not _is_reduced(image) and image.tile_size() is None), None)
        if whole is not None:
            return "its largest image says that it is another one made smaller, and the whole is smaller still"
    first = pictures[0]
    if first is not base and first.text(TiffTag.DESCRIPTION).startswith("Aperio"):
        size = first.size()
        shown = f"{size.width} x {size.height} pixels" if size is not None else "no size"
        return f"its first image, which is the slide in an SVS file, says that it has {shown}, and another one has more"
    return None


def _is_reduced(image: TiffDirectory) -> bool:
    return bool((image.number(TiffTag.SUBFILE_TYPE) or 0) & _REDUCED)


def _aperio_fault(pictures: Sequence[TiffDirectory], base: TiffDirectory) -> str | None:
    """What is wrong if the size is not that of Aperio's description, but the smaller images have its proportions.

    A picture that somebody cut, resized or turned often keeps the description of the whole. Its smaller images are made
    of what was cut. Every SVS of a scanner has a thumbnail.
    """
    size = base.size()
    found = _APERIO_SIZE.match(base.text(TiffTag.DESCRIPTION).replace("\r", ""))
    if found is None or size is None or base.tile_size() is None:
        return None
    said = Size(*(int(number) for number in found.groups() if number is not None))
    smaller = [other for image in pictures if image is not base and (other := image.size()) is not None]
    if said == size or not said.area or not any(_is_made_of(said, other, not_of=size) for other in smaller):
        return None
    return f"its directory says {size.width} x {size.height} pixels, and its description {said.width} x {said.height}"


def _is_made_of(whole: Size, small: Size, *, not_of: Size) -> bool:
    """True if an image has the proportions of one that it may be made of, to the pixel, and not those of another."""
    tolerance = 1 + small.width / small.height  # both sides are rounded
    return _pixels_off(whole, small) <= tolerance < _pixels_off(not_of, small)


def _pixels_off(whole: Size, small: Size) -> float:
    return abs(small.width - whole.width * small.height / whole.height)
