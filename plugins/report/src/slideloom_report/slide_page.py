"""The page of one slide: its image with tiles, facts, reasons, sample tiles and warnings."""

from __future__ import annotations

import io
from typing import Any

from reportlab.graphics.shapes import Drawing
from reportlab.platypus import Image, Spacer
from slideloom import LEGEND, Size, SlideReport

from slideloom_report import style
from slideloom_report.charts import mark, outcome_table, scale_bar
from slideloom_report.cohort import BLUR_LIMIT, Cohort
from slideloom_report.evidence import Evidence
from slideloom_report.flowables import Landmark
from slideloom_report.pictures import SAMPLE_GAP, SlidePicture, contact_sheet, jpeg
from slideloom_report.style import TIMES, WIDTH, Flowable, number, paragraph

_PICTURE = Size(300, 318)  # its space, in points
_GAP = 22.0
_FACTS = WIDTH - _PICTURE.width - _GAP
_MOST_REASONS = 10  # beside the image
_COLUMNS, _TITLES = 8, 46.0  # of sample tiles; width of their rows' titles


def slide_page(cohort: Cohort, found: Evidence, *, key: str, most_bytes: int) -> list[Flowable]:
    """A slide's page, or several if there are many warnings.

    Args:
        cohort: the cohort of the slide.
        found: what is shown.
        key: of the landmark for links.
        most_bytes: largest size of its images.
    """
    report = found.report
    is_short = len(cohort.outcomes([report])) + len(cohort.told([report])) <= _MOST_REASONS
    width = _FACTS if is_short else WIDTH
    note = f"{number(report.planned)} planned" if cohort.kind != "stored" else ""
    facts = [style.ruled("Slide", "", _FACTS), style.grid(_facts(cohort, report), [62, _FACTS - 62])]
    tiles = [style.ruled("Tiles", note, width), outcome_table(cohort, [report], width=width, legend=_legend(found))]
    beside, below = (facts + tiles, []) if is_short else (facts, tiles)
    return [
        Landmark(key, report.slide),
        paragraph(report.slide, style.type_of(15 if len(report.slide) <= 60 else 10, bold=True, after=2)),
        paragraph(report.path, style.type_of(7.5, style.SOFT, after=8)),
        style.grid([[_picture(cohort, found, most_bytes // 2), beside]], [_PICTURE.width + _GAP, _FACTS]),
        *below,
        *_more(report),
        *_samples(cohort, found, most_bytes // 2),
        *_remarks(found),
    ]


def _picture(cohort: Cohort, found: Evidence, most_bytes: int) -> list[Flowable]:
    if found.picture is None and not any(len(boxes) for boxes in found.boxes.values()):
        panel = [("BACKGROUND", (0, 0), (-1, -1), style.PANEL), ("LEFTPADDING", (0, 0), (-1, -1), 8)]
        return [style.grid([[paragraph("no picture", style.QUIET)]], [_PICTURE.width], panel, rowHeights=[70])]
    picture = SlidePicture(found, cohort.qc_colours, cohort.told_looks, room=_PICTURE, most_bytes=most_bytes)
    if found.report.mpp is None:
        return [picture]
    return [picture, Spacer(0, 4), scale_bar(found.report.mpp[0] * picture.whole.width, picture.drawWidth)]


def _legend(found: Evidence) -> dict[str, Drawing]:
    """Marks in the image for kept tiles and for everything that is not a tile."""
    legend = {"kept": mark("outline" if found.is_grid else "dot", style.GREEN)}
    if found.mask is not None:
        legend["masked by QC"] = mark("area", style.colour(LEGEND["mask"]))
    if found.regions:
        legend["region"] = mark("line", style.colour(LEGEND["region"]))
    return legend


def _facts(cohort: Cohort, report: SlideReport) -> list[list[Flowable]]:
    width, height = report.size
    x, y = report.mpp or (0.0, 0.0)
    mpp = f"{x:.4g}" if abs(x - y) <= 1e-4 * x else f"{x:.4g} {TIMES} {y:.4g}"
    tile = f"{report.footprint[0]} {TIMES} {report.footprint[1]} px of level 0"
    burden = report.blur_burden or 0.0
    rows: list[tuple[str, Any, str]] = [  # name, whether it is known, and text
        ("Size", width, f"{number(width)} {TIMES} {number(height)} px"),
        ("", width and x, f"{width * x / 1000:.1f} {TIMES} {height * y / 1000:.1f} mm"),
        ("Resolution", x, f"{mpp} µm/px, from {report.mpp_source}"),
        ("Read by", report.reader, f"{report.reader}, level {report.level}"),
        ("Tile", report.tile_px, tile if min(report.footprint) > 0 else f"{report.tile_px} px"),
        ("Regions", cohort.kind != "stored", number(report.rois) if report.rois else "none"),
        ("Blur burden", report.blur_burden is not None, style.percent(burden)),
        ("Time", report.seconds, f"{sum(report.seconds.values()):.1f} s"),
        ("Status", report.status == "skipped", "finished by an earlier run"),
    ]
    red = "Blur burden" if burden > BLUR_LIMIT else None
    return [
        [paragraph(name, style.QUIET), paragraph(said, style.ALARM if name == red else style.BODY, most=100)]
        for name, is_known, said in rows
        if is_known
    ]


def _more(report: SlideReport) -> list[Flowable]:
    """Numbers of kept tiles by fallback and region."""
    labels = ", ".join(f"{label} {number(count)}" for label, count in report.roi_labels.items())
    fallback = f"{number(report.fallback)} kept tiles with the normalizer's fallback" if report.fallback else ""
    texts = [f"Kept tiles by region: {labels}" if labels else "", fallback]
    return [paragraph(text, style.type_of(7.5, before=4)) for text in texts if text]


def _samples(cohort: Cohort, found: Evidence, most_bytes: int) -> list[Flowable]:
    """Tiles as on the slide, below them as stored, and below both their positions."""
    if not found.samples:
        return []
    is_normalized = cohort.pipeline is not None and cohort.pipeline.normalizer is not None
    kinds = {"before": "on the slide", "after": "normalized" if is_normalized else "as stored"}
    kinds = {key: title for key, title in kinds.items() if any(getattr(one, key) is not None for one in found.samples)}
    strips = [found.samples[start : start + _COLUMNS] for start in range(0, len(found.samples), _COLUMNS)]
    room = WIDTH - _TITLES
    step = room / (_COLUMNS - SAMPLE_GAP / (1 + SAMPLE_GAP))
    widths = [_TITLES, *[step] * (_COLUMNS - 1), room - step * (_COLUMNS - 1)]
    look: list[tuple[Any, ...]] = [
        ("FONTSIZE", (0, -1), (-1, -1), 5.8), ("TEXTCOLOR", (0, -1), (-1, -1), style.SOFT),
        ("VALIGN", (0, 0), (0, -1), "MIDDLE"), *(("SPAN", (1, row), (-1, row)) for row in range(len(kinds))),
    ]  # fmt: skip
    place = "x and y of the centre, in pixels of level 0"
    flowables = style.heading("Sample tiles", place, room=60 + len(kinds) * 60)
    for strip in strips:
        rows: list[list[Any]] = []
        for key, title in kinds.items():
            sheet = contact_sheet([getattr(sample, key) for sample in strip], _COLUMNS)
            content = jpeg(sheet, most_bytes // len(kinds) // len(strips))
            picture = Image(io.BytesIO(content), room, room * sheet.height / sheet.width)
            rows.append([paragraph(title, style.SMALL), picture])
        rows.append(["", *(f"{sample.loc[0]}, {sample.loc[1]}" if sample.loc else "" for sample in strip)])
        flowables.append(style.grid(rows, widths, look, splitByRow=0, spaceAfter=4))
    return flowables


def _remarks(found: Evidence) -> list[Flowable]:
    """Warnings of the run, marked red, and notes on what the page lacks."""
    warnings = found.report.warnings
    marked = [(text, style.RED) for text in warnings] + [(text, style.GREY) for text in found.notes]
    if not marked:
        return []
    edges = [("LINEBEFORE", (0, row), (0, row), 2.2, ink) for row, (_, ink) in enumerate(marked)]
    cells = [[paragraph(text, most=2000)] for text, _ in marked]
    table = style.grid(cells, [WIDTH], [*edges, ("LEFTPADDING", (0, 0), (-1, -1), 8)])
    return [*style.heading("Warnings and notes" if warnings else "Notes"), table]
