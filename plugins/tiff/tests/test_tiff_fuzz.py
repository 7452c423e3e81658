"""Thousands of damaged files: each is refused, or its tiles are unreadable or what another decoder makes of them."""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slideloom import Point, Rgb, Size, Slide, SlideError
from slideloom_formats.tiff import read_tiff_directories
from slideloom_tiff.settings import TiffReader

FILES = 250  # of each kind
TILE = 64
MORE_MEMORY = 300 << 20  # that a process may take for all that its files claim
LARGEST_PX = 4_000_000  # of a level that is compared; a larger one is a damaged number


@pytest.mark.skipif(sys.platform != "linux", reason="address space is counted as Linux does")
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_a_changed_file_is_right_unreadable_or_refused_and_takes_little_memory(
    write_tiff: Any, level: Any, picture: Rgb, tmp_path: Path, order: str, big: bool
) -> None:
    description = "Aperio Image Library\r\n200x150|MPP = 0.5|AppMag = 20"
    levels = [level(picture, rgb_photometric=True, description=description), level(picture[::2, ::2].copy())]
    whole = write_tiff(levels, order=order, big=big)

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        found = alone.submit(fuzzed, whole, tmp_path / "changed.tif", seed=1 + 2 * big + (order == ">")).result()

    assert found["wrong"] == 0
    # The campaign is worth nothing where all is refused, or nothing damaged.
    assert min(found["right"], found["refused"], found["unreadable"]) >= FILES / 10


def fuzzed(whole: Path, path: Path, *, seed: int) -> Counter[str]:
    """What became of files with changed bytes, and of their tiles. Run in a process of its own."""
    found = outcome(whole)  # also imports all there is, before memory is limited
    assert set(found) == {"right"}
    limit_memory()
    rng = np.random.default_rng(seed)
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
    """How many tiles of a file are right, wrong or unreadable, or that it was refused."""
    reader = TiffReader().build()
    is_recognised = reader.recognises(path)
    try:
        slide = reader.open(path)
    except SlideError:
        return Counter(["refused"])
    with slide:
        found = Counter([] if is_recognised else ["wrong"])
        for number in range(len(slide.info.levels)):
            found += compared(slide, number)
    return found


def limit_memory() -> None:
    """This process may take as much address space as it has, and `MORE_MEMORY`."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def compared(slide: Slide, number: int) -> Counter[str]:
    """How many tiles of a level are right, wrong or unreadable, or cannot be judged."""
    size = slide.info.levels[number].size
    if size.area > LARGEST_PX:
        return Counter(["too large"])
    expected = decoded(slide.info.path, size)
    found: Counter[str] = Counter()
    for y in range(0, size.height, TILE):
        for x in range(0, size.width, TILE):
            part = Size(min(TILE, size.width - x), min(TILE, size.height - y))
            try:
                tile = slide.read(Point(x, y), number, part)
            except SlideError:
                found["unreadable"] += 1
                continue
            if expected is None:
                found["not judged"] += 1
            else:
                same = np.array_equal(tile, expected[y : y + part.height, x : x + part.width])
                found["right" if same else "wrong"] += 1
    return found


def decoded(path: Path, size: Size) -> Rgb | None:
    """The image of this size as tifffile decodes it, None if it does not."""
    import tifffile

    wanted = size.width, size.height
    try:
        with tifffile.TiffFile(path) as tiff:
            page = next(page for page in tiff.pages if (page.imagewidth, page.imagelength) == wanted)
            # Tiles without bytes are background, which is white here and black there.
            pixels: Rgb | None = page.asarray() if all(page.databytecounts) else None
    except Exception:  # whatever it meets in a damaged file
        return None
    return pixels
