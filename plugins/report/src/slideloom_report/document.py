"""The PDF: its pages in order, their numbers, and its bounded size."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from reportlab import rl_config
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate
from slideloom import ConfigError, RunReport, storing_in, write_whole

from slideloom_report import style
from slideloom_report.cohort import Cohort, cohort_of
from slideloom_report.cover import TITLES, cover, when
from slideloom_report.evidence import gather
from slideloom_report.files import PDF, refuse_to_replace, sealed
from slideloom_report.flowables import LAST, Landmark, Later, PageOf
from slideloom_report.page import Page
from slideloom_report.slide_page import slide_page
from slideloom_report.style import MARGIN, WIDTH, Flowable, clean, paragraph

MAX_BYTES = 24_000_000
_PAGE_BYTES = 8_000  # text, lines and bookkeeping of a slide's page
_MOST_PER_SLIDE = 420_000
_LEAST_PER_SLIDE = 6_000
# An image as wide as its space on paper at 250 dots per inch; half of that if many slides share the file.
_PICTURE_PX, _PICTURE_PX_OF_MANY = 1024, 512
_MANY = 100
_FOOT = 44.0


def write_report(
    source: Cohort | RunReport,
    path: Path | str,
    *,
    html: Path | str | None = None,
    samples: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the report as PDF, and the same as an HTML page.

    The PDF stays below 25 MB for up to a few thousand slides and the page below 40 MB, and so does the memory needed to
    make them, apart from the pixels of one slide's page.

    Args:
        source: what the report is about.
        path: of the PDF; it appears complete or not at all, and replaces nothing but an earlier report.
        html: of the page, if there is to be one; the same holds.
        samples: sample tiles per slide, from 0 to 16; by default 16, or 8 if there are many slides.
        progress: called with the number of slides that are in the report, and their total number.

    Returns:
        `path`.

    Raises:
        ConfigError: `samples` is out of range.
        OutputError: a file cannot be written, or another file has its name.
    """
    if samples is not None and not 0 <= samples <= 16:
        raise ConfigError(f"samples must be from 0 to 16, not {samples}")
    cohort = source if isinstance(source, Cohort) else cohort_of(source)
    paths = [Path(path), *([] if html is None else [Path(html)])]
    for each in paths:
        refuse_to_replace(each)
    page = None if html is None else Page(cohort, _budget(cohort))
    with _binary_streams():
        content = _pdf(
            cohort, samples if samples is not None else 16 if len(cohort.finished) <= _MANY else 8, page, progress
        )
    for each, made in zip(paths, [content, *([] if page is None else [page.content()])], strict=True):
        with storing_in(each.parent):
            refuse_to_replace(each)  # it may have appeared while the report was made
            write_whole(each, made)
    return paths[0]


@contextmanager
def _binary_streams() -> Iterator[None]:
    """Context in which reportlab writes raw bytes; encoded as text, its default, they take a quarter more."""
    before = rl_config.useA85
    rl_config.useA85 = 0
    try:
        yield
    finally:
        rl_config.useA85 = before


def _budget(cohort: Cohort) -> int:
    """Largest size of one slide's images."""
    share = (MAX_BYTES - 200_000) // max(1, len(cohort.finished)) - _PAGE_BYTES
    return max(_LEAST_PER_SLIDE, min(_MOST_PER_SLIDE, share))


def _pdf(cohort: Cohort, samples: int, page: Page | None, progress: Callable[[int, int], None] | None) -> bytes:
    file = io.BytesIO()
    document = BaseDocTemplate(
        file, pagesize=A4, title=f"{TITLES[cohort.kind]} {clean(cohort.label)}", author="slideloom",
        subject=clean(str(cohort.out.resolve())), creator="slideloom-report",
    )  # fmt: skip
    frame = Frame(MARGIN, _FOOT + 8, WIDTH, A4[1] - MARGIN - _FOOT - 8, 0, 0, 0, 0)
    document.addPageTemplates(PageTemplate(frames=[frame], onPage=partial(_footer, cohort)))
    options = {
        "most_bytes": _budget(cohort),
        "max_px": _PICTURE_PX if len(cohort.finished) <= _MANY else _PICTURE_PX_OF_MANY,
        "samples": samples,
    }
    total = len(cohort.finished)
    places = [place for place, slide in enumerate(cohort.slides) if slide.status != "failed"]
    pages = []
    for done, place in enumerate(places):
        told = None if progress is None else partial(progress, done, total)
        pages.append(Later(partial(_slide, cohort, place, page, told, **options)))
    document.build([Landmark("summary", "Summary"), *cover(cohort), *pages, Landmark(LAST)])
    return sealed(file.getvalue(), PDF)


def _slide(
    cohort: Cohort,
    place: int,
    page: Page | None,
    told: Callable[[], None] | None,
    *,
    most_bytes: int,
    max_px: int,
    samples: int,
) -> list[Flowable]:
    if told is not None:
        told()
    found = gather(cohort, cohort.slides[place], max_px=max_px, samples=samples)
    if page is not None:
        page.add(place, found)
    return slide_page(cohort, found, key=f"slide-{place}", most_bytes=most_bytes)


def _footer(cohort: Cohort, canvas: Canvas, document: Any) -> None:  # Any: reportlab has no types
    page = f"{document.page} of "
    about = "   ".join(part for part in ("slideloom", cohort.label, when(cohort.started)) if part)
    cells = [page, PageOf(LAST), paragraph(about, style.type_of(7, style.SOFT, align="right"), most=120)]
    width = canvas.stringWidth(page, style.PLAIN, 7)
    look = [
        ("LINEABOVE", (0, 0), (-1, 0), 0.6, style.LINE), ("TEXTCOLOR", (0, 0), (0, 0), style.SOFT),
        ("FONTSIZE", (0, 0), (0, 0), 7), ("RIGHTPADDING", (0, 0), (-1, -1), 0), ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
    ]  # fmt: skip
    row = style.grid([cells], [width, 40, WIDTH - width - 40], look)
    row.wrapOn(canvas, WIDTH, _FOOT)
    row.drawOn(canvas, MARGIN, _FOOT - 18)
