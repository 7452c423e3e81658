"""A level that was read as a whole serves later reads from memory, with the bytes that the file gives."""

from __future__ import annotations

import numpy as np
import pytest
from slideloom import Box, Size, Slide, Slides, open_slide
from slideloom_testing.fixtures import DemoFiles

READERS = ("tiff", "openslide", "vips", "tifffile")
BOXES = [Box(120, 80, 300, 300), Box(511.25, 333.5, 402.3, 402.3), Box(0, 0, 1500, 300), Box(1900, 1400, 200, 200)]


def read(slide: Slide) -> list[np.ndarray]:
    return [
        slide.read_at(box, size, level=level)
        for box in BOXES
        for size in (Size(100, 100), Size(75, 60), Size(300, 300))
        for level in range(len(slide.info.levels))
    ]


@pytest.mark.parametrize("reader", READERS)
def test_windows_of_a_kept_level_are_those_of_the_file(demo_slide: DemoFiles, reader: str) -> None:
    with open_slide(demo_slide.path, slides=Slides(reader=reader)) as slide:
        expected = read(slide)
    with open_slide(demo_slide.path, slides=Slides(reader=reader)) as slide:
        size = slide.info.size
        for level in range(len(slide.info.levels)):
            slide.read_at(slide.info.box, Size(size.width // 20, size.height // 20), level=level)
        # OpenSlide shifts what it reads of a level by parts of a pixel, so there nothing is cut from a larger read.
        assert slide.exact_parts == (reader != "openslide")
        assert len(slide._kept._parts) == len(slide.info.levels)
        found = read(slide)

    for one, other in zip(expected, found, strict=True):
        assert np.array_equal(one, other)
