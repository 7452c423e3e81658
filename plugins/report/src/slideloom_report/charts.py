"""Bars, histograms and marks, drawn with reportlab's graphics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.shapes import Drawing, Line, Rect, String
from reportlab.lib.colors import Color
from slideloom import DASHES, EDGE, LineLook, SlideReport

from slideloom_report import style
from slideloom_report.cohort import Cohort

_MOST_BINS = 18
_HEIGHT, _LEFT, _BASE, _TOP = 124.0, 20.0, 24.0, 8.0  # of a histogram, and the margins around its bars
_AXIS = 6.5  # type size
_KEPT = {"run": "kept", "dry-run": "to be written", "plan-only": "to be cut", "stored": "stored"}


def nice_step(span: float, parts: int) -> float:
    """The smallest 1, 2 or 5 times a power of ten that divides `span` into at most `parts`."""
    raw = max(span / parts, 1e-12)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def bar(share: float, ink: Color = style.GREEN, *, width: float = 70) -> Drawing:
    """A bar, filled to a share from 0 to 1; any share above 0 is visible."""
    drawing = Drawing(width, 7, Rect(0, 0, width, 7, rx=1, ry=1, fillColor=style.TRACK, strokeColor=None))
    if share > 0:
        drawing.add(Rect(0, 0, max(1.0, width * share), 7, fillColor=ink, strokeColor=None))
    return drawing


def mark(kind: str, ink: Color) -> Drawing:
    """How a kind of tile or area is drawn in the image: "outline", "dot", "line" or "area"."""
    shapes = {
        "outline": Rect(0.5, 0.5, 6.5, 6, fillColor=None, strokeColor=ink, strokeWidth=1.1),
        "dot": Rect(2, 1.5, 4, 4, fillColor=ink, strokeColor=None),
        "line": Line(0, 3.5, 8, 3.5, strokeColor=ink, strokeWidth=1.3),
        "area": Rect(0, 0, 8, 7, fillColor=ink, fillOpacity=0.5, strokeColor=None),
    }
    return Drawing(8, 7, shapes[kind])


def line_mark(look: LineLook) -> Drawing:
    """How the outline of what is told but kept is drawn in the image."""
    dash = [1.0 * length for length in DASHES[look.pattern]]
    edge = Line(0, 3.5, 11, 3.5, strokeColor=style.colour(EDGE), strokeWidth=4)
    inner = Line(0, 3.5, 11, 3.5, strokeColor=style.colour(look.colour), strokeWidth=2)
    inner.strokeDashArray = dash if dash[1] else None
    return Drawing(11, 7, edge, inner)


def scale_bar(width_um: float, width: float) -> Drawing:
    """A scale bar with a round length, for an image `width` points and `width_um` microns wide."""
    length = nice_step(width_um, 4)  # at least a quarter of the width
    length /= 2 if length > width_um / 2 else 1
    end = width * length / width_um
    lines = [(0, 3, end, 3), (0, 0, 0, 6), (end, 0, end, 6)]
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} µm"
    drawing = Drawing(width, 9, *(Line(*ends, strokeColor=style.INK, strokeWidth=0.9) for ends in lines))
    drawing.add(String(end + 5, 0.5, text, fontName=style.PLAIN, fontSize=7.5, fillColor=style.INK))
    return drawing


def outcome_table(
    cohort: Cohort, slides: Sequence[SlideReport], *, width: float, legend: Mapping[str, Drawing] | None = None
) -> Any:
    """Tiles that were kept and left out by reason: number, share and bar.

    Args:
        cohort: the cohort of the slides.
        slides: whose tiles are counted.
        width: in points.
        legend: the marks in an image by meaning, including "kept". With it, each row shows its mark, and marks that do
            not represent tiles have their own row.
    """
    counts = cohort.outcomes(slides)
    total, length = max(1, sum(counts.values())), (width - 90) * 0.35
    rows: list[list[Any]] = []
    for reason, count in counts.items():
        ink = style.colour(style.colour_of(reason, cohort.qc_colours))
        name = style.paragraph(_KEPT[cohort.kind] if reason == "kept" else style.reason_name(reason), most=40)
        what = "" if legend is None else legend.get(reason, mark("dot", ink))
        shown = bar(count / total, ink, width=length)
        rows.append([what, name, shown, style.number(count), style.percent(count / total)])
    for reason, count in cohort.told(slides).items():
        what = "" if legend is None else line_mark(cohort.told_looks[reason])
        name = style.paragraph(style.told_name(reason), most=40)
        rows.append([what, name, "", style.number(count), style.percent(count / max(1, counts["kept"]))])
    rows += [[drawn, style.paragraph(meaning)] for meaning, drawn in (legend or {}).items() if meaning != "kept"]
    look = [
        ("ALIGN", (3, 0), (-1, -1), "RIGHT"), ("TEXTCOLOR", (4, 0), (4, -1), style.SOFT),
        ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ]  # fmt: skip
    return style.grid(rows, [0 if legend is None else 13, None, length + 4, 38, 34], look)


def histogram(values: Sequence[float], *, width: float, unit: str, limit: float | None = None) -> Drawing:
    """A histogram of slides; a bar counts values above its left edge and up to and including its right edge.

    Args:
        values: at least one, none negative: counts, or shares where there is a `limit`.
        width: in points.
        unit: label below the axis.
        limit: a share to mark with a dashed line; bars above it are red.
    """
    if limit is None:
        top, form = max(values), style.number
        step = max(1.0, nice_step(top, _MOST_BINS))
    else:
        top, form = max(*values, 2 * limit), "{:.0%}".format
        step = limit / 5 if top <= 4 * limit else limit  # so that no bar spans the limit
    bins = max(1, math.ceil(top / step - 1e-9))
    # The small number keeps 0.07 / 0.01 = 7.000000000000001 out of the next bar.
    counts = np.bincount([max(0, math.ceil(value / step - 1e-9) - 1) for value in values], minlength=bins).tolist()
    tick = nice_step(max(counts), 3) if max(counts) > 3 else 1
    room = width - _LEFT
    chart = VerticalBarChart()
    axis = {"labels.fontName": style.PLAIN, "labels.fontSize": _AXIS, "labels.fillColor": style.SOFT, "visibleTicks": 0}
    for name in ("valueAxis", "categoryAxis"):
        chart.setProperties({f"{name}.{key}": value for key, value in axis.items()})
    chart.setProperties({
        "x": _LEFT, "y": _BASE, "width": room, "height": _HEIGHT - _BASE - _TOP, "data": [counts],
        "groupSpacing": 0.1, "bars.strokeColor": None,
        "valueAxis.valueMin": 0, "valueAxis.valueMax": math.ceil(max(counts) / tick) * tick,
        "valueAxis.valueStep": tick, "valueAxis.labelTextFormat": style.number, "valueAxis.visibleAxis": 0,
        "valueAxis.visibleGrid": 1, "valueAxis.gridStrokeColor": style.LINE, "valueAxis.gridStrokeWidth": 0.4,
        # The left edges of all bars or of some.
        "categoryAxis.categoryNames": ["" if i % math.ceil(bins / 6) else form(i * step) for i in range(bins)],
        "categoryAxis.labels.dx": -room / bins / 2, "categoryAxis.strokeColor": style.GREY,
    })  # fmt: skip
    for place in range(bins):
        is_over = limit is not None and place * step > limit - step / 2
        chart.bars[0, place].fillColor = style.RED if is_over else style.BLUE
    drawing = Drawing(width, _HEIGHT, chart)
    unit_at = {"fontName": style.PLAIN, "fontSize": _AXIS, "fillColor": style.SOFT, "textAnchor": "middle"}
    drawing.add(String(_LEFT + room / 2, 2, unit, **unit_at))
    if limit is not None:
        x = _LEFT + room * limit / (bins * step)
        drawing.add(Line(x, _BASE, x, _HEIGHT, strokeColor=style.RED, strokeWidth=0.9, strokeDashArray=(2, 2)))
        text = {"fontName": style.BOLD, "fontSize": _AXIS, "fillColor": style.RED}
        drawing.add(String(x + 3, _HEIGHT - 6, f"{limit:.0%}", **text))
    return drawing
