"""The reader's pixels are those of decoders that have nothing to do with tifffile and imagecodecs."""

from __future__ import annotations

import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from slideloom import Point, Rgb, Slides, open_slide
from slideloom_tifffile import TifffileReader

SIDE = 64


def picture() -> Rgb:
    """As much detail as a slide has; whole tiles."""
    y, x = np.mgrid[:192, :256]
    smooth = np.stack([x * 150 // 256, y * 150 // 192, (x + y) * 150 // 448], -1)
    return (smooth + np.random.default_rng(3).integers(0, 100, (192, 256, 3))).astype(np.uint8)


def write(path: Path, **how: Any) -> Path:
    tifffile.imwrite(path, picture(), **{"tile": (SIDE, SIDE), "photometric": "rgb", "metadata": None, **how})
    return path


def by_pillow(content: bytes) -> Rgb:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def by_standard_library(content: bytes) -> Rgb:
    return np.frombuffer(lzma.decompress(content), np.uint8).reshape(SIDE, SIDE, 3)


def by_libvips(content: bytes) -> Rgb:
    pyvips = pytest.importorskip("pyvips")
    if not pyvips.type_find("VipsForeignLoad", "jxlload_buffer"):
        pytest.skip("this libvips has no JPEG XL")
    return np.asarray(pyvips.Image.jxlload_buffer(content).numpy())


@pytest.mark.parametrize(
    ("how", "decode"),
    [
        ({"compression": "jpeg2000", "compressionargs": {"level": 0}}, by_pillow),
        ({"compression": "jpeg2000", "compressionargs": {"level": 50}}, by_pillow),
        ({"compression": 33005, "compressionargs": {"level": 50}}, by_pillow),
        ({"compression": "png"}, by_pillow),
        ({"compression": "webp", "compressionargs": {"lossless": True}}, by_pillow),
        ({"compression": "webp", "compressionargs": {"level": 80}}, by_pillow),
        ({"compression": "lzma"}, by_standard_library),
        ({"compression": "jpegxl", "compressionargs": {"lossless": True}}, by_libvips),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_each_tile_is_what_another_decoder_makes_of_its_bytes(
    tmp_path: Path, how: dict[str, Any], decode: Callable[[bytes], Rgb]
) -> None:
    path = write(tmp_path / "a.tif", **how)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        pieces = [content[at : at + size] for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)]

    with TifffileReader().build().open(path) as slide:
        whole = slide.read(Point(0, 0), 0, slide.info.size)

    for number, piece in enumerate(pieces):
        y, x = number // 4 * SIDE, number % 4 * SIDE
        assert np.array_equal(whole[y : y + SIDE, x : x + SIDE], decode(piece)), number


@pytest.mark.parametrize(
    ("reader", "how"),
    [
        ("openslide", {"compression": "zstd"}),
        ("openslide", {"compression": "zlib", "predictor": True}),
        ("openslide", {"compression": "lzw"}),
        ("openslide", {"compression": "packbits"}),
        ("tiff", {"compression": "jpeg", "compressionargs": {"level": 85}}),
        ("tiff", {"compression": "jpeg", "compressionargs": {"level": 85, "outcolorspace": "rgb"}}),
        ("vips", {"compression": "zlib", "tile": None, "rowsperstrip": 40}),
        ("vips", {"compression": "webp", "compressionargs": {"level": 80}}),
    ],
    ids=str,
)
def test_files_that_both_can_read_are_the_same_as_by_the_faster_reader(
    tmp_path: Path, reader: str, how: dict[str, Any]
) -> None:
    path = write(tmp_path / "a.tif", **how)

    with open_slide(path, mpp=0.5) as one, open_slide(path, mpp=0.5, slides=Slides(reader="tifffile")) as other:
        assert one.info.reader == reader
        assert np.array_equal(one.read(Point(0, 0), 0, one.info.size), other.read(Point(0, 0), 0, other.info.size))
