"""The shares that Slideflow 3.0.2 judges tiles by: of a few pixels of a low level, in whole numbers, with transparency.

Worse than what `pixels` measures, and here for one purpose only: a cohort that was begun there goes on with the same
tiles. Only the arithmetic of its libvips backend is repeated; where a slide is transparent, our readers give its
background.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Self

import attrs
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import (
    Point,
    Rgb,
    Scene,
    Size,
    Slide,
    SlideError,
    SlideInfo,
    TileBatch,
    TileFilter,
    TileGeometry,
    Verdict,
)

OPAQUE = 255  # the alpha of a pixel that was scanned
# Everything else is opened by OpenSlide, whose pixels have an alpha channel.
WITHOUT_ALPHA = (".jpg", ".jpeg", ".png")


@frozen
class Window:
    """What is read of a tile.

    Attributes:
        level: that it is read from.
        downsample: level-0 pixels per pixel of it.
        side: width and height in its pixels; nothing is resized.
    """

    level: int
    downsample: float
    side: int


def window_of(info: SlideInfo, geometry: TileGeometry) -> Window:
    """The part of a tile that the shares are measured on.

    The last level that has more than one of its pixels across the tile as it is read: on deep pyramids 2 to 8 of them.
    """
    downsamples = [openslide_downsample(info, level) for level in range(len(info.levels))]
    footprint = geometry.footprint.width
    read, side = geometry.level, geometry.tile_px
    if not geometry.label.endswith("x"):  # of a magnification, tiles are read as they are stored
        finer = [level for level, downsample in enumerate(downsamples) if downsample < footprint / geometry.tile_px]
        read = max(finer, default=0)
        side = int(footprint // downsamples[read])
    low = max((level for level, downsample in enumerate(downsamples) if downsample < side), default=read)
    ratio = int(downsamples[low] // downsamples[read])
    if ratio > 1:
        return Window(low, downsamples[low], max(1, side // ratio))
    return Window(read, downsamples[read], max(1, side))


def openslide_downsample(info: SlideInfo, level: int) -> float:
    """A level's downsample as OpenSlide says it: the mean of both axes' quotients, 4.0003 where 4 is meant."""
    full, small = info.size, info.levels[level].size
    return (full.width / small.width + full.height / small.height) / 2


@frozen
class _Measured(TileFilter):
    """Rejects a tile if more than `fraction` of the pixels of its window count.

    Attributes:
        threshold: of a pixel.
        fraction: of the pixels.
        slide: whose tiles are checked; None before `for_slide`.
        window: of its tiles.
    """

    keeps_pixels = False

    threshold: float
    fraction: float
    slide: Slide | None = field(default=None, eq=False)
    window: Window = Window(0, 1.0, 1)

    def for_slide(self, slide: Slide, scene: Scene) -> Self:
        """See `TileFilter.for_slide`."""
        return attrs.evolve(self, slide=slide, window=window_of(slide.info, scene.geometry))

    def check(self, batch: TileBatch) -> Verdict:
        """See `TileFilter.check`.

        Raises:
            SlideError: the low level cannot be read.
        """
        if self.slide is None:
            raise TypeError("measured='slideflow' looks at the slide: call for_slide first")
        tiles, window = batch.tiles, self.window
        origins = [
            Point(int(x / window.downsample), int(y / window.downsample))
            for x, y in zip(tiles.x.tolist(), tiles.y.tolist(), strict=True)
        ]
        shares = np.empty(len(batch))
        found = self.slide.read_many(origins, window.level, Size(window.side, window.side))
        for i, rgb in enumerate(found):
            if isinstance(rgb, SlideError):
                raise SlideError(f"{rgb}; measured='tile' needs only the pixels of the tiles themselves")
            shares[i] = self.counts(rgb).mean()
        return Verdict(keep=self.decided(shares), score=shares)

    def decided(self, score: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """See `TileFilter.decided`."""
        keep: NDArray[np.bool_] = score <= self.fraction
        return keep

    @abstractmethod
    def counts(self, rgb: Rgb) -> NDArray[np.bool_]:
        """(h, w) which pixels of (h, w, 3) uint8 count."""


@frozen
class SlideflowGrayspace(_Measured):
    """Counts pixels whose saturation, cut to a whole number of 0-255, is below the threshold."""

    def counts(self, rgb: Rgb) -> NDArray[np.bool_]:
        """See `_Measured.counts`."""
        highest, lowest = (np.asarray(edge, np.int64) for edge in (rgb.max(axis=-1), rgb.min(axis=-1)))
        saturation = 255 * (highest - lowest) // np.maximum(highest, 1)  # of black, 0
        gray: NDArray[np.bool_] = saturation < self.threshold * 255
        return gray


@frozen
class SlideflowWhitespace(_Measured):
    """Counts pixels whose mean of channels, rounded, is above the threshold; alpha is one of them."""

    def counts(self, rgb: Rgb) -> NDArray[np.bool_]:
        """See `_Measured.counts`."""
        total = rgb.sum(axis=-1, dtype=np.int64)
        channels = 3
        if self.slide is None or self.slide.info.path.suffix.lower() not in WITHOUT_ALPHA:
            total, channels = total + OPAQUE, 4
        white: NDArray[np.bool_] = (total + channels // 2) // channels > self.threshold
        return white
