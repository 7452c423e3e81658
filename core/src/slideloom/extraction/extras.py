"""What a run stores of a slide beside its tiles, if asked to: masks, a picture, what the PDF report shows."""

from __future__ import annotations

from pathlib import Path

from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.overview import plan_picture
from slideloom.planning.mask_files import mask_files, npz_bytes
from slideloom.planning.masks import union_mask
from slideloom.planning.prepared import PreparedSlide
from slideloom.steps.slide_qc import QcResult


def pictures_of(prepared: PreparedSlide, folder: OutputFolder) -> dict[Path, bytes]:
    """The files that the run asks for, with their content, of a slide whose tiles are settled."""
    plan, record, run = prepared.plan, prepared.record, prepared.plan.pipeline.run
    info = plan.slide.info
    files: dict[Path, bytes] = {}
    if run.save_masks:
        for finding in record.qc:
            files.update(mask_files(finding.result, folder.mask(info.name, finding.label), slide=info))
    if run.report and record.qc:
        discarded = QcResult(union_mask([finding.result for finding in record.qc], info.size), "artifact")
        files.update(mask_files(discarded, folder.discard(info.name), slide=info, encode=npz_bytes))
    if run.overview:
        files[folder.overview(info.name)] = plan_picture(plan, record).png()
    return files
