"""Processes one slide, from file to report: a plain function that runs in this process, in a pool, or on a cluster."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import attrs
from attrs import field, frozen

from slideloom.base.addresses import Address, SlidePlace
from slideloom.base.errors import OutputError, SlideError, SlideloomError
from slideloom.base.naming import naming
from slideloom.base.opencv_threads import opencv_in_one_thread
from slideloom.base.storing import json_text, storing_in, utf8, write_json, write_whole
from slideloom.base.system_errors import in_words
from slideloom.extraction.account import slide_report, tile_table_csv
from slideloom.extraction.claims import Claim
from slideloom.extraction.extract import Extraction
from slideloom.extraction.extras import OtherThanReported, completed, earlier_pictures, pictures_of
from slideloom.extraction.finished import Earlier
from slideloom.extraction.nesting import SecondName, refuse_second_name
from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.overview import told_picture
from slideloom.extraction.publishing import ForeignOutput, Publication
from slideloom.extraction.sampling import in_blocks, sample_of
from slideloom.extraction.unopened import finished_report, finished_unopened, note_opened
from slideloom.pipeline.pipeline import Pipeline
from slideloom.planning.opening import open_slide
from slideloom.planning.plan import plan_slide, slide_digest
from slideloom.planning.prepared import PreparedSlide
from slideloom.slides.closed_slide import AskedProperties
from slideloom.slides.names import NamedSlide
from slideloom.slides.slide import Slide
from slideloom.steps.reports import SlideReport, Trial

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]  # slide, tiles done, tiles in all


@frozen
class SlideTask:
    """One slide to process; can be pickled.

    Attributes:
        pipeline: the pipeline.
        path: the slide's file, or its address; `read_path` is a copy on a faster disk, or None.
        called: the slide's name and what others are called; None if it is called by its file.
        identity: of the slide, as it was when it was copied to `read_path`; else None.
        out: the output folder.
        threads: number of threads for the slide.
        trial: "dry-run" decides everything and writes nothing; "plan-only" reads no tile but those of the sample.
        sample: on a trial, number of tiles to estimate from what a run would take.
        claim: of a run that shares the folder with others, to the slide.
        progress: called from the thread that runs the task, or None.
    """

    pipeline: Pipeline
    path: SlidePlace
    out: Path
    called: NamedSlide | None = None
    read_path: Path | None = None
    identity: list[object] | None = field(default=None, eq=False)
    threads: int = 1
    trial: Trial = ""
    sample: int = 0
    claim: Claim | None = None
    progress: Progress | None = field(default=None, eq=False)

    @property
    def slide(self) -> NamedSlide:
        """The slide with its name."""
        return self.called or NamedSlide.of(self.path)

    @property
    def is_noted(self) -> bool:
        """True if it costs much to open the slide, so that what this told is noted."""
        return isinstance(self.path, Address) or self.pipeline.run.buffer is not None

    @property
    def is_ours(self) -> bool:
        """True unless another run makes the slide by now."""
        return self.claim is None or self.claim.is_held


def process_slide(task: SlideTask) -> SlideReport:
    """Process one slide and return its report. An error gives the status "failed" and leaves no partial files."""
    with naming(task.pipeline.front):
        return _reported(task)


def known_finished(task: SlideTask) -> SlideReport | None:
    """The report of a finished slide that needs not be copied or opened to know that; None for any other slide."""
    if task.trial or not task.is_noted:
        return None
    return finished_unopened(OutputFolder(task.out, task.pipeline.tiles.label), task.slide, task.pipeline)


def _reported(task: SlideTask) -> SlideReport:
    name = task.slide.name
    blank = SlideReport(slide=name, path=str(task.path), status="failed", label=task.pipeline.tiles.label)
    if task.read_path is None and (done := known_finished(task)) is not None:
        return done
    try:
        read = attrs.evolve(task.slide, place=task.read_path or task.path)
        slide = open_slide(read, slides=task.pipeline.slides)
    except SlideloomError as error:
        return _not_opened(task, blank, error)
    except (Exception, SystemExit) as error:
        return _not_opened(task, blank, _unexpected(name, error))
    try:
        with slide, opencv_in_one_thread():
            report = _process(task, slide)
    except SlideloomError as error:
        return _failed(task, blank, error)
    except MemoryError:
        return _failed(task, blank, SlideError(f"{name}: out of memory; use fewer jobs or threads"))
    except (Exception, SystemExit) as error:  # one slide's error must not stop the others
        return _failed(task, blank, _unexpected(name, error))
    return report


def _unexpected(name: str, error: BaseException) -> SlideError:
    """Our error for one that is not ours, which stays its cause."""
    found = SlideError(f"{name}: {in_words(error)}")
    found.__cause__ = error
    return found


def _traceback(error: Exception) -> str:
    """Where an error came from that a plugin or a library raised; our own words need no traceback."""
    return "" if error.__cause__ is None else "".join(traceback.format_exception(error.__cause__))


def _not_opened(task: SlideTask, report: SlideReport, error: Exception) -> SlideReport:
    """The report of a slide that cannot be opened; what an earlier run finished with this pipeline stays finished."""
    folder = OutputFolder(task.out, report.label)
    try:
        earlier = None if task.trial else Earlier.of(folder, report.slide)
    except OutputError:  # a name that no file can have
        earlier = None
    # A run that was killed may have left its own files under the report of an earlier one.
    done = None if earlier is None or earlier.interrupted is not None else earlier.report
    if done is None or done.status == "failed" or done.pipeline_digest != task.pipeline.digest():
        return _failed(task, report, error)
    kept = f"; what an earlier run made of it stays finished: {done.written} tiles"
    return attrs.evolve(report, error=f"{error}{kept}", traceback=_traceback(error))


def _failed(task: SlideTask, report: SlideReport, error: Exception) -> SlideReport:
    """Store the report with its error and with the outputs of earlier runs that still exist."""
    report = attrs.evolve(report, error=str(error), traceback=_traceback(error))
    if task.trial or isinstance(error, SecondName):  # of which the folder has a report
        return report
    folder = OutputFolder(task.out, report.label)
    with suppress(OSError):  # then the disk may be what failed
        if not task.is_ours:  # and the report is the other run's
            return report
    try:
        left = Earlier.of(folder, report.slide).left()
    except OutputError:  # a name that no file can have
        left = {}
    if left:
        first = next(iter(left))
        word = f"; what an earlier run made of it, with other settings or of another file, is still there: {first}"
        sizes = {name: size for name, size in left.items() if size is not None}
        report = attrs.evolve(report, error=report.error + word, outputs=tuple(left), sizes=sizes)
    if isinstance(error, ForeignOutput):
        report = attrs.evolve(report, foreign=tuple(folder.relative(path) for path in error.paths))
    try:
        write_json(folder.report(report.slide), report.as_table())
    except OutputError as problem:  # the disk may be what failed; the report still reaches the caller
        log.warning("%s", problem)
    return report


def _process(task: SlideTask, slide: Slide) -> SlideReport:
    pipeline = task.pipeline
    folder = OutputFolder(task.out, pipeline.tiles.label)
    properties = AskedProperties(slide.info.properties)
    slide.info = attrs.evolve(slide.info, path=task.path, properties=properties)
    slide.identity = task.identity or slide.identity
    prepared = PreparedSlide(plan_slide(slide, pipeline, threads=task.threads))
    slide.info = attrs.evolve(slide.info, properties=properties.all)
    digest, asked = slide_digest(prepared.plan), properties.asked()
    if task.trial:
        return _tried(task, prepared, digest)
    refuse_second_name(folder, task.slide)
    earlier = Earlier.of(folder, slide.info.name)
    finished, why = (None, "") if pipeline.run.redo else finished_report(prepared.plan, earlier, digest)
    if finished is not None:
        try:
            report = completed(prepared, folder, attrs.evolve(finished, status="skipped"))
            return attrs.evolve(report, reopened=_noted(task, slide, asked))
        except OtherThanReported as error:
            why = str(error)
    with Publication(folder, earlier, redo=pipeline.run.redo, claim=task.claim) as publication:
        # Outputs that cannot be written or may not be replaced are found before any pixel is read.
        publication.open(prepared)
        prepared.decide()
        if why:
            log.info("%s is made again: %s", slide.info.name, why)
            prepared.record.warnings.append(f"made again: {why}")
        report = _made(task, prepared, publication, digest)
    _noted(task, slide, asked)
    return report


def _noted(task: SlideTask, slide: Slide, properties: Mapping[str, str | None] | None) -> str:
    """See `note_opened`."""
    if not task.is_noted:
        return ""
    folder = OutputFolder(task.out, task.pipeline.tiles.label)
    return note_opened(folder, slide, task.slide, properties=properties, rules=task.pipeline.slides)


def _tried(task: SlideTask, prepared: PreparedSlide, digest: str) -> SlideReport:
    """The report of a slide of which nothing is written, but its picture if asked for."""
    prepared.decide()
    sample = sample_of(prepared, count=task.sample, threads=task.threads) if task.sample else None
    fallback = 0
    if task.trial == "dry-run":
        extraction = Extraction(prepared, None, threads=task.threads, progress=_progress(task, prepared))
        extraction.run()
        fallback = extraction.fallback
    report = slide_report(
        prepared.plan, prepared.record, path=task.path, digest=digest, fallback=fallback, trial=task.trial
    )
    if prepared.plan.pipeline.run.overview:
        path = OutputFolder(task.out, report.label).trial_overview(report.slide)
        with storing_in(path.parent):
            write_whole(path, told_picture(prepared.plan, prepared.record).png())
    if sample is None:
        return report
    return attrs.evolve(report, sample=attrs.evolve(sample, besides=sample.besides + _besides(task, prepared, report)))


def _besides(task: SlideTask, prepared: PreparedSlide, report: SlideReport) -> int:
    """Bytes that a run stores for the slide besides its tiles."""
    pictures = pictures_of(prepared, OutputFolder(task.out, report.label)).values()
    texts = (tile_table_csv(prepared.plan, prepared.record), json_text(report.as_table()))
    return sum(in_blocks(len(content)) for content in (*pictures, *map(utf8, texts)))


def _progress(task: SlideTask, prepared: PreparedSlide) -> Callable[[int, int], None] | None:
    return partial(task.progress, prepared.plan.slide.info.name) if task.progress is not None else None


def _made(task: SlideTask, prepared: PreparedSlide, publication: Publication, digest: str) -> SlideReport:
    """Cut, store and publish the slide's tiles, and return its report."""
    plan, folder = prepared.plan, publication.folder
    name = plan.slide.info.name
    extraction = Extraction(prepared, publication.writers, threads=task.threads, progress=_progress(task, prepared))
    extraction.run()
    table = folder.tile_table(name)
    with prepared.record.timed("commit"):
        files = {table: utf8(tile_table_csv(plan, prepared.record)), **pictures_of(prepared, folder)}
        publication.publish(files, kept=table, gone=earlier_pictures(prepared, publication.earlier))
    left = publication.left()
    prepared.record.warnings.extend(publication.notes)
    prepared.record.warnings.extend(
        f"an earlier run made it with other sinks, and it is still there: {output}" for output in left
    )
    report = attrs.evolve(
        slide_report(plan, prepared.record, path=task.path, digest=digest, fallback=extraction.fallback),
        outputs=tuple(publication.outputs),
        sizes=publication.sizes,
        left=left,
        tile_table=folder.relative(table),
    )
    if not report.is_accounted:  # raising takes back what was published
        raise SlideloomError(f"{name}: {_account(report)}")
    publication.finish(report)
    return report


def _account(report: SlideReport) -> str:
    rejected = ", ".join(f"{count} by {step}" for step, count in report.rejected.items()) or "0"
    return (
        f"{report.planned} tiles were planned, but {report.written} written, {report.unreadable} unreadable and "
        f"rejected: {rejected}; no slide may lose tiles unnoticed, so please report this"
    )
