"""Optional outputs for a slide besides its tiles: masks, an overview picture, and the mask for the PDF report."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
import numpy as np

from slideloom.base.errors import OutputError, SlideloomError
from slideloom.base.storing import storing_in, write_whole
from slideloom.drawing.geojson import regions_geojson
from slideloom.drawing.mask_outlines import mask_polygons
from slideloom.extraction.finished import Earlier
from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.overview import told_picture
from slideloom.pipeline.pipeline import Pipeline
from slideloom.planning.ledger import Ledger
from slideloom.planning.mask_files import Content, mask_files, npz_bytes
from slideloom.planning.masks import union_mask
from slideloom.planning.prepared import PreparedSlide
from slideloom.planning.record import QcFinding
from slideloom.planning.told import told_regions
from slideloom.slides.info import SlideInfo
from slideloom.slides.regions import Region, Regions
from slideloom.steps.reports import SlideReport
from slideloom.steps.slide_qc import QcResult


class OtherThanReported(SlideloomError):
    """A finished slide's report or tile table is not what its pipeline makes: somebody has changed or damaged it."""


def pictures_of(prepared: PreparedSlide, folder: OutputFolder) -> dict[Path, Content]:
    """The optional files of a slide whose tiles are all decided, with their content."""
    plan, record, run = prepared.plan, prepared.record, prepared.plan.pipeline.run
    info = plan.slide.info
    files: dict[Path, Content] = {}
    if run.save_masks:
        for finding in record.qc:
            path = folder.mask(info.name, finding.label)
            files.update(mask_files(finding.result, path, slide=info))
            if finding.result.classes:
                files[path.with_suffix(".geojson")] = regions_geojson(areas_of(finding, info))
    if run.report and record.qc:
        discarded = QcResult(union_mask([finding.result for finding in record.qc], info.size), "artifact")
        files.update(mask_files(discarded, folder.discard(info.name), slide=info, encode=npz_bytes))
    if run.report and record.qc_told:
        files[folder.told(info.name)] = regions_geojson(told_regions(record, info))
    if run.overview:
        files[folder.overview(info.name)] = told_picture(plan, record).png()
    return files


def areas_of(finding: QcFinding, info: SlideInfo) -> Regions:
    """Areas of classes that are outlined, as regions labelled with their names, for viewers such as QuPath."""
    extent = finding.result.extent or info.box
    return Regions(
        tuple(
            Region(f"{finding.label}:{one.name}:{number}", shape, one.name)
            for one in finding.result.classes
            if one.is_outlined
            for number, shape in enumerate(mask_polygons(finding.result.mask_of(one), extent=extent))
        )
    )


def completed(prepared: PreparedSlide, folder: OutputFolder, report: SlideReport) -> SlideReport:
    """The report of a finished slide, after making optional files that the run asks for and that are missing.

    Tiles are not cut again: regions and slide QC are applied again, and the status of each tile is read from the tile
    table. If that fails, the returned report says "failed", but the slide itself stays finished.

    Raises:
        OtherThanReported: the report or the tile table is damaged; the slide must be made again.
    """
    missing = missing_files(prepared.plan.pipeline, folder, report)
    if not missing:
        return report
    try:
        prepared.decide()
        _settle(prepared.record.ledger, _status(folder.root / report.tile_table, len(prepared.plan.tiles)))
        files = pictures_of(prepared, folder)
        unknown = [path.name for path in missing if path not in files]
        if unknown:
            raise OtherThanReported(f"its report names what no step makes: {', '.join(unknown)}")
        for path in missing:
            with storing_in(path.parent):
                write_whole(path, files[path])
    except OtherThanReported:
        raise
    except SlideloomError as error:
        reason = f"its tiles are stored, but {missing[0].name} cannot be made: {error}"
        return attrs.evolve(report, status="failed", error=reason)
    made = ", ".join(path.name for path in missing)
    return attrs.evolve(report, warnings=(*report.warnings, f"made now, without cutting tiles again: {made}"))


def places_of_pictures(folder: OutputFolder, report: SlideReport) -> list[Path]:
    """Where the optional files of a slide are, if they are there."""
    return _places(folder, report.slide, {**report.qc_kinds, **report.qc_classes})


def earlier_pictures(prepared: PreparedSlide, earlier: Earlier) -> list[Path]:
    """The optional files that earlier runs have made of a slide that is made again: they do not show its new tiles."""
    labels = [finding.label for finding in prepared.record.qc]
    told = [] if earlier.known is None else [*earlier.known.qc_kinds, *earlier.known.qc_classes]
    try:
        places = _places(earlier.folder, earlier.slide, dict.fromkeys([*labels, *told]))
    except OutputError:  # the report is damaged, and names what no file is called
        places = _places(earlier.folder, earlier.slide, labels)
    return [path for path in places if path.exists()]


def _places(folder: OutputFolder, slide: str, labels: Iterable[str]) -> list[Path]:
    masks = [folder.mask(slide, label) for label in labels]
    files = [mask.with_suffix(suffix) for mask in masks for suffix in (mask.suffix, ".json", ".geojson")]
    discard = folder.discard(slide)
    return [*files, discard, discard.with_suffix(".json"), folder.told(slide), folder.overview(slide)]


def missing_files(pipeline: Pipeline, folder: OutputFolder, report: SlideReport) -> list[Path]:
    """Optional files that the run asks for, and that a finished slide does not have.

    Raises:
        OtherThanReported: the report is damaged.
    """
    run, slide = pipeline.run, report.slide
    try:
        masks = [folder.mask(slide, label) for label in report.qc_kinds] if run.save_masks else []
        areas = [folder.mask(slide, label) for label in report.qc_classes] if run.save_masks else []
    except OutputError as error:
        raise OtherThanReported(f"its report names a step that there cannot be ({error})") from error
    if run.report and report.qc_kinds:
        masks.append(folder.discard(slide))
    asked = [file for mask in masks for file in (mask, mask.with_suffix(".json"))]
    asked += [mask.with_suffix(".geojson") for mask in areas]
    if run.report and report.qc_told:
        asked.append(folder.told(slide))
    if run.overview:
        asked.append(folder.overview(slide))
    return [path for path in asked if not path.exists()]


def _status(table: Path, planned: int) -> list[str]:
    """The status of each planned tile."""
    try:
        with storing_in(table.parent), table.open(newline="", encoding="utf-8") as file:
            status = [row["status"] for row in csv.DictReader(file)]
    except (KeyError, ValueError, csv.Error) as error:
        raise OtherThanReported(f"{table.name} is not its tile table ({error})") from error
    if len(status) != planned or not all(status):
        raise OtherThanReported(f"{table.name} tells of {len(status)} tiles, but {planned} are planned")
    return status


def _settle(ledger: Ledger, status: Sequence[str]) -> None:
    """For tiles that have not been rejected, record their status from the earlier run."""
    words = np.array(status, dtype=object)
    for word in dict.fromkeys(status):
        which = np.flatnonzero(words == word)
        if word == "written":
            ledger.mark_written(which)
        elif word == "unreadable":
            ledger.mark_unreadable(which)
        else:
            ledger.reject(which, word)
