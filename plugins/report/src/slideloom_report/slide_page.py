"""The page of one slide: its picture with tiles, facts, reasons, sample tiles and warnings."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import SlideReport

from slideloom_report.charts import bars
from slideloom_report.cohort import BLUR_LIMIT, Cohort
from slideloom_report.evidence import Evidence
from slideloom_report.images import contact_sheet
from slideloom_report.samples import Sample
from slideloom_report.slide_picture import PICTURE, TOP, Budget, draw_picture
from slideloom_report.style import (
    BOTTOM,
    GREY,
    INK,
    MARGIN,
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
    width_of,
    wrapped,
)

_GAP = 22.0
_FACTS = WIDTH - PICTURE.width - _GAP
_COLUMNS = 8
_SAMPLE_PX = 128
_GUTTER = 46.0
_GAP_OF_TILES = 6.5  # the sheet ends in a gap, which may stand in the margin


def draw_slide(sheet: Sheet, cohort: Cohort, found: Evidence, budget: Budget) -> None:
    """Draw a slide's page."""
    report = found.report
    _header(sheet, report)
    left = draw_picture(sheet, cohort, found, budget)
    x = MARGIN + PICTURE.width + _GAP
    y = _facts(sheet, cohort, report, x)
    if cohort.kind != "stored":
        y = sheet.heading(x, y + 12, "Tiles", _FACTS, note=f"{number(report.planned)} planned")
        y = bars(sheet, Place(x, y - 5, _FACTS, 118), cohort.outcomes([report]), qc_kinds=cohort.qc_kinds)
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


def _facts(sheet: Sheet, cohort: Cohort, report: SlideReport, x: float) -> float:
    y = sheet.heading(x, TOP + 8, "Slide", _FACTS)
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
