"""Plans the extraction of a project source by source, and runs it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from attrs import frozen
from slideloom.base.storing import storing_in
from slideloom.extraction.job import Progress
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.tiling import Tiling
from slideloom.running.find_slides import require_slides, without
from slideloom.running.run import run_pipeline
from slideloom.slides.names import NamedSlide
from slideloom.steps.reports import RunReport, SlideReport

from slideloom_cohort.extraction import Extraction
from slideloom_cohort.params import load_params
from slideloom_cohort.slides import named, source_slides
from slideloom_cohort.sources import Source

if TYPE_CHECKING:
    from slideloom_cohort.dataset import Dataset

log = logging.getLogger(__name__)

ANY_SIZE = Tiling(size_px=1, size_um=1.0)
"""A placeholder for when the tile size does not matter or is not yet known."""


@frozen
class Work:
    """The slides of one source, and the pipeline that processes them."""

    source: Source
    pipeline: Pipeline
    slides: Sequence[NamedSlide]


def work_of(dataset: Dataset, wanted: Extraction, *, params: Path | str | None = None) -> list[Work]:
    """The work for each source that has slides.

    Args:
        dataset: the slides, of any size of tiles.
        wanted: what is done with each.
        params: as `Project.extract_tiles`.

    Raises:
        ConfigError: an argument is wrong, or the tiles differ from those that the model was trained on.
        SlideError: there are no slides.
    """
    model = None if params is None else load_params(params)
    wanted = wanted.with_model(model)
    pipelines = {source: wanted.pipeline(source) for source in dataset.sources}
    dataset = attrs.evolve(dataset, tiling=wanted.tiling())
    if model is not None:
        for pipeline in pipelines.values():
            model.check(pipeline)
    if dataset.without_files():
        log.warning("annotated slides without a file: %s", named(dataset.without_files()))
    paths = dataset.slide_paths()
    found = []
    for source, pipeline in pipelines.items():
        slides = [slide for slide in source_slides(source) if paths.get(slide.name) == slide.place]
        found.append(Work(source, pipeline, without(slides, pipeline.slides.exclude)))
    require_slides([slide for part in found for slide in part.slides])
    return [part for part in found if part.slides]


def extract(dataset: Dataset, given: Mapping[str, Any], *, root: Path) -> RunReport:
    """Cut the slides of a dataset into tiles.

    Args:
        dataset: the slides, of any size of tiles.
        given: arguments of `Project.extract_tiles` by name.
        root: the folder for the report of several sources.
    """
    work = work_of(dataset, Extraction.of(given), params=given.get("params"))
    return do_work(
        work,
        root,
        dry_run=given.get("dry_run", False),
        plan_only=given.get("plan_only", False),
        progress=given.get("progress"),
        on_slide=given.get("on_slide"),
    )


def do_work(
    work: Sequence[Work],
    root: Path,
    *,
    dry_run: bool = False,
    plan_only: bool = False,
    progress: Progress | None = None,
    on_slide: Callable[[SlideReport], Any] | None = None,
    on_share: Callable[[int], Any] | None = None,
) -> RunReport:
    """Run the pipeline of each source.

    Args:
        work: the work, for at least one source.
        root: the project's folder, named in the report.
        dry_run, plan_only, progress, on_slide: as `Project.extract_tiles`.
        on_share: as `slideloom.run_pipeline`.

    Raises:
        OutputError: a folder cannot be written, or holds tiles made with other settings.
    """
    reports = []
    for part in work:
        out = part.source.out
        if part.pipeline.run.report or not (dry_run or plan_only):
            with storing_in(out):
                out.mkdir(parents=True, exist_ok=True)
        reports.append(
            run_pipeline(
                part.pipeline,
                part.slides,
                out,
                dry_run=dry_run,
                plan_only=plan_only,
                progress=progress,
                on_slide=on_slide,
                on_share=on_share,
            )
        )
    if len(reports) == 1:
        return reports[0]
    slides = tuple(slide for report in reports for slide in report.slides)
    seconds = sum(report.seconds for report in reports)
    return attrs.evolve(reports[0], slides=slides, out=str(root), seconds=seconds)
