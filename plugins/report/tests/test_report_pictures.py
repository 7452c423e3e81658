"""Pictures: that they keep to their bytes, and that tiles are where they belong."""

from __future__ import annotations

import io

import numpy as np
import pymupdf
import pytest
import shapely
from PIL import Image
from reportlab.pdfgen.canvas import Canvas
from shapely.geometry import Polygon, box
from slideloom import LEGEND, Size, SlideReport, told_looks
from slideloom_report.evidence import Evidence
from slideloom_report.pictures import SlidePicture, contact_sheet, jpeg

BLANK = np.array([245, 247, 249])
GREEN = np.array(LEGEND["kept"])


def grid(columns: int, rows: int, side: int) -> np.ndarray:
    """Boxes of a grid in level-0 pixels, from the top left on."""
    y, x = np.mgrid[:rows, :columns].reshape(2, -1) * side
    return np.stack([x, y, np.full_like(x, side), np.full_like(x, side)], axis=1)


LOOKS = told_looks({"artifacts": ["fold", "bubble"]})


def picture_of(boxes: np.ndarray, **values: object) -> tuple[SlidePicture, np.ndarray, np.ndarray]:
    """The flowable of a slide of 2,000 x 1,000 pixels, its JPEG alone, and the page at 6 dots per point."""
    report = SlideReport(slide="a", path="", status="done", size=(2000, 1000))
    found = Evidence(report, boxes={"kept": boxes}, **values)
    made = SlidePicture(found, {}, LOOKS, room=Size(300, 300), most_bytes=400_000)
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=(made.drawWidth, made.drawHeight))
    made.drawOn(canvas, 0, 0)
    canvas.save()
    with pymupdf.open(stream=file.getvalue()) as document:
        image = Image.open(io.BytesIO(document.extract_image(document[0].get_images()[0][0])["image"]))
        page = document[0].get_pixmap(dpi=6 * 72)
    return made, np.asarray(image), np.frombuffer(page.samples, np.uint8).reshape(page.height, page.width, 3)


@pytest.mark.parametrize("limit", [2_000, 20_000, 10**6])
def test_a_picture_takes_no_more_bytes_than_it_may(limit: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 700, 3), np.uint8)

    content = jpeg(Image.fromarray(noise), limit)

    image = Image.open(io.BytesIO(content))
    assert len(content) <= limit
    assert image.format == "JPEG"
    assert image.width / image.height == pytest.approx(1.75, rel=0.1)


def test_tiles_of_a_sheet_stand_side_by_side_with_an_eighth_between_them() -> None:
    red, blue = np.full((64, 64, 3), (255, 0, 0), np.uint8), np.full((64, 64, 3), (0, 0, 255), np.uint8)

    sheet = np.asarray(contact_sheet([red, None, blue], 4))

    assert sheet.shape == (64, 4 * 64 + 3 * 8, 3)
    assert (sheet[:, :64] == (255, 0, 0)).all()
    assert (sheet[:, 64:144] == 255).all()
    assert (sheet[:, 144:208] == (0, 0, 255)).all()
    assert (sheet[:, 208:] == 255).all()


def test_a_few_tiles_are_lines_over_the_picture_and_not_part_of_it() -> None:
    made, image, page = picture_of(grid(5, 5, 100))

    assert (made.drawWidth, made.drawHeight) == (300, 150)
    assert np.abs(image.astype(int) - BLANK).max() <= 2
    # 100 pixels are 15 points, so that lines are 90 dots apart.
    for edge in range(0, 451, 90):
        assert np.abs(page[45, max(0, edge - 1) : edge + 1].astype(int) - GREEN).max() <= 2
        assert np.abs(page[max(0, edge - 1) : edge + 1, 45].astype(int) - GREEN).max() <= 2
    assert np.abs(page[45, 20:70].astype(int) - BLANK).max() <= 2
    assert np.abs(page[:, 470:].astype(int) - BLANK).max() <= 2


def test_tiles_too_many_for_lines_are_painted_where_they_are_without_gaps() -> None:
    _, image, _ = picture_of(grid(150, 75, 6))  # 900 x 450 of 2,000 x 1,000

    right, bottom = round(image.shape[1] * 0.45), round(image.shape[0] * 0.45)
    # Tiles this small hide 45% of what is below them; JPEG blurs the edges by some pixels.
    inside = image[: bottom - 16, : right - 16].astype(int)
    assert np.abs(inside - (BLANK * 0.55 + GREEN * 0.45)).max() <= 6
    assert np.abs(image[bottom + 16 :].astype(int) - BLANK).max() <= 4
    assert np.abs(image[:, right + 16 :].astype(int) - BLANK).max() <= 4


def test_cells_are_small_marks_in_the_middle_of_their_tiles() -> None:
    _, _, page = picture_of(grid(2, 1, 600), is_grid=False)

    # 1.5 points are 9 dots, around the centre of the tile, which is at 300 of 2,000 pixels of 1,800 dots.
    is_marked = (np.abs(page.astype(int) - BLANK) > 60).any(axis=2)
    for centre in (270, 810):
        around = np.argwhere(is_marked[:, centre - 100 : centre + 100])
        assert np.abs(around.mean(axis=0) - (270, 100)).max() <= 1
        assert 64 <= len(around) <= 100
    assert not is_marked[:, 1000:].any()


def test_what_is_told_but_kept_is_outlined_on_a_dark_edge_and_its_inside_is_free() -> None:
    _, _, page = picture_of(grid(1, 1, 100), told={"qc:artifacts:fold": [box(500, 200, 1500, 800)]})

    # 100 pixels are 90 dots; the line of 0.7 points is 4 dots wide, its edge 9.
    assert np.abs(page[450, 449:451].astype(int) - LOOKS["qc:artifacts:fold"].colour).max() <= 2
    assert page[450, 446].max() < 40
    assert np.abs(page[450, 470:1300].astype(int) - BLANK).max() <= 2


def test_outlines_of_very_many_areas_are_those_of_the_larger_ones() -> None:
    angle = np.linspace(0, 2 * np.pi, 400)
    star = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (4 + np.arange(400) % 2)[:, None]
    specks = [Polygon(star + np.array([x, y])) for x in range(10, 2000, 20) for y in range(10, 1000, 20)]
    made, _, _ = picture_of(grid(1, 1, 100), told={"qc:artifacts:fold": [*specks, box(0, 0, 900, 900)]})

    (rings,) = made.told().values()

    assert sum(map(len, rings)) <= 8000
    assert [[0, 0], [900, 900]] in [[min(ring), max(ring)] for ring in rings]


def test_a_large_area_is_outlined_although_its_holes_are_many() -> None:
    y, x = np.mgrid[:60, :60].reshape(2, -1)
    holes = shapely.get_exterior_ring(shapely.box(20 + 15 * x, 20 + 15 * y, 30 + 15 * x, 30 + 15 * y))
    sieve = Polygon(box(0, 0, 1000, 950).exterior, [*holes, box(940, 100, 990, 800).exterior])

    made, _, _ = picture_of(grid(1, 1, 100), told={"qc:artifacts:fold": [sieve]})

    (rings,) = made.told().values()
    assert [len(ring) for ring in rings] == [5, 5]
    assert np.ptp(rings[0], axis=0).tolist() == [1000, 950]
    assert np.ptp(rings[1], axis=0).tolist() == [50, 700]


def test_an_area_with_a_long_edge_is_outlined_roughly() -> None:
    angle = np.linspace(0, 2 * np.pi, 20_001)[:-1]
    radius = 400 + 60 * (np.arange(20_000) % 2)
    star = Polygon(np.stack([1000 + radius * np.cos(angle), 500 + radius * np.sin(angle)], axis=1))

    made, _, _ = picture_of(grid(1, 1, 100), told={"qc:artifacts:fold": [star]})

    ((ring,),) = made.told().values()
    assert 4 <= len(ring) <= 8000
    assert np.ptp(ring, axis=0) == pytest.approx([900, 900], abs=100)
