"""Plan in, record out: what regions and slide QC decide about the tiles of a slide."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np

from slideloom.base.errors import PluginError
from slideloom.base.geometry import Mask
from slideloom.pipeline.pipeline import QcUse
from slideloom.planning.ledger import numbered
from slideloom.planning.masks import blur_burden, low_resolution, masked_share, union_mask
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import QcFinding, SlideRecord
from slideloom.planning.selection import regions_mask, select_tiles
from slideloom.plugins.blaming import blaming
from slideloom.plugins.discovery import registry
from slideloom.slides.tiles import Tiles
from slideloom.steps.slide_qc import QcKind, QcResult

BLUR_BURDEN_WARNING = 0.05


def apply_regions(plan: SlidePlan) -> SlideRecord:
    """A record in which regions have rejected tiles, and each kept tile has the region it belongs to."""
    record = SlideRecord.of(plan)
    with record.timed("qc"):
        _reject_by_regions(plan, record)
    return record


def _reject_by_regions(plan: SlidePlan, record: SlideRecord) -> None:
    start = 0
    ledger = record.ledger
    for use, regions in plan.roi_uses:
        if regions is None or not regions.items:
            if use.method == "inside":
                record.warnings.append(f"roi '{use.source.name}' has no regions for this slide, and method is 'inside'")
                ledger.reject(np.arange(len(ledger)), "roi")
            elif use.method == "auto":
                record.warnings.append(f"roi '{use.source.name}' has no regions for this slide: all of it is used")
            continue
        selection = select_tiles(
            plan.tiles,
            regions,
            method="outside" if use.method == "outside" else "inside",
            by=use.filter_method,
            threshold=use.threshold,
            artifact_labels=use.artifacts,
        )
        ledger.reject(~selection.keep, "roi")
        ledger.own(np.where(selection.roi >= 0, selection.roi + start, -1))
        start += len(regions.items)


def assess_slide(plan: SlidePlan, record: SlideRecord) -> None:
    """Run the pipeline's slide QC, reject masked tiles, and measure the blur burden after all masks.

    Nothing is run for a slide of which regions leave no tile.
    """
    considered = _candidates(record)
    if not len(considered):
        return
    labels = numbered(use.step.label for use in plan.pipeline.qc)
    with record.timed("qc"):
        for label, use in zip(labels, plan.pipeline.qc, strict=True):
            with record.timed(f"qc:{label}"):
                result = assess_step(plan, use)
            _reject_masked(plan, record, QcFinding(label, result, use.filter_threshold))
        _measure_burden(plan, record, considered)


def decided_by(plan: SlidePlan, findings: list[QcFinding]) -> SlideRecord:
    """A record of what regions decide, and then QC that was run before."""
    record = apply_regions(plan)
    considered = _candidates(record)
    for finding in findings:
        _reject_masked(plan, record, finding)
    _measure_burden(plan, record, considered)
    return record


def assess_step(plan: SlidePlan, use: QcUse) -> QcResult:
    """What one QC step finds.

    Raises:
        PluginError: it fails, or returns something else than its contract says.
    """
    with blaming(use.step, "qc", plan.slide.info.name):
        result = use.step.build().assess(plan.slide, plan.scene)
    owner = registry().owner(type(use.step))
    named = f"qc '{use.step.name}' of {owner.dist} {owner.version}"
    check_qc_result(result, f"{named} broke its contract on slide {plan.slide.info.name}")
    return result  # type: ignore[no-any-return]  # checked above


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
    extent = result.extent
    if extent is not None and not (_is_side(extent.width) and _is_side(extent.height)):
        raise PluginError(f"{broke}: extent must have a width and height above 0, not {extent}")
    for key, value in result.metrics.items():
        if not isinstance(value, int | float | np.number):
            raise PluginError(f"{broke}: metric '{key}' must be a number, not {value!r}")


def _is_side(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _candidates(record: SlideRecord) -> Tiles:
    return record.ledger.tiles.take(record.ledger.candidates())


def _reject_masked(plan: SlidePlan, record: SlideRecord, finding: QcFinding) -> None:
    """Reject the tiles that a QC result masks, and keep its numbers for the report."""
    result, name, ledger = finding.result, finding.label, record.ledger
    record.qc.append(finding)
    share = masked_share(result.mask, result.extent, plan.tiles, plan.slide.info.size)
    ledger.score(f"qc:{name}", np.arange(len(ledger)), share)
    ledger.reject(share > finding.filter_threshold, f"qc:{name}")
    record.metrics[f"{name}.masked"] = float(np.count_nonzero(result.mask) / result.mask.size)
    record.metrics.update({f"{name}.{key}": float(value) for key, value in result.metrics.items()})
    record.warnings.extend(f"{name}: {note}" for note in result.notes)


def _measure_burden(plan: SlidePlan, record: SlideRecord, considered: Tiles) -> None:
    """The blur burden after all masks, over the tiles that regions leave."""
    blur = [finding.result for finding in record.qc if finding.result.kind == "blur"]
    background = [finding for finding in record.qc if finding.result.kind == "background"]
    record.burden = blur_burden(
        blur,
        [finding.result for finding in background],
        considered,
        plan.slide.info.size,
        filter_threshold=max((finding.filter_threshold for finding in background), default=0.6),
    )
    if record.burden is not None and record.burden > BLUR_BURDEN_WARNING:
        record.warnings.append(f"{record.burden:.1%} of the tissue is out of focus")


def discard_mask(plan: SlidePlan, record: SlideRecord) -> Mask | None:
    """What regions and QC discard, over the whole slide at low resolution; None if nothing does."""
    size = plan.slide.info.size
    masks = [
        regions_mask(
            regions,
            extent=plan.slide.info.box,
            shape=low_resolution(size),
            method="outside" if use.method == "outside" else "inside",
            artifact_labels=use.artifacts,
        )
        for use, regions in plan.roi_uses
        if regions is not None
    ]
    if record.qc:
        masks.append(union_mask([finding.result for finding in record.qc], size))
    return np.logical_or.reduce(masks) if masks else None
