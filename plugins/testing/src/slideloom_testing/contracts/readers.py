# ruff: noqa: S101 - asserts are what a contract is made of
"""The contract of readers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import attrs
import numpy as np
import pytest
from slideloom.base.addresses import Address
from slideloom.base.errors import SlideError
from slideloom.base.geometry import Box, Point, Rgb, Size
from slideloom.slides.slide import Slide
from slideloom.steps.reader import Reader

from slideloom_testing.contracts.base import SettingsContract
from slideloom_testing.remote import BytesAt, FilesAt

_PLACES = 8  # along each axis; enough to hit the missing half of a truncated file


class ReaderContract(SettingsContract):
    """What every reader must do. Set `settings` and `slide_path`, in the class or in an autouse fixture.

    Attributes:
        slide_path: a slide that the reader opens, with an image of at least 64 x 64 pixels.
        level_tolerance: how far the levels may differ from an average of level 0, in grey levels on average.
    """

    kind: ClassVar[type] = Reader
    slide_path: Path
    level_tolerance: ClassVar[float] = 12.0

    def opened(self) -> Slide:
        """The newly opened slide."""
        slide: Slide = self.built().open(self.slide_path)
        return slide

    def test_the_slide_is_recognised(self) -> None:
        """`recognises` is True for a slide in the reader's formats, even with a path relative to another folder."""
        assert self.built().recognises(self.slide_path.resolve()) is True

    @pytest.mark.parametrize("content", [b"", b"This is not a slide.\n" * 40], ids=["empty", "text"])
    def test_another_file_with_the_same_extension_is_not_recognised(self, tmp_path: Path, content: bytes) -> None:
        """Files are judged by content; nothing may raise."""
        impostor = tmp_path / f"impostor{self.slide_path.suffix}"
        impostor.write_bytes(content)
        assert self.built().recognises(impostor) is False

    def test_why_a_file_is_not_recognised_is_text_or_unknown(self, tmp_path: Path) -> None:
        """`refusal` is asked of files of every kind, and must not raise."""
        impostor, missing = (tmp_path / f"{name}{self.slide_path.suffix}" for name in ("impostor", "missing"))
        impostor.write_bytes(b"This is not a slide.\n" * 40)
        for path in (impostor, missing, self.slide_path):
            reason = self.built().refusal(path)
            assert reason is None or (isinstance(reason, str) and reason)

    def test_an_icc_profile_is_bytes_or_none(self) -> None:
        """`icc_profile` gives what the file holds, also when asked again."""
        with self.opened() as slide:
            found = slide.icc_profile()
            assert found is None or (isinstance(found, bytes) and found)
            assert slide.icc_profile() == found

    def test_a_missing_file_is_a_slide_error_that_names_it(self, tmp_path: Path) -> None:
        """`recognises` does not raise either."""
        missing = tmp_path / f"missing{self.slide_path.suffix}"
        assert self.built().recognises(missing) is False
        with pytest.raises(SlideError, match="missing"):
            self.built().open(missing)

    @pytest.mark.parametrize("share", [0.01, 0.5])
    def test_a_truncated_copy_is_a_slide_error_that_names_it(self, tmp_path: Path, share: float) -> None:
        """On opening or, if the start of the file is intact, on reading; never a crash or invented pixels."""
        if not self.slide_path.is_file():
            pytest.skip("the slide is a folder: truncate one of its files in a test of your own")
        content = self.slide_path.read_bytes()
        torn = tmp_path / f"truncated{self.slide_path.suffix}"
        torn.write_bytes(content[: int(len(content) * share)])
        reader = self.built()
        reader.recognises(torn)  # either answer will do; it must not raise
        with pytest.raises(SlideError, match="truncated"), reader.open(torn) as slide:
            read_all_over(slide)

    def test_the_facts_fit_together(self) -> None:
        """Levels shrink, level 0 is level 0, and microns per pixel are sensible or None."""
        with self.opened() as slide:
            info = slide.info
        assert info.path == self.slide_path
        assert info.name
        assert info.levels
        assert (info.levels[0].downsample_x, info.levels[0].downsample_y) == (1, 1)
        for finer, coarser in zip(info.levels, info.levels[1:], strict=False):
            assert coarser.downsample > finer.downsample
        for level in info.levels:
            for full, small, factor in (
                (info.size.width, level.size.width, level.downsample_x),
                (info.size.height, level.size.height, level.downsample_y),
            ):
                assert abs(full / factor - small) <= 1, f"{small} px downsampled by {factor} is not {full} px"
        if info.mpp is not None:
            assert 0.01 < info.mpp.x < 100
            assert 0.01 < info.mpp.y < 100
            assert info.mpp.source
        if info.bounds is not None:
            assert info.bounds.intersection(info.box) == info.bounds, "the bounds reach outside the slide"

    def test_a_file_that_is_not_local_has_the_same_facts_and_pixels(self) -> None:
        """If `recognises_remote` says that the reader takes ranges of bytes; it is never asked for another file."""
        if not self.slide_path.is_file():
            pytest.skip("the slide is a folder: an address names one file")
        text = BytesAt(Address("test://host/text.svs"), b"This is not a slide.\n" * 40)
        assert self.built().recognises_remote(text) is False
        remote = BytesAt(Address(f"test://host/{self.slide_path.name}"), self.slide_path.read_bytes())
        reader = self.built()
        if not reader.recognises_remote(remote):
            pytest.skip("the reader takes local files only")
        with self.opened() as near, reader.open_remote(remote) as far:
            self._compare(near, far, remote.address)
        assert remote.is_closed, "the slide closes its file"

    def test_a_folder_that_is_not_local_has_the_same_facts_and_pixels(self) -> None:
        """If `recognises_remote_folder` says that the reader takes folders where they are."""
        reader = self.built()
        others = FilesAt(Address("test://host/notes"), {"notes.txt": b"This is not a slide."})
        assert reader.recognises_remote_folder(others) is False
        if not self.slide_path.is_dir():
            pytest.skip("the slide is a file")
        remote = FilesAt.of(Address(f"test://host/{self.slide_path.name}"), self.slide_path)
        if not reader.recognises_remote_folder(remote):
            pytest.skip("the reader takes local folders only")
        with self.opened() as near, reader.open_remote_folder(remote) as far:
            assert far.identity, "what tells whether the slide has changed"
            self._compare(near, far, remote.address)
        assert remote.is_closed, "the slide closes its folder"

    @staticmethod
    def _compare(near: Slide, far: Slide, address: Address) -> None:
        assert far.info == attrs.evolve(near.info, path=address)
        for level, stored in enumerate(near.info.levels):
            size = Size(min(500, stored.size.width), min(400, stored.size.height))
            here = Point((stored.size.width - size.width) // 2, (stored.size.height - size.height) // 2)
            assert np.array_equal(near.read(here, level, size), far.read(here, level, size))

    def test_pixels_have_the_size_asked_for(self) -> None:
        """(height, width, 3) uint8, at every level."""
        with self.opened() as slide:
            for level in range(len(slide.info.levels)):
                rgb = slide.read(Point(3, 5), level, Size(31, 17))
                assert rgb.shape == (17, 31, 3)
                assert rgb.dtype == np.uint8

    def test_a_part_equals_the_crop_of_a_larger_read(self) -> None:
        """At every level, including across the tiles of the file."""
        with self.opened() as slide:
            for level, stored in enumerate(slide.info.levels):
                middle = Point(max(stored.size.width // 2 - 150, 0), max(stored.size.height // 2 - 150, 0))
                large = slide.read(middle, level, Size(300, 300))
                for x, y, width, height in ((0, 0, 300, 120), (1, 2, 33, 21), (119, 83, 150, 211), (299, 299, 1, 1)):
                    part = slide.read(Point(middle.x + x, middle.y + y), level, Size(width, height))
                    assert np.array_equal(part, large[y : y + height, x : x + width]), f"level {level} at {x}, {y}"

    def test_outside_the_slide_is_background(self) -> None:
        """On every side of every level; inside, the pixels are those of a read that stays inside."""
        with self.opened() as slide:
            for level, stored in enumerate(slide.info.levels):
                width, height = stored.size.width, stored.size.height
                for far in (Point(-50, 0), Point(0, -50), Point(width, 0), Point(0, height), Point(-(10**6), 10**6)):
                    rgb = slide.read(far, level, Size(40, 30))
                    assert rgb.shape == (30, 40, 3), f"level {level} at {far}: {rgb.shape}, cut instead of filled up"
                    assert_background(slide, rgb, f"level {level} at {far}")
                inside = slide.read(Point(0, 0), level, Size(min(16, width), min(16, height)))
                corner = slide.read(Point(-7, -9), level, Size(16, 16))
                assert_background(slide, corner[:9], f"level {level}, above")
                assert_background(slide, corner[:, :7], f"level {level}, left")
                assert np.array_equal(corner[9:, 7:], inside[:7, :9])
                corner = slide.read(Point(width - 5, height - 3), level, Size(16, 16))
                assert corner.shape == (16, 16, 3), f"level {level}: {corner.shape}, cut instead of filled up"
                assert_background(slide, corner[3:], f"level {level}, below")
                assert_background(slide, corner[:, 5:], f"level {level}, right")

    def test_many_places_at_once_are_as_good_as_one_by_one(self) -> None:
        """`read_many` equals `read`, for neighbours, repeats and areas outside."""
        with self.opened() as slide:
            for level, stored in enumerate(slide.info.levels):
                x, y = stored.size.width // 2, stored.size.height // 2
                places = [Point(x + dx, y + dy) for dx, dy in ((0, 0), (40, 0), (13, 29), (0, 0), (-60, 3))]
                places += [Point(-200, -200), Point(stored.size.width - 5, stored.size.height - 5)]
                for place, rgb in zip(places, slide.read_many(places, level, Size(50, 40)), strict=True):
                    assert not isinstance(rgb, SlideError)
                    assert np.array_equal(rgb, slide.read(place, level, Size(50, 40))), f"level {level} at {place}"

    def test_levels_show_the_same_picture(self) -> None:
        """A level is a reduced level 0: not shifted, mirrored, or with other colours."""
        with self.opened() as slide:
            whole = slide.info.size
            side = min(whole.width, whole.height, 2048)
            box = Box((whole.width - side) // 2, (whole.height - side) // 2, side, side)
            size = Size(max(1, side // 32), max(1, side // 32))
            truth = slide.read_at(box, size, level=0).astype(np.float64)
            for level in range(1, len(slide.info.levels)):
                if slide.info.levels[level].downsample <= side / size.width * 1.01:
                    gap = float(np.abs(slide.read_at(box, size, level=level) - truth).mean())
                    assert gap <= self.level_tolerance, f"level {level} differs by {gap:.1f} grey levels on average"

    def test_threads_read_the_same_pixels(self) -> None:
        """Several threads share one slide, unless it says `thread_safe = False`."""
        with self.opened() as slide:
            if not slide.thread_safe:
                pytest.skip("the slide says thread_safe = False, so the core reads it under a lock")
            places = sample_places(slide, 0)[:24]
            alone = [slide.read(place, 0, Size(128, 128)) for place in places]
            with ThreadPoolExecutor(4) as pool:
                together = list(pool.map(lambda place: slide.read(place, 0, Size(128, 128)), places))
        for place, one, other in zip(places, alone, together, strict=True):
            assert np.array_equal(one, other), f"at {place}"

    def test_a_slide_can_be_opened_twice(self) -> None:
        """Closing one does not affect the other."""
        with self.opened() as first:
            with self.opened() as second:
                pixels = second.read(Point(0, 0), 0, Size(20, 20))
                assert second.info == first.info
            assert np.array_equal(first.read(Point(0, 0), 0, Size(20, 20)), pixels)


def assert_background(slide: Slide, rgb: Rgb, where: str) -> None:
    """Fails unless every pixel is the slide's background."""
    assert (rgb == np.array(slide.info.background, np.uint8)).all(), f"{where}: not {slide.info.background}"


def sample_places(slide: Slide, level: int) -> list[Point]:
    """Positions all over a level, including the far corner."""
    size = slide.info.levels[level].size
    xs = np.linspace(0, max(size.width - 128, 0), _PLACES).astype(int)
    ys = np.linspace(0, max(size.height - 128, 0), _PLACES).astype(int)
    return [Point(int(x), int(y)) for y in ys for x in xs]


def read_all_over(slide: Slide) -> None:
    """Read at positions all over every level; raises the first SlideError."""
    for level in range(len(slide.info.levels)):
        for rgb in slide.read_many(sample_places(slide, level), level, Size(128, 128)):
            if isinstance(rgb, SlideError):
                raise rgb
