"""The first pages: what was done, with which settings and what result, and a row for each slide."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from slideloom import SlideReport

from slideloom_report import style
from slideloom_report.charts import bar, histogram, outcome_table
from slideloom_report.cohort import BLUR_LIMIT, Cohort
from slideloom_report.flowables import PageOf
from slideloom_report.style import DASH, QUIET, RED, SMALL, SOFT, WIDTH, Flowable, number, paragraph, percent

TITLES = {
    "run": "Tile extraction report",
    "dry-run": "Dry run report",
    "plan-only": "Plan report",
    "stored": "Stored tiles report",
}
_FAILURES_AT_ONCE = 4  # above the charts; the table of slides lists all of them
_GAP = 24.0
# Settings that are shown elsewhere, or that only say where a step keeps its files.
_SILENT_OPTIONS = (
    "use", "folder", "name", "device", "include", "exclude", "recursive", "size_px", "size_um", "magnification",
    "mpp_file",
)  # fmt: skip
_STEPS = (
    ("Placement", "placement", "regular grid"), ("Regions", "roi", "none"), ("Slide QC", "qc", "none"),
    ("Tile filters", "filter", "none"), ("Normalizer", "normalizer", "none"), ("Stored as", "sink", "nothing"),
)  # fmt: skip


def cover(cohort: Cohort) -> list[Flowable]:
    """Everything before the slides' pages."""
    return [
        *_title(cohort),
        _figures(cohort),
        *(paragraph(note, style.type_of(8.5, before=5)) for note in cohort.notes),
        *_failures(cohort),
        *_charts(cohort),
        *style.heading("Settings"),
        style.grid(
            [
                [paragraph(name, QUIET), paragraph(value), paragraph(more, SMALL)]
                for name, value, more in settings(cohort)
            ],
            [70, 120, WIDTH - 190],
        ),
        *([paragraph(cohort.versions_text, style.type_of(6.5, SOFT, before=5))] if cohort.versions_text else []),
        *_slides(cohort),
    ]


def when(started: str) -> str:
    """A time such as "12 March 2025, 14:05", or "" if there is none."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return started
    return f"{moment.day} {moment:%B %Y, %H:%M} {moment.tzname() or ''}".strip()


def _title(cohort: Cohort) -> list[Flowable]:
    label = cohort.label.replace("_", "  at  ").replace("px", " px").replace("um", " µm")
    rows = [
        [paragraph("slideloom", style.type_of(9, style.GREEN, bold=True)), _note(when(cohort.started), 8)],
        [paragraph(TITLES[cohort.kind], style.type_of(22, bold=True)), _note(label, 12)],
    ]
    at_bottom = [("VALIGN", (0, 0), (-1, -1), "BOTTOM")]
    folder = paragraph(str(cohort.out.resolve()), style.type_of(8, SOFT, after=10))
    return [style.grid(rows, [WIDTH * 0.6, WIDTH * 0.4], at_bottom), folder]


def _note(text: str, size: float) -> Flowable:
    return paragraph(text, style.type_of(size, SOFT, align="right"))


def figures(cohort: Cohort) -> list[tuple[str, str, str]]:
    """The figures at the top of a report: value, name, and "good", "bad" or "" for how it is shown."""
    finished, planned = cohort.finished, sum(slide.planned for slide in cohort.finished)
    kept = sum(cohort.kept(slide) for slide in finished)
    empty = sum(1 for slide in finished if not cohort.kept(slide))
    blurred, failed = len(cohort.blurred), len(cohort.failed)
    is_measured = any(slide.blur_burden is not None for slide in cohort.slides)
    return [
        (number(len(finished)), "slide" if len(finished) == 1 else "slides", ""),
        (number(kept), cohort.kept_name, "good"),
        (percent(kept / planned) if planned and cohort.kind != "stored" else DASH, "of planned tiles kept", ""),
        (number(blurred) if is_measured else DASH, "slides above 5% blur", "bad" if blurred else ""),
        (number(empty), "slides without tiles", "bad" if empty else ""),
        (number(failed), "slides failed", "bad" if failed else ""),
    ]


_INKS = {"good": style.GREEN, "bad": RED, "": style.INK}


def _figures(cohort: Cohort) -> Flowable:
    shown = figures(cohort)
    size = 17 if all(len(value) <= 7 for value, _, _ in shown) else 11
    cells = [
        [paragraph(value, style.type_of(size, _INKS[tone], bold=True)), paragraph(name, SMALL)]
        for value, name, tone in shown
    ]
    look = [
        ("BACKGROUND", (0, 0), (-1, -1), style.PANEL), ("INNERGRID", (0, 0), (-1, -1), 7, "white"),
        ("LEFTPADDING", (0, 0), (-1, -1), 10), ("TOPPADDING", (0, 0), (-1, -1), 6),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 8),
    ]  # fmt: skip
    return style.grid([cells], [WIDTH / len(shown)] * len(shown), look)


def _failures(cohort: Cohort) -> list[Flowable]:
    if not cohort.failed:
        return []
    name = style.type_of(7.5, bold=True)
    rows = [
        [paragraph(slide.slide, name, most=120), paragraph(why_failed(slide), most=400)]
        for slide in cohort.failed[:_FAILURES_AT_ONCE]
    ]
    more = len(cohort.failed) - len(rows)
    if more:
        rows.append(["", paragraph(f"and {more} more, all at the top of the table of slides", QUIET)])
    edge = [("LINEBEFORE", (0, 0), (0, -1), 2.2, RED), ("LEFTPADDING", (0, 0), (0, -1), 8)]
    return [*style.heading("Slides that failed"), style.grid(rows, [160, WIDTH - 160], edge)]


def why_failed(slide: SlideReport) -> str:
    """Why a slide failed, without its name in front."""
    return slide.error.removeprefix(f"{Path(slide.path).name}: ").removeprefix(f"{slide.slide}: ")


def _charts(cohort: Cohort) -> list[Flowable]:
    kept = sorted(cohort.kept(slide) for slide in cohort.finished)
    if not kept:
        return []
    width = (WIDTH - _GAP) / 2
    middle = (kept[(len(kept) - 1) // 2] + kept[len(kept) // 2]) / 2
    spread = f"from {number(kept[0])} to {number(kept[-1])}, median {number(middle)}"
    burdens = [slide.blur_burden for slide in cohort.finished if slide.blur_burden is not None]
    note = f"{len(cohort.blurred)} of {len(burdens)} slides above 5%" if burdens else ""
    blur: Flowable = paragraph("Not measured: this needs a background and a blur step of slide QC.", QUIET)
    if burdens:
        unit = "share of the tissue that is out of focus"
        blur = histogram(burdens, width=width, unit=unit, limit=BLUR_LIMIT)
    cells = [
        [style.ruled("Tiles per slide", spread, width), histogram(kept, width=width, unit="tiles of a slide")],
        "",
        [style.ruled("Blur burden", note, width), blur],
    ]
    both = style.grid([cells], [width, _GAP, width], [("RIGHTPADDING", (0, 0), (-1, -1), 0)], spaceBefore=12)
    if cohort.kind == "stored":
        return [both]
    title = style.heading("Outcome of the planned tiles")
    return [both, *title, outcome_table(cohort, cohort.finished, width=WIDTH)]


def settings(cohort: Cohort) -> list[tuple[str, str, str]]:
    """Name, value and details of each setting."""
    table = cohort.table
    if not table:
        sizes = sorted({slide.tile_px for slide in cohort.finished if slide.tile_px})
        stored = ", ".join(f"{size} px" for size in sizes) or DASH
        return [("Tiles", stored, ""), ("Settings", "not known", "these folders hold tiles only")]
    tiles, slides = table.get("tiles", {}), table.get("slides", {})
    size = tiles.get("magnification") or f"{tiles.get('size_um', 0):g} µm"
    mpp = f"{slides['mpp']:g} µm/px for all" if slides.get("mpp") else "as recorded"
    rows = [
        ("Tiles", f"{tiles.get('size_px', DASH)} px  =  {size}", _options(tiles)),
        (
            "Resolution",
            f"from {slides['mpp_file']}" if slides.get("mpp_file") else mpp,
            _options({**slides, "mpp": None}),
        ),
    ]
    for title, key, without in _STEPS:
        steps = table.get(key) or [{"use": without}]
        for place, step in enumerate([steps] if isinstance(steps, Mapping) else steps):
            rows.append(("" if place else title, str(step.get("use", "?")), _options(step)))
    return rows


def _options(step: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in step.items() if key not in _SILENT_OPTIONS and value not in (None, "", [])}
    return ", ".join(f"{key.replace('_', ' ')} {_value(value)}" for key, value in shown.items())


def _value(value: Any) -> str:  # Any: a plain value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _slides(cohort: Cohort) -> list[Flowable]:
    """A row for each slide, failed ones first, with links to their pages."""
    if len(cohort.slides) < 2:
        return []
    rows: list[list[Any]] = [["slide", "µm/px", "regions", "planned", "kept", "", "blur", "page"]]
    look: list[tuple[Any, ...]] = [
        ("ALIGN", (1, 0), (4, -1), "RIGHT"), ("ALIGN", (6, 0), (6, -1), "RIGHT"), ("LEFTPADDING", (7, 0), (7, -1), 10),
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, style.LINE), ("LINEBELOW", (0, 0), (-1, 0), 0.6, SOFT),
        ("TEXTCOLOR", (0, 0), (-1, 0), SOFT), ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ]  # fmt: skip
    places = sorted(range(len(cohort.slides)), key=lambda place: cohort.slides[place].status != "failed")
    for row, place in enumerate(places, 1):
        slide, key = cohort.slides[place], f"slide-{place}"
        if slide.status == "failed":
            rows.append([paragraph(slide.slide), "failed", paragraph(why_failed(slide), QUIET)])
            look += [("SPAN", (2, row), (-1, row)), ("TEXTCOLOR", (1, row), (1, row), RED)]
            look.append(("LEFTPADDING", (2, row), (2, row), 8))
            continue
        kept, burden = cohort.kept(slide), slide.blur_burden
        is_run = cohort.kind != "stored"
        rows.append([
            paragraph(slide.slide, link=key),
            f"{sum(slide.mpp) / 2:.4g}" if slide.mpp else DASH,
            number(slide.rois) if is_run else DASH,
            number(slide.planned) if is_run else DASH,
            number(kept),
            bar(kept / slide.planned if slide.planned else 0),
            percent(burden) if burden is not None else DASH,
            PageOf(key),
        ])  # fmt: skip
        look += [("TEXTCOLOR", (4, row), (4, row), RED)] * (not kept)
        look += [("TEXTCOLOR", (6, row), (6, row), RED)] * ((burden or 0) > BLUR_LIMIT)
    widths = [WIDTH - 308, 38, 38, 46, 44, 76, 36, 30]
    return [*style.heading("Slides"), style.grid(rows, widths, look, repeatRows=1)]
