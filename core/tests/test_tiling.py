"""Grid and geometry against figures that existing datasets were made with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from slideloom.base.errors import ConfigError, SlideError
from slideloom.base.geometry import Box, Size
from slideloom.pipeline.tiling import Context, Tiling
from slideloom.planning.companions import context_view
from slideloom.planning.grid import plan_grid, tile_geometry
from slideloom.plugins.builtin import Grid
from slideloom.slides.info import Resolution, SlideInfo, levels_from_sizes


def slide(
    width: int, height: int, *, mpp: float = 0.5, levels: tuple[int, ...] = (1,), bounds: Box | None = None
) -> SlideInfo:
    sizes = [Size(width // down, height // down) for down in levels]
    return SlideInfo(
        path=Path("a.svs"),
        name="a",
        reader="test",
        levels=levels_from_sizes(sizes),
        mpp=Resolution(mpp, mpp, "test"),
        bounds=bounds,
    )


def test_302_um_on_a_slide_of_0_499_mpp_is_605_pixels_and_its_centre_302() -> None:
    info = slide(2220, 2967, mpp=0.499)
    geometry = tile_geometry(info, Tiling(size_px=299, size_um=302))
    tiles = plan_grid(info, geometry, Grid())

    assert geometry.footprint == Size(605, 605)
    assert (tiles.grid_x.max() + 1, tiles.grid_y.max() + 1) == (3, 4)
    assert (tiles.loc_x[0], tiles.loc_y[0]) == (302, 302)
    assert geometry.label == "299px_302um"


def test_edge_tiles_add_a_column_and_a_row() -> None:
    info = slide(2220, 2967, mpp=0.499)
    geometry = tile_geometry(info, Tiling(size_px=299, size_um=302))

    tiles = plan_grid(info, geometry, Grid(edge_tiles=True))

    assert (tiles.grid_x.max() + 1, tiles.grid_y.max() + 1) == (4, 5)


def test_no_edge_tile_lies_wholly_outside_when_the_width_is_a_multiple_of_the_stride() -> None:
    info = slide(1800, 1200)
    geometry = tile_geometry(info, Tiling(size_px=300, size_um=300))

    tiles = plan_grid(info, geometry, Grid(edge_tiles=True))

    assert tiles.x.max() < 1800
    assert tiles.y.max() < 1200


def test_a_level_of_exactly_the_wanted_downsample_is_read() -> None:
    info = slide(8000, 8000, levels=(1, 2, 4))
    geometry = tile_geometry(info, Tiling(size_px=256, size_um=256))

    assert geometry.footprint == Size(512, 512)
    assert geometry.level == 1


def test_level_0_is_read_when_downsampling_is_off() -> None:
    info = slide(8000, 8000, levels=(1, 2, 4))

    assert tile_geometry(info, Tiling(size_px=256, size_um=512, enable_downsample=False)).level == 0


def test_512_um_at_0_499_reads_the_level_of_4() -> None:
    info = slide(8880, 8880, mpp=0.499, levels=(1, 2, 4))
    geometry = tile_geometry(info, Tiling(size_px=256, size_um=512))

    assert geometry.footprint == Size(1026, 1026)
    assert geometry.level == 2


def test_a_magnification_takes_the_nearest_level_without_resizing() -> None:
    info = slide(8000, 8000, mpp=0.5, levels=(1, 2, 4))
    geometry = tile_geometry(info, Tiling(size_px=299, magnification="10x"))

    assert geometry.level == 1
    assert geometry.footprint == Size(598, 598)
    assert geometry.label == "299px_10x"


def test_a_magnification_without_a_near_level_is_refused_with_the_remedy() -> None:
    info = slide(8000, 8000, mpp=0.5)

    with pytest.raises(SlideError, match=r"no level near 10x .*size_um=299.0"):
        tile_geometry(info, Tiling(size_px=299, magnification="10x"))


@pytest.mark.parametrize(
    ("mpp", "wanted", "level"),
    [
        (0.2205, "40x", 0),
        (0.2738, "40x", 0),
        (0.5, "2.5x", None),
        (0.5, "7x", None),
        (0.5, "4x", 2),
        (0.5, "40x", None),
    ],
)
def test_a_level_is_near_a_magnification_by_their_quotient(mpp: float, wanted: str, level: int | None) -> None:
    info = slide(8000, 8000, mpp=mpp, levels=(1, 2, 4))
    tiling = Tiling(size_px=299, magnification=wanted)

    if level is None:
        with pytest.raises(SlideError, match=f"no level near {wanted}"):
            tile_geometry(info, tiling)
    else:
        assert tile_geometry(info, tiling).level == level


def test_pixels_that_are_not_square_give_a_footprint_that_is_square_on_the_glass() -> None:
    info = SlideInfo(
        path=Path("a.svs"),
        name="a",
        reader="t",
        levels=levels_from_sizes([Size(4000, 4000)]),
        mpp=Resolution(0.5, 0.25, "t"),
    )

    assert tile_geometry(info, Tiling(size_px=100, size_um=100)).footprint == Size(200, 400)


def test_a_quotient_a_hair_below_a_whole_number_is_that_number() -> None:
    assert tile_geometry(slide(9000, 9000, mpp=0.1), Tiling(size_px=100, size_um=300)).footprint == Size(3000, 3000)


def test_size_needs_either_microns_or_a_magnification() -> None:
    with pytest.raises(ConfigError, match=r"size_um is missing: give .* microns, or a magnification"):
        Tiling(size_px=299)
    with pytest.raises(ConfigError, match="size_um does not go with magnification: give one of them"):
        Tiling(size_px=299, size_um=302, magnification="10x")


def test_bounds_hold_the_grid() -> None:
    info = slide(5000, 5000, bounds=Box(1000, 2000, 1500, 1000))
    geometry = tile_geometry(info, Tiling(size_px=250, size_um=250))

    tiles = plan_grid(info, geometry, Grid(use_bounds=True))

    assert (tiles.x.min(), tiles.y.min()) == (1000, 2000)
    assert (tiles.x.max(), tiles.y.max()) == (2000, 2500)


@given(st.integers(0, 50), st.sampled_from([1.0, 2.0, 4.0, 1.5]), st.booleans())
def test_a_random_origin_is_within_one_stride_and_repeats_with_its_seed(
    seed: int, stride_div: float, edge: bool
) -> None:
    info = slide(3000, 2500)
    geometry = tile_geometry(info, Tiling(size_px=299, size_um=302, stride_div=stride_div))
    settings = Grid(random_origin=True, seed=seed, edge_tiles=edge)

    first, again = plan_grid(info, geometry, settings), plan_grid(info, geometry, settings)

    assert 0 <= first.x.min() < geometry.stride.width
    assert np.array_equal(first.x, again.x)
    assert set(np.diff(np.unique(first.x))) == {geometry.stride.width}
    assert edge or (first.x + geometry.footprint.width <= 3000).all()


@pytest.mark.parametrize("given_as", [604, 604.0, "604", {"size_um": 604}, Context(size_um=604)])
def test_a_context_is_a_number_a_text_or_a_table(given_as: object) -> None:
    tiling = Tiling(size_px=299, size_um=302.0, context=[given_as])

    assert tiling.context == (Context(size_um=604.0),)
    assert tiling.context[0].name == "context_604um"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (True, "sizes in um"), ("", "sizes in um"), ("x:3", "sizes in um"), (None, "sizes in um"),
        ({"size_px": 3}, "wants tables of size_um"), ({"size_um": 3, "um": 4}, "wants tables of size_um"),
        ({"size_um": -3}, "above 0"), ({"size_um": float("nan")}, "finite"), ({"size_um": 3, "size_px": 0}, "at least"),
    ],
)  # fmt: skip
def test_a_wrong_context_is_refused_in_words(wrong: object, words: str) -> None:
    with pytest.raises(ConfigError, match=f"^context .*{words}"):
        Tiling(size_px=299, size_um=302.0, context=[wrong])


def test_two_contexts_of_one_size_would_have_one_name() -> None:
    with pytest.raises(ConfigError, match="two of the same size: context_604um, context_604um"):
        Tiling(size_px=299, size_um=302.0, context=[604, "604:100"])


def test_a_context_has_the_footprint_of_a_tile_of_its_size_around_the_exact_centre() -> None:
    info = slide(5000, 4000, mpp=0.4991, levels=(1, 4, 16))
    tiling = Tiling(size_px=100, size_um=100.0, context=[1001, "501:25"])
    geometry = tile_geometry(info, tiling)
    large, small = (context_view(each, info, geometry, downsample=True) for each in tiling.context)
    of_that_size = tile_geometry(info, Tiling(size_px=100, size_um=1001.0))
    tiles = plan_grid(info, geometry, Grid()).take(slice(3, 4))

    assert (large.footprint, large.level, large.companion.mpp) == (
        of_that_size.footprint, of_that_size.level, of_that_size.mpp,
    )  # fmt: skip
    assert (small.size, small.level) == (Size(25, 25), 2)
    (tile,), (around,) = tiles.boxes(), large.boxes(tiles)
    assert (around.x + around.width / 2, around.y + around.height / 2) == (
        tile.x + tile.width / 2, tile.y + tile.height / 2,
    )  # fmt: skip
