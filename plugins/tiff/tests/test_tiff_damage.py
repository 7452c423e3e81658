"""Damaged, foreign and hostile files: an error that names the file, or another reader; never a crash."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from slideloom import Box, Point, Rgb, Size, SlideError, Slides, UnsupportedSlide, open_slide
from slideloom_tiff.settings import TiffReader


@pytest.fixture
def reader() -> Any:  # Any: a Reader
    return TiffReader().build()


def test_a_damaged_tile_is_unreadable_and_named_and_its_neighbours_are_read(
    write_tiff: Any, level: Any, picture: Rgb, reader: Any
) -> None:
    path = write_tiff([level(picture, damaged=(1,))])
    boxes = [Box(0, 0, 60, 60), Box(70, 0, 50, 50), Box(140, 70, 50, 50)]

    with reader.open(path) as slide:
        results = slide.read_many([Point(0, 0), Point(60, 0), Point(130, 70)], 0, Size(60, 60))
        tiles = slide.try_read_boxes(boxes, Size(50, 50), level=0)
        again = slide.try_read_boxes(boxes, Size(50, 50), level=0)

    assert [isinstance(result, SlideError) for result in results] == [False, True, False]
    for found in (tiles, again):
        assert [isinstance(result, SlideError) for result in found] == [False, True, False]
    assert "a.tif: tile 1 of level 0 is damaged" in str(results[1])
    assert "copy the slide again" in str(results[1])


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="pieces of a file are read in another way")
def test_a_disk_that_fails_is_no_damage_of_the_slide(
    write_tiff: Any, level: Any, picture: Rgb, reader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with reader.open(write_tiff([level(picture)])) as slide:
        monkeypatch.setattr(os, "preadv", fails)
        with pytest.raises(SlideError) as told:
            slide.read(Point(0, 0), 0, Size(10, 10))

    assert "a.tif: tile 0 of level 0 cannot be read (Input/output error); check the disk or network" in str(told.value)
    assert "copy the slide again" not in str(told.value)


def test_a_tile_of_another_size_is_damaged(write_tiff: Any, level: Any, picture: Rgb, reader: Any) -> None:
    path = write_tiff([level(picture)])
    content = bytearray(path.read_bytes())
    start = content.find(b"\xff\xc0")  # start of frame: length, precision, height, width
    content[start + 5 : start + 9] = struct.pack(">HH", 32, 32)
    path.write_bytes(bytes(content))

    with reader.open(path) as slide, pytest.raises(SlideError, match=r"tile 0 of level 0 is damaged .it holds 32 x 32"):
        slide.read(Point(0, 0), 0, Size(10, 10))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.999])
def test_a_file_cut_short_is_refused_or_its_missing_tiles_are_named(
    write_tiff: Any, level: Any, picture: Rgb, share: float
) -> None:
    path = write_tiff([level(picture)])  # the directory is at the end
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])

    assert not TiffReader().build().recognises(path)
    with pytest.raises(SlideError, match=r"a\.tif"):
        TiffReader().build().open(path)
    with pytest.raises((SlideError, UnsupportedSlide), match=r"a\.tif.*(copy it again|complete)"):
        open_slide(path)


def test_a_closed_slide_gives_an_error(write_tiff: Any, level: Any, picture: Rgb, reader: Any) -> None:
    slide = reader.open(write_tiff([level(picture)]))
    slide.close()
    with pytest.raises(SlideError, match=r"a\.tif"):
        slide.read(Point(0, 0), 0, Size(10, 10))


def test_other_compressions_and_vendors_are_left_to_other_readers(
    write_tiff: Any, level: Any, picture: Rgb, reader: Any, tmp_path: Path
) -> None:
    import pyvips

    others = [
        write_tiff([level(picture, compression=5)], "lzw-tag.tif"),
        write_tiff([level(picture, compression=33005)], "jpeg2000-tag.svs"),
        write_tiff([level(picture, description='<?xml version="1.0"?><OME/>')], "ome.tif"),
        write_tiff([level(picture, tags=((65420, 4, (1,)),))], "hamamatsu.ndpi"),
        write_tiff([level(picture, tags=((330, 4, (8,)),))], "sub-images.tif"),
        write_tiff([level(picture, tags=((305, 2, b"Philips DP v1.0\0"),))], "philips.tif"),
    ]
    image = pyvips.Image.new_from_array(picture)
    for compression in ("lzw", "deflate", "none"):
        others.append(tmp_path / f"{compression}.tif")
        image.tiffsave(str(others[-1]), tile=True, compression=compression)
    others.append(tmp_path / "strips.tif")
    image.tiffsave(str(others[-1]), compression="jpeg")

    assert [path.name for path in others if reader.recognises(path)] == []


def test_pixels_of_other_compressions_come_from_other_readers(picture: Rgb, tmp_path: Path) -> None:
    import pyvips

    for compression in ("lzw", "deflate"):
        path = tmp_path / f"{compression}.tif"
        image = pyvips.Image.new_from_array(picture)
        image.tiffsave(str(path), tile=True, compression=compression, xres=2000, yres=2000, resunit="cm")
        with open_slide(path) as slide:
            assert slide.info.reader in {"openslide", "vips"}
            assert np.array_equal(slide.read(Point(0, 0), 0, Size(200, 150)), picture)


def test_a_real_slide_of_another_kind_goes_to_openslide(real_data: Path) -> None:
    path = real_data / "tcga-cr-7395-01a-01-ts1.svs"
    tiff = TiffReader().build()
    with open_slide(path, mpp=0.25) as slide:
        assert slide.info.reader == ("tiff" if tiff.recognises(path) else "openslide")
    with open_slide(path, mpp=0.25, slides=Slides(reader="openslide")) as slide:
        assert slide.read(Point(0, 0), 0, Size(64, 64)).shape == (64, 64, 3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    import pyvips

    path = tmp_path_factory.mktemp("hostile") / "a.tif"
    noise = np.random.default_rng(3).integers(0, 255, (300, 260, 3)).astype(np.uint8)
    pyvips.Image.new_from_array(noise).tiffsave(
        str(path), tile=True, tile_width=64, tile_height=64, compression="jpeg", pyramid=True
    )
    return path, path.read_bytes()


class TestHostileHeaders:
    """Numbers that make no sense."""

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(choice=st.data())
    def test_changed_bytes_give_a_slide_error_or_pixels(self, whole: tuple[Path, bytes], choice: st.DataObject) -> None:
        path, content = whole
        changed = bytearray(content)
        headers = self._header_places(path)
        for _ in range(choice.draw(st.integers(1, 4))):
            changed[choice.draw(st.sampled_from(headers))] = choice.draw(st.integers(0, 255))
        target = path.with_name("changed.tif")
        target.write_bytes(bytes(changed))

        reader = TiffReader().build()
        if not reader.recognises(target):
            with pytest.raises(SlideError, match=r"changed\.tif"):
                reader.open(target)
            return
        with reader.open(target) as slide:
            for number in range(len(slide.info.levels)):
                (found,) = slide.read_many([Point(0, 0)], number, Size(70, 70))
                assert "changed.tif" in str(found) if isinstance(found, SlideError) else found.shape == (70, 70, 3)

    def _header_places(self, path: Path) -> list[int]:
        """Bytes of the file's head and of every directory."""
        content = path.read_bytes()
        places = [*range(8)]
        (at,) = struct.unpack("<I", content[4:8])
        while at:
            (count,) = struct.unpack("<H", content[at : at + 2])
            end = at + 2 + 12 * count + 4
            places.extend(range(at, end))
            (at,) = struct.unpack("<I", content[end - 4 : end])
        return places

    @pytest.mark.parametrize(
        "content", [b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0\x2b" + bytes(12), b"II\x07\0" + bytes(20)]
    )
    def test_a_head_alone_is_no_slide(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "a.tif"
        path.write_bytes(content)
        assert not TiffReader().build().recognises(path)
        with pytest.raises(SlideError, match=r"a\.tif"):
            TiffReader().build().open(path)


@pytest.mark.parametrize(
    ("marker", "bits", "is_recognised"),
    [(0xC0, 8, True), (0xC2, 8, True), (0xC3, 8, False), (0xC9, 8, False), (0xC1, 12, False)],
    ids=["baseline", "progressive", "lossless", "arithmetic", "12 bits"],
)
def test_a_jpeg_process_that_is_not_decoded_is_left_to_other_readers(
    write_tiff: Any, level: Any, picture: Rgb, marker: int, bits: int, is_recognised: bool
) -> None:
    path = write_tiff([level(picture)])
    content = path.read_bytes()
    frame = b"\xff\xc0\x00\x11\x08"  # baseline, 8 bits
    assert frame in content
    path.write_bytes(content.replace(frame, bytes([0xFF, marker, 0, 0x11, bits])))

    assert TiffReader().build().recognises(path) == is_recognised
