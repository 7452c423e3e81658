"""The report as one HTML page: a table of slides that can be sorted and searched, and a section for each slide."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from attrs import define, field
from PIL import Image
from slideloom import DASHES, EDGE, LEGEND, LineLook, Size, SlideReport

from slideloom_report import style
from slideloom_report.cohort import BLUR_LIMIT, Cohort
from slideloom_report.cover import TITLES, figures, settings, when, why_failed
from slideloom_report.evidence import Evidence
from slideloom_report.files import HTML, sealed
from slideloom_report.page_look import SCRIPT, STYLE
from slideloom_report.pictures import TOLD_EDGE, TOLD_LINE, Ring, SlidePicture, contact_sheet, jpeg
from slideloom_report.samples import Boxes
from slideloom_report.style import DASH, clean, number, percent, reason_name

_ROOM = Size(560, 560)  # of a slide's picture, in CSS pixels
_PX_PER_POINT = 2.2  # of outlines, which a screen draws less sharply than paper
_SAMPLES_IN_A_ROW = 8
_THUMB_PX = 72


@define
class Page:
    """The page of a cohort, to which slides are added as their evidence is gathered.

    Attributes:
        cohort: what it is about.
        most_bytes: largest size of one slide's images.
    """

    cohort: Cohort
    most_bytes: int
    _sections: list[str] = field(factory=list, init=False)
    _thumbs: dict[int, str] = field(factory=dict, init=False)

    def add(self, place: int, found: Evidence) -> None:
        """The section of a slide; `place` is its place in the cohort."""
        if found.picture is not None:
            thumb = Image.fromarray(found.picture)
            thumb.thumbnail((_THUMB_PX, _THUMB_PX))
            self._thumbs[place] = _data(jpeg(thumb, self.most_bytes // 8))
        self._sections.append(_section(self.cohort, found, f"slide-{place}", self.most_bytes))

    def content(self) -> bytes:
        """The whole page, with its seal; it needs no other file and no network."""
        cohort, title = self.cohort, TITLES[self.cohort.kind]
        script = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
        policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{script}'"
        label = escape(cohort.label.replace("_", " at ").replace("px", " px").replace("um", " µm"))
        about = f"{label}, {escape(when(cohort.started))}<br>{escape(str(cohort.out.resolve()))}"
        parts = [
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
            f"<title>{title} {escape(cohort.label)}</title>",
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>',
            f"<header><p>slideloom</p><h1>{title}</h1><p>{about}</p></header>",
            _figures(cohort),
            *(f'<p class="note">{escape(note)}</p>' for note in cohort.notes),
            _outcomes(cohort, cohort.finished),
            _settings(cohort),
            _table(cohort, self._thumbs),
            *self._sections,
            f"<script>{SCRIPT}</script></body></html>\n",
        ]
        return sealed(clean("".join(parts)).encode(), HTML)


def _figures(cohort: Cohort) -> str:
    cells = (f'<div class="{tone}"><b>{value}</b>{name}</div>' for value, name, tone in figures(cohort))
    return f'<section class="figures">{"".join(cells)}</section>'


def _outcomes(cohort: Cohort, slides: Sequence[SlideReport]) -> str:
    counts = cohort.outcomes(slides)
    total = max(1, sum(counts.values()))
    rows = (
        f"<tr><td>{_swatch(cohort, reason)}{escape('kept' if reason == 'kept' else reason_name(reason))}</td>"
        f'<td class="n">{number(count)}</td><td class="n">{percent(count / total)}</td></tr>'
        for reason, count in counts.items()
    )
    told = (
        f"<tr><td>{_line(cohort.told_looks[reason])}{escape(style.told_name(reason))}</td>"
        f'<td class="n">{number(count)}</td><td class="n">{percent(count / max(1, counts["kept"]))}</td></tr>'
        for reason, count in cohort.told(slides).items()
    )
    return f'<table class="outcomes"><caption>Tiles</caption>{"".join(rows)}{"".join(told)}</table>'


def _line(look: LineLook) -> str:
    """How the outline of what is told but kept is drawn in the image."""
    dash = " ".join(f"{3 * length:g}" for length in DASHES[look.pattern])
    return (
        f'<svg class="line" viewBox="0 0 22 8" width="22" height="8"><path d="M0 4h22" stroke="{_css(EDGE)}" '
        f'stroke-width="7"/><path d="M0 4h22" stroke="{_css(look.colour)}" stroke-width="3" '
        f'stroke-dasharray="{dash}"/></svg>'
    )


def _swatch(cohort: Cohort, reason: str) -> str:
    return f'<i style="background:{_css(style.colour_of(reason, cohort.qc_colours))}"></i>'


def _css(rgb: tuple[int, int, int]) -> str:
    return f"rgb({rgb[0]},{rgb[1]},{rgb[2]})"


def _settings(cohort: Cohort) -> str:
    rows = (
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td><td>{escape(more)}</td></tr>"
        for name, value, more in settings(cohort)
    )
    told = f"<p>{escape(cohort.versions_text)}</p>" if cohort.versions_text else ""
    return f"<details><summary>Settings</summary><table>{''.join(rows)}</table>{told}</details>"


_NUMBERS = ("µm/px", "regions", "planned", "kept", "share", "blur")
_COLUMNS = ("slide", *_NUMBERS, "left out by", "remarks")


def _table(cohort: Cohort, thumbs: Mapping[int, str]) -> str:
    looks = {name: "n" * (name in _NUMBERS) for name in _COLUMNS}
    head = "".join(
        f'<th scope="col" class="{look}"><button type="button">{name}</button></th>' for name, look in looks.items()
    )
    rows = "".join(_row(cohort, place, slide, thumbs.get(place, "")) for place, slide in enumerate(cohort.slides))
    return (
        '<section><h2>Slides</h2><p><label>Show slides with <input type="search" id="search"></label> '
        '<output id="shown"></output></p>'
        f'<table id="slides"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>'
    )


def _row(cohort: Cohort, place: int, slide: SlideReport, thumb: str) -> str:
    if slide.status == "failed":
        cells = [_cell(escape(slide.slide), slide.slide), *[_cell(DASH, -1)] * len(_NUMBERS), _cell("", -1, text=True)]
        return f'<tr class="bad">{"".join(cells)}{_cell(escape(f"failed: {why_failed(slide)}"), "failed")}</tr>'
    kept, planned, burden = cohort.kept(slide), slide.planned, slide.blur_burden
    reasons = [(reason, count) for reason, count in cohort.outcomes([slide]).items() if reason != "kept"]
    mpp = sum(slide.mpp) / 2 if slide.mpp else None
    is_run = cohort.kind != "stored"
    warnings = len(slide.warnings)
    remarks = [f"{warnings} warning{'s' * (warnings > 1)}"] * bool(warnings) + ["no tiles"] * (not kept)
    image = f'<img alt="" src="{thumb}">' if thumb else ""
    cells = [
        _cell(f'<a href="#slide-{place}">{image}{escape(slide.slide)}</a>', slide.slide),
        _cell(DASH if mpp is None else f"{mpp:.4g}", -1 if mpp is None else mpp),
        _cell(number(slide.rois) if is_run else DASH, slide.rois),
        _cell(number(planned) if is_run else DASH, planned),
        _cell(number(kept), kept, bad=not kept),
        _cell(percent(kept / planned) if planned and is_run else DASH, kept / planned if planned else -1),
        _cell(DASH if burden is None else percent(burden), -1 if burden is None else burden,
              bad=(burden or 0) > BLUR_LIMIT),
        _cell(", ".join(f"{escape(reason_name(reason))} {number(count)}" for reason, count in reasons[:3]),
              sum(count for _, count in reasons), text=True),
        _cell(", ".join(remarks), warnings, text=True),
    ]  # fmt: skip
    return f"<tr>{''.join(cells)}</tr>"


def _cell(shown: str, value: float | str, *, bad: bool = False, text: bool = False) -> str:
    """A cell that is sorted by its value; numbers stand on the right, unless they are shown as text."""
    is_number = not isinstance(value, str) and not text
    look = " ".join(["n"] * is_number + ["bad"] * bad)
    return f'<td class="{look}" data-v="{escape(str(value))}">{shown}</td>'


def _section(cohort: Cohort, found: Evidence, key: str, most_bytes: int) -> str:
    report = found.report
    warnings = "".join(f'<li class="bad">{escape(text)}</li>' for text in report.warnings)
    notes = "".join(f"<li>{escape(text)}</li>" for text in found.notes)
    remarks = f"<ul>{warnings}{notes}</ul>" if warnings or notes else ""
    return (
        f'<section class="slide" id="{key}"><h2>{escape(report.slide)}</h2><p>{escape(report.path)}</p>'
        f"<div>{_picture(cohort, found, most_bytes // 2)}"
        f"<div>{_facts(report)}{_outcomes(cohort, [report])}{remarks}</div>"
        f'</div>{_samples(cohort, found, most_bytes // 2)}<p><a href="#slides">all slides</a></p></section>'
    )


def _facts(report: SlideReport) -> str:
    width, height = report.size
    facts = [f"{number(width)} x {number(height)} px"] if width else []
    facts += [f"{report.mpp[0]:.4g} µm/px from {report.mpp_source}"] if report.mpp else []
    facts += [f"{report.reader}, level {report.level}"] if report.reader else []
    facts += [f"{report.rois} regions"] if report.rois else []
    facts += ["finished by an earlier run"] if report.status == "skipped" else []
    return f"<p>{escape(', '.join(facts))}</p>"


def _picture(cohort: Cohort, found: Evidence, most_bytes: int) -> str:
    """The slide with its tiles and regions as lines over it, which stay sharp."""
    if found.picture is None and not any(len(boxes) for boxes in found.boxes.values()):
        return '<p class="none">no picture</p>'
    drawn = SlidePicture(found, cohort.qc_colours, cohort.told_looks, room=_ROOM, most_bytes=most_bytes)
    whole = drawn.whole
    line = 1.2 / drawn.scale
    shapes = [_tiles(boxes, _css(drawn.colour(name)), alpha, line) for name, (boxes, alpha) in drawn.marks.items()]
    told = drawn.told()
    edge, inner = TOLD_EDGE * _PX_PER_POINT / drawn.scale, TOLD_LINE * _PX_PER_POINT / drawn.scale
    shapes += [f'<path d="{_d(rings)}" stroke="{_css(EDGE)}" stroke-width="{edge:.0f}"/>' for rings in told.values()]
    for reason, rings in told.items():
        look = drawn.told_looks[reason]
        dash = " ".join(f"{inner * length:.0f}" for length in DASHES[look.pattern])
        shapes.append(
            f'<path d="{_d(rings)}" stroke="{_css(look.colour)}" stroke-width="{inner:.0f}" stroke-dasharray="{dash}"/>'
        )
    shapes.append(f'<path d="{_d(drawn.outlines())}" stroke="{_css(LEGEND["region"])}"/>')
    return (
        f'<svg viewBox="0 0 {whole.width} {whole.height}" width="{round(whole.width * drawn.scale)}" '
        f'height="{round(whole.height * drawn.scale)}" role="img" aria-label="{escape(found.report.slide)}">'
        f'<image href="{_data(drawn.content)}" width="{whole.width}" height="{whole.height}" '
        'preserveAspectRatio="none"/><g fill="none" stroke-linejoin="round" '
        f'stroke-width="{line:.0f}">{"".join(shapes)}</g></svg>'
    )


def _d(rings: Sequence[Ring]) -> str:
    """Rings as the data of a path."""
    return "".join("M" + "L".join(f"{x} {y}" for x, y in ring) + "z" for ring in rings)


def _tiles(boxes: Boxes, colour: str, alpha: float, line: float) -> str:
    path = "".join(f"M{x} {y}h{width}v{height}h-{width}z" for x, y, width, height in boxes.tolist())
    look = f'fill="{colour}" fill-opacity="{alpha:g}" stroke="none"' if alpha else f'stroke="{colour}"'
    return f'<path d="{path}" {look} stroke-width="{line:.0f}"/>'


def _samples(cohort: Cohort, found: Evidence, most_bytes: int) -> str:
    shown = found.samples[:_SAMPLES_IN_A_ROW]
    is_normalized = cohort.pipeline is not None and cohort.pipeline.normalizer is not None
    strips = []
    for key, title in (("before", "on the slide"), ("after", "normalized" if is_normalized else "as stored")):
        tiles: list[Any] = [getattr(sample, key) for sample in shown]
        if any(tile is not None for tile in tiles):
            content = jpeg(contact_sheet(tiles, len(tiles)), most_bytes // 2)
            strips.append(f'<figure><figcaption>{title}</figcaption><img alt="" src="{_data(content)}"></figure>')
    return "".join(strips)


def _data(content: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
