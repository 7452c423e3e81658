"""The PDF: pages in order, their numbers, bookmarks, and a size that is bounded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reportlab import rl_config
from reportlab.pdfgen.canvas import Canvas
from slideloom import ConfigError, RunReport, storing_in, write_whole

from slideloom_report.cohort import Cohort, cohort_of, cohorts_in
from slideloom_report.cover import FAILURES_ON_COVER, TITLES, draw_cover, when
from slideloom_report.evidence import gather
from slideloom_report.listing import FAILURES_PER_PAGE, ROWS_PER_PAGE, draw_failures, draw_list
from slideloom_report.slide_page import draw_slide
from slideloom_report.slide_picture import Budget
from slideloom_report.style import BOTTOM, MARGIN, PAGE_HEIGHT, PAGE_WIDTH, SOFT, WIDTH, Sheet, clean, fitted

MAX_BYTES = 24_000_000
_PAGE_BYTES = 5_000  # text, lines and bookkeeping of a slide's page
_MOST_PER_SLIDE = 420_000
_LEAST_PER_SLIDE = 6_000
_BYTES_PER_OUTLINE = 8
# A picture as wide as its place on paper at 250 dots per inch; half of that where many slides share the file.
_PICTURE_PX, _PICTURE_PX_OF_MANY = 1024, 512
_MANY = 100


def write_report(
    source: Cohort | RunReport | Path | str, path: Path | str, *, label: str | None = None, samples: int | None = None
) -> Path:
    """Write the PDF report.

    The file stays below 25 MB for up to some thousands of slides, and so does the memory it takes to make it, besides
    the pixels of one slide's page.

    Args:
        source: a cohort, the report of a run, the output folder of runs, or any folder of stored tiles.
        path: of the file; it appears whole or not at all.
        label: tile size, such as "299px_302um", where a folder holds several.
        samples: sample tiles of each slide, from 0 to 16; by default 16, and 8 where there are many slides.

    Returns:
        `path`.

    Raises:
        ConfigError: the folder holds nothing to report, or several tile sizes and none is chosen.
        OutputError: the file cannot be written.
    """
    if samples is not None and not 0 <= samples <= 16:
        raise ConfigError(f"samples must be from 0 to 16, not {samples}")
    cohort = _cohort(source, label)
    if samples is None:
        samples = 16 if len(cohort.finished) <= _MANY else 8
    path = Path(path)
    with _binary_streams():
        content = _Document(cohort, samples).made()
    with storing_in(path.parent):
        write_whole(path, content)
    return path


def _cohort(source: Cohort | RunReport | Path | str, label: str | None) -> Cohort:
    if isinstance(source, Cohort):
        return source
    if isinstance(source, RunReport):
        return cohort_of(source)
    found = cohorts_in(Path(source))
    chosen = [cohort for cohort in found if label in (None, cohort.label)]
    if len(chosen) != 1:
        known = ", ".join(cohort.label for cohort in found)
        raise ConfigError(f"{source}: holds {known}; say which as `label`")
    return chosen[0]


@contextmanager
def _binary_streams() -> Iterator[None]:
    """Within it, reportlab writes bytes as they are; as text, which is its habit, they take a quarter more."""
    before = rl_config.useA85
    rl_config.useA85 = 0
    try:
        yield
    finally:
        rl_config.useA85 = before


class _Document:
    def __init__(self, cohort: Cohort, samples: int) -> None:
        self._cohort = cohort
        self._samples = samples
        finished = cohort.finished
        failed = cohort.failed if len(cohort.failed) > FAILURES_ON_COVER else ()
        self._lists = [cohort.slides[i : i + ROWS_PER_PAGE] for i in range(0, len(cohort.slides), ROWS_PER_PAGE)]
        if len(cohort.slides) == 1:
            self._lists = []
        self._failures = [failed[i : i + FAILURES_PER_PAGE] for i in range(0, len(failed), FAILURES_PER_PAGE)]
        first = 2 + len(self._lists) + len(self._failures)
        self._pages = {slide.slide: first + position for position, slide in enumerate(finished)}
        self._total = first - 1 + len(finished)
        self._number = 0
        self._file = io.BytesIO()
        self._canvas = Canvas(self._file, pagesize=(PAGE_WIDTH, PAGE_HEIGHT), pageCompression=1)
        self._canvas.setTitle(clean(f"{TITLES[cohort.kind]} {cohort.label}"))
        self._canvas.setAuthor("slideloom")
        self._canvas.setSubject(clean(str(cohort.out.resolve())))

    def made(self) -> bytes:
        cohort = self._cohort
        failures_page = 2 + len(self._lists) if self._failures else None
        with self._page("Summary") as sheet:
            draw_cover(sheet, cohort, failures_page=failures_page)
        for number, slides in enumerate(self._lists):
            with self._page("Slides" if number == 0 else None) as sheet:
                draw_list(sheet, cohort, slides, self._pages)
        for number, failed in enumerate(self._failures):
            with self._page("Failed slides" if number == 0 else None) as sheet:
                draw_failures(sheet, failed)
        budget, max_px = self._budget(len(cohort.finished))
        for slide in cohort.finished:
            with self._page(slide.slide) as sheet:
                found = gather(cohort, slide, max_px=max_px, samples=self._samples)
                draw_slide(sheet, cohort, found, budget)
        self._canvas.save()
        return self._file.getvalue()

    @contextmanager
    def _page(self, bookmark: str | None) -> Iterator[Sheet]:
        self._number += 1
        key = f"page-{self._number}"
        self._canvas.bookmarkPage(key)
        if bookmark is not None:
            self._canvas.addOutlineEntry(clean(bookmark), key, level=0)
        sheet = Sheet(self._canvas)
        yield sheet
        y = BOTTOM + 24
        cohort = self._cohort
        sheet.rule(MARGIN, y - 12, WIDTH)
        about = "   ".join(part for part in ("slideloom", cohort.label, when(cohort.started)) if part)
        sheet.text(MARGIN, y, fitted(about, WIDTH - 80, 7), size=7, colour=SOFT)
        sheet.text(MARGIN + WIDTH, y, f"{self._number} of {self._total}", size=7, colour=SOFT, align="right")
        self._canvas.showPage()

    @staticmethod
    def _budget(slides: int) -> tuple[Budget, int]:
        """Bytes of a slide's page, and the size of its picture."""
        share = (MAX_BYTES - 200_000) // max(1, slides) - _PAGE_BYTES
        share = max(_LEAST_PER_SLIDE, min(_MOST_PER_SLIDE, share))
        outlines = max(100, min(3000, share // 8 // _BYTES_PER_OUTLINE))
        budget = Budget(picture=share * 45 // 100, samples=share * 40 // 100, outlines=outlines)
        return budget, _PICTURE_PX if slides <= _MANY else _PICTURE_PX_OF_MANY
