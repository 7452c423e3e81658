"""Sample tiles of a slide, before and after normalization."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import (
    Box,
    Mask,
    Pipeline,
    Rgb,
    Scene,
    Size,
    Slide,
    SlideError,
    SlideloomError,
    SlideReport,
    TileBatch,
    TileGeometry,
    Tiles,
)

from slideloom_report.cohort import Cohort
from slideloom_report.stored import stored_tiles

Boxes = NDArray[np.int64]  # (N, 4): left, top, width, height in level-0 pixels


@frozen
class Sample:
    """One tile before and after normalization; either may be missing."""

    loc: tuple[int, int] | None
    before: Rgb | None = field(default=None, eq=False)
    after: Rgb | None = field(default=None, eq=False)


def samples_of(
    slide: Slide, cohort: Cohort, report: SlideReport, kept: Boxes, *, discard: Mask | None, notes: list[str]
) -> list[Sample]:
    """Tiles as on the slide, and as they were stored or would be.

    Args:
        slide: open.
        cohort: that it is of.
        report: of the slide.
        kept: the tiles.
        discard: (h, w) bool over the whole slide, what QC discards, or None.
        notes: gets a sentence if the tiles cannot be normalized.
    """
    if not len(kept) or not report.tile_px:
        return []
    boxes = [Box(x, y, width, height) for x, y, width, height in kept.tolist()]
    locations = [(x + width // 2, y + height // 2) for x, y, width, height in kept.tolist()]
    size = Size(report.tile_px, report.tile_px)
    read = slide.try_read_boxes(boxes, size, level=report.level)
    before = [None if isinstance(tile, SlideError) else tile for tile in read]
    after: list[Rgb | None] = [None] * len(boxes)
    normalizes = cohort.pipeline is None or cohort.pipeline.normalizer is not None
    if normalizes:
        after = stored_tiles(cohort.out, report, locations)
        if cohort.pipeline is not None and all(tile is None for tile in after):
            try:
                after = _normalized(cohort.pipeline, slide, report, discard, kept=kept, before=before)
            except SlideloomError as error:
                notes.append(f"Sample tiles are not normalized: {error}")
    return [Sample(*row) for row in zip(locations, before, after, strict=True)]


def spread(boxes: Boxes | None, count: int) -> Boxes:
    """Up to `count` boxes, spread over the slide from top to bottom."""
    if boxes is None or not len(boxes) or not count:
        return np.zeros((0, 4), np.int64)
    order = np.lexsort((boxes[:, 0], boxes[:, 1]))
    steps = (np.arange(min(count, len(boxes))) + 0.5) * len(boxes) / min(count, len(boxes))
    chosen: Boxes = boxes[order[steps.astype(int)]]
    return chosen


def _normalized(
    pipeline: Pipeline,
    slide: Slide,
    report: SlideReport,
    discard: Mask | None,
    *,
    kept: Boxes,
    before: Sequence[Rgb | None],
) -> list[Rgb | None]:
    """The tiles normalized here, for sinks that keep no pictures and for dry runs."""
    is_read = np.array([tile is not None for tile in before])
    results: list[Rgb | None] = [None] * len(before)
    if pipeline.normalizer is None or not is_read.any() or report.mpp is None:
        return results
    width, height = report.footprint
    geometry = TileGeometry(
        tile_px=report.tile_px,
        tile_um=report.tile_um,
        footprint=Size(width, height),
        stride=Size(*report.stride),
        level=report.level,
        mpp=sum(report.mpp) / 2 * width / report.tile_px,
        label=report.label,
    )
    corners = kept[is_read]
    numbers = np.arange(len(corners))
    tiles = Tiles(
        numbers, corners[:, 0], corners[:, 1], numbers, numbers * 0, numbers * 0 - 1, footprint=geometry.footprint
    )
    step = pipeline.normalizer.build().for_slide(slide, Scene(geometry=geometry), discard)
    pixels = np.stack([tile for tile in before if tile is not None])
    normalized = step.apply(TileBatch(pixels, tiles, report.slide, (None,) * len(tiles)))
    for position, rgb, ok in zip(np.flatnonzero(is_read).tolist(), normalized.rgb, normalized.ok.tolist(), strict=True):
        results[position] = rgb if ok else None
    return results
