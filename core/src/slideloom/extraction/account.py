"""The report and the tile table of a slide."""

from __future__ import annotations

from typing import Any

import numpy as np

from slideloom.base.addresses import SlidePlace
from slideloom.base.csv_tables import csv_text
from slideloom.base.errors import SlideloomError
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord
from slideloom.plugins.versions import step_versions
from slideloom.steps.reports import SlideReport, TileStatuses, Trial


def slide_report(
    plan: SlidePlan, record: SlideRecord, *, path: SlidePlace, digest: str, fallback: int = 0, trial: Trial = ""
) -> SlideReport:
    """The report of a slide that was planned and, unless it is a trial, extracted."""
    info, geometry, ledger = plan.slide.info, plan.scene.geometry, record.ledger
    if info.mpp is None:
        raise SlideloomError(f"{info.path.name}: its microns per pixel are not known any more")
    rejected = ledger.rejected
    left = ledger.written if trial == "dry-run" else len(ledger.candidates())
    if trial and left:
        rejected = {**rejected, trial: left}
    written = [index for index, word in enumerate(ledger.status()) if word == "written"]
    owners = [plan.regions[roi].label or plan.regions[roi].name for roi in ledger.owner[written].tolist() if roi >= 0]
    return SlideReport(
        slide=info.name,
        path=str(path),
        status="done",
        digest=digest,
        pipeline_digest=plan.pipeline.digest(),
        planned=len(ledger),
        written=0 if trial else ledger.written,
        unreadable=ledger.unreadable,
        rejected=rejected,
        fallback=fallback,
        label=geometry.label,
        tile_px=geometry.tile_px,
        tile_um=geometry.tile_um,
        footprint=(geometry.footprint.width, geometry.footprint.height),
        stride=(geometry.stride.width, geometry.stride.height),
        level=geometry.level,
        mpp=(info.mpp.x, info.mpp.y),
        mpp_source=info.mpp.source,
        size=(info.size.width, info.size.height),
        reader=info.reader,
        icc=info.icc,
        rois=len(plan.regions),
        roi_labels={label: owners.count(label) for label in sorted(set(owners))},
        metrics=dict(record.metrics),
        qc_kinds=record.qc_kinds,
        qc_classes=record.qc_classes,
        qc_told=record.qc_told,
        blur_burden=record.burden,
        warnings=tuple(record.warnings),
        versions=step_versions(plan.pipeline.steps, reader=info.reader),
        statuses=TileStatuses.of(ledger.status()) if trial == "dry-run" else None,
        seconds={stage: round(seconds, 4) for stage, seconds in record.seconds.items()},
    )


def tile_table_csv(plan: SlidePlan, record: SlideRecord) -> str:
    """One row per planned tile: its place, its status, its region, and every step's score."""
    ledger, tiles, owners = record.ledger, plan.tiles, record.ledger.owner.tolist()
    columns: dict[str, list[Any]] = {
        "loc_x": tiles.loc_x.tolist(),
        "loc_y": tiles.loc_y.tolist(),
        "grid_x": tiles.grid_x.tolist(),
        "grid_y": tiles.grid_y.tolist(),
        "status": ledger.status(),
        "roi_name": [plan.regions[roi].name if roi >= 0 else "" for roi in owners],
        "roi_desc": [plan.regions[roi].about if roi >= 0 else "" for roi in owners],
        "label": [(plan.regions[roi].label or "") if roi >= 0 else "" for roi in owners],
    }
    for step, scores in ledger.scores.items():
        columns[step] = ["" if np.isnan(score) else f"{score:.4g}" for score in scores.tolist()]
    return csv_text(columns, zip(*columns.values(), strict=True))
