"""The whole command on TIFFs that only this reader takes: the tiles are those pixels, and damage is counted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

UM = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
SIDE = 100


def picture() -> NDArray[np.uint8]:
    """400 x 300 pixels of colours that no filter takes for background."""
    y, x = np.mgrid[:300, :400]
    smooth = np.stack([x * 100 // 400 + 60, y * 60 // 300, (x + y) * 100 // 700 + 60], -1)
    return (smooth + np.random.default_rng(7).integers(0, 50, (300, 400, 3))).astype(np.uint8)


def write(path: Path, pixels: NDArray[Any], **how: Any) -> None:
    options = {"tile": (64, 64), "photometric": "rgb", "metadata": {"axes": "YXS", **UM}, **how}
    tifffile.imwrite(path, pixels, ome=True, **options)


CHANNELS = {"axes": "CYX", **UM, "Channel": {"Name": ["R", "G", "B"]}}
KINDS: dict[str, Callable[[Path], None]] = {
    "jpeg2000": lambda path: write(path, picture(), compression="jpeg2000", compressionargs={"level": 0}),
    "jpegxl": lambda path: write(path, picture(), compression="jpegxl", compressionargs={"lossless": True}),
    "lerc": lambda path: write(path, picture(), compression="lerc"),
    "lzma": lambda path: write(path, picture(), compression="lzma", tile=None, rowsperstrip=40),
    "png": lambda path: write(path, picture(), compression="png"),
    "planes": lambda path: write(
        path, picture().transpose(2, 0, 1), planarconfig="separate", metadata={"axes": "SYX", **UM}, compression="lzma"
    ),
    "channels": lambda path: write(
        path, picture().transpose(2, 0, 1), photometric="minisblack", metadata=CHANNELS, compression="zlib"
    ),
    "twelve": lambda path: write(
        path,
        picture().astype(np.uint16) * 16,
        compression="zlib",
        metadata={"axes": "YXS", **UM, "SignificantBits": 12},
    ),
}


def slideloom(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slideloom", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slides")
    for name, make in KINDS.items():
        make(folder / f"{name}.ome.tif")
    return folder


def test_extract_writes_the_pixels_that_were_encoded(slides: Path, tmp_path: Path) -> None:
    done = slideloom(
        "extract", slides, "--out", tmp_path, "--tile-px", SIDE, "--tile-um", SIDE // 2, "--sink", "images:format=png",
        "--filter", "whitespace", "--json",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {slide["slide"]: (slide["written"], slide["reader"]) for slide in report["slides"]} == dict.fromkeys(
        KINDS, (12, "tifffile")
    )
    for name in KINDS:
        expected = picture()
        if name == "twelve":
            expected = np.rint(picture() * 16.0 * 255 / 4095).astype(np.uint8)
        tiles = sorted(tmp_path.rglob(f"{name}/*.png"))
        assert len(tiles) == 12
        for tile in tiles:
            x, y = (int(word) - SIDE // 2 for word in tile.stem.split("-")[-2:])
            rgb = cv2.imread(str(tile))[..., ::-1]
            assert np.array_equal(rgb, expected[y : y + SIDE, x : x + SIDE]), tile


def test_info_says_what_it_is_and_how_it_is_shown(slides: Path) -> None:
    done = slideloom("info", slides, "--json")

    assert done.returncode == 0
    assert done.stderr.strip() == ""
    facts = {each["slide"]: each for each in json.loads(done.stdout)}
    assert {name: facts[name]["mpp"] for name in KINDS} == dict.fromkeys(
        KINDS, "0.5 x 0.5 um per pixel, from OME PhysicalSizeX/Y"
    )
    assert facts["twelve"]["pixels"] == "shown as RGB: 16-bit samples from 0 to 4095, as 0 to 255"
    assert "pixels" not in facts["lzma"]


def test_the_tiles_of_a_damaged_segment_are_counted_as_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    KINDS["jpeg2000"](path)
    with tifffile.TiffFile(path) as tiff:
        offset, length = tiff.pages[0].dataoffsets[0], tiff.pages[0].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[offset + length // 2 : offset + length] = bytes(length - length // 2)
    path.write_bytes(bytes(content))

    done = slideloom(
        "extract", path, "--out", tmp_path / "out", "--tile-px", SIDE, "--tile-um", SIDE // 2, "--json",
        "--filter", "whitespace",
    )  # fmt: skip

    (slide,) = json.loads(done.stdout)["slides"]
    assert (slide["written"], slide["unreadable"]) == (11, 1)
