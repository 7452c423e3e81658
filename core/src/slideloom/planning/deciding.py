"""Decides by regions and slide QC which tiles of a slide to keep: a plan in, a record out."""

from __future__ import annotations

import math
from typing import Any, Protocol, get_args

import attrs
import numpy as np
from numpy.typing import NDArray

from slideloom.base.errors import PluginError
from slideloom.base.freed_memory import give_back_freed_memory
from slideloom.base.geometry import Box, Mask
from slideloom.base.naming import option_name
from slideloom.base.opencv_threads import opencv_in_one_thread
from slideloom.base.packed_masks import PackedMask, count_true
from slideloom.base.watching import Watch
from slideloom.pipeline.pipeline import Pipeline, QcUse
from slideloom.planning.burden import blur_burden
from slideloom.planning.ledger import numbered
from slideloom.planning.masks import low_resolution, masked_share, union_mask
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import QcFinding, SlideRecord
from slideloom.planning.selection import regions_mask, select_tiles
from slideloom.plugins.blaming import blaming, called
from slideloom.slides.tiles import Tiles
from slideloom.slides.watched_slide import WatchedSlide
from slideloom.steps.slide_qc import QcClass, QcKind, QcResult

BLUR_BURDEN_WARNING = 0.05


def apply_regions(plan: SlidePlan) -> SlideRecord:
    """A record in which regions have rejected tiles, and each kept tile has the region that it belongs to.

    Each source is a separate condition: a tile is kept if all sources keep it, and belongs to a region of the first
    source that has one for it. If no tile is left, a warning says how many tiles each source keeps by itself.
    """
    record = SlideRecord.of(plan)
    with record.timed("qc"):
        _reject_by_regions(plan, record)
    return record


def _reject_by_regions(plan: SlidePlan, record: SlideRecord) -> None:
    start = 0
    ledger = record.ledger
    kept_by: list[str] = []
    for use, regions in plan.roi_uses:
        name = use.source.name
        if regions is None or not regions.items:
            if use.method in ("inside", "outside"):
                # Without regions nothing tells inside from outside: perhaps nobody has looked at the slide yet.
                rule = option_name("roi", "method")
                record.warnings.append(f"roi '{name}' has no regions for this slide, and {rule} is '{use.method}'")
                ledger.reject(np.arange(len(ledger)), "roi")
                kept_by.append(f"roi '{name}' ({use.method}) keeps 0")
            elif use.method == "auto":
                record.warnings.append(f"roi '{name}' has no regions for this slide: all of it is used")
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
        where = f", {regions.source}" if regions.source else ""
        kept_by.append(f"roi '{name}' ({use.method}{where}) keeps {np.count_nonzero(selection.keep)}")
        ledger.own(np.where(selection.roi >= 0, selection.roi + start, -1))
        start += len(regions.items)
    if start and len(ledger) and not len(ledger.candidates()):
        record.warnings.append(_none_left(kept_by, len(ledger)))


def _none_left(kept_by: list[str], count: int) -> str:
    said = f"regions leave no tile: {', '.join(kept_by)} of {count}"
    if len(kept_by) == 1:
        return f"{said}; check that regions lie where the tiles are, and that `method` is right"
    return f"{said}; each [[roi]] is a separate condition, so put regions that belong together into one source"


def assess_slide(plan: SlidePlan, record: SlideRecord) -> None:
    """Run the pipeline's slide QC, reject masked tiles, and measure the blur burden after all masks.

    No step runs if regions leave no tile.
    """
    considered = _candidates(record)
    if not len(considered):
        return
    with record.timed("qc"):
        for label, use in labelled_qc(plan.pipeline):
            with record.timed(f"qc:{label}"):
                result = _compact(assess_step(plan, use))
            plan.slide.give_back_memory()
            reject_masked(plan, record, QcFinding(label, result, use.filter_threshold))
            give_back_freed_memory()
        measure_burden(plan, record, considered)


def _compact(result: QcResult) -> QcResult:
    """A result in as little memory as it can be kept in until its slide is finished; nobody will ask the step again."""
    stored = result.stored
    if result.labels is None and not isinstance(stored, PackedMask):
        stored = PackedMask.of(stored)
    return attrs.evolve(result, mask=stored, measured=None)


def labelled_qc(pipeline: Pipeline) -> list[tuple[str, QcUse]]:
    """The slide QC of a pipeline, each with the label that accounts and reports give it."""
    return list(zip(numbered(use.step.label for use in pipeline.qc), pipeline.qc, strict=True))


def assess_step(plan: SlidePlan, use: QcUse, *, watch: Watch | None = None, built: Any = None) -> QcResult:
    """The result of one QC step.

    Args:
        plan: of the slide.
        use: the step.
        watch: told how far it is; it may also end it, at the next read of the slide.
        built: the step, if it is built already.

    Raises:
        PluginError: the step fails or breaks its contract.
        Cancelled: by `watch`.
    """
    slide, scene, info = plan.slide, plan.scene, plan.slide.info
    if watch is not None:
        slide = WatchedSlide(slide, before=watch.check)
        scene = attrs.evolve(scene, told=watch.of(use.step.label))
    broke = f"{called(use.step, 'qc')} broke its contract on slide {info.name}"
    with blaming(use.step, "qc", info.name), opencv_in_one_thread():
        result = (use.step.build() if built is None else built).assess(slide, scene)
    if slide.is_closed or slide.info is not info:
        raise PluginError(f"{broke}: it {'closed' if slide.is_closed else 'changed the facts of'} the slide")
    check_qc_result(result, broke)
    return result  # type: ignore[no-any-return]  # checked above


def check_qc_result(result: QcResult, broke: str) -> None:
    """Raise `PluginError` with a text that starts with `broke`, unless a QC result fulfils the contract."""
    if not isinstance(result, QcResult):
        raise PluginError(f"{broke}: wanted a QcResult, got {type(result).__name__}")
    mask = result.stored
    is_mask = isinstance(mask, PackedMask) or (
        isinstance(mask, np.ndarray) and mask.ndim == 2 and mask.dtype == np.bool_
    )
    if not is_mask or not mask.size:
        shape = getattr(mask, "shape", type(mask).__name__)
        raise PluginError(f"{broke}: wanted a mask (h, w) bool, got {shape} {getattr(mask, 'dtype', '')}")
    if result.kind not in get_args(QcKind):
        raise PluginError(f"{broke}: kind must be one of {', '.join(get_args(QcKind))}, not {result.kind!r}")
    if result.extent is not None and not _is_area(result.extent):
        raise PluginError(f"{broke}: extent must be a box with an area, not {result.extent!r}")
    if faults := result.class_faults():
        raise PluginError(f"{broke}: {faults[0]}")
    for key, value in result.metrics.items():
        if not isinstance(key, str):
            raise PluginError(f"{broke}: the name of a metric must be text, not {key!r}")
        if not _is_finite(value):
            raise PluginError(
                f"{broke}: metric '{key}' must be a finite number, not {value!r}; leave out what could not be measured"
            )
    if not isinstance(result.notes, tuple | list) or not all(isinstance(note, str) for note in result.notes):
        raise PluginError(f"{broke}: notes must be a tuple of sentences, not {result.notes!r}")


def _is_area(box: Box) -> bool:
    return all(map(_is_finite, attrs.astuple(box))) and box.width > 0 and box.height > 0


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float | np.integer | np.floating) and math.isfinite(value)
    except OverflowError:  # a whole number too large for a float
        return False


def _candidates(record: SlideRecord) -> Tiles:
    return record.ledger.tiles.take(record.ledger.candidates())


class Shares(Protocol):
    """How much of each tile of a plan a mask covers."""

    def __call__(self, plan: SlidePlan, result: QcResult, one: QcClass | None) -> NDArray[np.float64]:
        """(N,) float64 share that is masked, or that is of one class of the result."""
        ...


def shares_of(plan: SlidePlan, result: QcResult, one: QcClass | None) -> NDArray[np.float64]:
    """See `Shares`."""
    mask = result.stored if one is None else result.mask_of(one)
    return masked_share(mask, result.extent, plan.tiles, plan.slide.info.size)


def reject_masked(plan: SlidePlan, record: SlideRecord, finding: QcFinding, *, shares: Shares = shares_of) -> None:
    """Reject the tiles that a QC result masks, and keep its numbers for the report."""
    result, name, ledger = finding.result, finding.label, record.ledger
    record.qc.append(finding)
    share = shares(plan, result, None)
    ledger.score(f"qc:{name}", np.arange(len(ledger)), share)
    record.metrics[f"{name}.masked"] = float(count_true(result.stored) / result.stored.size)
    if result.labels is None:
        ledger.reject(share > finding.filter_threshold, f"qc:{name}")
    else:
        _reject_by_class(plan, record, finding, masked=share > finding.filter_threshold, shares=shares)
    record.metrics.update({f"{name}.{key}": float(value) for key, value in result.metrics.items()})
    # A step may name itself in its notes, which are also read where nothing else does.
    record.warnings.extend(f"{name}: {note.removeprefix(f'{name}: ')}" for note in result.notes)


def _reject_by_class(
    plan: SlidePlan, record: SlideRecord, finding: QcFinding, *, masked: NDArray[np.bool_], shares: Shares
) -> None:
    """Reject tiles for the first class that exceeds its threshold, and `masked` ones for the class with most of them.

    So a tile whose classes are each below their thresholds, but which they mask together, is not kept.
    """
    result, ledger = finding.result, record.ledger
    discarding = [one for one in result.classes if one.kind is not None]
    by_class = np.zeros((len(discarding), len(ledger)))
    for one, share in zip(discarding, by_class, strict=True):
        reason = f"qc:{finding.label}:{one.name}"
        share[:] = shares(plan, result, one)
        ledger.score(reason, np.arange(len(ledger)), share)
        masked_px = np.count_nonzero(result.mask_of(one))
        record.metrics[f"{finding.label}:{one.name}.masked"] = float(masked_px / result.stored.size)
        if one.threshold is not None:
            ledger.reject(share > one.threshold, reason)
    for one in result.classes:
        if one.kind is None and one.threshold is not None:  # it is told
            record.told[f"qc:{finding.label}:{one.name}"] = shares(plan, result, one) > one.threshold
    if discarding:
        most = by_class.argmax(axis=0)
        for number, one in enumerate(discarding):
            ledger.reject(masked & (most == number), f"qc:{finding.label}:{one.name}")


def measure_burden(plan: SlidePlan, record: SlideRecord, considered: Tiles) -> None:
    """Measure the blur burden after all masks.

    Args:
        plan: of the slide.
        record: with the results of slide QC; gets the burden, and a warning if it is high.
        considered: the tiles that regions keep.
    """
    blur = [part for finding in record.qc if (part := finding.result.of_kind("blur")) is not None]
    background = [
        (part, finding.threshold_of("background"))
        for finding in record.qc
        if (part := finding.result.of_kind("background")) is not None
    ]
    record.burden = blur_burden(
        blur,
        [part for part, _ in background],
        considered,
        plan.slide.info.size,
        filter_threshold=max((threshold for _, threshold in background), default=0.6),
    )
    if record.burden is not None and record.burden > BLUR_BURDEN_WARNING:
        record.warnings.append(f"{record.burden:.1%} of the tissue is out of focus")


def discard_mask(plan: SlidePlan, record: SlideRecord) -> Mask | None:
    """A low-resolution mask of the whole slide, True where regions or QC discard it; None if nothing is discarded."""
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
