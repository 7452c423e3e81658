"""Compares settings: slide QC on whole slides, normalizers on some of their tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
from attrs import frozen
from slideloom.base.addresses import SlidePlace
from slideloom.base.errors import ConfigError, SlideloomError
from slideloom.base.geometry import Rgb, RgbBatch, Size
from slideloom.base.opencv_threads import opencv_in_one_thread
from slideloom.drawing.pictures import Picture
from slideloom.extraction.overview import plan_picture
from slideloom.pipeline.pipeline import Pipeline, QcUse
from slideloom.planning.known import Known
from slideloom.planning.opening import open_slide
from slideloom.planning.plan import plan_slide
from slideloom.planning.prepared import PreparedSlide
from slideloom.plugins.shorthand import step_table
from slideloom.slides.info import slide_name
from slideloom.slides.tiles import TileBatch
from slideloom.steps.normalizer import Normalized

from slideloom_cli.sheet import Cell, ContactSheet, Row

_MARGIN = 4  # pixels between sample tiles
COLOURS = {
    "kept": "kept",
    "background": "background",
    "blur": "out of focus",
    "artifact": "artifact",
    "qc": "other slide QC",
    "roi": "outside regions",
    "mask": "masked area",
}


def varied(text: str) -> list[str]:
    """The steps in "NAME:option=a,b,c", one for each value of the option with several values.

    Raises:
        ConfigError: no option has several values, or more than one has.
    """
    name, _, rest = text.partition(":")
    options: list[tuple[str, list[str]]] = []
    for part in rest.split(","):
        key, equals, value = part.partition("=")
        if equals:
            options.append((key.strip(), [value.strip()]))
        elif options and part.strip():
            options[-1][1].append(part.strip())
    several = [key for key, values in options if len(values) > 1]
    if len(several) != 1:
        raise ConfigError(f"{text!r}: give one option several values, as in tissue:threshold=0.05,0.1,0.2")
    steps = [f"{name}:"]
    for key, values in options:
        steps = [f"{step}{',' * (step[-1] != ':')}{key}={value}" for step in steps for value in values]
    for step in steps:
        step_table(step)
    return steps


@frozen
class Variant:
    """One of the settings that are compared.

    Attributes:
        title: the setting as written on the command line.
        pipeline: the pipeline with this setting.
    """

    title: str
    pipeline: Pipeline


def compared_qc(slides: Sequence[SlidePlace], variants: Sequence[Variant], *, max_px: int) -> ContactSheet:
    """A sheet of slides with the tiles that each variant's slide QC keeps and drops."""
    rows = tuple(_row(path, lambda path: _qc_cells(path, variants, max_px)) for path in slides)
    title = f"Slide QC, tiles of {variants[0].pipeline.tiles.label}"
    return ContactSheet(title, tuple(variant.title for variant in variants), rows, COLOURS)


def compared_normalizers(slides: Sequence[SlidePlace], variants: Sequence[Variant], *, samples: int) -> ContactSheet:
    """A sheet with some kept tiles of each slide, normalized by each variant's normalizer."""
    rows = tuple(_row(path, lambda path: _tile_cells(path, variants, samples)) for path in slides)
    title = f"Normalizers, tiles of {variants[0].pipeline.tiles.label}"
    return ContactSheet(title, tuple(variant.title for variant in variants), rows)


def _row(path: SlidePlace, cells: Any) -> Row:
    try:
        with opencv_in_one_thread():
            note, *made = cells(path)
    except SlideloomError as error:  # the other slides are still shown
        return Row(slide_name(path), error=str(error))
    return Row(slide_name(path), note=note, cells=tuple(made))


def _qc_cells(path: SlidePlace, variants: Sequence[Variant], max_px: int) -> Iterator[Any]:
    plain = attrs.evolve(variants[0].pipeline, qc=())
    with open_slide(path, slides=plain.slides) as slide:
        plan, known = plan_slide(slide, plain), Known()  # a step that several variants have runs once
        yield _about(PreparedSlide(plan))
        for variant in variants:
            prepared = PreparedSlide(
                attrs.evolve(plan, pipeline=attrs.evolve(plain, qc=variant.pipeline.qc, filters=())), known=known
            )
            prepared.decide()
            ledger = prepared.record.ledger
            rejected = ", ".join(f"{count} {step}" for step, count in ledger.rejected.items())
            picture = plan_picture(prepared.plan, prepared.record, max_px=max_px)
            yield Cell(picture, _share(len(ledger.candidates()), len(ledger), "tiles kept"), rejected)


def _tile_cells(path: SlidePlace, variants: Sequence[Variant], samples: int) -> Iterator[Any]:
    with open_slide(path, slides=variants[0].pipeline.slides) as slide:
        first = PreparedSlide(plan_slide(slide, variants[0].pipeline))
        first.decide()
        yield _about(first)
        batch = _samples(first, samples)
        for variant in variants:
            prepared = PreparedSlide(attrs.evolve(first.plan, pipeline=variant.pipeline))
            prepared.record = first.record
            step = prepared.normalizer()
            done = Normalized(batch.rgb, np.ones(len(batch), np.bool_)) if step is None else step.apply(batch)
            bad, fallback = int((~done.ok).sum()), 0 if done.fallback is None else int(done.fallback.sum())
            notes = [f"{bad} unfit"] * bool(bad) + [f"{fallback} by fallback"] * bool(fallback)
            yield Cell(Picture(_mosaic(done.rgb)), f"{len(batch)} of its tiles", ", ".join(notes))


def _samples(prepared: PreparedSlide, count: int) -> TileBatch:
    """Kept tiles, evenly spread over the slide in the order of the plan."""
    plan, kept = prepared.plan, prepared.record.ledger.candidates()
    if not len(kept):
        raise ConfigError(f"{plan.slide.info.name}: slide QC keeps no tile to show normalizers on")
    which = kept[np.unique(np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(np.int64))]
    tiles = prepared.record.ledger.tiles.take(which)
    geometry = plan.scene.geometry
    size = Size(geometry.tile_px, geometry.tile_px)
    pixels = np.stack(plan.slide.read_boxes(tiles.boxes(), size, level=geometry.level))
    return TileBatch(rgb=pixels, tiles=tiles, slide=plan.slide.info.name, labels=(None,) * len(tiles))


def _mosaic(tiles: RgbBatch) -> Rgb:
    """Tiles arranged in a rough square on white: (h, w, 3) uint8."""
    count, height, width, _ = tiles.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    sheet = np.full((rows * (height + _MARGIN) - _MARGIN, columns * (width + _MARGIN) - _MARGIN, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        y, x = row * (height + _MARGIN), column * (width + _MARGIN)
        sheet[y : y + height, x : x + width] = tile
    return sheet


def _about(prepared: PreparedSlide) -> str:
    info = prepared.plan.slide.info
    mpp = f", {info.mpp.mean:.3g} um per pixel" if info.mpp is not None else ""
    return f"{info.size.width} x {info.size.height}{mpp}"


def _share(part: int, whole: int, what: str) -> str:
    return f"{part} of {whole} {what}" + (f" ({part / whole:.0%})" if whole else "")


def qc_variants(pipeline: Pipeline, together: Sequence[QcUse], steps: Sequence[tuple[str, QcUse]]) -> list[Variant]:
    """A variant with only the steps `together`, and for each of `steps` a variant with that step added."""
    base = " + ".join(use.step.label for use in together) or "no slide QC"
    variants = [Variant(base, attrs.evolve(pipeline, qc=tuple(together)))]
    return variants + [Variant(title, attrs.evolve(pipeline, qc=(*together, use))) for title, use in steps]
