"""What is decided about a slide before a tile is read: places, regions, slide QC."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import attrs
import numpy as np
import shapely
from attrs import define, field

from slideloom.errors import PluginError
from slideloom.geometry import Mask
from slideloom.ledger import Ledger
from slideloom.masks import blur_burden, masked_share, union_mask
from slideloom.opencv_threads import opencv_in_one_thread
from slideloom.opening import blaming
from slideloom.pipeline import Pipeline, QcUse, RoiUse
from slideloom.regions import Region, Regions
from slideloom.selection import regions_mask, select_tiles
from slideloom.settings import digest_of
from slideloom.slide import Slide
from slideloom.steps import QcKind, QcResult, Scene
from slideloom.tiles import Tiles
from slideloom.tiling import tile_geometry

BLUR_BURDEN_WARNING = 0.05
_DISCARD_PX = 1024  # longest side of the mask that normalizers get


@define
class SlidePlan:
    """A slide, its places, and what was decided so far.

    Attributes:
        slide: open, with its mpp.
        scene: tile geometry and all regions.
        ledger: the account of tiles.
        roi_uses: with the regions that each found, None where it found none.
        qc: QC steps and their results, in order; `qc_labels` are their names, numbered where one comes twice.
        burden: blur burden, or None.
        warnings: sentences for the report.
        metrics: numbers for the report.
        seconds: wall time by stage.
    """

    slide: Slide
    scene: Scene
    ledger: Ledger
    roi_uses: list[tuple[RoiUse, Regions | None]]
    qc: list[tuple[QcUse, QcResult]] = field(factory=list)
    qc_labels: list[str] = field(factory=list)
    burden: float | None = None
    warnings: list[str] = field(factory=list)
    metrics: dict[str, float] = field(factory=dict)
    seconds: dict[str, float] = field(factory=dict)

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions, in the order that `Tiles.roi` counts them."""
        return self.scene.regions.items if self.scene.regions is not None else ()

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the time spent within to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def plan_slide(slide: Slide, pipeline: Pipeline, *, threads: int = 1) -> SlidePlan:
    """Tile geometry, places and regions of an open slide; nothing is rejected yet and no pixel read.

    Args:
        slide: open, with its mpp.
        pipeline: what to do.
        threads: that steps looking at the whole slide may use.
    """
    geometry = tile_geometry(slide.info, pipeline.tiles)
    uses = [(use, _find_regions(use, slide)) for use in pipeline.roi if use.method != "ignore"]
    found = [regions for _, regions in uses if regions is not None]
    items = tuple(region for regions in found for region in regions.items)
    notes = tuple(note for regions in found for note in regions.notes)
    sources = ", ".join(regions.source for regions in found if regions.source)
    known = Regions(items=items, notes=notes, source=sources) if found else None
    scene = Scene(geometry=geometry, regions=known, threads=threads)
    with blaming(pipeline.places, "placement", slide.info.name):
        tiles = pipeline.places.build().place(slide, scene)
    _check_tiles(tiles, pipeline, slide.info.name)
    plan = SlidePlan(slide=slide, scene=scene, ledger=Ledger(tiles), roi_uses=uses)
    plan.warnings.extend(notes)
    if not len(tiles):
        size = slide.info.size
        plan.warnings.append(
            f"no tile fits: a tile covers {geometry.footprint.width} x {geometry.footprint.height} level-0 pixels, "
            f"the slide has {size.width} x {size.height}"
        )
    return plan


def _check_tiles(tiles: Tiles, pipeline: Pipeline, slide: str) -> None:
    broke = f"placement '{pipeline.places.name}' broke its contract on slide {slide}:"
    if not isinstance(tiles, Tiles):
        raise PluginError(f"{broke} wanted Tiles, got {type(tiles).__name__}")
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


def slide_digest(plan: SlidePlan, pipeline: Pipeline) -> str:
    """SHA-256 (hex) of all that affects this slide's output: pipeline, file, mpp, regions and places."""
    info = plan.slide.info
    shapes = [
        [region.name, region.label, region.description, shapely.to_wkb(region.shape).hex()] for region in plan.regions
    ]
    tiles = plan.ledger.tiles
    places = hashlib.sha256(np.stack([tiles.x, tiles.y]).tobytes()).hexdigest()
    mpp = attrs.astuple(info.mpp)[:2] if info.mpp is not None else None
    steps = [*(use.step for use in pipeline.qc), *pipeline.filters, pipeline.normalizer, *pipeline.sinks]
    files = [path for step in steps if step is not None for path in step.files_for(info.name)]
    parts = [pipeline.digest(), _fingerprint(info.path), info.name, info.reader, mpp, shapes, places, files]
    return digest_of(parts)


def _fingerprint(path: Path) -> list[object]:
    """Size and first and last 64 KB of a file: a gigabyte is not hashed to find that nothing changed."""
    if not path.is_file():
        newest = max((item.stat().st_mtime_ns for item in path.rglob("*")), default=0) if path.is_dir() else 0
        return ["folder", newest]
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(65536)
        file.seek(max(0, size - 65536))
        tail = file.read(65536)
    return [size, hashlib.sha256(head + tail).hexdigest()]


def apply_regions(plan: SlidePlan) -> None:
    """Reject tiles by region, and note which region each kept tile belongs to."""
    start = 0
    ledger = plan.ledger
    owner = ledger.tiles.roi.copy()
    for use, regions in plan.roi_uses:
        if regions is None or not regions.items:
            if use.method == "inside":
                plan.warnings.append(f"roi '{use.source.name}' has no regions for this slide, and method is 'inside'")
                ledger.reject(np.arange(len(ledger)), "roi")
            elif use.method == "auto":
                plan.warnings.append(f"roi '{use.source.name}' has no regions for this slide: all of it is used")
            continue
        selection = select_tiles(
            ledger.tiles,
            regions,
            method="outside" if use.method == "outside" else "inside",
            by=use.filter_method,
            threshold=use.threshold,
            artifact_labels=use.artifacts,
        )
        ledger.reject(~selection.keep, "roi")
        owned = (owner < 0) & (selection.roi >= 0)
        owner[owned] = selection.roi[owned] + start
        start += len(regions.items)
    ledger.tiles = attrs.evolve(ledger.tiles, roi=owner)


def assess_slide(plan: SlidePlan, pipeline: Pipeline) -> None:
    """Run slide QC, reject masked tiles, and measure the blur burden after all masks."""
    considered = plan.ledger.tiles.take(plan.ledger.candidates())
    if not len(considered):
        return
    for use in pipeline.qc:
        with plan.timed(f"qc:{use.step.name}"):
            result = assess_step(plan, use)
        apply_qc(plan, use, result)
    measure_burden(plan, considered)


def assess_step(plan: SlidePlan, use: QcUse) -> QcResult:
    """What one QC step finds.

    Raises:
        PluginError: it fails, or returns something else than its contract says.
    """
    with blaming(use.step, "qc", plan.slide.info.name), opencv_in_one_thread():
        result = use.step.build().assess(plan.slide, plan.scene)
    check_qc_result(result, f"qc '{use.step.name}' broke its contract on slide {plan.slide.info.name}")
    return result  # type: ignore[no-any-return]  # checked above


def apply_qc(plan: SlidePlan, use: QcUse, result: QcResult) -> None:
    """Reject the tiles that a QC result masks, and keep its numbers for the report."""
    name = step_label(plan, use)
    plan.qc.append((use, result))
    plan.qc_labels.append(name)
    share = masked_share(result.mask, result.extent, plan.ledger.tiles, plan.slide.info.size)
    plan.ledger.score(f"qc:{name}", np.arange(len(plan.ledger)), share)
    plan.ledger.reject(share > use.filter_threshold, f"qc:{name}")
    plan.metrics[f"{name}.masked"] = float(np.count_nonzero(result.mask) / result.mask.size)
    plan.metrics.update({f"{name}.{key}": float(value) for key, value in result.metrics.items()})
    plan.warnings.extend(f"{name}: {note}" for note in result.notes)


def step_label(plan: SlidePlan, use: QcUse) -> str:
    """The step's label, numbered from its second use on."""
    label = use.step.label
    before = sum(other.step.label == label for other, _ in plan.qc)
    return label if not before else f"{label}-{before + 1}"


def measure_burden(plan: SlidePlan, considered: Tiles) -> None:
    """The blur burden after all masks, over the tiles that regions leave."""
    size = plan.slide.info.size
    blur = [result for _, result in plan.qc if result.kind == "blur"]
    background = [(use, result) for use, result in plan.qc if result.kind == "background"]
    threshold = max((use.filter_threshold for use, _ in background), default=0.6)
    plan.burden = blur_burden(blur, [result for _, result in background], considered, size, filter_threshold=threshold)
    if plan.burden is not None and plan.burden > BLUR_BURDEN_WARNING:
        plan.warnings.append(f"{plan.burden:.1%} of the tissue is out of focus")


def check_qc_result(result: QcResult, broke: str) -> None:
    """Raise `PluginError`, whose text starts with `broke`, unless a QC step returned what its contract says."""
    if not isinstance(result, QcResult):
        raise PluginError(f"{broke}: wanted a QcResult, got {type(result).__name__}")
    mask = result.mask
    if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype != np.bool_ or not mask.size:
        shape = getattr(mask, "shape", type(mask).__name__)
        raise PluginError(f"{broke}: wanted a mask (h, w) bool, got {shape} {getattr(mask, 'dtype', '')}")
    if result.kind not in get_args(QcKind):
        raise PluginError(f"{broke}: kind must be one of {', '.join(get_args(QcKind))}, not {result.kind!r}")
    for key, value in result.metrics.items():
        if not isinstance(value, int | float | np.number):
            raise PluginError(f"{broke}: metric '{key}' must be a number, not {value!r}")


def all_qc(plan: SlidePlan) -> QcResult:
    """What any QC step discards, over the whole slide at low resolution."""
    size = plan.slide.info.size
    scale = min(1.0, _DISCARD_PX / max(size.width, size.height))
    shape = (max(1, round(size.height * scale)), max(1, round(size.width * scale)))
    return QcResult(mask=union_mask([result for _, result in plan.qc], size, shape), kind="artifact")


def discard_mask(plan: SlidePlan) -> Mask | None:
    """What regions and QC discard, over the whole slide at low resolution; None if nothing does."""
    size = plan.slide.info.size
    scale = min(1.0, _DISCARD_PX / max(size.width, size.height))
    shape = (max(1, round(size.height * scale)), max(1, round(size.width * scale)))
    masks = [
        regions_mask(
            regions,
            extent=plan.slide.info.box,
            shape=shape,
            method="outside" if use.method == "outside" else "inside",
            artifact_labels=use.artifacts,
        )
        for use, regions in plan.roi_uses
        if regions is not None
    ]
    if plan.qc:
        masks.append(union_mask([result for _, result in plan.qc], size, shape))
    return np.logical_or.reduce(masks) if masks else None
