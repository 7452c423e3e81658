"""The plan of a slide: tile geometry, regions and places, before any tile is kept or rejected."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import attrs
import numpy as np
import shapely
from attrs import field, frozen

from slideloom.base.addresses import local_path
from slideloom.base.errors import PluginError
from slideloom.base.system_errors import reading_slide
from slideloom.pipeline.pipeline import Pipeline, RoiUse
from slideloom.pipeline.tile_masks import REGIONS
from slideloom.planning.companions import companions_of
from slideloom.planning.grid import tile_geometry
from slideloom.planning.slide_files import fingerprint
from slideloom.plugins.blaming import blaming
from slideloom.plugins.discovery import registry
from slideloom.settings.digest import digest_of
from slideloom.slides.icc import NO_PROFILE
from slideloom.slides.info import LEVEL_TOLERANCE
from slideloom.slides.regions import Region, Regions
from slideloom.slides.slide import Slide
from slideloom.slides.tiles import TileGeometry, Tiles
from slideloom.steps.placement import Placed
from slideloom.steps.scene import Scene

# No slide reaches this far: 2**40 pixels are more than 100 km.
FARTHEST_PX = 2**40


@frozen(eq=False)
class SlidePlan:
    """A slide, its pipeline, and the places of its tiles. It never changes; decisions are in a `SlideRecord`.

    Attributes:
        slide: the open slide, with its mpp.
        pipeline: the pipeline.
        scene: tile geometry and all regions.
        tiles: all planned tiles, from the placement.
        roi_uses: for each ROI source: its rules, and the regions that it found, or None.
        drawn: for each ROI source, also for those whose regions choose no tiles, the regions that it found, or None;
            empty unless tiles get masks of regions.
        notes: sentences for the report.
        metrics: numbers from the placement, for the report.
    """

    slide: Slide
    pipeline: Pipeline
    scene: Scene
    tiles: Tiles
    roi_uses: tuple[tuple[RoiUse, Regions | None], ...] = ()
    drawn: tuple[Regions | None, ...] = ()
    notes: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(factory=dict)

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions, in the order in which `Tiles.roi` counts them."""
        return self.scene.regions.items if self.scene.regions is not None else ()


def plan_slide(slide: Slide, pipeline: Pipeline, *, threads: int = 1) -> SlidePlan:
    """Tile geometry, places and regions of an open slide. No tile is rejected yet, and no pixel is read.

    Args:
        slide: an open slide, with its mpp.
        pipeline: the pipeline.
        threads: number of threads that steps may use on the whole slide.
    """
    geometry = tile_geometry(slide.info, pipeline.tiles)
    draws = pipeline.mask.of == REGIONS
    read = [(use, _find_regions(use, slide)) for use in pipeline.roi if draws or use.method != "ignore"]
    uses = tuple((use, regions) for use, regions in read if use.method != "ignore")
    found = [regions for _, regions in uses if regions is not None]
    items = tuple(region for regions in found for region in regions.items)
    notes = (
        *_without_profile(slide),
        *_enlarged(slide, geometry),
        *(note for regions in found for note in regions.notes),
    )
    sources = ", ".join(regions.source for regions in found if regions.source)
    known = Regions(items=items, notes=notes, source=sources) if found else None
    scene = Scene(
        geometry=geometry, regions=known, threads=threads, companions=companions_of(pipeline, slide.info, geometry)
    )
    with blaming(pipeline.places, "placement", slide.info.name):
        found_places = pipeline.places.build().place(slide, scene)
    placed = found_places if isinstance(found_places, Placed) else Placed(found_places)
    tiles, name = placed.tiles, pipeline.places.name
    owner = registry().owner(type(pipeline.places))
    named = f"placement '{name}' of {owner.dist} {owner.version}"
    _check_placed(placed, f"{named} broke its contract on slide {slide.info.name}:")
    notes = (*notes, *(f"{name}: {note}" for note in placed.notes))
    metrics = {f"{name}.{key}": float(value) for key, value in placed.metrics.items()}
    if not len(tiles) and pipeline.placement is not None:
        notes = (*notes, f"placement '{name}' found no place for a tile")
    elif not len(tiles):
        size = slide.info.size
        none_fits = (
            f"no tile fits: a tile covers {geometry.footprint.width} x {geometry.footprint.height} level-0 pixels, "
            f"the slide has {size.width} x {size.height}"
        )
        notes = (*notes, none_fits)
    return SlidePlan(
        slide=slide,
        pipeline=pipeline,
        scene=scene,
        tiles=tiles,
        roi_uses=uses,
        drawn=tuple(regions for _, regions in read) if draws else (),
        notes=notes,
        metrics=metrics,
    )


def _without_profile(slide: Slide) -> tuple[str, ...]:
    """Says so if colours were to become sRGB, and the file does not say what they are."""
    if slide.info.icc != NO_PROFILE:
        return ()
    return ("its file has no ICC profile, so icc = srgb leaves its colours as they are",)


def _enlarged(slide: Slide, geometry: TileGeometry) -> tuple[str, ...]:
    """Says so if tiles have more pixels than the slide has there."""
    mpp, covered = slide.info.mpp, min(geometry.footprint.width, geometry.footprint.height)
    factor = geometry.tile_px / covered
    # The footprint was rounded to whole pixels.
    if mpp is None or factor <= 1 + LEVEL_TOLERANCE + 1 / covered:
        return ()
    finer = f"they have {geometry.mpp:.3g} um per pixel, and the slide {mpp.mean:.3g}"
    return (f"tiles are enlarged {factor:.3g} times: {finer}, so there is no more detail in them",)


def _check_placed(placed: Placed, broke: str) -> None:
    tiles = placed.tiles
    if not isinstance(tiles, Tiles):
        raise PluginError(f"{broke} wanted Tiles, got {type(tiles).__name__}")
    if not np.array_equal(tiles.index, np.arange(len(tiles))):
        raise PluginError(f"{broke} `index` must count from 0 without gaps or repetition")
    columns = (tiles.x, tiles.y, tiles.grid_x, tiles.grid_y, tiles.roi)
    if any(column.shape != (len(tiles),) for column in columns):
        raise PluginError(f"{broke} columns of {sorted({len(column) for column in columns})} rows, not {len(tiles)}")
    for key, value in placed.metrics.items():
        if not isinstance(value, int | float | np.number) or not np.isfinite(value):
            raise PluginError(f"{broke} metric '{key}' must be a finite number, not {value!r}")
    if min(tiles.footprint.width, tiles.footprint.height) < 1:
        raise PluginError(f"{broke} a tile must cover at least one level-0 pixel, not {tiles.footprint}")
    far = (tiles.x < -FARTHEST_PX) | (tiles.x > FARTHEST_PX) | (tiles.y < -FARTHEST_PX) | (tiles.y > FARTHEST_PX)
    if far.any():
        first = tiles.take(far)
        raise PluginError(f"{broke} tile {first.index[0]} is at ({first.x[0]}, {first.y[0]}), which is on no slide")


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
    """SHA-256 (hex) of everything that affects this slide's output: pipeline, file, mpp, regions and places."""
    info, pipeline = plan.slide.info, plan.pipeline
    shapes = [_shape_of(region) for region in plan.regions]
    places = hashlib.sha256(np.stack([plan.tiles.x, plan.tiles.y]).tobytes()).hexdigest()
    mpp = attrs.astuple(info.mpp)[:2] if info.mpp is not None else None
    with reading_slide(info.path):
        found = plan.slide.identity or fingerprint(local_path(info.path))
    steps = [*(use.step for use in pipeline.qc), *pipeline.filters, pipeline.normalizer, *pipeline.sinks]
    files = [path for step in steps if step is not None for path in step.files_for(info.name)]
    drawn = [_shape_of(region) for regions in plan.drawn if regions is not None for region in regions.items]
    parts = [pipeline.digest(), found, info.name, info.reader, mpp, shapes, places, files]
    return digest_of([*parts, drawn] if plan.drawn else parts)


def _shape_of(region: Region) -> list[str | None]:
    return [region.name, region.label, region.description, shapely.to_wkb(region.shape).hex()]
