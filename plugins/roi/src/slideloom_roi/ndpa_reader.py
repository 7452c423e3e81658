"""Hamamatsu's annotations (.ndpa): XML in nanometres from the centre of the slide's glass."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from slideloom import SlideInfo

from slideloom_roi.drafts import Draft, Mistake, Notes, Parsed, check_range, polygon_of
from slideloom_roi.xml_reader import root_of

_OFFSETS = ("hamamatsu.XOffsetFromSlideCentre", "hamamatsu.YOffsetFromSlideCentre")


def parse_ndpa(text: str, info: SlideInfo) -> Parsed:
    """The closed freehand regions in the text of an .ndpa file; the title is the label, the details the description.

    A position is x_px = (x_nm - XOffsetFromSlideCentre) / (1000 * mpp_x) + width / 2, and y likewise.

    Raises:
        Mistake: it cannot be parsed, or the slide does not record its position on the glass.
    """
    root = root_of(text)
    views = list(root.iter("ndpviewstate"))
    if not views:
        return Parsed([])
    offset, scale = _placement(info)
    notes = Notes()
    drafts = []
    for number, view in enumerate(views, 1):
        title = (view.findtext("title") or "").strip()
        place = f"annotation {number}" + (f", {title!r}" if title else "")
        annotation = view.find("annotation")
        points = list(annotation.iter("point")) if annotation is not None else []
        kind = annotation.get("type", "") if annotation is not None else ""
        is_closed = annotation is not None and (annotation.findtext("closed") or "1").strip() != "0"
        if not points or kind not in ("freehand", "") or not is_closed:
            notes.add("left out, not a closed outline", place)
            continue
        try:
            given = np.array([[float(p.findtext("x") or "nan"), float(p.findtext("y") or "nan")] for p in points])
        except ValueError:
            raise Mistake(f"{place}: a coordinate is not a number") from None
        pixels = (given - offset) * scale + (info.size.width / 2, info.size.height / 2)
        check_range(pixels, place=place)
        details = (view.findtext("details") or "").strip()
        drafts.append(Draft(None, place, polygon_of([pixels]), title or None, details or None))
    return Parsed(drafts, notes.sentences())


def _placement(info: SlideInfo) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """The slide centre's offset in nanometres, and pixels per nanometre."""
    try:
        offset = np.array([float(info.properties[name]) for name in _OFFSETS])
    except (KeyError, ValueError):
        offset = np.array([math.nan])
    if info.mpp is None or not np.isfinite(offset).all():
        raise Mistake("its positions need the slide's microns per pixel and offset from the glass's centre")
    return offset, (1 / (1000 * info.mpp.x), 1 / (1000 * info.mpp.y))
