"""Bars and histograms, drawn as lines and boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from slideloom import LEGEND

from slideloom_report.style import (
    BLUE,
    GREY,
    LINE,
    RED,
    SOFT,
    Colour,
    Place,
    Sheet,
    fitted,
    number,
    percent,
    reason_name,
)

_MOST_BINS = 18
_AXIS = 6.5  # type size of axes


def nice_step(span: float, parts: int, *, smallest: float = 0.0) -> float:
    """The smallest 1, 2 or 5 times a power of ten of which at most `parts` make up `span`."""
    raw = max(span / parts, smallest, 1e-12)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))


def histogram(
    sheet: Sheet,
    place: Place,
    values: Sequence[float],
    *,
    unit: str,
    whole: bool = False,
    as_percent: bool = False,
    limit: float | None = None,
    limit_colour: Colour = RED,
    low_span: float = 0.0,
) -> None:
    """How many slides have which value; bars from `limit` on have another colour, and a dashed line marks it.

    Args:
        sheet: to draw on.
        place: of the chart with its axis.
        values: at least one, none negative.
        unit: what the values are, below the axis.
        whole: values are counts.
        as_percent: values are shares.
        limit: a value to mark; edges of bars fall on it.
        limit_colour: of bars above it.
        low_span: the axis reaches at least this far.
    """
    top = max(*values, low_span, 1 if whole else 1e-9)
    if limit is not None:
        step = limit / 5 if top <= 4 * limit else limit  # so that no bar holds both sides of the limit
    else:
        step = nice_step(top, _MOST_BINS, smallest=1.0 if whole else 0.0)
    bins = math.floor(top / step) + 1 if whole else max(1, math.ceil(top / step - 1e-9))
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, math.floor(value / step + 1e-9))] += 1
    base = place.bottom - 22
    chart = Place(place.x + 16, place.y + 4, place.width - 16, base - place.y - 4)
    _counts_axis(sheet, chart, max(counts))
    tallest = _axis_top(max(counts))
    wide = chart.width / bins
    for position, count in enumerate(counts):
        if count:
            height = chart.height * count / tallest
            over = limit is not None and position * step >= limit - 1e-9
            bar = Place(chart.x + position * wide + 0.6, base - height, max(0.8, wide - 1.2), height)
            sheet.fill(bar, limit_colour if over else BLUE)
    sheet.rule(chart.x, base, chart.width, colour=GREY)
    every = max(1, math.ceil(bins / 6))
    for edge in range(0, bins + 1, every):
        x = chart.x + edge * wide
        sheet.segment(x, base, x, base + 2, colour=GREY)
        label = f"{edge * step:.3g}" if not as_percent else f"{edge * step * 100:.3g}%"
        is_last = edge == bins
        label = number(edge * step) if whole else label
        sheet.text(x, base + 9, label, size=_AXIS, colour=SOFT, align="right" if is_last else "center")
    sheet.text(chart.x + chart.width / 2, place.bottom - 2, unit, size=_AXIS, colour=SOFT, align="center")
    if limit is not None:
        x = chart.x + chart.width * limit / (bins * step)
        sheet.segment(x, place.y, x, base, colour=limit_colour, weight=0.9, dashed=True)
        sheet.text(x + 3, place.y + 5, f"{limit:.0%}", size=_AXIS, colour=limit_colour, bold=True)


def _axis_top(most: int) -> int:
    step = nice_step(most, 3, smallest=1.0)
    return math.ceil(most / step) * int(step)


def _counts_axis(sheet: Sheet, chart: Place, most: int) -> None:
    step, tallest = int(nice_step(most, 3, smallest=1.0)), _axis_top(most)
    for count in range(0, tallest + 1, step):
        y = chart.bottom - chart.height * count / tallest
        if count:
            sheet.rule(chart.x, y, chart.width, colour=LINE, weight=0.4)
        sheet.text(chart.x - 4, y + 2.2, number(count), size=_AXIS, colour=SOFT, align="right")


def bars(
    sheet: Sheet,
    place: Place,
    counts: Mapping[str, int],
    *,
    qc_kinds: Mapping[str, str] | None = None,
    row: float = 13.0,
) -> float:
    """One bar per outcome with its name, number and share; returns the y below. What does not fit is summed up."""
    total = max(1, sum(counts.values()))
    rows = [(name, count) for name, count in counts.items() if count or name == "kept"]
    room = max(2, int(place.height // row))
    if len(rows) > room:
        rest = sum(count for _, count in rows[room - 1 :])
        rows = [*rows[: room - 1], (f"{len(rows) - room + 1} other reasons", rest)]
    names, figures = min(92.0, place.width * 0.36), 64.0
    longest = place.width - names - figures - 6
    y = place.y
    for name, count in rows:
        sheet.text(place.x, y + 7.5, fitted(reason_name(name), names - 6, 7.5), size=7.5)
        length = longest * count / total
        track = Place(place.x + names, y + 1.5, longest, 7.5)
        sheet.fill(track, (236, 239, 242), radius=1)
        if count:
            sheet.fill(
                Place(track.x, track.y, max(1.0, length), track.height),
                colour_for(name, qc_kinds),
                radius=1 if length > 3 else 0,
            )
        sheet.text(place.right - 34, y + 7.5, number(count), size=7.5, align="right")
        sheet.text(place.right, y + 7.5, percent(count / total), size=7.5, colour=SOFT, align="right")
        y += row
    return y


def colour_for(reason: str, qc_kinds: Mapping[str, str] | None = None) -> Colour:
    """The colour of a reason, the same in pictures and bars; slide QC is coloured by what it looks for."""
    kind, _, step = reason.partition(":")
    if kind == "qc":
        kind = (qc_kinds or {}).get(step, kind)
    return LEGEND.get(kind, LEGEND["other"])
