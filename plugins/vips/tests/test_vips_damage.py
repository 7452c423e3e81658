"""Damage that libvips shows as pixels: it stops where a tile is full, whatever comes behind."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from slideloom import Point, Rgb, Size, SlideError
from slideloom_vips import VipsReader

JPEG = {"compression": "jpeg"}
ZLIB = {"compression": "zlib"}


def picture() -> Rgb:
    """300 x 200 pixels with as much detail as a slide has."""
    y, x = np.mgrid[:200, :300]
    smooth = np.stack([x * 150 // 300, y * 150 // 200, (x + y) * 150 // 500], -1)
    return (smooth + np.random.default_rng(3).integers(0, 100, (200, 300, 3))).astype(np.uint8)


def write(path: Path, **how: Any) -> Path:
    """Level 0, and a level of half the size as a sub-image."""
    with tifffile.TiffWriter(path) as tiff:
        options = {"photometric": "rgb", "metadata": None, "tile": (64, 64), **how}
        tiff.write(picture(), subifds=1, **options)
        tiff.write(picture()[::2, ::2], subfiletype=1, **options)
    return path


def zeros_from_the_middle_of(path: Path, number: int, *, level: int = 0) -> None:
    """What an interrupted copy leaves of a tile or strip."""
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages[0] if level == 0 else tiff.pages[0].pages[level - 1]  # type: ignore[union-attr, index]
        offset, length = page.dataoffsets[number], page.databytecounts[number]
    content = bytearray(path.read_bytes())
    content[offset + length // 2 : offset + length] = bytes(length - length // 2)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("how", [ZLIB, {**ZLIB, "predictor": True}, JPEG], ids=["deflate", "predictor", "JPEG"])
@pytest.mark.parametrize("level", [0, 1])
def test_a_tile_that_ends_in_zeros_is_unreadable_and_the_others_are_as_before(
    tmp_path: Path, how: dict[str, Any], level: int
) -> None:
    path = write(tmp_path / "a.tif", **how)
    reader = VipsReader().build()
    with reader.open(path) as slide:
        before = slide.read(Point(0, 0), level, Size(64, 64)).copy()

    zeros_from_the_middle_of(path, 1, level=level)

    with reader.open(path) as slide:
        for _ in range(2):
            with pytest.raises(SlideError, match=r"a\.tif.*tile 1: its (deflate stream|JPEG).*copy it again"):
                slide.read(Point(70, 10), level, Size(20, 20))
            assert np.array_equal(slide.read(Point(0, 0), level, Size(64, 64)), before)


def test_a_strip_that_ends_in_zeros_makes_the_image_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, picture(), photometric="rgb", metadata=None, rowsperstrip=64, compression="zlib")
    reader = VipsReader().build()
    with reader.open(path) as slide:
        assert np.array_equal(slide.read(Point(0, 0), 0, Size(300, 200)), picture())

    zeros_from_the_middle_of(path, 3)  # the last one, which is shorter

    with reader.open(path) as slide, pytest.raises(SlideError, match=r"a\.tif.*strip 3: its deflate stream"):
        slide.read(Point(0, 0), 0, Size(20, 20))


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_picture_that_ends_in_zeros_is_unreadable(tmp_path: Path, progressive: bool) -> None:
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, "JPEG", quality=90, progressive=progressive)
    content = file.getvalue()
    path = tmp_path / "a.jpg"
    path.write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))

    with VipsReader().build().open(path) as slide, pytest.raises(SlideError, match=r"a\.jpg.*JPEG is damaged"):
        slide.read(Point(0, 0), 0, Size(20, 20))


@pytest.mark.parametrize("how", [{"photometric": "minisblack"}, {"photometric": "rgb"}], ids=["grey", "RGB"])
def test_whole_jpeg_tiles_of_every_colour_are_read(tmp_path: Path, how: dict[str, Any]) -> None:
    pixels = picture()[..., 0].copy() if how["photometric"] == "minisblack" else picture()
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), metadata=None, **how, **JPEG)
    expected = tifffile.imread(tmp_path / "a.tif")

    with VipsReader().build().open(tmp_path / "a.tif") as slide:
        found = slide.read(Point(0, 0), 0, Size(300, 200)).astype(int)

    assert np.abs(found - expected.reshape(200, 300, -1)).max() <= 3  # rounding between two decoders


def test_more_tile_lengths_than_the_file_has_room_for_are_damage(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        tag = page.tags["TileByteCounts"]
        at = tag.offset + 4  # of the number of values, behind the tag's code and type
    content = bytearray(path.read_bytes())
    content[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)

    with pytest.raises(SlideError, match=r"a\.tif: .*claims 4294967295 values.*damaged"):
        VipsReader().build().open(path)


def test_compressed_tiles_that_are_said_to_be_plain_are_unreadable(tmp_path: Path) -> None:
    """libtiff takes as many bytes as a tile needs, and shows those of other tiles as noise."""
    path = write(tmp_path / "a.tif", **ZLIB)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(1)  # type: ignore[union-attr]

    with (
        VipsReader().build().open(path) as slide,
        pytest.raises(SlideError, match=r"a\.tif.*tile 0: it has \d+ of 12288 bytes.*copy it again"),
    ):
        slide.read(Point(0, 0), 0, Size(64, 64))


@pytest.mark.parametrize("level", [0, 1])
def test_a_level_with_too_few_places_of_tiles_is_refused(tmp_path: Path, level: int) -> None:
    path = write(tmp_path / "a.tif", **JPEG)
    with tifffile.TiffFile(path, mode="r+b") as file:
        page: Any = file.pages[0] if level == 0 else file.pages[0].pages[0]  # type: ignore[union-attr, index]
        page.tags["ImageLength"].overwrite((260, 129)[level])
        if level:
            file.pages[0].tags["ImageLength"].overwrite(256)  # type: ignore[union-attr]

    with pytest.raises(SlideError, match=r"a\.tif: the image .* has \d+.*copy it again"):
        VipsReader().build().open(path)
