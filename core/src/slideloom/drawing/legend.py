"""Words on pictures: a legend below, and labels of regions. Without Pillow, pictures stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from slideloom.base.geometry import Size
from slideloom.drawing.pictures import LEGEND, Colour, Picture
from slideloom.drawing.told import DASHES, EDGE, LineLook
from slideloom.slides.regions import Regions

_SMALLEST = 11  # pixels of a letter's height
_SHARE = 100  # of the picture's longer side, a letter takes one
_LINE_SIDES = 3  # length of a piece of a line, in letters' heights
_INK, _PAPER = (20, 20, 20), (255, 255, 255)


def with_legend(picture: Picture, entries: Sequence[tuple[Colour | LineLook, str]], *, title: str) -> Picture:
    """The picture with a strip below it: a title, and each entry as a square of its colour or its line, with words.

    Args:
        picture: of any size.
        entries: colour or look of a line, and words, in their order.
        title: one line; what is too long for the picture is cut.
    """
    if find_spec("PIL") is None:
        return picture
    from PIL import Image, ImageDraw

    width = picture.shape[1]
    font = _font(picture)
    side = round(font.size)
    line, gap = round(1.7 * side), round(0.6 * side)
    marks = [(_LINE_SIDES if isinstance(look, LineLook) else 1) * side for look, _ in entries]
    lengths = [mark + font.getlength(words) for mark, (_, words) in zip(marks, entries, strict=True)]
    places, rows = _places(lengths, gap=gap, width=width)
    strip = Image.new("RGB", (width, (rows + 1) * line + 2 * gap), _PAPER)
    draw = ImageDraw.Draw(strip)
    draw.text((gap, gap), title, font=font, fill=_INK)
    for (look, words), mark, (x, row) in zip(entries, marks, places, strict=True):
        top = gap + (row + 1) * line
        if isinstance(look, LineLook):
            _draw_line(draw, look, box=(x, top, x + mark, top + side))
        else:
            draw.rectangle((x, top, x + side, top + side), fill=look)
        draw.text((x + mark + gap, top), words, font=font, fill=_INK)
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


def _draw_line(draw: Any, look: LineLook, *, box: tuple[int, int, int, int]) -> None:
    """A piece of an outline across a box, on its edge."""
    left, top, right, bottom = box
    thick = max(3, (bottom - top) // 4)
    middle = (top + bottom - thick) // 2
    draw.rectangle((left, middle - thick // 2 - 1, right, middle + thick + thick // 2), fill=EDGE)
    drawn, left_out = (thick * length for length in DASHES[look.pattern])
    start = float(left)
    while start < right:
        draw.rectangle(
            (round(start), middle, min(right, round(start + drawn) - 1), middle + thick - 1), fill=look.colour
        )
        start += drawn + left_out


def _places(lengths: Sequence[float], *, gap: int, width: int) -> tuple[list[tuple[int, int]], int]:
    """Left edge and row of each entry, whose mark and words have a length, and the number of rows."""
    places, x, row = [], gap, 0
    for length in lengths:
        needed = round(gap + length)
        if x > gap and x + needed > width:
            x, row = gap, row + 1
        places.append((x, row))
        x += needed + 3 * gap
    return places, row + 1 if places else 0
