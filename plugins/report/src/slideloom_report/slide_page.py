"""The page of one slide: its picture with tiles, facts, reasons, sample tiles and warnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import shapely
from attrs import frozen
from slideloom import LEGEND, Region, Rgb, Size, SlideReport, tint

from slideloom_report.charts import bars, colour_for, nice_step
from slideloom_report.cohort import BLUR_LIMIT, Cohort
from slideloom_report.evidence import MASK_COLOUR, Boxes, Evidence, Sample
from slideloom_report.images import contact_sheet, jpeg_within
from slideloom_report.style import (
    BOTTOM,
    GREY,
    INK,
    LINE,
    MARGIN,
    PANEL,
    RED,
    SOFT,
    TIMES,
    WIDTH,
    Colour,
    Place,
    Sheet,
    fitted,
    number,
    percent,
    reason_name,
    width_of,
    wrapped,
)

_PICTURE = Size(300, 318)
_GAP = 22.0
_FACTS = WIDTH - _PICTURE.width - _GAP
_TOP = MARGIN + 44
_SAMPLE_PX = 128
_COLUMNS = 8
_GUTTER = 46.0
_GAP_OF_TILES = 6.5  # the sheet ends in a gap, which may stand in the margin
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
    qc_steps: tuple[str, ...]

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
        return colour_for(reason, self.qc_steps)

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


def draw_slide(sheet: Sheet, cohort: Cohort, found: Evidence, budget: Budget) -> None:
    """Draw a slide's page."""
    report = found.report
    _header(sheet, report)
    left = _picture(sheet, cohort, found, budget)
    x = MARGIN + _PICTURE.width + _GAP
    y = _facts(sheet, cohort, report, x)
    if cohort.kind != "stored":
        y = sheet.heading(x, y + 12, "Tiles", _FACTS, note=f"{number(report.planned)} planned")
        y = bars(sheet, Place(x, y - 5, _FACTS, 118), cohort.outcomes([report]), qc_steps=cohort.qc_steps)
        if report.fallback:
            sheet.text(
                x, y + 8, f"{number(report.fallback)} kept tiles with the normalizer's fallback", size=7, colour=SOFT
            )
            y += 10
        y = _labels(sheet, report, x, y)
    y = max(left, y) + 20
    y = _samples(sheet, cohort, found, y, limit=budget.samples)
    _remarks(sheet, [*report.warnings], found.notes, y)


def _header(sheet: Sheet, report: SlideReport) -> None:
    size = 15.0
    while width_of(report.slide, size, bold=True) > WIDTH and size > 10:
        size -= 0.5
    sheet.text(MARGIN, MARGIN + 14, fitted(report.slide, WIDTH, size, bold=True, middle=True), size=size, bold=True)
    if report.path:
        sheet.text(MARGIN, MARGIN + 27, fitted(report.path, WIDTH, 7.5, middle=True), size=7.5, colour=SOFT)


def _picture(sheet: Sheet, cohort: Cohort, found: Evidence, budget: Budget) -> float:
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
        place = Place(MARGIN, _TOP, _PICTURE.width, 70)
        sheet.fill(place, PANEL, radius=4)
        sheet.text(place.x + place.width / 2, place.y + 38, "no picture", size=9, colour=SOFT, align="center")
        return place.bottom
    scale = min(_PICTURE.width / width, _PICTURE.height / height)
    place = Place(MARGIN + (_PICTURE.width - width * scale) / 2, _TOP, width * scale, height * scale)
    view = _View(place, whole, cohort.qc_steps)
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
        if x + needed > MARGIN + _PICTURE.width and x > MARGIN:
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
        colour = colour_for(name, cohort.qc_steps)
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


def _facts(sheet: Sheet, cohort: Cohort, report: SlideReport, x: float) -> float:
    y = sheet.heading(x, _TOP + 8, "Slide", _FACTS)
    for key, value, colour in _fact_rows(cohort, report):
        sheet.text(x, y, key, size=7.5, colour=SOFT)
        rows = wrapped(value, _FACTS - 62, 7.5, lines=2)
        y = sheet.lines(x + 62, y, rows, size=7.5, colour=colour) + 2.6
    return y


def _fact_rows(cohort: Cohort, report: SlideReport) -> list[tuple[str, str, Colour]]:
    rows = _measures(report)
    if cohort.kind == "stored":
        rows.append(("Tiles", number(report.written), INK))
        return rows
    rows.append(("Regions", number(report.rois) if report.rois else "none", INK))
    if report.blur_burden is not None:
        high = report.blur_burden > BLUR_LIMIT
        rows.append(("Blur burden", percent(report.blur_burden), RED if high else INK))
    if report.seconds:
        rows.append(("Time", f"{sum(report.seconds.values()):.1f} s", INK))
    if report.status == "skipped":
        rows.append(("Status", "finished by an earlier run", INK))
    return rows


def _measures(report: SlideReport) -> list[tuple[str, str, Colour]]:
    rows: list[tuple[str, str, Colour]] = []
    width, height = report.size
    if width:
        rows.append(("Size", f"{number(width)} {TIMES} {number(height)} px", INK))
        if report.mpp is not None:
            rows.append(("", f"{width * report.mpp[0] / 1000:.1f} {TIMES} {height * report.mpp[1] / 1000:.1f} mm", INK))
    if report.mpp is not None:
        x, y = report.mpp
        mpp = f"{x:.4g} µm/px" if abs(x - y) <= 1e-4 * x else f"{x:.4g} {TIMES} {y:.4g} µm/px"
        rows.append(("Resolution", mpp, INK))
        rows.append(("", f"from {report.mpp_source}", SOFT))
    if report.reader:
        rows.append(("Read by", f"{report.reader}, level {report.level}", INK))
    if min(report.footprint) > 0:
        rows.append(("Tile", f"{report.footprint[0]} {TIMES} {report.footprint[1]} px of level 0", INK))
    elif report.tile_px:
        rows.append(("Tile", f"{report.tile_px} px", INK))
    return rows


def _labels(sheet: Sheet, report: SlideReport, x: float, y: float) -> float:
    if not report.roi_labels:
        return y
    text = ", ".join(f"{label} {number(count)}" for label, count in report.roi_labels.items())
    sheet.text(x, y + 9, "By region", size=7.5, colour=SOFT)
    return sheet.lines(x + 62, y + 9, wrapped(text, _FACTS - 62, 7.5, lines=3), size=7.5)


def _samples(sheet: Sheet, cohort: Cohort, found: Evidence, y: float, *, limit: int) -> float:
    samples = found.samples
    if not samples:
        return y
    y = sheet.heading(MARGIN, y, "Sample tiles", WIDTH, note="x and y of the centre, in pixels of level 0")
    strips = [samples[start : start + _COLUMNS] for start in range(0, len(samples), _COLUMNS)]
    for strip in strips:
        y = _strip(sheet, cohort, strip, y, limit=limit // len(strips)) + 8
    return y + 12


def _strip(sheet: Sheet, cohort: Cohort, samples: Sequence[Sample], y: float, *, limit: int) -> float:
    """One row of tiles, as on the slide and as stored; returns the y of the last line below."""
    rows = []
    if any(sample.before is not None for sample in samples):
        rows.append(("on the slide", [sample.before for sample in samples]))
    if any(sample.after is not None for sample in samples):
        known = cohort.pipeline is not None and cohort.pipeline.normalizer is not None
        rows.append(("normalized" if known else "as stored", [sample.after for sample in samples]))
    step = (WIDTH - _GUTTER + _GAP_OF_TILES) / _COLUMNS
    for title, tiles in rows:
        jpeg, share = contact_sheet(tiles, columns=_COLUMNS, max_px=_SAMPLE_PX, limit=limit // len(rows))
        side = step * share
        sheet.image(Place(MARGIN + _GUTTER, y - 6, step * _COLUMNS, side), jpeg)
        for row, line in enumerate(wrapped(title, _GUTTER - 4, 7, lines=2)):
            sheet.text(MARGIN, y - 6 + side / 2 + row * 8.5, line, size=7, colour=SOFT)
        y += side + 4
    for column, sample in enumerate(samples):
        if sample.loc is not None:
            x = MARGIN + _GUTTER + column * step
            sheet.text(x, y + 1, fitted(f"{sample.loc[0]}, {sample.loc[1]}", step - 2, 5.8), size=5.8, colour=SOFT)
    return y + 7


def _remarks(sheet: Sheet, warnings: list[str], notes: list[str], y: float) -> None:
    every = [(text, RED) for text in warnings] + [(text, GREY) for text in notes]
    if not every or y > BOTTOM - 24:
        return
    y = sheet.heading(MARGIN, y, "Warnings and notes" if warnings else "Notes", WIDTH)
    for position, (text, colour) in enumerate(every):
        rows = wrapped(text, WIDTH - 10, 7.5, lines=3)
        last = position == len(every) - 1
        if y + len(rows) * 10.2 > BOTTOM - (0 if last else 12):
            sheet.text(
                MARGIN + 10, y, f"and {len(every) - position} more, in the slide's report file", size=7.5, colour=SOFT
            )
            return
        sheet.fill(Place(MARGIN, y - 5.6, 2.2, 7.4 + (len(rows) - 1) * 10.2), colour)
        y = sheet.lines(MARGIN + 10, y, rows, size=7.5) + 3
