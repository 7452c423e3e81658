"""A small slide whose glass, blur and tissue lie where tests know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import field, frozen
from numpy.typing import NDArray

GLASS, FLAT = slice(0, 1000), slice(1000, 1500)


@frozen
class MadeSlide:
    """A slide of 2000 x 1000 pixels of 1 micron, stored without loss.

    Its left half is glass, then follow 500 columns of one colour, which look out of focus, and 500 of sharp tissue.

    Attributes:
        path: the file, `made.tif`, alone in its folder.
        rgb: (1000, 2000, 3) uint8, all its pixels.
    """

    path: Path
    rgb: NDArray[np.uint8] = field(eq=False, repr=False)

    @property
    def folder(self) -> Path:
        return self.path.parent

    def tile(self, loc_x: int, loc_y: int, px: int = 100) -> NDArray[np.uint8]:
        """The pixels around a centre."""
        return self.rgb[loc_y - px // 2 : loc_y + px // 2, loc_x - px // 2 : loc_x + px // 2]


def pixels() -> NDArray[np.uint8]:
    rng = np.random.default_rng(7)
    rgb = np.full((1000, 2000, 3), 255, np.uint8)
    rgb[:, FLAT] = (225, 150, 195)
    cells = rng.integers(0, 2, (125, 63)).repeat(8, axis=0).repeat(8, axis=1)[:, :500]
    shade = rng.integers(-12, 13, (1000, 500, 3))
    tissue = np.where(cells[..., None], (120, 60, 140), (230, 150, 200)) + shade
    rgb[:, 1500:] = np.clip(tissue, 0, 255)
    return rgb


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeSlide:
    pyvips = pytest.importorskip("pyvips", reason="the slide is written with pyvips: pip install slideloom-vips")
    rgb = pixels()
    path = tmp_path_factory.mktemp("made") / "made.tif"
    image = pyvips.Image.new_from_array(rgb, interpretation="srgb")
    options = {"tile": True, "tile_width": 256, "tile_height": 256, "compression": "deflate"}
    image.tiffsave(str(path), xres=1000, yres=1000, resunit="cm", **options)  # pixels per millimetre
    return MadeSlide(path, rgb)


@pytest.fixture
def made(made_once: MadeSlide, tmp_path: Path) -> MadeSlide:
    """The slide, as a file of this test."""
    folder = tmp_path / "slides"
    folder.mkdir()
    path = folder / "made.tif"
    path.write_bytes(made_once.path.read_bytes())
    return MadeSlide(path, made_once.rgb)
