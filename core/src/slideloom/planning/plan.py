"""The plan of a slide: everything that is settled before a tile is judged. Geometry, regions and places."""

from __future__ import annotations

import hashlib

import attrs
import numpy as np
import shapely
from attrs import frozen

from slideloom.base.errors import PluginError
from slideloom.pipeline.pipeline import Pipeline, RoiUse
from slideloom.planning.grid import tile_geometry
from slideloom.plugins.blaming import blaming
from slideloom.plugins.discovery import registry
from slideloom.settings.digest import digest_of
from slideloom.slides.regions import Region, Regions
from slideloom.slides.slide import Slide
from slideloom.slides.slide_files import fingerprint
from slideloom.slides.tiles import Tiles
from slideloom.steps.scene import Scene


@frozen(eq=False)
class SlidePlan:
    """A slide, what to do with it, and where its tiles are. It never changes; what is decided is in a `SlideRecord`.

    Attributes:
        slide: open, with its mpp.
        pipeline: what to do.
        scene: tile geometry and all regions.
        tiles: all places, as the placement gave them.
        roi_uses: with the regions that each source found, None where it found none.
        notes: what was noticed on the way, one sentence each.
    """

    slide: Slide
    pipeline: Pipeline
    scene: Scene
    tiles: Tiles
    roi_uses: tuple[tuple[RoiUse, Regions | None], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions, in the order that owners of tiles are counted in."""
        return self.scene.regions.items if self.scene.regions is not None else ()


def plan_slide(slide: Slide, pipeline: Pipeline, *, threads: int = 1) -> SlidePlan:
    """Tile geometry, places and regions of an open slide; nothing is rejected yet and no pixel read.

    Args:
        slide: open, with its mpp.
        pipeline: what to do.
        threads: that steps looking at the whole slide may use.
    """
    geometry = tile_geometry(slide.info, pipeline.tiles)
    uses = tuple((use, _find_regions(use, slide)) for use in pipeline.roi if use.method != "ignore")
    found = [regions for _, regions in uses if regions is not None]
    items = tuple(region for regions in found for region in regions.items)
    notes = tuple(note for regions in found for note in regions.notes)
    sources = ", ".join(regions.source for regions in found if regions.source)
    known = Regions(items=items, notes=notes, source=sources) if found else None
    scene = Scene(geometry=geometry, regions=known, threads=threads)
    with blaming(pipeline.places, "placement", slide.info.name):
        tiles = pipeline.places.build().place(slide, scene)
    _check_tiles(tiles, pipeline, slide.info.name)
    if not len(tiles):
        size = slide.info.size
        none_fits = (
            f"no tile fits: a tile covers {geometry.footprint.width} x {geometry.footprint.height} level-0 pixels, "
            f"the slide has {size.width} x {size.height}"
        )
        notes = (*notes, none_fits)
    return SlidePlan(slide=slide, pipeline=pipeline, scene=scene, tiles=tiles, roi_uses=uses, notes=notes)


def _check_tiles(tiles: Tiles, pipeline: Pipeline, slide: str) -> None:
    owner = registry().owner(type(pipeline.places))
    broke = f"placement '{pipeline.places.name}' of {owner.dist} {owner.version} broke its contract on slide {slide}:"
    if not isinstance(tiles, Tiles):
        raise PluginError(f"{broke} wanted Tiles, got {type(tiles).__name__}")
    footprint = tiles.footprint
    if not (footprint.width > 0 and footprint.height > 0):  # which NaN is not, either
        raise PluginError(f"{broke} `footprint` must have a width and height above 0, not {footprint}")
    if not np.array_equal(tiles.index, np.arange(len(tiles))):
        raise PluginError(f"{broke} `index` must count from 0 without gaps or repetition")
    columns = (tiles.x, tiles.y, tiles.grid_x, tiles.grid_y, tiles.roi)
    if any(column.shape != (len(tiles),) for column in columns):
        raise PluginError(f"{broke} columns of {sorted({len(column) for column in columns})} rows, not {len(tiles)}")


def _find_regions(use: RoiUse, slide: Slide) -> Regions | None:
    with blaming(use.source, "roi", slide.info.name):
        found = use.source.build().regions(slide.info)
    if found is not None and not isinstance(found, Regions):
        raise PluginError(
            f"roi '{use.source.name}' broke its contract on slide {slide.info.name}: "
            f"wanted Regions or None, got {type(found).__name__}"
        )
    return found


def slide_digest(plan: SlidePlan) -> str:
    """SHA-256 (hex) of all that affects this slide's output: pipeline, file, mpp, regions and places."""
    info, pipeline = plan.slide.info, plan.pipeline
    shapes = [
        [region.name, region.label, region.description, shapely.to_wkb(region.shape).hex()] for region in plan.regions
    ]
    places = hashlib.sha256(np.stack([plan.tiles.x, plan.tiles.y]).tobytes()).hexdigest()
    mpp = attrs.astuple(info.mpp)[:2] if info.mpp is not None else None
    steps = [*(use.step for use in pipeline.qc), *pipeline.filters, pipeline.normalizer, *pipeline.sinks]
    files = [path for step in steps if step is not None for path in step.files_for(info.name)]
    parts = [pipeline.digest(), fingerprint(info.path), info.name, info.reader, mpp, shapes, places, files]
    return digest_of(parts)
