"""The low-resolution images of a slide that QC works on, with bounded size."""

from __future__ import annotations

import math

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Box, Resolution, Rgb, Size, Slide, SlideError

from slideloom_qc.glass import Glass, glass_of

# The largest side of an image; larger slides are read at a coarser resolution.
MAX_SIDE_PX = 3072
# The image for Otsu's method is the smallest level whose shorter side is longer than this.
OTSU_SIDE_PX = 500


@frozen
class SlidePicture:
    """A slide at low resolution.

    Attributes:
        rgb: (h, w, 3) uint8.
        extent: the level-0 box it shows, or None for the whole slide.
        mpp: microns per pixel, mean of both axes; 1 if the slide has none.
    """

    rgb: Rgb = field(eq=False)
    extent: Box | None
    mpp: float


def resolution_of(slide: Slide) -> Resolution:
    """The slide's microns per pixel.

    Raises:
        SlideError: it has none.
    """
    if slide.info.mpp is None:
        raise SlideError(f"{slide.info.path.name}: quality control needs microns per pixel; give mpp")
    return slide.info.mpp


def at_mpp(slide: Slide, mpp: float) -> SlidePicture:
    """The whole slide at about `mpp` microns per pixel, never enlarged, at most 3072 pixels along a side."""
    stored = resolution_of(slide)
    whole = slide.info.size
    wanted_x, wanted_y = whole.width * min(1.0, stored.x / mpp), whole.height * min(1.0, stored.y / mpp)
    shrink = min(1.0, MAX_SIDE_PX / max(wanted_x, wanted_y))
    size = Size(max(1, math.floor(wanted_x * shrink + 1e-6)), max(1, math.floor(wanted_y * shrink + 1e-6)))
    rgb = slide.image_at(slide.info.box, size)
    return SlidePicture(rgb, None, (whole.width * stored.x / size.width + whole.height * stored.y / size.height) / 2)


def glass_on(slide: Slide, picture: SlidePicture) -> Glass:
    """The glass of a picture of the whole slide, measured once for all steps that look at the same picture."""

    def measured() -> NDArray[np.float64]:
        glass = glass_of(picture.rgb)
        return np.array([*glass.colour, glass.share])

    red, green, blue, share = slide.shared(("slideloom-qc", "glass", picture.rgb.shape, picture.mpp), measured).tolist()
    return Glass((red, green, blue), share)


def low_level(slide: Slide) -> SlidePicture:
    """The smallest level whose shorter side is above 500 pixels, as stored; reduced if a side is above 3072."""
    info = slide.info
    tall_enough = [i for i, level in enumerate(info.levels) if min(level.size.width, level.size.height) > OTSU_SIDE_PX]
    index = min(tall_enough, key=lambda i: info.levels[i].size.area, default=0)
    level = info.levels[index]
    mpp = info.mpp.mean if info.mpp else 1.0
    if max(level.size.width, level.size.height) <= MAX_SIDE_PX:
        # A level may extend a fraction of a pixel beyond the slide; that last column or row is left out.
        size = Size(
            max(1, min(level.size.width, math.floor(info.size.width / level.downsample_x + 1e-6))),
            max(1, min(level.size.height, math.floor(info.size.height / level.downsample_y + 1e-6))),
        )
        extent = Box(0, 0, size.width * level.downsample_x, size.height * level.downsample_y)
        return SlidePicture(slide.read_at(extent, size, level=index), extent, mpp * level.downsample)
    rgb = slide.thumbnail(max_px=MAX_SIDE_PX)
    return SlidePicture(rgb, None, mpp * info.size.width / rgb.shape[1])
