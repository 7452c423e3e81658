"""`slideloom tissue`: what slide QC leaves of slides, as outlines for QuPath and, on request, as masks."""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from attrs import frozen
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from slideloom.base.addresses import SlidePlace
from slideloom.base.errors import ConfigError, OutputError, SlideloomError
from slideloom.base.geometry import Box, Mask, Size
from slideloom.base.opencv_threads import opencv_in_one_thread
from slideloom.base.storing import path_inside, storing_in, utf8, write_whole
from slideloom.drawing.geojson import regions_geojson
from slideloom.drawing.mask_outlines import mask_polygons
from slideloom.pipeline.flags import add_flags, given_flags
from slideloom.pipeline.from_words import pipeline_from_words
from slideloom.pipeline.fronts import FLAGS
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.words import words
from slideloom.planning.burden import MAX_GRID_PX
from slideloom.planning.deciding import assess_step
from slideloom.planning.masks import union_mask
from slideloom.planning.opening import open_slide
from slideloom.planning.plan import plan_slide
from slideloom.running.find_slides import find_slides, require_slides
from slideloom.slides.info import SlideInfo, slide_name
from slideloom.slides.regions import Region, Regions
from slideloom.steps.slide_qc import QcResult

from slideloom_cli.options import STEP

# Steps that look at a resolution derived from that of tiles see these.
_TILES = {"tile_px": 256, "tile_um": 256.0}
_FOLDER_OF_MASKS = "masks"


def configure_tissue(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom tissue`."""
    parser.add_argument("slides", nargs="+", metavar="SLIDES", help="files, folders or patterns")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for one .geojson per slide")
    parser.add_argument("--qc", action="append", metavar="STEP", help=f"what to leave out (tissue), {STEP}")
    parser.add_argument("--label", default="tissue", metavar="NAME", help="label of the outlines (tissue)")
    parser.add_argument("--png", action="store_true",
                        help=f"also write masks, white where there is tissue, to DIR/{_FOLDER_OF_MASKS}")  # fmt: skip
    parser.add_argument("--redo", action="store_true", help="replace outlines that are there")
    add_flags(parser.add_argument_group("slides"), words("slides"))


def run_tissue(chosen: argparse.Namespace) -> int:
    """Write the tissue of slides; the exit code is 1 if one failed."""
    if not chosen.label:
        raise ConfigError("--label must not be empty")
    slides = find_slides(chosen.slides, chosen.exclude or (), recursive=bool(chosen.recursive))
    require_slides(slides)
    names = [slide_name(path) for path in slides]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"two slides are named {twice}, and would write the same file; give them one at a time")
    given = {**_TILES, **given_flags(chosen, words("slides"))}
    pipeline = pipeline_from_words(given, qc=chosen.qc or ["tissue"], filters=[], sinks=[], front=FLAGS, base=Path())
    failed = [path for path in slides if not _one(path, pipeline, chosen)]
    return 1 if failed else 0


def _one(path: SlidePlace, pipeline: Pipeline, chosen: argparse.Namespace) -> bool:
    name = slide_name(path)
    try:
        made, said = _written(path, pipeline, chosen.out, label=chosen.label, png=chosen.png, redo=chosen.redo)
    except SlideloomError as error:
        print(f"failed   {name}: {error}", file=sys.stderr)
        return False
    for warning in said:
        print(f"warning: {name}: {warning}", file=sys.stderr)
    print(f"{name}: {made}", file=sys.stderr)
    return True


def _written(
    path: SlidePlace, pipeline: Pipeline, out: Path, *, label: str, png: bool, redo: bool
) -> tuple[str, Sequence[str]]:
    """Write the files of a slide; returns what was found, and warnings."""
    name = slide_name(path)
    target = path_inside(out, f"{name}.geojson")
    masks = path_inside(out, _FOLDER_OF_MASKS, f"{name}.png")
    for file in (target, masks, masks.with_suffix(".json")) if png else (target,):
        if file.exists() and not redo:
            raise OutputError(f"{file}: is there, and somebody may have corrected it; use --redo or another folder")
    with open_slide(path, slides=pipeline.slides) as slide, opencv_in_one_thread():
        plan = plan_slide(slide, pipeline)
        results = [assess_step(plan, use) for use in pipeline.qc]
        info = slide.info
    kept = _kept(results, info)
    regions = Regions(tuple(kept.regions(label)))
    origin = (info.bounds.x, info.bounds.y) if info.bounds is not None else (0.0, 0.0)  # where QuPath's begin
    files = {target: regions_geojson(regions, origin=origin)}
    if png:
        files |= {masks: kept.png(), masks.with_suffix(".json"): kept.placing()}
    for file, content in files.items():
        with storing_in(file.parent):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, content)
    area = sum(region.shape.area for region in regions.items)
    notes = [note for result in results for note in result.notes]
    if not regions.items:
        notes.append("nothing is left of it; use its outlines with --roi-method inside, so that none of it is used")
    return f"{len(regions.items)} areas, {area / info.size.area:.1%} of the slide", notes


@frozen(eq=False)
class _Kept:
    """What is kept of a slide.

    Attributes:
        parts: masks (h, w) bool by label; None stands for the label that the user gives.
        extent: the level-0 box that they cover; beyond it, everything is kept.
        whole: the slide.
    """

    parts: dict[str | None, Mask]
    extent: Box
    whole: Box

    def regions(self, label: str) -> list[Region]:
        """One for each connected area."""
        slide = _square(self.whole)
        items: list[Region] = []
        for own, mask in self.parts.items():
            shapes: list[BaseGeometry] = list(mask_polygons(mask, extent=self.extent, most_px=None))
            if own is None and not _square(self.extent).covers(slide):
                shapes = [shapely.union_all([*shapes, slide.difference(_square(self.extent))])]
            for shape in shapes:
                seen = shape if slide.covers(shape) else shape.intersection(slide)
                for part in getattr(seen, "geoms", [seen]):
                    if isinstance(part, Polygon | MultiPolygon) and part.area > 0:
                        name = own or label
                        items.append(Region(f"{name} {len(items) + 1}", part, name))
        return items

    def png(self) -> bytes:
        """The mask as a picture, white where the slide is kept."""
        from PIL import Image

        stream = io.BytesIO()
        Image.fromarray(np.logical_or.reduce(list(self.parts.values()))).save(stream, "png")
        return stream.getvalue()

    def placing(self) -> bytes:
        """Where the picture lies, as JSON that the step mask-files reads."""
        height, width = next(iter(self.parts.values())).shape
        steps = [self.extent.width / width, self.extent.height / height]
        return utf8(json.dumps({"downsample": steps, "offset": [self.extent.x, self.extent.y]}) + "\n")


def _square(box: Box) -> Polygon:
    found: Polygon = shapely.box(box.x, box.y, box.right, box.bottom)
    return found


def _kept(results: Sequence[QcResult], info: SlideInfo) -> _Kept:
    """What no result discards; the classes of a single result that it keeps are told apart."""
    if len(results) > 1:
        scale = min(1.0, MAX_GRID_PX / 2 / max(info.size.width, info.size.height))
        finest = max((max(result.shape) for result in results), default=1)
        scale = min(scale, finest / max(info.size.width, info.size.height))
        shape = Size(max(1, round(info.size.width * scale)), max(1, round(info.size.height * scale)))
        return _Kept({None: ~union_mask(results, info.size, (shape.height, shape.width))}, info.box, info.box)
    (result,) = results
    extent = result.extent or info.box
    named: dict[str | None, Mask] = {one.name: result.mask_of(one) for one in result.classes if one.kind is None}
    return _Kept(named or {None: ~result.mask}, extent, info.box)
