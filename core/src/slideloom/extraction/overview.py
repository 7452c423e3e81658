"""The overview picture of a slide: which tiles were kept, which were dropped, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from slideloom.base.geometry import Rgb
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord
from slideloom.planning.told import told_areas
from slideloom.slides.regions import Regions

if TYPE_CHECKING:
    from slideloom.drawing.pictures import Colour, Picture
    from slideloom.drawing.told import LineLook

_LARGEST_PX, _MOST_BYTES = 1024, 220_000  # of a picture in a notebook; as text it takes a third more


Thumbnail = Callable[..., Rgb]  # called as thumbnail(max_px=...)


def plan_picture(
    plan: SlidePlan, record: SlideRecord, *, max_px: int = 2048, thumbnail: Thumbnail | None = None
) -> Picture:
    """The slide with its regions, masks and kept tiles, and its dropped tiles coloured by reason.

    What slide QC tells but keeps is outlined.

    Args:
        plan: of the slide.
        record: what was decided.
        max_px: maximum width and height.
        thumbnail: gives the picture of the slide itself; by default its own method.
    """
    from slideloom.drawing.pictures import overview, reason_colours
    from slideloom.drawing.told import told_looks, with_told

    colours = reason_colours(record.qc_kinds, record.qc_classes)
    status = np.array(record.ledger.status(), dtype=object)
    kept = np.isin(status, ["written", "candidate"])
    picture = overview(
        plan.slide,
        kept=plan.tiles.take(kept),
        rejected={word: plan.tiles.take(status == word) for word in sorted(set(status[~kept].tolist()))},
        regions=plan.scene.regions,
        masks=[
            (finding.result.stored, finding.result.extent) for finding in record.qc if finding.result.labels is None
        ],
        shades=[
            (finding.result.mask_of(one), finding.result.extent, colours[f"qc:{finding.label}:{one.name}"])
            for finding in record.qc
            for one in finding.result.classes
            if one.kind is not None
        ],
        colours=colours,
        max_px=max_px,
        thumbnail=thumbnail,
    )
    info = plan.slide.info
    return with_told(picture, told_areas(record, info), told_looks(record.qc_told), whole=info.size)


def told_picture(plan: SlidePlan, record: SlideRecord) -> Picture:
    """The picture with the labels of regions, and a legend of the colours with their counts."""
    from slideloom.drawing.legend import with_labels, with_legend

    info, geometry = plan.slide.info, plan.scene.geometry
    picture = with_labels(plan_picture(plan, record), plan.scene.regions or Regions(), whole=info.size)
    title = f"{info.name}, tiles of {geometry.label}: {len(plan.tiles)} planned"
    entries = [(look, f"{count} {words}") for words, (count, look) in _legend(record).items()]
    return with_legend(picture, entries, title=title)


def _legend(record: SlideRecord) -> dict[str, tuple[int, Colour | LineLook]]:
    """Count and look of "kept", of each reason, and of each class that rejected no tile but is on the picture."""
    from slideloom.drawing.pictures import colour_of, reason_colours
    from slideloom.drawing.told import told_looks, told_words

    colours = reason_colours(record.qc_kinds, record.qc_classes)
    counts = {"kept": len(record.ledger.candidates()) + record.ledger.written, **record.ledger.rejected}
    counts.update({reason: 0 for reason in colours if reason.count(":") > 1 and reason not in counts})
    told = {f"qc:{step}:{name}": count for step, found in record.qc_told.items() for name, count in found.items()}
    return {
        **{reason: (count, colours.get(reason) or colour_of(reason)) for reason, count in counts.items()},
        **{told_words(reason): (told[reason], look) for reason, look in told_looks(record.qc_told).items()},
    }


def _mark(look: Colour | LineLook) -> str:
    """A square of a colour, or a piece of a line on its edge."""
    if isinstance(look, tuple):
        return f'<span style="color:rgb{look}">&#9632;</span>'
    return (
        '<span style="display:inline-block;vertical-align:middle;width:2.4em;background:#141414;padding:2px 0">'
        f'<span style="display:block;border-top:3px {look.pattern} rgb{look.colour}"></span></span>'
    )


def slide_html(plan: SlidePlan, record: SlideRecord, *, title: str, thumbnail: Thumbnail | None = None) -> str:
    """The picture as HTML for notebooks, with a count for each reason; below 300 kB, so small where it must be.

    Args:
        plan: of the slide.
        record: what was decided.
        title: shown above it.
        thumbnail: as of `plan_picture`.
    """
    from base64 import b64encode  # only notebooks need these
    from html import escape

    max_px = _LARGEST_PX
    while len(png := plan_picture(plan, record, max_px=max_px, thumbnail=thumbnail).png()) > _MOST_BYTES:
        max_px = int(max_px * 0.95 * (_MOST_BYTES / len(png)) ** 0.5)
    legend = "&emsp;".join(
        f"{_mark(look)} {count} {escape(reason)}" for reason, (count, look) in _legend(record).items()
    )
    image = f'<img alt="" src="data:image/png;base64,{b64encode(png).decode()}">'
    return f"<figure><figcaption>{escape(title)}<br>{legend}</figcaption>{image}</figure>"
