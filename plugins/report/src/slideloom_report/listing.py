"""The list of slides with links to their pages, and the full list of failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slideloom import SlideReport

from slideloom_report.cohort import BLUR_LIMIT, Cohort
from slideloom_report.cover import failure, why
from slideloom_report.style import (
    BOTTOM,
    DASH,
    GREEN,
    INK,
    LINE,
    MARGIN,
    PAGE_WIDTH,
    RED,
    SOFT,
    WIDTH,
    Align,
    Colour,
    Place,
    Sheet,
    fitted,
    number,
    percent,
)

_ROW = 14.2
_TOP = MARGIN + 48
ROWS_PER_PAGE = int((BOTTOM - _TOP) // _ROW)
FAILURES_PER_PAGE = int((BOTTOM - _TOP) // 26)
_NAME = 176.0
# Right edge of each column, from the page's margin.
_COLUMNS: Sequence[tuple[str, float]] = (
    ("µm/px", 218), ("regions", 252), ("planned", 300), ("kept", 344), ("", 426), ("blur", 460), ("page", WIDTH),
)  # fmt: skip


def draw_list(sheet: Sheet, cohort: Cohort, slides: Sequence[SlideReport], pages: Mapping[str, int]) -> None:
    """One page of the list.

    Args:
        sheet: an empty page.
        cohort: that the slides are of.
        slides: at most `ROWS_PER_PAGE`.
        pages: page of each slide that has one.
    """
    sheet.text(MARGIN, MARGIN + 14, "Slides", size=15, bold=True)
    head = _TOP - 9
    sheet.text(MARGIN, head, "slide", size=7, colour=SOFT)
    for title, right in _COLUMNS:
        sheet.text(MARGIN + right, head, title, size=7, colour=SOFT, align="right")
    sheet.rule(MARGIN, head + 4, WIDTH, colour=SOFT)
    for position, slide in enumerate(slides):
        y = _TOP + (position + 1) * _ROW - 7
        _row(sheet, cohort, slide, y, pages.get(slide.slide))
        sheet.rule(MARGIN, y + 4.2, WIDTH, colour=LINE, weight=0.3)


def _row(sheet: Sheet, cohort: Cohort, slide: SlideReport, y: float, page: int | None) -> None:
    sheet.text(MARGIN, y, fitted(slide.slide, _NAME, 7.5, middle=True), size=7.5)
    right = {title: MARGIN + edge for title, edge in _COLUMNS}

    def cell(title: str, text: str, colour: Colour = INK, align: Align = "right") -> None:
        sheet.text(right[title], y, text, size=7.5, colour=colour, align=align)

    if slide.status == "failed":
        sheet.text(right["µm/px"], y, "failed", size=7.5, bold=True, colour=RED, align="right")
        reason = fitted(why(slide), right["page"] - right["µm/px"] - 16, 7)
        sheet.text(right["µm/px"] + 16, y, reason, size=7, colour=SOFT)
        return
    kept = cohort.kept(slide)
    cell("µm/px", f"{sum(slide.mpp) / 2:.4g}" if slide.mpp else DASH)
    cell("regions", number(slide.rois) if cohort.kind != "stored" else DASH)
    cell("planned", number(slide.planned) if cohort.kind != "stored" else DASH)
    cell("kept", number(kept), RED if not kept else INK)
    bar = Place(right["kept"] + 12, y - 6, 70, 6)
    sheet.fill(bar, (236, 239, 242), radius=1)
    if slide.planned and kept:
        sheet.fill(Place(bar.x, bar.y, max(1.0, bar.width * kept / slide.planned), bar.height), GREEN)
    burden = slide.blur_burden
    cell("blur", percent(burden) if burden is not None else DASH, RED if (burden or 0) > BLUR_LIMIT else INK)
    if page is not None:
        cell("page", str(page), SOFT)
        sheet.link(Place(MARGIN, y - 8, PAGE_WIDTH - 2 * MARGIN, _ROW), f"page-{page}")


def draw_failures(sheet: Sheet, slides: Sequence[SlideReport]) -> None:
    """One page of failed slides, at most `FAILURES_PER_PAGE`."""
    sheet.text(MARGIN, MARGIN + 14, "Slides that failed", size=15, bold=True)
    y = _TOP
    for slide in slides:
        y = failure(sheet, slide, y)
