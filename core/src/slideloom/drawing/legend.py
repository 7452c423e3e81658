"""Words on pictures: a legend below, and labels of regions. Without Pillow, pictures stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from slideloom.base.geometry import Size
from slideloom.drawing.pictures import LEGEND, Colour, Picture
from slideloom.slides.regions import Regions

_SMALLEST = 11  # pixels of a letter's height
_SHARE = 100  # of the picture's longer side, a letter takes one
_INK, _PAPER = (20, 20, 20), (255, 255, 255)


def with_legend(picture: Picture, entries: Sequence[tuple[Colour, str]], *, title: str) -> Picture:
    """The picture with a strip below it: a title, and each entry as a square of its colour with its words.

    Args:
        picture: of any size.
        entries: colour and words, in their order.
        title: one line; what is too long for the picture is cut.
    """
    if find_spec("PIL") is None:
        return picture
    from PIL import Image, ImageDraw

    width = picture.shape[1]
    font = _font(picture)
    side = round(font.size)
    line, gap = round(1.7 * side), round(0.6 * side)
    places, rows = _places([font.getlength(words) for _, words in entries], side=side, gap=gap, width=width)
    strip = Image.new("RGB", (width, (rows + 1) * line + 2 * gap), _PAPER)
    draw = ImageDraw.Draw(strip)
    draw.text((gap, gap), title, font=font, fill=_INK)
    for (colour, words), (x, row) in zip(entries, places, strict=True):
        top = gap + (row + 1) * line
        draw.rectangle((x, top, x + side, top + side), fill=colour)
        draw.text((x + side + gap, top), words, font=font, fill=_INK)
    return Picture(np.concatenate([picture.rgb, np.asarray(strip)]))


def with_labels(picture: Picture, regions: Regions, *, whole: Size) -> Picture:
    """A picture of a whole slide, whose level 0 has the size `whole`, with the label or name of each region on it."""
    if find_spec("PIL") is None or not regions.items:
        return picture
    from PIL import Image, ImageDraw

    height, width, _ = picture.shape
    font = _font(picture)
    shown = Image.fromarray(picture.rgb)
    draw = ImageDraw.Draw(shown)
    for region in regions.items:
        inside = region.shape.representative_point()
        place = inside.x * width / whole.width, inside.y * height / whole.height
        words = region.label or region.name
        draw.text(place, words, font=font, fill=LEGEND["region"], anchor="mm", stroke_width=2, stroke_fill=_PAPER)
    return Picture(np.asarray(shown))


def _font(picture: Picture) -> Any:  # of Pillow, which may not be installed
    from PIL import ImageFont

    return ImageFont.load_default(max(_SMALLEST, max(picture.shape[:2]) / _SHARE))


def _places(lengths: Sequence[float], *, side: int, gap: int, width: int) -> tuple[list[tuple[int, int]], int]:
    """Left edge and row of each entry, and the number of rows."""
    places, x, row = [], gap, 0
    for length in lengths:
        needed = round(side + gap + length)
        if x > gap and x + needed > width:
            x, row = gap, row + 1
        places.append((x, row))
        x += needed + 3 * gap
    return places, row + 1 if places else 0
