"""Pictures of slides, and PNG files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, Polygon, box
from slideloom import Box, Region, Regions, Rgb, Size, Tiles
from slideloom.drawing import legend
from slideloom.drawing.legend import with_labels, with_legend
from slideloom.drawing.pictures import (
    LEGEND,
    Picture,
    boxes_of,
    colour_of,
    draw_boxes,
    draw_polygon,
    overview,
    stretched,
    tint,
)
from slideloom_testing import PixelsSlide, tiles_of

RED, GREEN = (255, 0, 0), (0, 255, 0)


def white(width: int, height: int) -> Rgb:
    return np.full((height, width, 3), 255, np.uint8)


def painted(rgb: Rgb, colour: tuple[int, int, int]) -> set[tuple[int, int]]:
    """The pixels (x, y) of this colour."""
    rows, columns = np.nonzero((rgb == colour).all(axis=-1))
    return set(zip(columns.tolist(), rows.tolist(), strict=True))


def decoded(png: bytes) -> Rgb:
    """By the PNG specification, for the filter types 0 and 2 only."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind, content = png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", png, at + 8 + length) == (zlib.crc32(kind + content),)
        chunks.append((kind, content))
        at += 12 + length
    assert [kind for kind, _ in chunks] == [b"IHDR", b"sRGB", b"IDAT", b"IEND"]
    width, height, *kind = struct.unpack(">II5B", chunks[0][1])
    assert kind == [8, 2, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[2][1]), np.uint8).reshape(height, 1 + 3 * width)
    assert (rows[:, 0] == 2).all()
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (200, 150)])
def test_a_png_holds_the_pixels(size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)

    picture = Picture(rgb)

    assert np.array_equal(decoded(picture.png()), rgb)
    assert picture._repr_png_() == picture.png()
    assert picture.shape == rgb.shape


def test_a_saved_picture_appears_whole_and_alone(tmp_path: Path) -> None:
    picture = Picture(white(5, 4))

    picture.save(tmp_path / "new" / "a.png")

    assert (tmp_path / "new" / "a.png").read_bytes() == picture.png()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize("wrong", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_image_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(h, w, 3\) uint8"):
        Picture(wrong)


def test_a_box_is_outlined_on_its_inner_pixels() -> None:
    rgb = white(20, 20)

    draw_boxes(rgb, np.array([[20.0, 40.0, 50.0, 30.0]]), scale_x=0.1, scale_y=0.2, colour=RED)

    # x from 2 to 7, y from 8 to 14
    border = {(x, y) for x in range(2, 7) for y in range(8, 14) if x in (2, 6) or y in (8, 13)}
    assert painted(rgb, RED) == border


def test_a_wide_line_grows_inwards_and_stays_in_the_box() -> None:
    rgb = white(20, 20)

    draw_boxes(rgb, np.array([[2.0, 2, 8, 8], [15, 15, 2, 2]]), scale_x=1, scale_y=1, colour=RED, width=3)

    hole = {(x, y) for x in range(5, 7) for y in range(5, 7)}
    large = {(x, y) for x in range(2, 10) for y in range(2, 10)} - hole
    assert painted(rgb, RED) == large | {(15, 15), (15, 16), (16, 15), (16, 16)}


def test_boxes_beyond_the_image_are_cut_and_tiny_ones_are_one_pixel() -> None:
    rgb = white(10, 10)
    boxes = np.array([[-3.0, -3, 5, 5], [7, 7, 1e9, 1e9], [50, 50, 5, 5], [5.2, 5.2, 0.1, 0.1]])

    draw_boxes(rgb, boxes, scale_x=1, scale_y=1, colour=RED)

    corner = {(0, 1), (1, 1), (1, 0)}
    far = {(x, 7) for x in range(7, 10)} | {(7, y) for y in range(7, 10)}
    assert painted(rgb, RED) == corner | far | {(5, 5)}


def test_no_boxes_leave_the_image_alone() -> None:
    rgb = white(3, 3)

    draw_boxes(rgb, np.empty((0, 4)), scale_x=1, scale_y=1, colour=RED)

    assert (rgb == 255).all()


def test_a_polygon_is_outlined_without_gaps_with_its_holes() -> None:
    rgb = white(40, 40)
    shape = MultiPolygon([Polygon(box(100, 100, 300, 300).exterior, [box(150, 150, 200, 200).exterior])])

    draw_polygon(rgb, shape, scale_x=0.1, scale_y=0.1, colour=RED, width=1)

    def square(low: int, high: int) -> set[tuple[int, int]]:
        return {(x, y) for x in range(low, high + 1) for y in range(low, high + 1) if {x, y} & {low, high}}

    assert painted(rgb, RED) == square(10, 30) | square(15, 20)


def test_a_slanted_line_has_no_gaps() -> None:
    rgb = white(100, 100)

    draw_polygon(rgb, Polygon([(3, 5), (90, 41), (12, 95)]), scale_x=1, scale_y=1, colour=RED, width=1)

    pixels = painted(rgb, RED)
    for x, y in pixels:
        near = {(x + dx, y + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)} - {(x, y)}
        assert len(near & pixels) >= 2


def test_a_polygon_far_beyond_the_image_costs_nothing_and_shows_nothing() -> None:
    rgb = white(10, 10)

    draw_polygon(rgb, box(-1e12, -1e12, 1e12, 1e12), scale_x=1, scale_y=1, colour=RED)
    draw_polygon(rgb, box(5, -1e12, 1e12, 1e12), scale_x=1, scale_y=1, colour=GREEN, width=1)

    assert painted(rgb, RED) == set()
    assert painted(rgb, GREEN) == {(5, y) for y in range(10)}


def test_a_tint_blends_where_the_mask_is_true() -> None:
    rgb = np.full((2, 2, 3), 100, np.uint8)

    tint(rgb, np.array([[True, False], [False, False]]), colour=(200, 100, 0), strength=0.25)

    assert rgb.tolist() == [[[125, 100, 75], [100] * 3], [[100] * 3, [100] * 3]]
    with pytest.raises(ValueError, match="stretch"):
        tint(rgb, np.ones((1, 2), np.bool_), colour=RED, strength=1)


def test_a_mask_is_stretched_over_its_extent() -> None:
    mask = np.array([[True, False], [False, True]])

    whole = stretched(mask, extent=Box(0, 0, 400, 200), whole=Size(400, 200), size=Size(4, 4))
    part = stretched(mask, extent=Box(200, 100, 200, 100), whole=Size(400, 200), size=Size(4, 4))

    assert whole.astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert part.astype(int).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_tiles_are_boxes_in_level_0_pixels() -> None:
    tiles = tiles_of(3, footprint=Size(30, 20), columns=2)

    assert boxes_of(tiles).tolist() == [[0, 0, 30, 20], [30, 0, 30, 20], [0, 20, 30, 20]]
    assert boxes_of(tiles.take(slice(0, 0))).shape == (0, 4)


def test_an_overview_shows_tiles_by_reason_regions_and_masks() -> None:
    slide = PixelsSlide(white(400, 200))
    tiles: Tiles = tiles_of(8, footprint=Size(100, 100), columns=4)
    regions = Regions((Region("a", box(340, 130, 380, 170)),))
    mask = np.array([[False, False, False, True]])

    picture = overview(
        slide,
        kept=tiles.take(slice(0, 1)),
        rejected={"qc:otsu": tiles.take(slice(1, 2)), "roi": tiles.take(slice(2, 3)), "odd": tiles.take(slice(0, 0))},
        regions=regions,
        masks=[(mask, None)],
        max_px=200,
    )

    assert picture.shape == (100, 200, 3)
    middles = {"kept": (0, 25), "qc": (50, 25), "roi": (100, 25), "region": (170, 75)}
    for kind, (x, y) in middles.items():
        assert tuple(picture.rgb[y, x]) == LEGEND[kind], kind
    assert tuple(picture.rgb[25, 25]) == (255, 255, 255)
    # 255 and the mask's grey of 128 mixed: darker than glass, brighter than the grey
    assert 128 < picture.rgb[25, 175].min() < 255


def test_a_reason_has_the_colour_of_its_kind_and_colours_differ() -> None:
    assert colour_of("qc:otsu") == colour_of("qc:gaussian") == LEGEND["qc"]
    assert colour_of("never heard of") == LEGEND["other"]
    outlines = [colour for kind, colour in LEGEND.items() if kind != "mask"]
    assert len(set(outlines)) == len(outlines)


def test_a_legend_has_a_square_of_each_colour_below_the_picture_and_leaves_the_picture_alone() -> None:
    pytest.importorskip("PIL", reason="words need Pillow")
    picture = Picture(np.full((200, 300, 3), 77, np.uint8))
    colours = [(0, 158, 115), (213, 94, 0), (110, 110, 110)]

    told = with_legend(picture, [(colour, "12 qc:artifacts:out-of-focus") for colour in colours], title="slide")

    strip = told.rgb[200:]
    assert np.array_equal(told.rgb[:200], picture.rgb)
    for colour in colours:
        squares = np.argwhere((strip == colour).all(axis=-1))
        assert len(squares) >= 100  # 11 x 11 pixels, less where a letter lies on it
    rows = [int(np.argwhere((strip == colour).all(axis=-1))[:, 0].min()) for colour in colours]
    assert rows == sorted(set(rows))  # words too long for one row take the next


def test_the_label_of_a_region_stands_within_it() -> None:
    pytest.importorskip("PIL", reason="words need Pillow")
    picture = Picture(np.full((200, 300, 3), 200, np.uint8))
    regions = Regions(items=(Region("1", box(100, 200, 500, 300), "tumour"),))

    told = with_labels(picture, regions, whole=Size(600, 400))

    rows, columns = np.nonzero((told.rgb != 200).any(axis=-1))
    assert len(rows) > 50
    assert 50 <= columns.min() < columns.max() <= 250
    assert 100 <= rows.min() < rows.max() <= 150


def test_without_pillow_pictures_have_no_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(legend, "find_spec", lambda _name: None)
    picture = Picture(np.full((20, 30, 3), 200, np.uint8))

    assert with_legend(picture, [((0, 0, 0), "1 kept")], title="slide") is picture
