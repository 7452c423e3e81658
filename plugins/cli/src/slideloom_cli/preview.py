"""`slideloom preview`, and `contact_sheet` for notebooks: settings side by side, before anything is cut."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from slideloom.base.addresses import SlidePlace, place_of
from slideloom.base.errors import ConfigError
from slideloom.pipeline.flags import given_flags
from slideloom.pipeline.from_words import pipeline_from_words
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.words import named
from slideloom.plugins.shorthand import folder_of_regions
from slideloom.running.find_slides import find_slides, require_slides
from slideloom.settings.options import Settings

from slideloom_cli.comparing import Variant, compared_normalizers, compared_qc, qc_variants, varied
from slideloom_cli.options import add_plan_options, pipeline_of
from slideloom_cli.sheet import ContactSheet, sheet_kind

Step = str | Settings[Any]
NO_FLAG = {
    "max_tiles": "chosen from the tiles that filters keep, and no filter runs",
    "context_um": "it stores no tiles",
}
MAX_PX, SAMPLES = 480, 4


def configure_preview(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom preview`."""
    parser.add_argument("slides", nargs="+", metavar="SLIDES", help="files, folders or patterns")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .html or .png file")
    parser.add_argument("--vary", action="append", default=[], metavar="STEP:option=A,B,C",
                        help="slide QC with several values of one option, after every --qc")  # fmt: skip
    parser.add_argument("--normalizer", action="append", default=[], metavar="STEP", dest="normalizers",
                        help="compare normalizers instead, on tiles that every --qc keeps")  # fmt: skip
    parser.add_argument("--max-px", type=int, default=MAX_PX, metavar="PX",
                        help=f"maximum width and height of a slide's picture (default {MAX_PX})")  # fmt: skip
    parser.add_argument("--samples", type=int, default=SAMPLES, metavar="N",
                        help=f"tiles per slide for --normalizer (default {SAMPLES})")  # fmt: skip
    add_plan_options(parser, without=NO_FLAG)


def run_preview(chosen: argparse.Namespace) -> int:
    """Make the contact sheet; the exit code is 1 if a slide failed."""
    sheet_kind(chosen.out)
    slides = find_slides(chosen.slides, chosen.exclude or (), recursive=bool(chosen.recursive))
    require_slides(slides)
    pipeline = pipeline_of(chosen, filters=[], sinks=[])
    rules = given_flags(chosen, named("filter_threshold"))
    variants = _variants(pipeline, chosen.qc, chosen.vary, chosen.normalizers, rules)
    sheet = _sheet(slides, variants, max_px=chosen.max_px, samples=chosen.samples, is_tiles=bool(chosen.normalizers))
    sheet.save(chosen.out)
    for row in sheet.rows:
        if row.error:
            print(f"failed   {row.slide}: {row.error}", file=sys.stderr)
        for column, cell in zip(sheet.columns, row.cells, strict=False):
            note = f" ({cell.note})" if cell.note else ""
            print(f"{row.slide}  {column}: {cell.count}{note}", file=sys.stderr)
    print(f"sheet    {chosen.out}", file=sys.stderr)
    return 1 if any(row.error for row in sheet.rows) else 0


def contact_sheet(
    slides: SlidePlace | str | Sequence[SlidePlace | str],
    tile_px: int,
    tile_um: float | str,
    *,
    qc: Step | Sequence[Step] = (),
    vary: str | Sequence[str] = (),
    normalizer: Step | Sequence[Step] = (),
    roi: SlidePlace | str | Settings[Any] | None = None,
    roi_method: str = "auto",
    filter_threshold: float = 0.6,
    stride_div: float = 1.0,
    mpp: float | None = None,
    max_px: int = MAX_PX,
    samples: int = SAMPLES,
) -> ContactSheet:
    """A contact sheet of slides under different settings. A notebook shows it, and `save` writes it to a file.

    Args:
        slides: files, folders or patterns.
        tile_px, tile_um: size of a tile.
        qc: slide QC steps. Each has its own column; with `vary` or `normalizer`, all of them apply to every column.
        vary: slide QC with several values of one option, such as "tissue:threshold=0.05,0.1,0.2"; a column for each.
        normalizer: normalizers, each with a column that shows tiles.
        roi: a folder of ROI files or its address, or settings of a ROI source, or None.
        roi_method, filter_threshold, stride_div, mpp: as for an extraction.
        max_px: maximum width and height of a slide's picture.
        samples: number of tiles per slide if normalizers are compared.

    Raises:
        ConfigError: an argument is wrong, or no slide is found.
    """
    given = {
        "tile_px": tile_px, "tile_um": tile_um, "stride_div": stride_div, "mpp": mpp,
        "roi_method": roi_method, "filter_threshold": filter_threshold,
    }  # fmt: skip
    steps, ranges, normalizers = _listed(qc), _listed(vary), _listed(normalizer)
    region_step = folder_of_regions(place_of(roi)) if isinstance(roi, str | SlidePlace) else roi
    regions = [] if region_step is None else [region_step]
    pipeline = pipeline_from_words(given, roi=regions, qc=steps, filters=[], sinks=[])
    paths = [slides] if isinstance(slides, str | SlidePlace) else slides
    variants = _variants(pipeline, steps, ranges, normalizers, {"filter_threshold": filter_threshold})
    found = find_slides(paths)
    require_slides(found)
    return _sheet(found, variants, max_px=max_px, samples=samples, is_tiles=bool(normalizers))


def _listed(steps: Any) -> list[Any]:
    return [steps] if isinstance(steps, str | Settings) else list(steps)


def _sheet(
    slides: Sequence[SlidePlace], variants: Sequence[Variant], *, max_px: int, samples: int, is_tiles: bool
) -> ContactSheet:
    for name, value in (("max_px", max_px), ("samples", samples)):
        if value < 1:
            raise ConfigError(f"{name} must be at least 1, not {value}")
    if is_tiles:
        return compared_normalizers(slides, variants, samples=samples)
    return compared_qc(slides, variants, max_px=max_px)


def _variants(
    pipeline: Pipeline,
    steps: Sequence[Step],
    ranges: Sequence[str],
    normalizers: Sequence[Step],
    rules: Mapping[str, Any],
) -> list[Variant]:
    """The variants to compare; `pipeline` has the slide QC of `steps`."""
    if normalizers:
        if ranges:
            raise ConfigError("--vary compares slide QC, and --normalizer compares normalizers; use only one of them")
        return [Variant("original", pipeline)] + [
            Variant(_title(step), attrs.evolve(pipeline, normalizer=_with(normalizer=step).normalizer))
            for step in normalizers
        ]
    if not ranges:
        return qc_variants(pipeline, (), [(_title(s), use) for s, use in zip(steps, pipeline.qc, strict=True)])
    texts = [text for each in ranges for text in varied(each)]
    uses = _with(rules, qc=texts).qc
    return qc_variants(pipeline, pipeline.qc, list(zip(texts, uses, strict=True)))


def _with(rules: Mapping[str, Any] | None = None, **steps: Any) -> Pipeline:
    """A pipeline with only these steps, from which their settings are taken."""
    return pipeline_from_words({"tile_px": 1, "tile_um": 1.0, **(rules or {})}, filters=[], sinks=[], **steps)


def _title(step: Step) -> str:
    return step if isinstance(step, str) else step.label
