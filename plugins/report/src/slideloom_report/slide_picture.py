"""The picture on a slide's page: the slide with regions, mask and tiles, its scale and its legend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import shapely
from attrs import frozen
from slideloom import LEGEND, Region, Rgb, Size, tint

from slideloom_report.charts import colour_for, nice_step
from slideloom_report.cohort import Cohort
from slideloom_report.evidence import MASK_COLOUR, Evidence
from slideloom_report.images import jpeg_within
from slideloom_report.samples import Boxes
from slideloom_report.style import (
    INK,
    LINE,
    MARGIN,
    PANEL,
    SOFT,
    Colour,
    Place,
    Sheet,
    fitted,
    reason_name,
    width_of,
)

PICTURE = Size(300, 318)  # room for the picture, in points
TOP = MARGIN + 44
_FILL_ALPHA = 0.4
_POINT = 1.5  # side of a cell's mark, in points
_DOT, _LARGEST_DOT = 0.3, 5.0  # side of a dropped tile's mark, as a share of the tile and in points
_KEPT_LINE = 0.7
# Boxes smaller than this on paper, in points, are filled; their outlines would run into each other.
_SMALLEST_OUTLINED = 3.2


@frozen
class _View:
    """Where level-0 pixels are on paper, and the colours of tiles."""

    place: Place
    whole: Size
    qc_kinds: Mapping[str, str]

    @property
    def scale_x(self) -> float:
        """Points per level-0 pixel along x."""
        return self.place.width / self.whole.width

    @property
    def scale_y(self) -> float:
        """Points per level-0 pixel along y."""
        return self.place.height / self.whole.height

    def colour(self, reason: str) -> Colour:
        """Of tiles with this outcome."""
        return colour_for(reason, self.qc_kinds)

    def places(self, boxes: Boxes, inset: float = 0.0) -> Iterator[Place]:
        """Boxes on paper, each smaller by `inset` points at every side."""
        for x, y, width, height in boxes.tolist():
            yield Place(
                self.place.x + x * self.scale_x + inset,
                self.place.y + y * self.scale_y + inset,
                max(0.3, width * self.scale_x - 2 * inset),
                max(0.3, height * self.scale_y - 2 * inset),
            )

    def rings(self, regions: Sequence[Region]) -> Iterator[list[tuple[float, float]]]:
        """Outlines and holes of regions on paper."""
        scale, start = [self.scale_x, self.scale_y], [self.place.x, self.place.y]
        for region in regions:
            simple = region.shape.simplify(0.5 / self.scale_x)  # half a point is finer than the line is wide
            for ring in shapely.get_rings(shapely.get_parts(simple)):
                yield [(x, y) for x, y in (shapely.get_coordinates(ring) * scale + start).tolist()]


@frozen
class Budget:
    """What a slide's page may take of the file.

    Attributes:
        picture: bytes of the picture.
        samples: bytes of both rows of tiles together.
        outlines: number of tiles drawn as lines; more are painted into the picture.
    """

    picture: int
    samples: int
    outlines: int


def draw_picture(sheet: Sheet, cohort: Cohort, found: Evidence, budget: Budget) -> float:
    """The slide with tiles, regions and mask; returns the y below its legend."""
    report = found.report
    if found.picture is not None:
        height, width, _ = found.picture.shape
        whole = Size(*report.size)
    elif found.boxes.get("kept") is not None and len(found.boxes["kept"]):
        every = np.concatenate(list(found.boxes.values()))
        # How far the slide reaches is not known; a tile's width more looks better than lines on the frame.
        right, bottom = (int((every[:, axis] + 2 * every[:, axis + 2]).max()) for axis in (0, 1))
        whole = Size(max(right, report.size[0]), max(bottom, report.size[1]))
        width, height = whole.width, whole.height
    else:
        place = Place(MARGIN, TOP, PICTURE.width, 70)
        sheet.fill(place, PANEL, radius=4)
        sheet.text(place.x + place.width / 2, place.y + 38, "no picture", size=9, colour=SOFT, align="center")
        return place.bottom
    scale = min(PICTURE.width / width, PICTURE.height / height)
    place = Place(MARGIN + (PICTURE.width - width * scale) / 2, TOP, width * scale, height * scale)
    view = _View(place, whole, cohort.qc_kinds)
    _slide_image(sheet, found, view, budget)
    if found.regions:
        sheet.polygons(view.rings(found.regions), LEGEND["region"], stroke=1.1, within=place)
    sheet.frame(place, LINE)
    y = place.bottom + 6
    if report.mpp is not None:
        _scale_bar(sheet, place, report.mpp[0] * whole.width, y)
    return _legend(sheet, cohort, found, y + 22)


def _slide_image(sheet: Sheet, found: Evidence, view: _View, budget: Budget) -> None:
    groups = {name: boxes for name, boxes in found.boxes.items() if len(boxes)}
    if not found.is_grid:
        groups = {name: _points(boxes, _POINT / view.scale_x) for name, boxes in groups.items()}
    painted = {name for name, boxes in groups.items() if len(boxes) > budget.outlines}
    picture = found.picture
    if picture is None:
        sheet.fill(view.place, PANEL)
        painted = set()  # a few thousand small boxes compress well, and there is no picture that takes room
    else:
        picture = picture.copy()
        for name in painted:
            _paint(picture, groups[name], view.whole, view.colour(name), strength=_strength(name, found))
        jpeg, _ = jpeg_within(picture, budget.picture)
        sheet.image(view.place, jpeg)
    for name, boxes in groups.items():
        if name in painted or name == "kept":
            continue
        on_paper = boxes[0, 2] * view.scale_x if found.is_grid else 0.0
        inset = (on_paper - min(_LARGEST_DOT, on_paper * _DOT)) / 2 if on_paper >= _SMALLEST_OUTLINED else 0.0
        alpha = 1.0 if inset else _strength(name, found)
        sheet.boxes(view.places(boxes, inset), view.colour(name), alpha=alpha, within=view.place)
    kept = groups.get("kept")
    if kept is None or "kept" in painted:
        return
    if kept[0, 2] * view.scale_x >= _SMALLEST_OUTLINED:
        places = view.places(kept, _KEPT_LINE / 2)
        sheet.boxes(places, view.colour("kept"), stroke=_KEPT_LINE, within=view.place)
    else:
        sheet.boxes(view.places(kept), view.colour("kept"), alpha=_strength("kept", found), within=view.place)


def _strength(name: str, found: Evidence) -> float:
    """How much of what is below a filled tile shows through."""
    if not found.is_grid:
        return 0.9
    return 0.5 if name == "kept" else _FILL_ALPHA


def _points(boxes: Boxes, side: float) -> Boxes:
    """Small boxes around the centres of boxes."""
    length = max(1, round(side))
    corners = boxes[:, :2] + (boxes[:, 2:] - length) // 2
    points: Boxes = np.concatenate([corners, np.full_like(corners, length)], axis=1)
    return points


def _paint(rgb: Rgb, boxes: Boxes, whole: Size, colour: Colour, *, strength: float) -> None:
    """Tint the pixels whose centres are in a box."""
    height, width, _ = rgb.shape
    scale = np.array([width / whole.width, height / whole.height])
    low = np.ceil(boxes[:, :2] * scale - 0.5).astype(int)
    high = np.ceil((boxes[:, :2] + boxes[:, 2:]) * scale - 0.5).astype(int)
    # The running sum over both axes of +1 and -1 at the corners is the number of boxes over a pixel.
    count = np.zeros((height + 1, width + 1), np.int32)
    low, high = np.clip(low, 0, [width, height]), np.clip(high, 0, [width, height])
    for x, y, sign in ((low, low, 1), (high, low, -1), (low, high, -1), (high, high, 1)):
        np.add.at(count, (y[:, 1], x[:, 0]), sign)
    inside = count.cumsum(axis=0).cumsum(axis=1)[:height, :width] > 0
    tint(rgb, inside, colour=colour, strength=strength)


def _scale_bar(sheet: Sheet, place: Place, width_um: float, y: float) -> None:
    length = nice_step(width_um, 4)  # 1, 2 or 5 and zeros, at least a quarter of the width
    if length > width_um / 2:
        length /= 2
    points = place.width * length / width_um
    for x0, y0, x1, y1 in (
        (place.x, y + 3, place.x + points, y + 3),
        (place.x, y, place.x, y + 6),
        (place.x + points, y, place.x + points, y + 6),
    ):
        sheet.segment(x0, y0, x1, y1, colour=INK, weight=0.9)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    sheet.text(place.x + points + 5, y + 5.8, text, size=7.5)


def _legend(sheet: Sheet, cohort: Cohort, found: Evidence, y: float) -> float:
    entries = _legend_entries(cohort, found)
    x = MARGIN
    for full, colour, kind in entries:
        text = fitted(full, 160, 7)
        needed = 12 + width_of(text, 7) + 12
        if x + needed > MARGIN + PICTURE.width and x > MARGIN:
            x, y = MARGIN, y + 12
        swatch = Place(x, y - 6, 8, 7)
        if kind == "outline":
            sheet.frame(Place(x + 0.5, y - 5.5, 7, 6), colour, weight=1.1)
        elif kind == "line":
            sheet.segment(x, y - 2.5, x + 8, y - 2.5, colour=colour, weight=1.3)
        elif kind == "dot":
            sheet.fill(Place(x + 2, y - 4.5, 4, 4), colour)
        else:
            sheet.fill(swatch, colour, alpha=0.5)
        sheet.text(x + 12, y, text, size=7, colour=INK)
        x += needed
    return y + 4 if entries else y


def _legend_entries(cohort: Cohort, found: Evidence) -> list[tuple[str, Colour, str]]:
    """Text, colour and kind of mark of each entry."""
    word = {"run": "kept tile", "dry-run": "planned tile", "stored": "stored tile"}[cohort.kind]
    entries: list[tuple[str, Colour, str]] = []
    dropped: dict[Colour, list[str]] = {}
    for name, boxes in found.boxes.items():
        colour = colour_for(name, cohort.qc_kinds)
        if name == "kept" and len(boxes):
            entries.append((word, colour, "outline" if found.is_grid else "dot"))
        elif len(boxes):
            dropped.setdefault(colour, []).append(reason_name(name))
    entries.extend((", ".join(names), colour, "dot") for colour, names in dropped.items())
    if found.mask is not None:
        entries.append(("masked by QC", MASK_COLOUR, "mask"))
    if found.regions:
        entries.append(("region", LEGEND["region"], "line"))
    return entries
