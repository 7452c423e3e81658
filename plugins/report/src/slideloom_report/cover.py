"""The first page: what was done, how, and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from slideloom import SlideReport

from slideloom_report.charts import bars, histogram
from slideloom_report.cohort import BLUR_LIMIT, Cohort
from slideloom_report.style import (
    BOTTOM,
    DASH,
    GREEN,
    INK,
    MARGIN,
    PANEL,
    RED,
    SOFT,
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
_LEFT = 232.0
_RIGHT = WIDTH - _LEFT - _GAP
_KEYS = 66.0
TITLES = {"run": "Tile extraction report", "dry-run": "Dry run report", "stored": "Stored tiles report"}
FAILURES_ON_COVER = 4
# Where a step keeps its things says nothing about what it does.
_SILENT_OPTIONS = ("use", "folder", "name", "device")


def draw_cover(sheet: Sheet, cohort: Cohort, *, failures_page: int | None) -> None:
    """Draw the first page.

    Args:
        sheet: an empty page.
        cohort: what it is about.
        failures_page: where all failed slides are listed, if not here.
    """
    y = _title(sheet, cohort)
    y = _figures(sheet, cohort, y) + 26
    left = _settings(sheet, cohort, y)
    _versions(sheet, cohort, left + 8, BOTTOM - _failures_height(cohort) - 4)
    _charts(sheet, cohort, Place(MARGIN + _LEFT + _GAP, y, _RIGHT, BOTTOM - _failures_height(cohort) - y - 6))
    _failures(sheet, cohort, failures_page)


def _title(sheet: Sheet, cohort: Cohort) -> float:
    sheet.text(MARGIN, MARGIN + 8, "slideloom", size=9, bold=True, colour=GREEN)
    sheet.text(MARGIN + WIDTH, MARGIN + 8, when(cohort.started), size=8, colour=SOFT, align="right")
    sheet.text(MARGIN, MARGIN + 38, TITLES[cohort.kind], size=23, bold=True)
    label = f"{cohort.label.replace('_', '  at  ').replace('px', ' px').replace('um', ' µm')}"
    sheet.text(MARGIN + WIDTH, MARGIN + 38, label, size=12, colour=SOFT, align="right")
    folder = fitted(str(cohort.out.resolve()), WIDTH, 8, middle=True)
    sheet.text(MARGIN, MARGIN + 55, folder, size=8, colour=SOFT)
    return MARGIN + 70


def when(started: str) -> str:
    """A time such as "12 March 2025, 14:05", or "" if there is none."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return started
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".strip()


def _figures(sheet: Sheet, cohort: Cohort, y: float) -> float:
    done, planned = len(cohort.finished), sum(slide.planned for slide in cohort.finished)
    kept = sum(cohort.kept(slide) for slide in cohort.finished)
    measured = [slide for slide in cohort.slides if slide.blur_burden is not None]
    empty = sum(1 for slide in cohort.finished if not cohort.kept(slide))
    word = "tiles planned" if cohort.kind == "dry-run" else "tiles stored"
    figures: list[tuple[str, str, Colour]] = [
        (number(done), "slide" if done == 1 else "slides", INK),
        (number(kept), word, GREEN),
        (percent(kept / planned) if planned and cohort.kind != "stored" else DASH, "of planned tiles kept", INK),
        (number(len(cohort.blurred)) if measured else DASH, "slides above 5% blur", RED if cohort.blurred else INK),
        (number(empty), "slides without tiles", RED if empty else INK),
        (number(len(cohort.failed)), "slides failed", RED if cohort.failed else INK),
    ]
    gap = 7.0
    wide = (WIDTH - gap * (len(figures) - 1)) / len(figures)
    for column, (value, name, colour) in enumerate(figures):
        place = Place(MARGIN + column * (wide + gap), y, wide, 46)
        sheet.fill(place, PANEL, radius=4)
        size = 17.0
        while width_of(value, size, bold=True) > wide - 12 and size > 8:
            size -= 0.5
        sheet.text(place.x + 8, y + 24, value, size=size, bold=True, colour=colour)
        sheet.text(place.x + 8, y + 37, fitted(name, wide - 12, 6.8), size=6.8, colour=SOFT)
    return y + 46


def _settings(sheet: Sheet, cohort: Cohort, y: float) -> float:
    y = sheet.heading(MARGIN, y, "Settings", _LEFT)
    for key, value, detail in settings_rows(cohort):
        sheet.text(MARGIN, y, key, size=7.5, colour=SOFT)
        rows = wrapped(value, _LEFT - _KEYS, 7.5, lines=2)
        below = sheet.lines(MARGIN + _KEYS, y, rows, size=7.5)
        if detail:
            below = sheet.lines(
                MARGIN + _KEYS, below - 0.8, wrapped(detail, _LEFT - _KEYS, 6.3, lines=2), size=6.3, colour=SOFT
            )
        y = below + 3.2
        if y > BOTTOM - _failures_height(cohort) - 60:
            sheet.text(MARGIN + _KEYS, y, "more in pipeline.json", size=6.3, colour=SOFT)
            return y + 12
    return y


def settings_rows(cohort: Cohort) -> list[tuple[str, str, str]]:
    """Name, value and small print of each setting."""
    table = cohort.table
    if not table:
        sizes = sorted({slide.tile_px for slide in cohort.finished if slide.tile_px})
        stored = ", ".join(f"{size} px" for size in sizes) or DASH
        return [("Tiles", stored, ""), ("Settings", "not known", "these folders hold tiles only")]
    tiles = table.get("tiles", {})
    size = tiles.get("magnification") or f"{tiles.get('size_um', 0):g} µm"
    rows = [("Tiles", f"{tiles.get('size_px')} px  =  {size}", "")]
    stride = float(tiles.get("stride_div", 1))
    rows.append(("Stride", "one tile" if stride == 1 else f"1/{stride:g} of a tile", ""))
    placement = table.get("placement")
    rows.append(("Placement", *(_step(placement) if placement else ("regular grid", ""))))
    flags = ("edge_tiles", "random_origin", "use_bounds", "max_tiles")
    also = [f"{name.replace('_', ' ')} {tiles[name]}" for name in flags if tiles.get(name)]
    if also:
        rows.append(("", ", ".join(also).replace(" True", ""), ""))
    slides = table.get("slides", {})
    given = slides.get("mpp") or slides.get("mpp_file")
    if given:
        rows.append(("Resolution", f"{given} µm/px for all" if slides.get("mpp") else f"from {given}", ""))
    for title, key in (("Regions", "roi"), ("Slide QC", "qc"), ("Tile filters", "filter")):
        steps = table.get(key, [])
        if not steps:
            rows.append((title, "none", ""))
        for position, step in enumerate(steps):
            rows.append((title if position == 0 else "", *_step(step)))
    normalizer = table.get("normalizer")
    rows.append(("Normalizer", *(_step(normalizer) if normalizer else ("none", ""))))
    for position, step in enumerate(table.get("sink", [])):
        rows.append(("Stored as" if position == 0 else "", *_step(step)))
    return rows


def _step(table: Mapping[str, Any]) -> tuple[str, str]:
    options = [f"{key.replace('_', ' ')} {_value(value)}" for key, value in table.items() if key not in _SILENT_OPTIONS]
    return str(table.get("use", "?")), ", ".join(options)


def _value(value: Any) -> str:  # Any: a plain value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(_value(item) for item in value) or DASH
    return f"{value:g}" if isinstance(value, float) else str(value)


def _versions(sheet: Sheet, cohort: Cohort, y: float, bottom: float) -> None:
    if not cohort.versions or y > bottom - 30:
        return
    y = sheet.heading(MARGIN, y, "Versions", _LEFT)
    ours = {name: version for name, version in cohort.versions.items() if name.startswith("slideloom")}
    lines = [f"{name} {version}" for name, version in cohort.versions.items() if name not in ours]
    by_version: dict[str, list[str]] = {}
    for name, version in ours.items():
        by_version.setdefault(version, []).append(name.removeprefix("slideloom-"))
    own = "; ".join(f"slideloom {version}: {', '.join(names)}" for version, names in by_version.items())
    text = "; ".join([own, *lines])
    sheet.lines(MARGIN, y - 2, wrapped(text, _LEFT, 6.3, lines=max(1, int((bottom - y) / 8.5))), size=6.3, colour=SOFT)


def _charts(sheet: Sheet, cohort: Cohort, place: Place) -> None:
    finished = cohort.finished
    outcomes = cohort.outcomes(finished)
    rows = min(len(outcomes), 9) if cohort.kind != "stored" else 1
    # Both histograms share what the bars leave.
    tall = min(142.0, (place.height - rows * 13 - 4 * _GAP - 40) / 2)
    kept = [float(cohort.kept(slide)) for slide in finished]
    y = sheet.heading(place.x, place.y, "Tiles per slide", place.width, note=_spread_note(kept))
    if kept:
        histogram(sheet, Place(place.x, y - 4, place.width, tall), kept, unit="tiles of a slide", whole=True)
    else:
        _nothing(sheet, place.x, y, "No slide was finished.")
    y = sheet.heading(place.x, y + tall + _GAP, "What became of the planned tiles", place.width)
    if cohort.kind == "stored":
        _nothing(sheet, place.x, y, "Stored tiles do not tell which others were left out.")
        y += 10
    else:
        y = bars(sheet, Place(place.x, y - 5, place.width, rows * 13), outcomes, qc_kinds=cohort.qc_kinds)
    burdens = [slide.blur_burden for slide in finished if slide.blur_burden is not None]
    note = f"{len(cohort.blurred)} of {len(burdens)} slides above 5%" if burdens else ""
    y = sheet.heading(place.x, y + _GAP, "Blur burden", place.width, note=note)
    if burdens:
        sketch = Place(place.x, y - 4, place.width, tall)
        text = "share of the tissue that is out of focus"
        histogram(sheet, sketch, burdens, unit=text, as_percent=True, limit=BLUR_LIMIT, low_span=2 * BLUR_LIMIT)
    else:
        _nothing(sheet, place.x, y, "Not measured: that takes a background and a blur step of slide QC.")


def _spread_note(values: list[float]) -> str:
    if not values:
        return ""
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    return f"from {number(ordered[0])} to {number(ordered[-1])}, median {number(middle)}"


def _nothing(sheet: Sheet, x: float, y: float, text: str) -> None:
    sheet.text(x, y + 2, text, size=7.5, colour=SOFT)


def _failures_height(cohort: Cohort) -> float:
    shown = min(len(cohort.failed), FAILURES_ON_COVER)
    more = 12 if len(cohort.failed) > shown else 0
    return 26 + 26 * shown + more if shown else 0.0


def _failures(sheet: Sheet, cohort: Cohort, page: int | None) -> None:
    if not cohort.failed:
        return
    y = BOTTOM - _failures_height(cohort) + 10
    y = sheet.heading(MARGIN, y, "Slides that failed", WIDTH)
    for slide in cohort.failed[:FAILURES_ON_COVER]:
        y = failure(sheet, slide, y)
    more = len(cohort.failed) - FAILURES_ON_COVER
    if more > 0 and page is not None:
        sheet.text(MARGIN, y, f"and {more} more, all on page {page}", size=7, colour=SOFT)


def failure(sheet: Sheet, slide: SlideReport, y: float) -> float:
    """Two lines about a failed slide; returns the y below."""
    sheet.fill(Place(MARGIN, y - 7, 2.2, 19), RED)
    sheet.text(MARGIN + 8, y, fitted(slide.slide, 150, 7.5, bold=True, middle=True), size=7.5, bold=True)
    sheet.lines(MARGIN + 168, y, wrapped(why(slide), WIDTH - 168, 7.2, lines=2), size=7.2, leading=1.3)
    return y + 26


def why(slide: SlideReport) -> str:
    """Why a slide failed, without its name in front."""
    return slide.error.removeprefix(f"{Path(slide.path).name}: ").removeprefix(f"{slide.slide}: ")
