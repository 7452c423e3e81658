"""Where a slide has what its QC tells but keeps, small enough for pictures and reports."""

from __future__ import annotations

from collections.abc import Sequence

import shapely
from shapely.geometry.base import BaseGeometry

from slideloom.base.geometry import Mask
from slideloom.drawing.mask_outlines import mask_polygons
from slideloom.planning.masks import union_mask
from slideloom.planning.record import SlideRecord
from slideloom.slides.info import SlideInfo
from slideloom.slides.regions import Region, Regions
from slideloom.steps.slide_qc import QcResult

_SLOPE = 0.75  # pixels; the diagonal of one is cut at 0.71


def told_areas(record: SlideRecord, info: SlideInfo) -> dict[str, Sequence[BaseGeometry]]:
    """The areas of each class that slide QC tells but keeps, by reason, such as "qc:artifacts:fold".

    They follow a grid of 1024 pixels along the slide's longer side, to within a pixel of it: a pixel is in if at least
    half of it is of the class, so specks are left out.

    Args:
        record: with the results of slide QC.
        info: of the slide.

    Returns:
        Valid shapes in whole level-0 pixels; none for a class of which the slide has nothing.
    """
    areas: dict[str, Sequence[BaseGeometry]] = {}
    for finding in record.qc:
        result = finding.result
        for one in result.classes:
            if one.is_told:
                reason = f"qc:{finding.label}:{one.name}"
                found = record.outlines.get(reason)
                if found is None or found[0] is not result:  # pictures of several sizes and files ask again
                    part = QcResult(result.mask_of(one), "artifact", result.extent)
                    found = record.outlines[reason] = result, _outlines(union_mask([part], info.size), info)
                areas[reason] = found[1]
    return areas


def _outlines(mask: Mask, info: SlideInfo) -> list[BaseGeometry]:
    """The areas of a mask of the whole slide; stairs become slopes, which take a fraction of the space."""
    slope = _SLOPE * max(info.size.width / mask.shape[1], info.size.height / mask.shape[0])
    found = [shapely.set_precision(area.simplify(slope), 1) for area in mask_polygons(mask, extent=info.box)]
    return [area for area in found if not area.is_empty]


def told_regions(record: SlideRecord, info: SlideInfo) -> Regions:
    """The same areas as regions, each labelled with its step and class, such as "artifacts:fold"."""
    return Regions(
        tuple(
            Region(f"{reason.removeprefix('qc:')}:{number}", shape, reason.removeprefix("qc:"))
            for reason, shapes in told_areas(record, info).items()
            for number, shape in enumerate(shapes)
        )
    )
