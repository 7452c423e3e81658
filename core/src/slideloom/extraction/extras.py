"""What a run stores of a slide beside its tiles, if asked to: masks, a picture, what the PDF report shows."""

from __future__ import annotations

from pathlib import Path

from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.overview import plan_picture
from slideloom.pipeline.pipeline import RunOptions
from slideloom.planning.mask_files import mask_files, npz_bytes
from slideloom.planning.plan import SlidePlan, all_qc


def pictures_of(plan: SlidePlan, run: RunOptions, folder: OutputFolder) -> dict[Path, bytes]:
    """The files that `run` asks for, with their content, of a slide whose tiles are settled."""
    info = plan.slide.info
    files: dict[Path, bytes] = {}
    if run.save_masks:
        for label, (_, result) in zip(plan.qc_labels, plan.qc, strict=True):
            files.update(mask_files(result, folder.mask(info.name, label), slide=info))
    if run.report and plan.qc:
        files.update(mask_files(all_qc(plan), folder.discard(info.name), slide=info, encode=npz_bytes))
    if run.overview:
        files[folder.overview(info.name)] = plan_picture(plan).png()
    return files
