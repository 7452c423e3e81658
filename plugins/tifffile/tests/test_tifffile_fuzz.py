"""Hundreds of damaged files: each is refused, or its areas are read or unreadable, and none takes the process along."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from slideloom import Point, Rgb, Size, Slide, SlideError
from slideloom_formats.tiff import read_tiff_directories
from slideloom_tifffile import TifffileReader

FILES = 150  # of each kind
MORE_MEMORY = 600 << 20  # that a process may take for all that its files claim
SIDE = 64
KINDS: dict[str, dict[str, Any]] = {
    "LZMA": {"compression": "lzma", "predictor": True},
    "Zstandard": {"compression": "zstd"},
    "LERC": {"compression": "lerc"},
    "PNG": {"compression": "png"},
    "JPEG": {"compression": "jpeg"},
    "JPEG XL": {"compression": "jpegxl", "compressionargs": {"lossless": True}},
    "JPEG 2000": {"compression": "jpeg2000", "compressionargs": {"level": 0}},
    "OME": {"compression": "lzma", "metadata": {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}},
}
CHECKED = ("LZMA", "LERC", "PNG")  # codecs that find any change of their bytes


def picture() -> Rgb:
    return np.random.default_rng(5).integers(0, 256, (150, 200, 3), dtype=np.uint8)


def written(path: Path, kind: str) -> Path:
    how = {"tile": (SIDE, SIDE), "photometric": "rgb", "metadata": None, **KINDS[kind]}
    with tifffile.TiffWriter(path, ome=kind == "OME") as tiff:
        tiff.write(picture(), subifds=1, **how)
        tiff.write(picture()[::2, ::2], subfiletype=1, **{**how, "metadata": None})
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="address space is counted as Linux does")
@pytest.mark.parametrize("kind", KINDS)
def test_changed_directories_are_refused_or_read_and_take_little_memory(tmp_path: Path, kind: str) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        found = alone.submit(fuzzed, written(tmp_path / "a.tif", kind), tmp_path / "changed.tif").result()

    assert set(found) <= {"refused", "read", "unreadable"}
    # The campaign is worth nothing where all is refused, or nothing damaged.
    assert min(found["refused"], found["read"]) >= FILES / 10


def fuzzed(whole: Path, path: Path) -> Counter[str]:
    """What became of files with changed bytes in their directories. Run in a process of its own."""
    found = outcome(whole)  # also imports all there is, before memory is limited
    assert set(found) == {"read"}
    limit_memory()
    rng = np.random.default_rng(len(whole.read_bytes()))
    original = whole.read_bytes()
    headers = [*range(2, 16)]
    for image in read_tiff_directories(whole):
        headers.extend(range(image.at, image.next_at + 4))
    for _ in range(FILES):
        content = bytearray(original)
        for _ in range(rng.integers(1, 4)):
            content[rng.choice(headers) if rng.random() < 0.7 else rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(bytes(content))
        found += outcome(path)
    return found


def outcome(path: Path) -> Counter[str]:
    """How many areas of a file are read or unreadable, or that it was refused; anything else is raised."""
    reader = TifffileReader().build()
    reader.recognises(path)
    reader.refusal(path)
    try:
        slide = reader.open(path)
    except SlideError:
        return Counter(["refused"])
    with slide:
        return Counter(kind for level in range(len(slide.info.levels)) for kind in areas(slide, level))


def areas(slide: Slide, level: int) -> list[str]:
    found = []
    for x, y in ((0, 0), (SIDE, SIDE), (SIDE // 2, SIDE + 10)):
        try:
            slide.read(Point(x, y), level, Size(SIDE, SIDE))
        except SlideError:
            found.append("unreadable")
        else:
            found.append("read")
    return found


def limit_memory() -> None:
    """This process may take as much address space as it has, and `MORE_MEMORY`."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@pytest.mark.parametrize("kind", CHECKED)
def test_a_changed_byte_of_a_tile_makes_it_unreadable_and_never_wrong(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "a.tif", kind)
    original, rng = path.read_bytes(), np.random.default_rng(11)
    with tifffile.TiffFile(path) as tiff:
        offset, length = tiff.pages[0].dataoffsets[1], tiff.pages[0].databytecounts[1]  # type: ignore[union-attr]
    found: Counter[str] = Counter()
    for _ in range(FILES):
        content = bytearray(original)
        content[offset + rng.integers(length)] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(content))
        with TifffileReader().build().open(path) as slide:
            assert np.array_equal(slide.read(Point(0, 0), 0, Size(SIDE, SIDE)), picture()[:SIDE, :SIDE])
            try:
                tile = slide.read(Point(SIDE, 0), 0, Size(SIDE, SIDE))
            except SlideError:
                found["unreadable"] += 1
            else:
                found["right" if np.array_equal(tile, picture()[:SIDE, SIDE : 2 * SIDE]) else "wrong"] += 1

    assert found["wrong"] == 0
    assert found["unreadable"] > FILES / 2
