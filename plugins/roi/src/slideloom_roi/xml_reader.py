"""Annotations in XML: those of ASAP, Aperio ImageScope and HALO, in pixels of the whole slide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray
from slideloom import number_in

from slideloom_roi.drafts import Draft, Mistake, Notes, Parsed, check_range, polygon_of

# ImageScope numbers its kinds of regions, HALO names them; arrows, rulers and pins have no area.
_POLYGONS = ("", "0", "polygon", "freehand")
_RECTANGLES = ("1", "rectangle")
_ELLIPSES = ("2", "ellipse")
_ASAP_OUTLINES = ("polygon", "spline", "rectangle")
_ARC_PX = 0.25  # how far the sides of a polygon may be inside its ellipse
_HEAD = 4096
_ROOT = re.compile(rb"<\s*(ASAP_Annotations|Annotations)\b")


def is_annotation_file(head: bytes) -> bool:
    """True if a file that starts like this is in one of these formats, not the XML of a scanner or another program."""
    return _ROOT.search(head[:_HEAD].replace(b"\0", b"")) is not None


def root_of(text: str) -> ET.Element:
    """The outermost element.

    Raises:
        Mistake: it is not XML, or declares a document type: entities are not expanded.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Mistake("an annotation file has no document type; export it again")
    try:
        # Without the declaration, whose encoding no longer applies: the text is already decoded.
        return ET.fromstring(text.partition("?>")[2] if text.lstrip().startswith("<?xml") else text)  # noqa: S314
    except (ET.ParseError, ValueError) as error:  # ValueError: halves of surrogate pairs
        raise Mistake(f"not valid XML ({error}); export the annotations again") from error


def parse_xml(text: str) -> Parsed:
    """The regions in the text of an annotation file.

    In ASAP files, the label is the group. In ImageScope and HALO files, it is the layer's name, or the region's text if
    the layer has no name; negative regions are holes in the other regions of their layer.

    Raises:
        Mistake: it cannot be parsed.
    """
    root = root_of(text)
    if root.tag == "ASAP_Annotations":
        return _asap(root)
    if root.tag == "Annotations":
        return _layers(root)
    raise Mistake(f"is not an annotation file of ASAP, ImageScope or HALO: its outermost element is {root.tag[:40]!r}")


def _asap(root: ET.Element) -> Parsed:
    notes, drafts = Notes(), []
    for number, annotation in enumerate(root.iter("Annotation"), 1):
        name = annotation.get("Name") or None
        place = f"annotation {number}" + (f", {name!r}" if name else "")
        kind = annotation.get("Type", "Polygon")
        if kind.lower() not in _ASAP_OUTLINES:
            notes.add(f"left out, a {kind[:40]} has no area", place)
            continue
        points = list(annotation.iter("Coordinate"))
        order = [number_in(point.get("Order", "")) for point in points]
        if None not in order:
            points = [points[i] for i in np.argsort(np.array(order, np.float64), kind="stable").tolist()]
        group = annotation.get("PartOfGroup", "None")
        shape = polygon_of([_positions(points, place)])
        drafts.append(Draft(name, f"annotation {number}", shape, None if group in ("None", "") else group))
    return Parsed(drafts, notes.sentences())


def _layers(root: ET.Element) -> Parsed:
    notes, drafts = Notes(), []
    for number, layer in enumerate(root.iter("Annotation"), 1):
        name = (layer.get("Name") or "").strip() or _described(layer)
        outlines: list[tuple[ET.Element, str, NDArray[np.float64]]] = []
        holes: list[tuple[str, NDArray[np.float64]]] = []
        for count, region in enumerate(layer.iter("Region"), 1):
            place = f"layer {number}, region {region.get('Id') or count}"
            ring = _outline(region, place, notes)
            if ring is not None and region.get("NegativeROA", "0").strip().lower() in ("1", "true"):
                holes.append((place, ring))
            elif ring is not None:
                outlines.append((region, place, ring))
        for region, place, ring in outlines:
            text = (region.get("Text") or "").strip() or None
            own = [hole for _, hole in holes if _meet(ring, hole)]
            drafts.append(Draft(None, place, polygon_of([ring, *own]), name or text, text if name else None))
        for place, hole in holes:
            if not any(_meet(ring, hole) for *_, ring in outlines):
                notes.add("left out, a negative region that is in no other region of its layer", place)
    return Parsed(drafts, notes.sentences(), has_holes=True)


def _described(layer: ET.Element) -> str:
    """The attribute that ImageScope users fill in instead of a layer's name."""
    found = (a.get("Value") or "" for a in layer.findall("Attributes/Attribute") if a.get("Name") == "Description")
    return next((text.strip() for text in found if text.strip()), "")


def _outline(region: ET.Element, place: str, notes: Notes) -> NDArray[np.float64] | None:
    """(N, 2) points of a region; None, with a note, if it has no area."""
    kind = region.get("Type", "").strip().lower()
    points = _positions([point for point in region.iter() if point.tag in ("Vertex", "V")], place)
    if kind in _POLYGONS or (kind in _RECTANGLES and len(points) != 2):
        return points
    if len(points) >= 2 and kind in (*_RECTANGLES, *_ELLIPSES):
        low, high = points.min(axis=0), points.max(axis=0)
        if kind in _RECTANGLES:
            return np.array([low, (high[0], low[1]), high, (low[0], high[1])])
        return _ellipse((low + high) / 2, (high - low) / 2)
    what = "it has too few points" if kind in _ELLIPSES else f"a region of type {kind[:40]} has no area"
    notes.add(f"left out, {what}", place)
    return None


def _ellipse(centre: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    longest = max(float(radii.max()), _ARC_PX)
    sides = int(np.clip(np.ceil(np.pi / np.arccos(1 - _ARC_PX / longest)), 16, 720))
    angles = np.arange(sides) * (2 * np.pi / sides)
    return np.asarray(centre + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def _positions(points: Sequence[ET.Element], place: str) -> NDArray[np.float64]:
    found = np.zeros((len(points), 2))
    for row, point in enumerate(points):
        for axis, name in enumerate(("X", "Y")):
            value = number_in(point.get(name, ""))
            if value is None:
                raise Mistake(f"{place}: {name} {point.get(name, '')[:40]!r} is not a number")
            found[row, axis] = value
    if len(found):
        check_range(found, place=place)
    return found


def _meet(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """True if the bounding boxes of two outlines share a point; otherwise one cannot cut the other."""
    if not len(one) or not len(other):
        return False
    return bool((one.min(axis=0) <= other.max(axis=0)).all() and (one.max(axis=0) >= other.min(axis=0)).all())
