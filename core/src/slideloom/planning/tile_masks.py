"""Masks of tiles: classes of regions, drawn exactly, or what a slide QC found, looked up in its label map."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from slideloom.base.errors import ConfigError, SlideError
from slideloom.base.geometry import Box
from slideloom.base.packed_masks import PackedMask
from slideloom.pipeline.tile_masks import BACKGROUND, IGNORED, REGIONS, TileMasks
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord
from slideloom.slides.outlines import Outlines
from slideloom.slides.regions import Region
from slideloom.slides.tiles import Tiles
from slideloom.steps.slide_qc import QcResult

Values = NDArray[np.uint8]


class MaskDrawer(ABC):
    """Draws the masks of tiles of one slide; may be called from several threads at once."""

    @abstractmethod
    def draw(self, tiles: Tiles, tile_px: int) -> Values:
        """(B, tile_px, tile_px) uint8, the value of a class in each pixel."""


def mask_drawer(plan: SlidePlan, record: SlideRecord) -> MaskDrawer | None:
    """What draws the masks that the pipeline wants; None if it wants none, or there is no tile to draw one for.

    Raises:
        SlideError: the slide has no regions, or one of a class that is not in the table.
        ConfigError: the slide QC that is to give the masks does not run, or has other classes.
    """
    options = plan.pipeline.mask
    if not options.of or not len(record.ledger.candidates()):
        return None
    if options.of == REGIONS:
        return RegionDrawer(_painted(plan, options))
    finding = next((finding for finding in record.qc if finding.label == options.qc_label), None)
    if finding is None:
        known = ", ".join(f"qc:{each.label}" for each in record.qc)
        raise ConfigError(f"masks of {options.of} need that slide QC; there is {known or 'none'}")
    return LabelDrawer(finding.result, _lookup(finding.result, options, plan.slide.info.name), plan.slide.info.box)


@frozen
class Painted:
    """A region with the value that is drawn for it."""

    region: Region
    value: int


class RegionDrawer(MaskDrawer):
    """Draws regions, each over those before it; a pixel has a region's value if its centre lies in the region.

    A centre exactly on an outline is inside if the region lies to its right, or below it for a horizontal edge.

    Args:
        painted: in the order of drawing.
    """

    def __init__(self, painted: Sequence[Painted]) -> None:
        self._painted = tuple(painted)
        bounds = [each.region.shape.bounds for each in painted]
        self._bounds = np.array(bounds, np.float64).reshape(-1, 4)
        self._outlines  # noqa: B018 - made here, before threads share it

    @cached_property
    def _outlines(self) -> list[Outlines]:
        return [Outlines.of([each.region.shape]) for each in self._painted]

    def draw(self, tiles: Tiles, tile_px: int) -> Values:
        """See `MaskDrawer.draw`."""
        masks = np.zeros((len(tiles), tile_px, tile_px), np.uint8)
        left, top, right, bottom = self._bounds.T
        for mask, box in zip(masks, tiles.boxes(), strict=True):
            touched = (left < box.right) & (right > box.x) & (top < box.bottom) & (bottom > box.y)
            for number in np.flatnonzero(touched).tolist():
                inside = self._outlines[number].near(box).mask(extent=box, shape=mask.shape)
                mask[inside] = self._painted[number].value
        return masks


class LabelDrawer(MaskDrawer):
    """Looks up the label at the centre of each pixel (nearest); outside of the label map, it is 0.

    Args:
        result: of a slide QC.
        lookup: (256,) uint8, the value for each label; of a result without classes, for what is kept and discarded.
        whole: the slide.
    """

    def __init__(self, result: QcResult, lookup: Values, whole: Box) -> None:
        self._labels = result.stored if result.labels is None else result.labels
        self._lookup = lookup
        self._extent = result.extent or whole

    def draw(self, tiles: Tiles, tile_px: int) -> Values:
        """See `MaskDrawer.draw`."""
        height, width = self._labels.shape
        steps = (np.arange(tile_px) + 0.5) / tile_px
        x = tiles.x[:, None] + steps * tiles.footprint.width - self._extent.x  # (B, tile_px)
        y = tiles.y[:, None] + steps * tiles.footprint.height - self._extent.y
        column = np.floor(x * (width / self._extent.width)).astype(np.int64)
        row = np.floor(y * (height / self._extent.height)).astype(np.int64)
        is_there = ((column >= 0) & (column < width))[:, None, :] & ((row >= 0) & (row < height))[:, :, None]
        place = np.clip(row, 0, height - 1)[:, :, None], np.clip(column, 0, width - 1)[:, None, :]
        found = self._labels.at(*place) if isinstance(self._labels, PackedMask) else self._labels[place]
        return np.where(is_there, self._lookup[found.astype(np.uint8, copy=False)], np.uint8(0))


def _painted(plan: SlidePlan, options: TileMasks) -> list[Painted]:
    """The regions in the order of drawing; those that ROI sources cut out as artifacts come last, as background."""
    name = plan.slide.info.path.name
    known = [found for found in plan.drawn if found is not None and (found.source or found.items)]
    if options.without == "refuse" and not known:
        raise SlideError(
            f"{name}: no file of regions, so its tiles have no mask; draw its regions, leave it out of the run, or set "
            'mask.without = "background" if nothing in it belongs to a class'
        )
    cut = {label for use in plan.pipeline.roi for label in use.artifacts}
    sources = [found.items for found in plan.drawn if found is not None]
    if options.on_top == "smaller":
        # As tiles are labelled: by the first source that has a region there, and of its regions by the smallest, of
        # equals by the first by name.
        sources = [tuple(sorted(regions, key=_rank, reverse=True)) for regions in reversed(sources)]
    regions = [region for found in sources for region in found]
    artifacts = [Painted(region, 0) for region in regions if _is_cut(region, cut, options)]
    shown = [region for region in regions if not _is_cut(region, cut, options)]
    return [*(Painted(region, _value_of(region, options, name)) for region in shown), *artifacts]


def _rank(region: Region) -> tuple[float, str]:
    return float(f"{region.shape.area:.9g}"), region.name


def _is_cut(region: Region, cut: set[str], options: TileMasks) -> bool:
    return region.label in cut and region.label not in options.classes


def _value_of(region: Region, options: TileMasks, slide: str) -> int:
    if not options.classes:
        return 1
    if region.label in options.values and region.label in (*options.classes, BACKGROUND):
        return options.values[region.label]
    if options.others == "refuse":
        label = "no label" if region.label is None else f"the label '{region.label}'"
        raise SlideError(
            f"{slide}: region '{region.name}' has {label}, which is not in mask.classes "
            f'({", ".join(options.classes)}); add it, or set mask.others to "background" or "ignore"'
        )
    return IGNORED if options.others == "ignore" else 0


def _lookup(result: QcResult, options: TileMasks, slide: str) -> Values:
    """(256,) uint8, the value for each label of a result."""
    lookup = np.zeros(256, np.uint8)
    if not options.classes:
        if result.labels is None:
            lookup[1] = 1
        for one in result.classes:
            lookup[one.value] = one.kind is not None
        return lookup
    if result.labels is None:
        raise ConfigError(f"masks of {options.of}: it tells no classes apart; leave mask.classes out")
    names = [one.name for one in result.classes]
    unknown = [name for name in options.classes if name not in names]
    if unknown:
        raise ConfigError(f"masks of {options.of}: it has no class '{unknown[0]}'; it has {', '.join(names)}")
    others = [one for one in result.classes if one.name not in (*options.classes, BACKGROUND)]
    if others and options.others == "refuse":
        raise ConfigError(
            f"masks of {options.of}: its class '{others[0].name}' is not in mask.classes ({', '.join(options.classes)}"
            f'); add it, or set mask.others to "background" or "ignore" (slide {slide})'
        )
    for one in result.classes:
        known = options.values.get(one.name, 0) if one not in others else 0
        lookup[one.value] = IGNORED if one in others and options.others == "ignore" else known
    return lookup
