"""A damaged width or height of a TIFF is found by what else the file says, and the file is refused."""

from __future__ import annotations

import lzma
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from slideloom import MissingResolution, Rgb, SlideError, Slides, open_slide
from slideloom_formats.tiff import tiff_obstacle
from slideloom_formats.tiff.strip_lengths import lzma_bytes, lzw_bytes, packbits_bytes

TILES: dict[str, Any] = {"tile": (64, 64)}
STRIPS: dict[str, Any] = {"rowsperstrip": 32}
WHOLE: dict[str, Any] = {"rowsperstrip": 220}


def picture() -> Rgb:
    y, x = np.mgrid[:220, :300]
    return np.stack([x * 255 // 300, y * 255 // 220, (x + y) % 256], axis=-1).astype(np.uint8)


def write(path: Path, *, compression: str | None, levels: int = 1, description: str = "", **layout: Any) -> Path:
    with tifffile.TiffWriter(path) as file:
        for level in range(levels):
            about = {"subfiletype": 1} if level else {"description": description or None}
            shown = np.ascontiguousarray(picture()[:: 1 << level, :: 1 << level])
            file.write(shown, photometric="rgb", compression=compression, metadata=None, **about, **layout)
    return path


def set_tag(path: Path, tag: str, value: int) -> Path:
    """Change a number of the first directory in place, as one damaged byte does."""
    with tifffile.TiffFile(path) as file:
        found: Any = file.pages[0].tags[tag]  # type: ignore[union-attr]
        form, at = {3: "<H", 4: "<I"}[found.dtype], found.valueoffset
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, at, value)
    path.write_bytes(content)
    return path


def refusals(path: Path) -> set[str]:
    """What each reader says; "" of one that shows the file."""
    found = set()
    for reader in ("tiff", "openslide", "vips", "tifffile"):
        try:
            open_slide(path, slides=Slides(reader=reader), mpp=1.0).close()
            found.add("")
        except SlideError as error:
            found.add(str(error))
    return found


@pytest.mark.parametrize("compression", [None, "zlib", "jpeg", "lzw"])
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize(("tag", "value"), [("ImageWidth", 100), ("ImageWidth", 230), ("ImageLength", 100)])
def test_a_size_that_takes_other_tiles_is_refused_by_every_reader(
    tmp_path: Path, compression: str | None, levels: int, tag: str, value: int
) -> None:
    path = write(tmp_path / "a.tif", compression=compression, levels=levels, **TILES)
    assert tiff_obstacle(path) is None

    set_tag(path, tag, value)

    assert "" not in refusals(path)
    assert "tiles, and it has 20; the file is damaged: copy it again" in (tiff_obstacle(path) or "")


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "lzma"])
@pytest.mark.parametrize("layout", [STRIPS, WHOLE], ids=["strips", "one strip"])
@pytest.mark.parametrize(("tag", "value"), [("ImageWidth", 299), ("ImageWidth", 100), ("ImageLength", 100)])
def test_rows_are_never_shown_sheared_or_cut(
    tmp_path: Path, compression: str | None, layout: dict[str, Any], tag: str, value: int
) -> None:
    path = set_tag(write(tmp_path / "a.tif", compression=compression, **layout), tag, value)

    shown = []
    for reader in ("vips", "tifffile"):
        try:
            with open_slide(path, slides=Slides(reader=reader), mpp=1.0) as slide:
                shown.append(slide.read_at(slide.info.box, slide.info.size))
        except SlideError:
            continue

    assert shown == []


@pytest.mark.parametrize("compression", ["zlib", "jpeg"])
def test_a_smaller_level_in_strips_is_not_taken_for_the_slide(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path / "a.tif", compression=compression, levels=2, **STRIPS)
    assert tiff_obstacle(path) is None

    set_tag(path, "ImageWidth", 50)

    assert "another one made smaller" in (tiff_obstacle(path) or "")
    assert "" not in refusals(path)


def test_an_image_without_a_size_is_not_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", compression="zlib", levels=2, **TILES)
    with tifffile.TiffFile(path) as file:
        at: int = file.pages[0].tags["ImageWidth"].offset  # type: ignore[union-attr]
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, at, 40_000)  # another tag, which nobody knows
    path.write_bytes(content)

    assert "has 20 tiles, and no size" in (tiff_obstacle(path) or "")
    assert "" not in refusals(path)


APERIO = "Aperio Image Library v12\r\n{words} (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5"


@pytest.mark.parametrize("words", ["300x220", "320x240 [0,10 300x220]", "320x240 [0,10,300x220]"])
def test_the_size_in_the_description_of_an_svs_must_be_that_of_its_directory(tmp_path: Path, words: str) -> None:
    path = write(tmp_path / "a.svs", compression="jpeg", levels=2, description=APERIO.format(words=words), **TILES)
    assert tiff_obstacle(path) is None
    assert "" in refusals(path)

    set_tag(path, "ImageWidth", 290)  # as many tiles

    assert "says 290 x 220 pixels, and its description 300 x 220" in (tiff_obstacle(path) or "")
    assert "" not in refusals(path)


@pytest.mark.parametrize("words", ["46000x32914", "290x215", "299x219", "310x230", "220x300"])
@pytest.mark.parametrize("levels", [1, 3])
def test_a_part_of_an_svs_or_one_of_another_size_may_keep_its_description(
    tmp_path: Path, words: str, levels: int
) -> None:
    description = APERIO.format(words=words)
    path = write(tmp_path / "a.svs", compression="jpeg", levels=levels, description=description, **TILES)

    assert tiff_obstacle(path) is None
    assert "" in refusals(path)


def test_an_svs_that_its_writer_padded_to_whole_tiles_keeps_its_description(tmp_path: Path) -> None:
    path = write(tmp_path / "a.svs", compression="jpeg", description=APERIO.format(words="300x220"), **TILES)
    set_tag(set_tag(path, "ImageWidth", 320), "ImageLength", 256)

    assert tiff_obstacle(path) is None


@pytest.mark.parametrize("reader", ["tiff", "openslide", "vips", "tifffile"])
def test_a_resolution_tag_of_zero_is_shown_as_it_was_found(tmp_path: Path, reader: str) -> None:
    compression = "jpeg" if reader == "tiff" else "zlib"
    path = write(tmp_path / "a.tif", compression=compression, resolution=(0, 0), resolutionunit="CENTIMETER", **TILES)

    with pytest.raises(MissingResolution, match=r"it says XResolution = 0, YResolution = 0"):
        open_slide(path, slides=Slides(reader=reader))


@pytest.mark.parametrize("values", [1, 4, 256])
@pytest.mark.parametrize("size", [1, 255, 5000, 70_000])
def test_bytes_that_a_strip_decodes_to_are_counted(values: int, size: int) -> None:
    content = np.random.default_rng(size).integers(0, values, size, np.uint8).tobytes()

    assert lzw_bytes(bytes(imagecodecs.lzw_encode(content)), size) == size
    assert packbits_bytes(bytes(imagecodecs.packbits_encode(content)), size) == size
    assert lzma_bytes(lzma.compress(content), size) == size
    assert lzma_bytes(lzma.compress(content), size - 1) == size
