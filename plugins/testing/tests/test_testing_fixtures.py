"""The fixtures that plugin authors enable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from slideloom_testing import Analytic, AnalyticSlide, join
from slideloom_testing.fixtures import (  # noqa: F401 - fixtures
    DemoFiles,
    TileFactory,
    analytic_path,
    analytic_slide,
    demo_slide,
    tile_of,
)


def test_a_tile_is_as_white_as_asked_for(tile_of: TileFactory) -> None:  # noqa: F811
    batch = join(tile_of(white=0.49, count=2), tile_of(white=0.51, seed=1))

    white = (batch.rgb == 255).all(axis=-1).mean(axis=(1, 2))

    assert white.tolist() == [0.49, 0.49, 0.51]
    assert len(batch) == 3
    assert not batch.rgb.flags.writeable


def test_the_analytic_slide_comes_in_memory_and_on_disk(analytic_slide: AnalyticSlide, analytic_path: Path) -> None:  # noqa: F811
    opened = Analytic().build().open(analytic_path)

    assert opened.info.levels == analytic_slide.info.levels
    assert np.array_equal(opened.thumbnail(max_px=40), analytic_slide.thumbnail(max_px=40))


def test_the_demo_slide_comes_with_its_truth_and_regions(demo_slide: DemoFiles) -> None:  # noqa: F811
    assert demo_slide.path.stat().st_size > 100_000
    assert demo_slide.truth.mpp == 1.0
    assert [path.name for path in demo_slide.rois.iterdir()] == ["demo.geojson"]
