"""Pictures of a whole slide are read once for all who look at it, and nothing is read from a closed slide."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from slideloom.base.errors import SlideError
from slideloom.base.geometry import Box, Mask, Point, Rgb, Size
from slideloom.slides.kept_images import KeptImages
from slideloom_testing import PixelsSlide

RANDOM = np.random.default_rng(3).integers(0, 256, (600, 800, 3), np.uint8)


class Counted(PixelsSlide):
    """Notes what is read: level and size."""

    def __init__(self, **options: Any) -> None:
        super().__init__(RANDOM, downsamples=(1, 2.0, 4.0), **options)
        self.reads: list[tuple[int, Size]] = []
        self.is_broken = False

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`."""
        self.reads.append((level, size))
        if self.is_broken:
            raise SlideError("pixels.json: the disk is away")
        return super().read(origin, level, size)

    def close(self) -> None:
        """Leaves the file open, as a careless reader would, and does not call the core's `close`."""


def test_the_same_picture_is_read_once() -> None:
    slide = Counted(mpp=0.5)

    first, second = slide.thumbnail(mpp=2.0), slide.thumbnail(mpp=2.0)

    assert np.array_equal(first, second)
    assert slide.reads == [(2, Size(200, 150))]


def test_pictures_of_other_sizes_come_from_the_level_that_was_read() -> None:
    slide = Counted()

    pictures = [slide.thumbnail(max_px=width) for width in (200, 150, 100)]
    pictures.append(slide.read_at(Box(0, 0, 800, 600), Size(20, 30)))

    assert slide.reads == [(2, Size(200, 150))]
    for picture in pictures:
        height, width, _ = picture.shape
        assert np.array_equal(picture, Counted().read_at(Box(0, 0, 800, 600), Size(width, height)))


def test_a_kept_picture_has_the_bytes_of_one_that_is_read_by_itself() -> None:
    slide, box = Counted(), Box(13.5, -7.25, 700, 590)
    expected = Counted().read_boxes([box], Size(123, 77), level=1)[0]

    for _ in range(2):
        assert np.array_equal(slide.read_at(box, Size(123, 77), level=1), expected)


def test_who_changes_a_picture_does_not_change_that_of_the_next() -> None:
    slide = Counted()
    first = slide.thumbnail(max_px=100)
    expected = first.copy()
    first[:] = 0

    assert np.array_equal(slide.thumbnail(max_px=100), expected)


def test_a_part_of_the_slide_is_read_each_time() -> None:
    slide = Counted()
    for _ in range(2):
        slide.read_at(Box(0, 0, 390, 600), Size(39, 60))

    assert len(slide.reads) == 2


def test_an_error_is_not_kept() -> None:
    slide = Counted()
    slide.is_broken = True
    with pytest.raises(SlideError, match="the disk is away"):
        slide.thumbnail(max_px=100)
    slide.is_broken = False

    assert np.array_equal(slide.thumbnail(max_px=100), Counted().thumbnail(max_px=100))


def test_a_closed_slide_says_so_also_of_what_it_has_kept() -> None:
    with Counted() as slide:
        slide.thumbnail(max_px=100)

    assert slide.is_closed
    assert "_kept" not in vars(slide)
    for read in (
        lambda: slide.thumbnail(max_px=100),
        lambda: slide.read_at(Box(0, 0, 10, 10), Size(10, 10)),
        lambda: slide.read_boxes([Box(0, 0, 10, 10)], Size(10, 10), level=0),
    ):
        with pytest.raises(SlideError, match=r"pixels\.json: the slide was closed; open it again before reading"):
            read()


def image(megabytes: float) -> Rgb:
    return np.zeros((int(megabytes * 1000), 1000, 1), np.uint8)


def test_images_used_longest_ago_make_room_for_others() -> None:
    kept = KeptImages(10_000_000)
    for name in "abc":
        kept.keep(name, image(3))
    assert kept.get("a") is not None  # used again, so "b" is the oldest
    kept.keep("d", image(3))

    assert [name for name in "abcd" if kept.get(name) is not None] == ["a", "c", "d"]
    assert kept.held_bytes == 9_000_000


def test_an_image_that_would_take_more_than_half_of_the_memory_is_not_kept() -> None:
    kept = KeptImages(10_000_000)
    kept.keep("half", image(5))
    kept.keep("more", image(5.001))

    assert (kept.get("half") is None, kept.get("more") is None) == (False, True)


def test_what_steps_compute_from_a_picture_is_computed_once_and_cannot_be_changed() -> None:
    slide, made = Counted(), []

    def mask() -> Mask:
        made.append(1)
        return np.ones((4, 4), bool)

    found = [slide.shared(("my-package", "mask", 4), mask) for _ in range(3)]
    slide.shared(("my-package", "mask", 5), mask)

    assert len(made) == 2
    with pytest.raises(ValueError, match="read-only"):
        found[0][:] = False


def test_threads_that_want_the_same_picture_read_it_once() -> None:
    slide = Counted()
    with ThreadPoolExecutor(8) as pool:
        pictures = list(pool.map(lambda _: slide.thumbnail(max_px=100), range(16)))

    assert len(slide.reads) == 1
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


def test_parts_of_a_level_that_is_kept_are_cut_from_memory() -> None:
    slide = Counted()
    boxes = [Box(30, 40, 90, 60), Box(301.5, 202.25, 90, 60)]
    expected = Counted().read_boxes(boxes, Size(45, 30), level=0)
    slide.read_at(slide.info.box, Size(39, 30), level=0)
    reads = len(slide.reads)
    found = slide.read_boxes(boxes, Size(45, 30), level=0)

    assert len(slide.reads) == reads
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


def test_windows_of_a_slide_that_shifts_its_parts_are_read_and_not_cut_from_what_is_kept() -> None:
    class Shifting(PixelsSlide):
        """Reads of other places differ, as those of OpenSlide do at levels whose downsample is no whole number."""

        exact_parts = False

        def read(self, origin: Point, level: int, size: Size) -> Rgb:
            return super().read(origin, level, size) // 2 + np.uint8(origin.x % 2)

    rgb = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    boxes, size = [Box(1, 0, 32, 32), Box(17, 5, 32, 32)], Size(32, 32)
    with Shifting(rgb) as fresh, Shifting(rgb) as looked_at:
        looked_at.read_at(looked_at.info.box, Size(48, 48))

        expected = fresh.read_boxes(boxes, size, level=0)

        assert all(map(np.array_equal, looked_at.read_boxes(boxes, size, level=0), expected))
