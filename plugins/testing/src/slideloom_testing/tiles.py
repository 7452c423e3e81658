"""Synthetic tiles, batches and scenes, for tests of steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from slideloom.base.geometry import Rgb, RgbBatch, Size
from slideloom.slides.info import Resolution, SlideInfo, levels_from_sizes
from slideloom.slides.regions import Regions
from slideloom.slides.tiles import TileBatch, TileGeometry, Tiles
from slideloom.steps.scene import Scene

FOOTPRINT = Size(200, 200)
SLIDE = Size(2000, 1500)
# Direction of optical density of haematoxylin (Ruifrok and Johnston 2001) and of a common eosin.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.16, 0.89, 0.42]])


def tiles_of(count: int, *, footprint: Size = FOOTPRINT, columns: int = 4, start: int = 0, roi: int = -1) -> Tiles:
    """`count` tiles of a grid that is `columns` wide, in plan order from number `start`."""
    index = np.arange(start, start + count)
    grid_x, grid_y = index % columns, index // columns
    return Tiles(
        index,
        grid_x * footprint.width,
        grid_y * footprint.height,
        grid_x,
        grid_y,
        np.full(count, roi),
        footprint=footprint,
    )


def batch_of(
    rgb: RgbBatch | Sequence[Rgb],
    *,
    tiles: Tiles | None = None,
    slide: str = "slide",
    labels: Sequence[str | None] | None = None,
) -> TileBatch:
    """A batch from pixels (B, H, W, 3) uint8; the array is made read-only, because steps must not write to it."""
    pixels = np.array(rgb, dtype=np.uint8, order="C")
    if pixels.ndim != 4 or pixels.shape[3] != 3:
        raise ValueError(f"rgb must be (B, H, W, 3), not {pixels.shape}")
    pixels.flags.writeable = False
    count = len(pixels)
    return TileBatch(
        rgb=pixels,
        tiles=tiles_of(count) if tiles is None else tiles,
        slide=slide,
        labels=(None,) * count if labels is None else tuple(labels),
    )


def read_only(rgb: RgbBatch) -> RgbBatch:
    """A read-only view of the same memory, as steps get it."""
    view = rgb.view()
    view.flags.writeable = False
    return view


def take(batch: TileBatch, which: NDArray[np.integer] | slice) -> TileBatch:
    """The tiles of a batch at these positions."""
    positions = np.arange(len(batch))[which]
    return batch_of(
        batch.rgb[positions],
        tiles=batch.tiles.take(positions),
        slide=batch.slide,
        labels=[batch.labels[i] for i in positions],
    )


def join(*batches: TileBatch) -> TileBatch:
    """One batch from several of the same slide; tiles are renumbered."""
    return batch_of(
        np.concatenate([batch.rgb for batch in batches]),
        slide=batches[0].slide,
        labels=[label for batch in batches for label in batch.labels],
    )


def scene_of(
    *,
    tile_px: int = 100,
    footprint: Size = FOOTPRINT,
    stride: Size | None = None,
    level: int = 0,
    mpp: float = 1.0,
    regions: Regions | None = None,
) -> Scene:
    """A scene whose tiles are `tile_px` wide at `mpp` microns per pixel."""
    tile_um = tile_px * mpp
    geometry = TileGeometry(
        tile_px=tile_px,
        tile_um=tile_um,
        footprint=footprint,
        stride=stride or footprint,
        level=level,
        mpp=mpp,
        label=f"{tile_px}px_{tile_um:g}um",
    )
    return Scene(geometry=geometry, regions=regions)


def info_of(name: str = "slide", *, size: Size = SLIDE, mpp: float | None = 0.5, folder: Path = Path()) -> SlideInfo:
    """The metadata of a slide that does not exist."""
    return SlideInfo(
        path=folder / f"{name}.svs",
        name=name,
        reader="none",
        levels=levels_from_sizes([size]),
        mpp=None if mpp is None else Resolution(mpp, mpp, "test"),
    )


def smooth_noise(size: Size, *, grain_px: float, seed: int) -> NDArray[np.float32]:
    """(height, width) noise of mean 0 and deviation 1 whose spots are about `grain_px` wide."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal((size.height, size.width), dtype=np.float32)
    fy = np.fft.fftfreq(size.height)[:, None]
    fx = np.fft.rfftfreq(size.width)[None, :]
    low_pass = np.exp(-2 * (np.pi * grain_px / 2) ** 2 * (fx**2 + fy**2))
    noise = np.fft.irfft2(np.fft.rfft2(white) * low_pass, s=white.shape)
    noise -= noise.mean()
    smooth: NDArray[np.float32] = (noise / noise.std()).astype(np.float32)
    return smooth


def stained(size: Size, *, seed: int = 0, grain_px: float = 9.0, strength: float = 1.0) -> Rgb:
    """(height, width, 3) uint8: pink ground with blue-purple spots, all tissue, by the Beer-Lambert law.

    A cheap stand-in for H&E with the right two stains; `write_demo_slide` makes the realistic one.
    """
    eosin = 0.45 + 0.12 * smooth_noise(size, grain_px=2.5 * grain_px, seed=seed)
    spots = smooth_noise(size, grain_px=grain_px, seed=seed + 1)
    haematoxylin = 0.08 + 1.1 / (1 + np.exp(-9 * (spots - 0.9)))
    density = strength * (haematoxylin[..., None] * _STAINS[0] + np.maximum(eosin, 0.1)[..., None] * _STAINS[1])
    grain = np.random.default_rng(seed + 2).normal(0, 1.5, (size.height, size.width, 3))
    rgb: Rgb = np.clip(242 * np.exp(-density) + grain, 0, 255).astype(np.uint8)
    return rgb


def varied_batch(tile_px: int = 96) -> TileBatch:
    """Eight tiles as varied as on a slide: stained, pale, half glass, glass, grey, black, noise, pen."""
    size = Size(tile_px, tile_px)
    half = stained(size, seed=7)
    half[:, tile_px // 2 :] = 244
    glass = np.random.default_rng(5).normal(243, 1.5, (tile_px, tile_px, 3)).clip(0, 255).astype(np.uint8)
    grey, black = np.full((tile_px, tile_px, 3), 150, np.uint8), np.zeros((tile_px, tile_px, 3), np.uint8)
    noise = np.random.default_rng(6).integers(0, 256, (tile_px, tile_px, 3), dtype=np.uint8)
    pen = (stained(size, seed=8) * np.array([0.3, 0.75, 0.5])).astype(np.uint8)
    pale = stained(size, seed=9, strength=0.5)
    return batch_of(
        [stained(size, seed=1), pale, half, glass, grey, black, noise, pen],
        labels=["tumor", "stroma", None, None, None, None, None, "stroma"],
    )
