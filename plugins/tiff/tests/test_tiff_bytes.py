"""How a slide's bytes are read: neighbours together, and nothing that is not needed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slideloom import Box, Point, Rgb, Size, SlideError
from slideloom_formats.tiff import read_tiff_directories
from slideloom_tiff.cache import TileCache
from slideloom_tiff.jpegs import ByteRanges, JpegTiles
from slideloom_tiff.levels import TAGS, slide_levels
from slideloom_tiff.settings import TiffReader
from slideloom_tiff.slide import TiffSlide


def opened(path: Path) -> Any:
    """The slide, by the reader under test."""
    return TiffReader().build().open(path)


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="reads are counted by preadv, which this system has not")
def test_tiles_that_lie_next_to_each_other_are_read_in_one_piece(
    write_tiff: Any, level: Any, large_picture: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiff([level(large_picture)])
    reads: list[int] = []
    preadv = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        reads.append(offset)
        return preadv(descriptor, buffers, offset)

    boxes = [Box(x + 0.5, 200.25, 101, 101) for x in range(0, 1000, 101)]
    size = Size(100, 100)
    with opened(path) as slide:
        alone = [slide.read_at(box, size, level=0) for box in boxes]
    monkeypatch.setattr("os.preadv", counted)
    with opened(path) as slide:
        together = slide.read_boxes(boxes, size, level=0)

    assert all(map(np.array_equal, together, alone))
    assert len(reads) == 1  # two rows of tiles, a gap of a few tiles between them


def test_tiles_far_apart_in_the_file_are_not_read_with_what_lies_between(
    write_tiff: Any, level: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64 * 40, 640, 3)).astype(np.uint8)
    path = write_tiff([level(noise)])
    between = path.stat().st_size // 2
    read: list[int] = []
    original = ByteRanges.read_pieces

    def counted(self: ByteRanges, pieces: list[tuple[int, int]]) -> list[memoryview]:
        read.extend(end - start for start, end in pieces)
        return original(self, pieces)

    monkeypatch.setattr(ByteRanges, "read_pieces", counted)

    with opened(path) as slide:
        first, last = slide.read_boxes([Box(0, 0, 60, 60), Box(570, 64 * 39, 60, 60)], Size(50, 50), level=0)
        assert np.array_equal(first, slide.read_at(Box(0, 0, 60, 60), Size(50, 50)))
        assert np.array_equal(last, slide.read_at(Box(570, 64 * 39, 60, 60), Size(50, 50)))

    assert len(read) == 2
    assert sum(read) < between / 10


def test_tiles_that_share_their_bytes_are_read(write_tiff: Any, level: Any, picture: Rgb) -> None:
    path = write_tiff([level(picture)])
    images = read_tiff_directories(path, TAGS)
    stored = slide_levels(images)
    assert stored is not None
    stored[0].offsets[5:8] = stored[0].offsets[2]
    stored[0].lengths[5:8] = stored[0].lengths[2]
    file = ByteRanges(path)
    jpegs = JpegTiles(file, stored, name="a.tif")

    found = jpegs.fetch(0, [7, 2, 5, 0])

    for index, content in found.items():
        assert content == file.read(int(stored[0].offsets[index]), int(stored[0].lengths[index]))
    assert sorted(found) == [0, 2, 5, 7]
    file.close()


@pytest.mark.parametrize(
    ("offset", "length"),
    [(-5, 100), (10**15, 100), (50, 10**15), (50, -(10**15)), (50, 2**62)],
    ids=["before the file", "behind the file", "too long", "negative length", "longer than memory"],
)
def test_a_tile_outside_the_file_is_named_and_does_not_keep_others_from_being_read(
    write_tiff: Any, level: Any, picture: Rgb, offset: int, length: int
) -> None:
    path = write_tiff([level(picture)])
    boxes = [Box(0, 0, 60, 60), Box(70, 0, 50, 50), Box(140, 70, 50, 50)]
    images = read_tiff_directories(path, TAGS)
    stored = slide_levels(images)
    assert stored is not None
    stored[0].offsets[1], stored[0].lengths[1] = offset, length

    with TiffSlide(path, images, stored, cache_bytes=1 << 20) as slide:
        found = slide.try_read_boxes(boxes, Size(50, 50), level=0)

    assert [isinstance(result, SlideError) for result in found] == [False, True, False]
    assert "tile 1 of level 0" in str(found[1])


def test_no_more_tiles_are_asked_for_at_once_than_the_cache_has_room_for(
    write_tiff: Any, level: Any, large_picture: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiff([level(large_picture)])
    asked: list[int] = []
    lease = TileCache.lease

    def counted(self: TileCache, at: int, indices: list[int]) -> Any:
        asked.append(len(indices))
        return lease(self, at, indices)

    monkeypatch.setattr(TileCache, "lease", counted)
    boxes = [Box(x, y, 128, 128) for y in range(0, 1024, 128) for x in range(0, 1024, 128)]
    with TiffReader(cache_mb=1).build().open(path) as slide:
        found = slide.read_boxes(boxes, Size(128, 128), level=0)
        wide = slide.read_at(Box(0, 0, 1150, 1150), Size(1150, 1150), level=0)

    assert max(asked[:-1]) <= (1 << 20) // (3 * 64 * 64)
    assert asked[-1] == 18 * 18  # one window is read whatever it takes
    assert all(
        np.array_equal(image, wide[int(b.y) :, int(b.x) :][:128, :128]) for image, b in zip(found, boxes, strict=True)
    )


class TestLeases:
    """Pixels of source tiles while somebody looks at them, and their memory afterwards."""

    @pytest.fixture
    def cache(self, write_tiff: Any, level: Any, large_picture: Rgb) -> Iterator[TileCache]:
        path = write_tiff([level(large_picture)])  # 18 x 18 tiles
        stored = slide_levels(read_tiff_directories(path, TAGS))
        assert stored is not None
        file = ByteRanges(path)
        yield TileCache(JpegTiles(file, stored, name="a.tif"), bytes_per_thread=50 * 3 * 64 * 64)
        file.close()

    def test_leased_tiles_stay_while_more_are_read_than_the_cache_holds(self, cache: TileCache) -> None:
        with cache.lease(0, range(40)) as leased:
            before = {index: pixels.copy() for index, pixels in leased.pixels.items()}
            for start in range(40, 320, 40):
                with cache.lease(0, range(start, start + 40)) as others:
                    assert len(others.pixels) == 40
            assert all(np.array_equal(pixels, before[index]) for index, pixels in leased.pixels.items())

    def test_a_tile_leased_twice_stays_until_the_second_lease_ends(self, cache: TileCache) -> None:
        with cache.lease(0, [0]) as leased:
            with cache.lease(0, [0]):
                pass
            before = leased.pixels[0].copy()
            with cache.lease(0, range(100, 200)):
                assert np.array_equal(leased.pixels[0], before)

    def test_more_tiles_than_the_cache_holds_can_be_leased_at_once(self, cache: TileCache) -> None:
        with cache.lease(0, range(324)) as leased:
            places = {pixels.ctypes.data for pixels in leased.pixels.values()}

        assert len(places) == 324

    @pytest.mark.parametrize("when", ["fetch", "decode", "empty"])
    def test_tiles_are_read_again_after_an_interrupt(
        self, cache: TileCache, monkeypatch: pytest.MonkeyPatch, when: str
    ) -> None:
        with cache.lease(0, [0]):
            held = cache.held_bytes
        calls = iter(range(10))
        usual = getattr(JpegTiles, when)

        def interrupted(self: JpegTiles, *given: Any) -> Any:
            if next(calls) == (0 if when == "fetch" else 1):
                raise KeyboardInterrupt
            return usual(self, *given)

        with monkeypatch.context() as patched:
            patched.setattr(JpegTiles, when, interrupted)
            with pytest.raises(KeyboardInterrupt), cache.lease(0, [0, 1, 2, 3]):
                pass

        assert cache.held_bytes == held * (2 if when == "decode" else 1)
        with cache.lease(0, [0, 1, 2, 3]) as leased:
            assert not leased.errors
            assert sorted(leased.pixels) == [0, 1, 2, 3]
        assert cache.held_bytes == 4 * held

    def test_threads_that_have_ended_have_no_share_of_the_memory(self, cache: TileCache) -> None:
        def reads(start: int) -> None:
            with cache.lease(0, range(start, start + 40)):
                pass

        for start in range(0, 320, 40):
            thread = threading.Thread(target=reads, args=[start])
            thread.start()
            thread.join()
        with cache.lease(0, range(280, 324)):
            pass

        assert cache.held_bytes <= 50 * 3 * 64 * 64

    def test_a_cleared_cache_holds_nothing_and_leaves_leased_pixels_as_they_are(self, cache: TileCache) -> None:
        with cache.lease(0, range(9)) as leased:
            before = {index: pixels.copy() for index, pixels in leased.pixels.items()}
            cache.clear()
            assert cache.held_bytes == 0
            with cache.lease(0, range(100, 150)):
                assert all(np.array_equal(pixels, before[index]) for index, pixels in leased.pixels.items())

    def test_memory_of_tiles_given_back_is_used_for_others(self, cache: TileCache) -> None:
        places = set()
        for start in range(0, 320, 40):
            with cache.lease(0, range(start, start + 40)) as leased:
                places |= {pixels.ctypes.data for pixels in leased.pixels.values()}

        assert len(places) == 50


def test_an_image_stays_until_the_next_one_is_asked_for(write_tiff: Any, level: Any, large_picture: Rgb) -> None:
    path = write_tiff([level(large_picture)])
    with TiffReader(cache_mb=1).build().open(path) as slide:
        for found in slide.read_each([Point(0, 0), Point(500, 500)], 0, Size(64, 64)):
            image = found.image()
            before = image.copy()
            slide.read(Point(0, 0), 0, slide.info.size)
            assert np.array_equal(image, before)
