"""Type, colours and the sheet that every page is drawn on."""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal

from attrs import define, frozen
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import stringWidth
from slideloom import LEGEND

PAGE_WIDTH, PAGE_HEIGHT = 595.28, 841.89  # A4 in points
MARGIN = 46.0
WIDTH = PAGE_WIDTH - 2 * MARGIN
BOTTOM = PAGE_HEIGHT - MARGIN - 8  # content ends here; the page number stands below
PLAIN, BOLD = "Helvetica", "Helvetica-Bold"  # known to every viewer, so that nothing is embedded

Colour = tuple[int, int, int]
Align = Literal["left", "right", "center"]
INK: Colour = (26, 31, 38)
SOFT: Colour = (98, 108, 120)
LINE: Colour = (216, 221, 227)
PANEL: Colour = (245, 247, 249)
BLUE: Colour = LEGEND["max-tiles"]
GREEN: Colour = LEGEND["kept"]
RED: Colour = (213, 94, 0)  # the vermillion of Okabe and Ito, apart from green for every eye
GREY: Colour = LEGEND["other"]
DASH, TIMES = "\u2013", "\u00d7"


@lru_cache(maxsize=4096)
def clean(text: str) -> str:
    """Text in letters that the page's type has; others as their escape, so that no two names look alike."""
    text = unicodedata.normalize("NFC", text).replace("\u03bc", "\u00b5")
    text = "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in text)
    return text.encode("cp1252", "backslashreplace").decode("cp1252")


def width_of(text: str, size: float, *, bold: bool = False) -> float:
    """Width of a line in points."""
    return float(stringWidth(clean(text), BOLD if bold else PLAIN, size))


def fitted(text: str, width: float, size: float, *, bold: bool = False, middle: bool = False) -> str:
    """The text, shortened with an ellipsis at its end (or in its middle) until it is no wider than `width`."""
    text = clean(text)
    if width_of(text, size, bold=bold) <= width:
        return text
    low, high = 0, len(text)  # the longest number of letters that fits
    while low < high:
        count = (low + high + 1) // 2
        low, high = (count, high) if width_of(_cut(text, count, middle), size, bold=bold) <= width else (low, count - 1)
    return _cut(text, low, middle)


def _cut(text: str, count: int, middle: bool) -> str:
    if not middle:
        return text[:count].rstrip() + "…"
    tail = count // 2
    return text[: count - tail] + "…" + (text[-tail:] if tail else "")


def wrapped(text: str, width: float, size: float, *, lines: int, bold: bool = False) -> list[str]:
    """The text on at most `lines` lines of `width`; the last ends in an ellipsis if more follows."""
    rows: list[str] = []
    rest = clean(text).split()
    while rest and len(rows) < lines:
        if len(rows) == lines - 1:
            rows.append(fitted(" ".join(rest), width, size, bold=bold))
            break
        count = 1
        while count < len(rest) and width_of(" ".join(rest[: count + 1]), size, bold=bold) <= width:
            count += 1
        row, rest = " ".join(rest[:count]), rest[count:]
        if width_of(row, size, bold=bold) > width:  # one long word, such as a path
            fitting = len(row)
            while fitting > 1 and width_of(row[:fitting], size, bold=bold) > width:
                fitting -= 1
            rest.insert(0, row[fitting:])
            row = row[:fitting]
        rows.append(row)
    return rows


def number(value: float) -> str:
    """A count with thousands apart: 12,345."""
    return f"{value:,.0f}"


def percent(share: float) -> str:
    """A share as a percentage that is never rounded to 0 or 100 without being it."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def reason_name(reason: str) -> str:
    """A reason of rejection as a person reads it: "QC otsu", "filter grayspace"."""
    kind, _, step = reason.partition(":")
    names = {"roi": "outside regions", "qc": "QC", "max-tiles": "over the limit", "kept": "kept"}
    return f"{names.get(kind, kind)} {step}".strip()


@frozen
class Place:
    """A rectangle on the sheet, y down from the top."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """x of the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """y of the lower edge."""
        return self.y + self.height


@define
class Sheet:
    """A page with y down from the top. `canvas` is reportlab's."""

    canvas: Any  # Any: reportlab has no types

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 8,
        bold: bool = False,
        colour: Colour = INK,
        align: Align = "left",
    ) -> None:
        """One line with its baseline at y."""
        self.canvas.setFont(BOLD if bold else PLAIN, size)
        self._fill(colour)
        draw = {
            "left": self.canvas.drawString,
            "right": self.canvas.drawRightString,
            "center": self.canvas.drawCentredString,
        }
        draw[align](x, PAGE_HEIGHT - y, clean(text))

    def lines(
        self, x: float, y: float, rows: Iterable[str], *, size: float = 8, leading: float = 1.35, colour: Colour = INK
    ) -> float:
        """Lines below each other, the first with its baseline at y; returns the y below the last."""
        for row in rows:
            self.text(x, y, row, size=size, colour=colour)
            y += size * leading
        return y

    def heading(self, x: float, y: float, text: str, width: float, *, note: str = "") -> float:
        """A small heading over a hairline, with a note at its right; returns where content may start."""
        self.text(x, y, text, size=9.5, bold=True)
        if note:
            room = width - width_of(text, 9.5, bold=True) - 12
            self.text(x + width, y, fitted(note, room, 7), size=7, colour=SOFT, align="right")
        self.rule(x, y + 5, width)
        return y + 17

    def rule(self, x: float, y: float, width: float, *, colour: Colour = LINE, weight: float = 0.6) -> None:
        """A level line."""
        self.segment(x, y, x + width, y, colour=colour, weight=weight)

    def segment(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        *,
        colour: Colour = LINE,
        weight: float = 0.6,
        dashed: bool = False,
    ) -> None:
        """A line between two points."""
        self.canvas.saveState()
        self.canvas.setStrokeColorRGB(*_rgb(colour))
        self.canvas.setLineWidth(weight)
        if dashed:
            self.canvas.setDash(2, 2)
        self.canvas.line(x0, PAGE_HEIGHT - y0, x1, PAGE_HEIGHT - y1)
        self.canvas.restoreState()

    def fill(self, place: Place, colour: Colour, *, radius: float = 0, alpha: float = 1) -> None:
        """A filled rectangle."""
        self.canvas.saveState()
        self._fill(colour)
        if alpha < 1:
            self.canvas.setFillAlpha(alpha)
        box = (place.x, PAGE_HEIGHT - place.bottom, place.width, place.height)
        if radius:
            self.canvas.roundRect(*box, radius, stroke=0, fill=1)
        else:
            self.canvas.rect(*box, stroke=0, fill=1)
        self.canvas.restoreState()

    def frame(self, place: Place, colour: Colour = LINE, *, weight: float = 0.6) -> None:
        """The outline of a rectangle."""
        self.canvas.saveState()
        self.canvas.setStrokeColorRGB(*_rgb(colour))
        self.canvas.setLineWidth(weight)
        self.canvas.rect(place.x, PAGE_HEIGHT - place.bottom, place.width, place.height, stroke=1, fill=0)
        self.canvas.restoreState()

    def boxes(
        self,
        places: Iterable[Place],
        colour: Colour,
        *,
        stroke: float = 0,
        alpha: float = 1,
        within: Place | None = None,
    ) -> None:
        """Many rectangles as one shape: filled, or outlined where `stroke` is a line width; cut to `within`."""
        path = self.canvas.beginPath()
        for place in places:
            path.rect(
                round(place.x, 2), round(PAGE_HEIGHT - place.bottom, 2), round(place.width, 2), round(place.height, 2)
            )
        self._shape(path, colour, stroke=stroke, alpha=alpha, within=within)

    def polygons(
        self, rings: Iterable[Sequence[tuple[float, float]]], colour: Colour, *, stroke: float, within: Place
    ) -> None:
        """Closed outlines, cut to `within`."""
        path = self.canvas.beginPath()
        for ring in rings:
            first, *others = ring
            path.moveTo(round(first[0], 2), round(PAGE_HEIGHT - first[1], 2))
            for x, y in others:
                path.lineTo(round(x, 2), round(PAGE_HEIGHT - y, 2))
            path.close()
        self._shape(path, colour, stroke=stroke, alpha=1, within=within)

    def _shape(self, path: Any, colour: Colour, *, stroke: float, alpha: float, within: Place | None) -> None:
        self.canvas.saveState()
        if within is not None:
            clip = self.canvas.beginPath()
            clip.rect(within.x, PAGE_HEIGHT - within.bottom, within.width, within.height)
            self.canvas.clipPath(clip, stroke=0, fill=0)
        self._fill(colour)
        self.canvas.setStrokeColorRGB(*_rgb(colour))
        self.canvas.setLineWidth(stroke or 1)
        if alpha < 1:
            self.canvas.setFillAlpha(alpha)
        self.canvas.drawPath(path, stroke=int(stroke > 0), fill=int(stroke == 0), fillMode=1)
        self.canvas.restoreState()

    def image(self, place: Place, jpeg: bytes) -> None:
        """A JPEG, stored as it is."""
        self.canvas.drawImage(
            ImageReader(io.BytesIO(jpeg)), place.x, PAGE_HEIGHT - place.bottom, place.width, place.height
        )

    def link(self, place: Place, target: str) -> None:
        """A place that leads to a bookmark."""
        self.canvas.linkRect(
            "",
            target,
            (place.x, PAGE_HEIGHT - place.bottom, place.right, PAGE_HEIGHT - place.y),
            relative=0,
            thickness=0,
        )

    def _fill(self, colour: Colour) -> None:
        self.canvas.setFillColorRGB(*_rgb(colour))


def _rgb(colour: Colour) -> tuple[float, float, float]:
    return (round(colour[0] / 255, 3), round(colour[1] / 255, 3), round(colour[2] / 255, 3))
