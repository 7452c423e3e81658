"""Colours, fonts, and text that every viewer shows correctly."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import Color
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.platypus import CondPageBreak, Paragraph, Table
from slideloom import LEGEND

MARGIN = 46.0
WIDTH = A4[0] - 2 * MARGIN
PLAIN, BOLD = "Helvetica", "Helvetica-Bold"  # built into every viewer, so that nothing is embedded
DASH, TIMES = "\u2013", "\u00d7"
# Fonts that reportlab finds on Linux, Windows and macOS and can embed; the last one comes with it.
_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "arial.ttf", "Arial.ttf",
    "Arial Unicode.ttf", "DroidSansFallbackFull.ttf", "wqy-microhei.ttc", "msyh.ttc", "YuGothM.ttc", "malgun.ttf",
    "Vera.ttf",
)  # fmt: skip
_LONGEST_TEXT = 800  # letters: even the narrowest table cell must fit on a page

Flowable = Any  # of reportlab, which has no types


def colour(rgb: tuple[int, int, int], alpha: float = 1) -> Color:
    """The PDF colour for a colour in 0-255."""
    red, green, blue = (round(value / 255, 3) for value in rgb)
    return Color(red, green, blue, alpha)


INK, SOFT, LINE, PANEL, TRACK = map(
    colour, [(26, 31, 38), (98, 108, 120), (216, 221, 227), (245, 247, 249), (236, 239, 242)]
)
BLUE, GREEN, GREY = (colour(LEGEND[name]) for name in ("max-tiles", "kept", "other"))
RED = colour((213, 94, 0))  # the vermillion of Okabe and Ito, distinct from green for every reader


def type_of(
    size: float, ink: Color = INK, *, bold: bool = False, align: str = "left", before: float = 0, after: float = 0
) -> Any:
    """A paragraph style, with `before` and `after` points of space around it."""
    return ParagraphStyle(
        "type",
        fontName=BOLD if bold else PLAIN,
        fontSize=size,
        leading=size * 1.3,
        textColor=ink,
        alignment={"left": 0, "right": 2}[align],
        spaceBefore=before,
        spaceAfter=after,
    )


BODY, QUIET, SMALL, ALARM = type_of(7.5), type_of(7.5, SOFT), type_of(6.5, SOFT), type_of(7.5, RED)


def colour_of(reason: str, qc_colours: Mapping[str, tuple[int, int, int]]) -> tuple[int, int, int]:
    """The colour of a reason, the same everywhere, 0-255; slide QC is coloured by what it detects."""
    return qc_colours.get(reason) or LEGEND.get(reason.partition(":")[0], LEGEND["other"])


def reason_name(reason: str) -> str:
    """A reason for rejection in readable form: "QC otsu", "QC artifacts, fold", "filter grayspace"."""
    kind, _, step = reason.partition(":")
    step = step.replace(":", ", ") if kind == "qc" else step
    names = {"roi": "outside regions", "qc": "QC", "max-tiles": "over the limit"}
    return f"{names.get(kind, kind)} {step}".strip()


def told_name(reason: str) -> str:
    """Kept tiles with a class that QC tells, in readable form: "of kept, with QC artifacts, fold"."""
    return f"of kept, with {reason_name(reason)}"


def number(value: float) -> str:
    """A count with thousands separators: 12,345."""
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """A share as a percentage, shown as 0 or 100 only if it is exactly that."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def paragraph(text: str, style: Any = BODY, *, link: str = "", most: int = _LONGEST_TEXT) -> Flowable:
    """Text that wraps, up to `most` letters of it; clicking it leads to the landmark `link`."""
    shown = markup(text, most)
    return Paragraph(f'<a href="#{link}">{shown}</a>' if link else shown, style)


def heading(text: str, note: str = "", *, room: float = 70) -> list[Flowable]:
    """A heading as wide as the page, on a new page if fewer than `room` points are left."""
    return [CondPageBreak(room), ruled(text, note, WIDTH)]


def ruled(text: str, note: str, width: float) -> Flowable:
    """A heading above a hairline, with a note on the right."""
    cells = [[paragraph(text, type_of(9.5, bold=True)), paragraph(note, type_of(7, SOFT, align="right"))]]
    line = [("LINEBELOW", (0, 0), (-1, 0), 0.6, LINE), ("VALIGN", (0, 0), (-1, -1), "BOTTOM")]
    return grid(cells, [width * 0.5, width * 0.5], line, spaceBefore=14, spaceAfter=5)


def grid(
    rows: Sequence[Sequence[Any]], widths: Sequence[float | None], styles: Iterable[tuple[Any, ...]] = (), **more: Any
) -> Flowable:
    """A table without lines whose cells start at the left edge; `more` is passed to reportlab's `Table`."""
    plain = [
        ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 4),
        ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
        ("TOPPADDING", (0, 0), (-1, -1), 1), ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
        ("FONT", (0, 0), (-1, -1), PLAIN, 7.5), ("TEXTCOLOR", (0, 0), (-1, -1), INK),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]  # fmt: skip
    return Table(rows, widths, style=[*plain, *styles], hAlign="LEFT", **more)


def clean(text: str) -> str:
    """Text for a viewer's window; invalid Unicode, as in some file names, is escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def markup(text: str, most: int = _LONGEST_TEXT) -> str:
    r"""Text as paragraph markup in letters that every viewer shows, up to `most` of them.

    Letters missing from the viewers' own fonts are embedded from a font on this machine. If none has the letter, or if
    it must be joined with others or reordered (Arabic, Hebrew, marks), its escape such as \u5207 is shown instead, so
    that no two names look alike.
    """
    text = unicodedata.normalize("NFC", text).replace("\u03bc", "\u00b5")
    text = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in text)
    text = re.sub(" (?= )", "\u00a0", text)  # otherwise several spaces would become one
    text = "".join(letter if _font_of(letter) is not None else ascii(letter)[1:-1] for letter in text)
    shown = text if len(text) <= most else text[: most - 1] + "…"
    runs = ((font, escape("".join(letters))) for font, letters in groupby(shown, key=_font_of))
    return "".join(f'<font name="{font}">{run}</font>' if font else run for font, run in runs)


@cache
def _font_of(letter: str) -> str | None:
    """Name of a font that has the letter: "" for the page's own, None if there is none."""
    try:
        letter.encode("cp1252")
    except UnicodeEncodeError:
        is_joined = unicodedata.bidirectional(letter) in ("R", "AL") or unicodedata.category(letter)[0] == "M"
        return None if is_joined else next((file for file in _FONTS if ord(letter) in _letters(file)), None)
    return ""


@cache
def _letters(file: str) -> Container[int]:
    """The letters of a font on this machine, which is registered for embedding; none if the font is missing."""
    try:
        font = TTFont(file, file)
    except TTFError:  # also for a kind of font that cannot be embedded
        return ()
    pdfmetrics.registerFont(font)
    letters: Container[int] = font.face.charToGlyph
    return letters
