"""A reader that gives its stored tiles instead of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from slideloom.base.errors import PluginError, SlideError
from slideloom.base.geometry import Box, Point, Rgb, Size
from slideloom.pixels.mosaic import Mosaic
from slideloom_testing import AnalyticSlide

SIDE = 64
BOXES = [Box(10.5, 20.25, 101, 101), Box(300, 40, 101, 101), Box(150, 333.3, 101, 101)]


class Stored(AnalyticSlide):
    """An analytic slide in tiles of 64 pixels."""

    grown = 0  # of the window that it gives, in pixels too many

    def read_each(self, origins: Sequence[Point], level: int, size: Size) -> Iterator[Rgb | Mosaic | SlideError]:
        """See `Slide.read_each`."""
        for origin in origins:
            left, top = origin.x // SIDE, origin.y // SIDE
            columns = range(left, (origin.x + size.width - 1) // SIDE + 1)
            rows = range(top, (origin.y + size.height - 1) // SIDE + 1)
            whole = self.info.levels[level].size
            yield Mosaic(
                tiles=[self.read(Point(c * SIDE, r * SIDE), level, Size(SIDE, SIDE)) for r in rows for c in columns],
                columns=len(columns),
                tile=Size(SIDE, SIDE),
                left=origin.x - left * SIDE,
                top=origin.y - top * SIDE,
                window=Size(size.width + self.grown, size.height),
                end=Size(whole.width - left * SIDE, whole.height - top * SIDE),
            )


@pytest.mark.parametrize("side", [101, 100, 90, 37], ids=lambda side: f"{101 / side:.3g} to 1")
def test_tiles_read_out_of_a_mosaic_are_those_of_images(side: int) -> None:
    options = {"downsamples": (1, 2), "mpp": 0.5}
    mosaics, images = Stored(Size(500, 480), **options), AnalyticSlide(Size(500, 480), **options)  # type: ignore[arg-type]

    found = mosaics.read_boxes(BOXES, Size(side, side), level=0)

    assert all(map(np.array_equal, found, images.read_boxes(BOXES, Size(side, side), level=0)))


def test_a_window_of_another_size_breaks_the_contract() -> None:
    slide = Stored(Size(500, 480), downsamples=(1,), mpp=0.5)
    slide.grown = 1

    with pytest.raises(PluginError, match=r"broke its contract on slide .* wanted Size"):
        slide.read_boxes(BOXES, Size(90, 90), level=0)
