"""Outlines of what slide QC tells but keeps: lines in colours and patterns of their own, on a dark edge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
from attrs import frozen
from shapely.geometry.base import BaseGeometry

from slideloom.base.geometry import Rgb, Size
from slideloom.drawing.pictures import Colour, Picture, draw_polygon

Pattern = Literal["solid", "dashed", "dotted"]
# Drawn and left out along a line, in widths of it.
DASHES: Mapping[Pattern, tuple[float, float]] = {"solid": (1, 0), "dashed": (4, 2.5), "dotted": (1, 1.5)}
EDGE: Colour = (20, 20, 20)  # on both sides of a line
_EDGE_SHARE = 0.5  # its width on each side, in widths of the line


@frozen
class LineLook:
    """How the outline of an area is drawn, on a dark edge.

    Attributes:
        colour: red, green and blue, 0-255.
        pattern: tells it from the others without colours.
    """

    colour: Colour
    pattern: Pattern


# Bright, so that they stand out from stained tissue and from their dark edge. Neighbours differ in pattern, too.
TOLD_LOOKS: Sequence[LineLook] = (
    LineLook((255, 236, 0), "solid"),  # yellow
    LineLook((0, 220, 255), "dashed"),  # cyan
    LineLook((255, 255, 255), "dotted"),  # white
    LineLook((255, 130, 0), "solid"),  # orange
    LineLook((120, 150, 255), "dashed"),  # light blue
    LineLook((255, 90, 255), "dotted"),  # magenta
)


def told_looks(told: Mapping[str, Iterable[str]]) -> dict[str, LineLook]:
    """How the areas of each class are outlined that slide QC tells but keeps, by reason, such as "qc:artifacts:fold".

    Args:
        told: names of classes by step, as in `SlideReport.qc_told`; they take looks in their order, across all steps.
    """
    reasons = [f"qc:{step}:{name}" for step, names in told.items() for name in names]
    return {reason: TOLD_LOOKS[i % len(TOLD_LOOKS)] for i, reason in enumerate(reasons)}


def told_words(reason: str) -> str:
    """What stands in legends after the number of tiles: "kept with artifacts:fold"."""
    return f"kept with {reason.removeprefix('qc:')}"


def with_told(
    picture: Picture, areas: Mapping[str, Sequence[BaseGeometry]], looks: Mapping[str, LineLook], *, whole: Size
) -> Picture:
    """A picture of a whole slide, whose level 0 has the size `whole`, with areas outlined in their looks, by reason."""
    if not areas:
        return picture
    rgb: Rgb = np.array(picture.rgb)
    height, width, _ = rgb.shape
    scale = {"scale_x": width / whole.width, "scale_y": height / whole.height}
    line = max(2, round(max(width, height) / 1000))
    edge = line + 2 * max(1, round(line * _EDGE_SHARE))
    for shapes in areas.values():
        for shape in shapes:
            draw_polygon(rgb, shape, **scale, colour=EDGE, width=edge)
    for reason, shapes in areas.items():
        look = looks[reason]
        drawn, left_out = (line * length for length in DASHES[look.pattern])
        for shape in shapes:
            draw_polygon(rgb, shape, **scale, colour=look.colour, width=line, dash=(drawn, left_out))
    return Picture(rgb)
