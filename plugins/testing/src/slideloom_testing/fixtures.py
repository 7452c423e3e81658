"""pytest fixtures for plugin authors; enable them with `pytest_plugins = ["slideloom_testing.fixtures"]`.

This line belongs in the top-level conftest.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attrs import frozen
from slideloom.base.geometry import Size
from slideloom.slides.tiles import TileBatch

from slideloom_testing.slides import AnalyticSlide, write_analytic
from slideloom_testing.tiles import batch_of, stained
from slideloom_testing.tissue import DemoTruth, save_truth, write_demo_rois, write_demo_slide

SMALL_DEMO = Size(2000, 1500)


@frozen
class DemoFiles:
    """A small demo slide on disk.

    Attributes:
        path: the SVS, 2000 x 1500 pixels of 1 micron.
        truth: its ground truth.
        rois: folder with its regions as GeoJSON.
    """

    path: Path
    truth: DemoTruth
    rois: Path


class TileFactory:
    """Makes batches of equal tiles: `tile_of(white=0.49, count=2)`."""

    def __call__(self, *, white: float = 0.0, count: int = 1, tile_px: int = 100, seed: int = 0) -> TileBatch:
        """`count` tiles of stained tissue whose top rows are pure white.

        Args:
            white: share of the tile's rows, rounded to whole rows.
            count: number of tiles, all equal.
            tile_px: width and height.
            seed: another seed, other tissue.
        """
        rgb = stained(Size(tile_px, tile_px), seed=seed)
        rgb[: round(white * tile_px)] = 255
        return batch_of(np.repeat(rgb[None], count, axis=0))


@pytest.fixture
def tile_of() -> TileFactory:
    """Makes batches of tiles; `slideloom_testing.join` combines several."""
    return TileFactory()


@pytest.fixture
def analytic_slide() -> AnalyticSlide:
    """A slide of known pixels in memory: 2000 x 1500 at 0.5 mpp, levels 1, 4 and 16."""
    return AnalyticSlide(Size(2000, 1500), downsamples=(1, 4, 16))


@pytest.fixture
def analytic_path(tmp_path: Path) -> Path:
    """The same slide as a file that the reader "analytic" opens."""
    return write_analytic(tmp_path / "analytic.json", Size(2000, 1500), downsamples=(1, 4, 16))


@pytest.fixture(scope="session")
def demo_slide(tmp_path_factory: pytest.TempPathFactory) -> DemoFiles:
    """A small demo slide with its truth, made once per test session; skips if what writes it is missing."""
    for library in ("pyvips", "slideloom_formats"):
        pytest.importorskip(library, reason=f"the demo slide is written with {library}: pip install slideloom-vips")
    folder = tmp_path_factory.mktemp("demo-slide")
    path = folder / "demo.svs"
    truth = write_demo_slide(path, size=SMALL_DEMO, mpp=1.0, seed=0)
    save_truth(truth, folder / "demo.truth")
    write_demo_rois(truth, folder / "rois", "demo")
    return DemoFiles(path=path, truth=truth, rois=folder / "rois")
