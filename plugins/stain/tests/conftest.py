"""Fixtures of the stain plugin's tests: the textbook, and real tiles."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

SIDE = 299


@pytest.fixture(scope="session")
def textbook() -> ModuleType:
    """The methods as their papers say them, in float64."""
    spec = spec_from_file_location("stain_textbook", Path(__file__).parent / "textbook.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read_rgb(path: Path) -> np.ndarray:
    """An image file, (h, w, 3) uint8."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope="session")
def stain_images(real_data: Path) -> dict[str, np.ndarray]:
    """`stain_source.png` and `stain_target.png`, whole."""
    return {name: read_rgb(real_data / f"stain_{name}.png") for name in ("source", "target")}


@pytest.fixture(scope="session")
def real_tiles(real_data: Path, stain_images: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Tiles of 299 pixels with tissue: of both sample images and of both slides."""
    tifffile = pytest.importorskip("tifffile")
    tiles = [image[:SIDE, :SIDE].copy() for image in stain_images.values()]
    places = {
        "cmu-1-small-region.svs": [(900, 300), (900, 2300), (1350, 2300)],
        "tcga-cr-7395-01a-01-ts1.svs": [(450, 2300), (1350, 1500), (2250, 300), (3150, 300)],
    }
    for name, corners in places.items():
        pixels = tifffile.imread(real_data / name, series=0)
        tiles.extend(pixels[y : y + SIDE, x : x + SIDE, :3].copy() for x, y in corners)
    return tiles
