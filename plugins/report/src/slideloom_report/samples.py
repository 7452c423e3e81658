"""Sample tiles of a slide, before and after normalization."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slideloom as sl
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom_report.cohort import Cohort
from slideloom_report.tiles import stored_tiles

Boxes = NDArray[np.int64]  # (N, 4): left, top, width, height in level-0 pixels


@frozen
class Sample:
    """One tile before and after normalization; either may be missing."""

    loc: tuple[int, int] | None
    before: sl.Rgb | None = field(default=None, eq=False)
    after: sl.Rgb | None = field(default=None, eq=False)


def samples_of(
    slide: sl.Slide | None,
    cohort: Cohort,
    report: sl.SlideReport,
    kept: Boxes,
    notes: list[str],
    *,
    discard: sl.Mask | None = None,
) -> list[Sample]:
    """Tiles as they are on the slide, and as they were or would be stored.

    Args:
        slide: open, or None if it cannot be read.
        cohort: the cohort of the slide.
        report: of the slide.
        kept: the tiles.
        notes: a sentence is added if tiles are damaged or cannot be normalized.
        discard: (h, w) bool over the whole slide, True where QC discards it, or None.
    """
    places = [(x + width // 2, y + height // 2) for x, y, width, height in kept.tolist()]
    before: list[sl.Rgb | None] = [None] * len(places)
    after = list(before)
    if slide is not None and places and report.tile_px:
        boxes = [sl.Box(*box) for box in kept.tolist()]
        read = slide.try_read_boxes(boxes, sl.Size(report.tile_px, report.tile_px), level=report.level)
        before = [None if isinstance(tile, sl.SlideError) else tile for tile in read]
    pipeline = cohort.pipeline
    if slide is None or pipeline is None or pipeline.normalizer is not None:
        after = stored_tiles(cohort.home(report), report, places, notes)
        if slide is not None and pipeline is not None and all(tile is None for tile in after):
            try:
                after = _normalized(pipeline, slide, report, discard, kept=kept, before=before)
            except sl.SlideloomError as error:
                notes.append(f"Sample tiles are not normalized: {error}")
    samples = [Sample(*row) for row in zip(places, before, after, strict=True)]
    return [sample for sample in samples if sample.before is not None or sample.after is not None]


def spread(boxes: Boxes | None, count: int) -> Boxes:
    """Up to `count` boxes, spread over the slide from top to bottom."""
    if boxes is None or not len(boxes) or not count:
        return np.zeros((0, 4), np.int64)
    order = np.lexsort((boxes[:, 0], boxes[:, 1]))
    steps = (np.arange(min(count, len(boxes))) + 0.5) * len(boxes) / min(count, len(boxes))
    chosen: Boxes = boxes[order[steps.astype(int)]]
    return chosen


def _normalized(
    pipeline: sl.Pipeline,
    slide: sl.Slide,
    report: sl.SlideReport,
    discard: sl.Mask | None,
    *,
    kept: Boxes,
    before: Sequence[sl.Rgb | None],
) -> list[sl.Rgb | None]:
    """The tiles, normalized here for sinks that store no images and for dry runs."""
    is_read = np.array([tile is not None for tile in before])
    results: list[sl.Rgb | None] = [None] * len(before)
    if pipeline.normalizer is None or not is_read.any() or report.mpp is None:
        return results
    width, height = report.footprint
    geometry = sl.TileGeometry(
        tile_px=report.tile_px,
        tile_um=report.tile_um,
        footprint=sl.Size(width, height),
        stride=sl.Size(*report.stride),
        level=report.level,
        mpp=sum(report.mpp) / 2 * width / report.tile_px,
        label=report.label,
    )
    corners = kept[is_read]
    numbers = np.arange(len(corners))
    tiles = sl.Tiles(
        numbers, corners[:, 0], corners[:, 1], numbers, numbers * 0, numbers * 0 - 1, footprint=geometry.footprint
    )
    step = pipeline.normalizer.build().for_slide(slide, sl.Scene(geometry=geometry), discard)
    pixels = np.stack([tile for tile in before if tile is not None])
    normalized = step.apply(sl.TileBatch(pixels, tiles, report.slide, (None,) * len(tiles)))
    for position, rgb, ok in zip(np.flatnonzero(is_read).tolist(), normalized.rgb, normalized.ok.tolist(), strict=True):
        results[position] = rgb if ok else None
    return results
