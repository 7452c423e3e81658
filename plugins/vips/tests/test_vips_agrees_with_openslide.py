"""Both readers give the same pixels of the same file, at every level and place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import pyvips
import tifffile
from slideloom import Point, Size, Slide
from slideloom_vips import VipsReader

openslide = pytest.importorskip("slideloom_openslide", reason="compares with the OpenSlide reader")


def opened(path: Path) -> tuple[Slide, Slide]:
    return openslide.OpenSlideReader().build().open(path), VipsReader().build().open(path)


def mosaic(source: Path, path: Path, *, odd: int = 0, keep: tuple[int, ...] = ()) -> Path:
    """A real slide mirrored to 2 x 2, cut by `odd` pixels, with the levels that are made smaller by `keep`, or all."""
    image = pyvips.Image.new_from_file(str(source))
    top = image.join(image.fliphor(), "horizontal")
    block = top.join(top.flipver(), "vertical")
    block = block.crop(0, 0, block.width - odd, block.height - odd).copy()
    size = f"{block.width}x{block.height}"
    words = f"Aperio Image Library v11.2.1\r\n{size} [0,0 {size}] (256x256) JPEG/RGB Q=75|AppMag = 20|MPP = 0.499"
    if not keep:
        block.set_type(pyvips.GValue.gstr_type, "image-description", words)
        block.tiffsave(str(path), tile=True, tile_width=256, tile_height=256, pyramid=True, compression="jpeg", Q=75)
        return path
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for factor in keep:
            level = block.shrink(factor, factor).numpy() if factor > 1 else block.numpy()
            tiff.write(
                level, tile=(256, 256), photometric="rgb", compression="deflate", description=words, metadata=None
            )
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("odd", "keep", "most"),
    [(0, (), 2), (0, (1, 4, 16), 2), (3, (), 4)],
    ids=["every level", "levels 1, 4, 16", "odd size"],
)
def test_readers_agree_on_every_level(
    real_data: Path, tmp_path: Path, odd: int, keep: tuple[int, ...], most: int
) -> None:
    """Exactly where OpenSlide's downsample is whole, else within what undoing its interpolation leaves."""
    path = mosaic(real_data / "cmu-1-small-region.svs", tmp_path / "mosaic.svs", odd=odd, keep=keep)
    places = np.random.default_rng(1)
    one, other = opened(path)

    with one, other:
        assert one.info.levels == other.info.levels
        assert (one.info.mpp.x, one.info.mpp.y) == (other.info.mpp.x, other.info.mpp.y)  # type: ignore[union-attr]
        for index, level in enumerate(one.info.levels):
            for _ in range(12):
                x, y = (int(places.integers(-20, side)) for side in (level.size.width, level.size.height))
                gap = np.abs(
                    one.read(Point(x, y), index, Size(150, 130)).astype(int)
                    - other.read(Point(x, y), index, Size(150, 130))
                )
                assert gap.max() <= (0 if index == 0 else most), f"level {index} at {x}, {y}"
                assert gap.mean() < 0.4


def test_readers_agree_on_the_real_slide(real_data: Path) -> None:
    """Its JPEG tiles hold RGB, not YCbCr; colours are wrong where that is missed."""
    one, other = opened(real_data / "cmu-1-small-region.svs")

    with one, other:
        assert one.info.levels == other.info.levels
        assert np.array_equal(one.read(Point(0, 0), 0, one.info.size), other.read(Point(0, 0), 0, one.info.size))
