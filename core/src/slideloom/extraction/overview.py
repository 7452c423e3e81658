"""The overview picture of a slide: which tiles were kept, which were dropped, and why."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from slideloom.base.geometry import Rgb
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord
from slideloom.slides.regions import Regions

if TYPE_CHECKING:
    from slideloom.drawing.pictures import Colour, Picture

_LARGEST_PX, _MOST_BYTES = 1024, 220_000  # of a picture in a notebook; as text it takes a third more


Thumbnail = Callable[..., Rgb]  # called as thumbnail(max_px=...)


def plan_picture(
    plan: SlidePlan, record: SlideRecord, *, max_px: int = 2048, thumbnail: Thumbnail | None = None
) -> Picture:
    """The slide with its regions, masks and kept tiles, and its dropped tiles coloured by reason.

    Args:
        plan: of the slide.
        record: what was decided.
        max_px: maximum width and height.
        thumbnail: gives the picture of the slide itself; by default its own method.
    """
    from slideloom.drawing.pictures import overview, reason_colours

    colours = reason_colours(record.qc_kinds, record.qc_classes)
    status = np.array(record.ledger.status(), dtype=object)
    kept = np.isin(status, ["written", "candidate"])
    return overview(
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


def told_picture(plan: SlidePlan, record: SlideRecord) -> Picture:
    """The picture with the labels of regions, and a legend of the colours with their counts."""
    from slideloom.drawing.legend import with_labels, with_legend

    info, geometry = plan.slide.info, plan.scene.geometry
    picture = with_labels(plan_picture(plan, record), plan.scene.regions or Regions(), whole=info.size)
    title = f"{info.name}, tiles of {geometry.label}: {len(plan.tiles)} planned"
    return with_legend(
        picture, [(colour, f"{count} {words}") for words, (count, colour) in _legend(record).items()], title=title
    )


def _legend(record: SlideRecord) -> dict[str, tuple[int, Colour]]:
    """Count and colour of "kept", of each reason, and of each class that rejected no tile but is on the picture."""
    from slideloom.drawing.pictures import colour_of, reason_colours

    colours = reason_colours(record.qc_kinds, record.qc_classes)
    counts = {"kept": len(record.ledger.candidates()) + record.ledger.written, **record.ledger.rejected}
    counts.update({reason: 0 for reason in colours if reason.count(":") > 1 and reason not in counts})
    return {reason: (count, colours.get(reason) or colour_of(reason)) for reason, count in counts.items()}


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
        f'<span style="color:rgb{colour}">&#9632;</span> {count} {escape(reason)}'
        for reason, (count, colour) in _legend(record).items()
    )
    image = f'<img alt="" src="data:image/png;base64,{b64encode(png).decode()}">'
    return f"<figure><figcaption>{escape(title)}<br>{legend}</figcaption>{image}</figure>"
