"""What a notebook or a prompt shows of slides, tiles and results: a line that a person reads, and no arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve
from slideloom import (
    WSI,
    ConfigError,
    MissingResolution,
    QcResult,
    Size,
    Tiling,
    open_slide,
    plan_grid,
    tile_geometry,
)
from slideloom.pipeline.pipeline import Slides
from slideloom.plugins.builtin import Grid


@pytest.fixture
def wsi(raw: object, analytic: Callable[..., Path]) -> WSI:
    return WSI(analytic(), tile_px=60, tile_um=75)


def test_a_mask_is_told_by_its_size_and_share() -> None:
    mask = np.zeros((10, 20), bool)
    mask[:5] = True

    assert repr(QcResult(mask=mask, kind="blur")).startswith("QcResult(mask=<20 x 10, 50.0% masked>, kind='blur'")
    assert "mask='none'" in repr(QcResult(mask="none", kind="blur"))  # type: ignore[arg-type]


def test_a_tile_and_tiles_are_told_by_their_size_and_number(wsi: WSI) -> None:
    planned = len(wsi)

    assert repr(next(iter(wsi))).startswith("TileView(rgb=<60 x 60 pixels>, loc_x=75, loc_y=75, grid_x=0, grid_y=0")
    assert repr(wsi.tiles) == f"<Tiles: {planned}, each 150 x 150 pixels of level 0>"


def test_a_ledger_tells_what_became_of_its_tiles(wsi: WSI) -> None:
    planned = len(wsi)
    mask = np.zeros((1, 1), bool)
    mask[:] = True
    assert repr(wsi.ledger) == f"<Ledger: {planned} tiles planned; {planned} not decided>"

    wsi.apply_mask(QcResult(mask=mask, kind="artifact"))

    assert repr(wsi.ledger) == f"<Ledger: {planned} tiles planned; {planned} qc:own>"


def test_a_notebook_shows_a_small_picture_with_counts(wsi: WSI) -> None:
    mask = np.zeros((10, 10), bool)
    mask[:, :5] = True
    planned = len(wsi)
    wsi.apply_mask(QcResult(mask=mask, kind="artifact"))

    shown = wsi._repr_html_()
    assert len(shown) < 300_000
    assert f"{len(wsi)} kept" in shown
    assert f"{planned - len(wsi)} qc:own" in shown
    assert 'src="data:image/png;base64,' in shown


def test_the_grid_of_a_slide_can_be_planned_without_a_pipeline(raw: object, analytic: Callable[..., Path]) -> None:
    tiling = Tiling(size_px=60, size_um=75.0)
    with open_slide(analytic(), slides=Slides()) as slide:
        geometry = tile_geometry(slide.info, tiling)
        tiles = plan_grid(slide.info, geometry, Grid())

    assert geometry.footprint == Size(150, 150)
    assert len(tiles) == (2200 // 150) * (1800 // 150)


def test_a_slide_that_is_open_is_taken_as_it_is_and_stays_open(raw: object, analytic: Callable[..., Path]) -> None:
    path = analytic()
    with open_slide(path) as slide:
        with WSI(slide, tile_px=60, tile_um=75) as wsi, WSI(path, tile_px=60, tile_um=75) as by_path:
            assert wsi.slide is slide
            assert (len(wsi), wsi.geometry) == (len(by_path), by_path.geometry)
            assert repr(slide).endswith(f"Slide {path.stem}: {slide.info.size.width} x {slide.info.size.height}, "
                                        f"{wsi.mpp:g} um per pixel>")  # fmt: skip
        assert not slide.is_closed
        assert slide.thumbnail(max_px=20).shape[2] == 3


def test_how_an_open_slide_is_read_cannot_be_chosen_any_more(raw: object, analytic: Callable[..., Path]) -> None:
    with open_slide(analytic()) as slide:
        with pytest.raises(
            ConfigError, match="is open already, so its reader, resolution and colours cannot be chosen"
        ):
            WSI(slide, tile_px=60, tile_um=75, mpp=0.5)
        slide.info = evolve(slide.info, mpp=None)
        with pytest.raises(MissingResolution, match=r"open it with open_slide\(path, mpp=\.\.\.\)"):
            WSI(slide, tile_px=60, tile_um=75)
        assert not slide.is_closed
