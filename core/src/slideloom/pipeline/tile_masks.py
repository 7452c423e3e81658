"""The mask of each tile: what it shows, and which class has which value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs import frozen

from slideloom.base.errors import OptionError
from slideloom.settings.options import option

REGIONS = "roi"
QC = "qc:"
BACKGROUND = "background"
IGNORED = 255
_MOST_CLASSES = 254  # 0 is the background, and 255 is ignored


def _source(_instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    if value not in ("", REGIONS) and not (value.startswith(QC) and len(value) > len(QC)):
        raise ValueError(f'{attribute.name} must be "roi" or a slide QC such as "qc:segment", not {value!r}')


def _names(_instance: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    if len(set(value)) < len(value) or BACKGROUND in value or not all(value):
        raise ValueError(f"{attribute.name} must be different names other than '{BACKGROUND}', not {list(value)!r}")
    if len(value) > _MOST_CLASSES:
        raise ValueError(f"{attribute.name} must be at most {_MOST_CLASSES} names, not {len(value)}")


@frozen
class TileMasks:
    """Masks to store with tiles.

    The values of classes follow from these options alone, so they are the same for every slide of a run.
    """

    of: str = option(
        "",
        help='store the mask of each tile: "roi" for the classes of regions, "qc:STEP" for what that slide QC found',
        field="tile_mask",
        flag="--tile-mask",
        metavar="roi|qc:STEP",
        validator=_source,
    )
    classes: tuple[str, ...] = option(
        (),
        help="labels or QC classes in the order of their values from 1 (0 is background); by default one class: every "
        "region, or all that the QC discards",
        field="mask_classes",
        flag="--mask-class",
        metavar="NAME",
        validator=_names,
    )
    others: Literal["refuse", "background", "ignore"] = option(
        "refuse",
        help="classes that are not listed: the slide fails (refuse), or they are 0 (background) or 255 (ignore)",
        field="mask_others",
    )
    on_top: Literal["later", "smaller"] = option(
        "later",
        help="where regions overlap: the later one in the file, or the smaller one, which tiles are labelled by",
        field="mask_on_top",
    )
    without: Literal["refuse", "background"] = option(
        "refuse",
        help="slides that have no file of regions: they fail (refuse), or all of them is background",
        field="mask_without",
    )

    def __attrs_post_init__(self) -> None:
        if not self.of and self.classes:
            raise OptionError("classes", 'are given without masks; say what masks show, such as of = "roi"')

    @property
    def values(self) -> Mapping[str, int]:
        """The value of each class by its name, 0 first; 255, if it occurs, is "ignored"."""
        if not self.classes:
            return {"kept": 0, "discarded": 1} if self.of.startswith(QC) else {BACKGROUND: 0, "region": 1}
        named = {BACKGROUND: 0, **{name: value for value, name in enumerate(self.classes, start=1)}}
        return {**named, "ignored": IGNORED} if self.others == "ignore" else named

    @property
    def qc_label(self) -> str | None:
        """The label of the slide QC that masks show, or None."""
        return self.of.removeprefix(QC) if self.of.startswith(QC) else None
