"""Determines which images of a file are levels of the slide."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from slideloom import Size, same_proportions


@frozen
class Stored:
    """One image of a file.

    Attributes:
        options: how libvips selects it: nothing, `page` or `subifd`.
        size: in pixels.
        bands: channels.
        format: libvips band format, such as "uchar".
        is_tiled: stored in tiles, so that a part can be read without the rest.
    """

    options: tuple[tuple[str, int], ...]
    size: Size
    bands: int
    format: str
    is_tiled: bool


def levels_among(images: Sequence[Stored]) -> list[Stored]:
    """The largest image and its reduced versions, from large to small.

    A level has the channels, the storage and the proportions of the largest image. So Aperio's thumbnail, stored in
    strips beside tiled levels, is not a level, and neither are label and macro.
    """
    base = max(images, key=lambda image: image.size.area)
    found = [base]
    for image in sorted(images, key=lambda image: -image.size.area):
        alike = (image.bands, image.format, image.is_tiled) == (base.bands, base.format, base.is_tiled)
        if alike and image.size.width < found[-1].size.width and same_proportions(base.size, image.size):
            found.append(image)
    return found
