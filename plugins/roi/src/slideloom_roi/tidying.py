"""Turns the content of a file into valid regions: repaired, placed on the slide, nested and named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from attrs import evolve, frozen
from slideloom import Region, Regions, SlideInfo

from slideloom_roi.drafts import Draft, Mistake, Notes, Parsed
from slideloom_roi.nesting import nest_rings
from slideloom_roi.repairing import repaired
from slideloom_roi.settings import BoundsRule, NestedRule


@frozen
class Rules:
    """How drafts become regions; see the settings."""

    bounds: BoundsRule = "auto"
    nested: NestedRule = "auto"
    simplify_px: float = 0.0
    min_area_px: float = 0.0


def tidy(parsed: Parsed, info: SlideInfo, rules: Rules, *, source: str) -> Regions:
    """The regions of a slide, each valid and at least partly on the slide.

    Raises:
        Mistake: the file has regions, but none of them can be used.
    """
    notes = Notes()
    repaired = [_repaired(draft, notes) for draft in _validity(parsed.drafts)]
    placed, moved = _moved([draft for draft in repaired if draft.shape is not None], parsed, info, rules)
    drafts = _on_slide(placed, info, notes)
    drafts = _large_enough(_simplified(drafts, rules), rules, notes)
    if not parsed.is_final and (rules.nested == "holes" or (rules.nested == "auto" and not parsed.has_holes)):
        drafts = _nested(drafts, notes)
    items = _named(drafts, notes)
    sentences = (*parsed.notes, *moved, *notes.sentences())
    if parsed.drafts and not items:
        raise Mistake(f"none of its {len(parsed.drafts)} regions can be used; {'; '.join(sentences)}")
    if not items:
        sentences = (*sentences, "the file holds no region")
    return Regions(items=items, notes=sentences, source=source)


def _called(draft: Draft) -> str:
    return f"{draft.name} ({draft.place})" if draft.name is not None else draft.place


def _validity(drafts: Sequence[Draft]) -> list[tuple[Draft, bool]]:
    shapes = np.array([draft.shape for draft in drafts], dtype=object)
    return list(zip(drafts, shapely.is_valid(shapes).tolist(), strict=True))


def _repaired(judged: tuple[Draft, bool], notes: Notes) -> Draft:
    """The draft with a valid shape that has an area, or with None as its shape."""
    draft, is_valid = judged
    if draft.shape is None:
        notes.add("left out, fewer than 3 points", _called(draft))
        return draft
    shape = draft.shape
    if not is_valid:
        try:
            shape = repaired(shape)
        except Mistake as error:
            raise Mistake(f"{_called(draft)}: {error}") from error
    if shape.is_empty or not shape.area > 0:
        notes.add("left out, encloses no area", _called(draft))
        return evolve(draft, shape=None)
    if not is_valid:
        notes.add("crossed or touched itself and was repaired", _called(draft))
    return evolve(draft, shape=shape)


def _moved(
    drafts: Sequence[Draft], parsed: Parsed, info: SlideInfo, rules: Rules
) -> tuple[Sequence[Draft], tuple[str, ...]]:
    """The drafts in level-0 pixels of the uncropped slide, and a sentence if they were moved."""
    bounds = (info.bounds.x, info.bounds.y) if info.bounds is not None else (0.0, 0.0)
    x, y, reason = 0.0, 0.0, ""
    if rules.bounds == "add":
        (x, y), reason = bounds, "bounds = 'add'"
    elif rules.bounds == "auto" and parsed.origin is not None:
        (x, y), reason = parsed.origin, "as the file says"
    elif rules.bounds == "auto" and parsed.is_cropped:
        (x, y), reason = bounds, "QuPath counts from the scanned area; bounds = 'none' turns this off"
    if x == 0 and y == 0:
        return drafts, ()
    shapes = shapely.transform(
        np.array([draft.shape for draft in drafts], dtype=object), lambda points: np.add(points, (x, y))
    )
    moved = [evolve(draft, shape=shape) for draft, shape in zip(drafts, shapes, strict=True)]
    return moved, (f"moved by ({x:g}, {y:g}) pixels: {reason}",)


def _on_slide(drafts: Sequence[Draft], info: SlideInfo, notes: Notes) -> list[Draft]:
    width, height = info.size.width, info.size.height
    shapes = np.array([draft.shape for draft in drafts], dtype=object)
    left, top, right, bottom = shapely.bounds(shapes).reshape(-1, 4).T
    is_there = (left < width) & (top < height) & (right > 0) & (bottom > 0)
    # Drawing along the edge commonly ends a pixel outside.
    reaches = is_there & ((left < -1) | (top < -1) | (right > width + 1) | (bottom > height + 1))
    # A shape can lie beside the slide while the box around it does not.
    rows = np.flatnonzero(is_there & ((left < 0) | (top < 0) | (right > width) | (bottom > height)))
    is_there[rows] = shapely.area(shapely.intersection(shapes[rows], shapely.box(0, 0, width, height))) > 0
    for i in np.flatnonzero(reaches & is_there).tolist():
        notes.add("reaches outside the slide", _called(drafts[i]))
    for i in np.flatnonzero(~is_there).tolist():
        notes.add(f"left out, lies outside the slide of {width} x {height} pixels", _called(drafts[i]))
    return [drafts[i] for i in np.flatnonzero(is_there).tolist()]


def _simplified(drafts: Sequence[Draft], rules: Rules) -> Sequence[Draft]:
    if not rules.simplify_px:
        return drafts
    result = []
    for draft in drafts:
        shape = repaired(draft.shape.simplify(rules.simplify_px, preserve_topology=True))
        result.append(draft if shape.is_empty else evolve(draft, shape=shape))
    return result


def _large_enough(drafts: Sequence[Draft], rules: Rules, notes: Notes) -> list[Draft]:
    kept = []
    for draft in drafts:
        if draft.shape.area >= rules.min_area_px:
            kept.append(draft)
        else:
            notes.add(f"left out, smaller than {rules.min_area_px:g} square pixels", _called(draft))
    return kept


def _nested(drafts: Sequence[Draft], notes: Notes) -> list[Draft]:
    found = nest_rings([draft.shape for draft in drafts], [draft.label for draft in drafts])
    used: set[int] = set()
    for one in found:
        used.update((one.index, *one.holes))
        for hole in one.holes:
            notes.add(
                "taken as holes, being within a region of the same label (nested = 'keep' turns this off)",
                f"{_called(drafts[hole])} in {_called(drafts[one.index])}",
            )
    for i in sorted(set(range(len(drafts))) - used):
        notes.add("left out, the same shape and label as an earlier one", _called(drafts[i]))
    return [
        evolve(drafts[one.index], shape=one.shape, holes=tuple(drafts[hole].called for hole in one.holes))
        for one in found
    ]


def _named(drafts: Sequence[Draft], notes: Notes) -> tuple[Region, ...]:
    """Regions with unique names: a second "a" becomes "a (2)", one without a name "ROI_<number>"."""
    drafts = [evolve(draft, name=_storable(draft.name), label=_storable(draft.label)) for draft in drafts]
    taken = {draft.name for draft in drafts}
    seen: set[str] = set()
    items = []
    for number, draft in enumerate(drafts):
        name = draft.name if draft.name is not None else _free(f"ROI_{number}", taken)
        if name in seen:
            new = _free(name, taken)
            notes.add("renamed, the name was there before", f"{_called(draft)} to {new}")
            name = new
        seen.add(name)
        taken.add(name)
        about = _storable(draft.description)
        holes = tuple(str(_storable(hole)) for hole in draft.holes)
        items.append(Region(name=name, shape=draft.shape, label=draft.label, description=about, holes=holes))
    return tuple(items)


def _storable(text: str | None) -> str | None:
    """The text without lone surrogates, which JSON can contain but files cannot."""
    return None if text is None else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _free(name: str, taken: set[Any]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name} ({number})" in taken:
        number += 1
    return f"{name} ({number})"
