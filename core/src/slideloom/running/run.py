"""A run: processes slides with a pipeline into an output folder, and reports on every slide whatever happens."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import attrs

from slideloom.base.addresses import SlidePlace
from slideloom.base.errors import ConfigError, OutputError
from slideloom.base.machine import usable_cores
from slideloom.base.naming import naming, option_given, option_name
from slideloom.base.storing import path_of_name
from slideloom.base.temporary import forget_sweeps, remove_abandoned, tidied_when_interrupted
from slideloom.extraction.finished import report_states, reports_in, updates
from slideloom.extraction.job import Progress, SlideTask
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.pipeline import Pipeline
from slideloom.plugins.builtin import InProcess, Processes
from slideloom.plugins.discovery import registry
from slideloom.plugins.shorthand import named_step
from slideloom.plugins.versions import step_versions, versions
from slideloom.running.checking import check_mpp_file, check_steps, note_pipeline, refuse_shards, tell_alike
from slideloom.running.disk_space import DiskWatch, lack_of_space
from slideloom.running.estimating import estimate_of, sample_sizes
from slideloom.running.executors import InProcessExecutor, ProcessExecutor
from slideloom.running.main_script import end_copy
from slideloom.running.rounds import lost, reports_of
from slideloom.running.run_files import write_burden, write_errors, write_run_report
from slideloom.running.same_slides import given_twice
from slideloom.running.shards import Shard
from slideloom.running.sharing import RUN, Sharing, locked_for_a_moment, refuse_runs
from slideloom.running.staging import Published, staged
from slideloom.running.worker_process import report_progress
from slideloom.settings.options import options_of
from slideloom.settings.tables import plain
from slideloom.slides.names import NamedSlide, clashing
from slideloom.steps.executor import Executor
from slideloom.steps.reports import RunReport, SlideReport, Trial

log = logging.getLogger(__name__)
# With more threads than this, one slide gains little; another process gains more.
THREADS_PER_SLIDE = 4


@tidied_when_interrupted()
def run_pipeline(
    pipeline: Pipeline,
    slides: Sequence[SlidePlace | NamedSlide | str],
    out: SlidePlace | str,
    *,
    dry_run: bool = False,
    plan_only: bool = False,
    progress: Progress | None = None,
    on_slide: Any = None,  # Any: called as on_slide(report)
    on_share: Any = None,  # Any: called as on_share(slides left to others)
) -> RunReport:
    """Process slides with a pipeline.

    Args:
        pipeline: the pipeline.
        slides: slide files, addresses, or what `named_slides` found; each slide name may occur only once. A file of the
            same slide as another one, such as of its DICOM series, or a link to it, fails.
        out: output folder, made if missing, or its address: the run then works in the folder `pipeline.run.staging`,
            and puts there what is finished.
        dry_run: decide on every tile as a run would, and write only the reports of plugins.
        plan_only: a dry run that reads only a sample of the tiles, for its estimate: quick, but filters and normalizer
            decide nothing.
        progress: called in this process with the slide's name, the number of tiles done, and their total number.
        on_slide: called with each slide's report, in order of completion.
        on_share: called with the number of slides that other shards do, if the pipeline names a shard.

    Raises:
        ConfigError: an executor or a step does not exist, or the mpp file, the shard or the address is wrong.
        OutputError: the folder or address is taken, not writable, or holds tiles made with other settings.

    A run whose slides would not fit on the disk stops before it is full, and a dry run says so, unless the pipeline has
    `ignore_disk_space`: the report then has a problem.
    """
    trial: Trial = "plan-only" if plan_only else "dry-run" if dry_run else ""
    with naming(pipeline.front), staged(pipeline, out, is_trial=trial != "") as (folder, published):
        return _run(
            pipeline, slides, folder, trial=trial, published=published,
            progress=progress, on_slide=on_slide, on_share=on_share,
        )  # fmt: skip


def _run(
    pipeline: Pipeline,
    slides: Sequence[SlidePlace | NamedSlide | str],
    out: Path,
    *,
    trial: Trial,
    published: Published | None,
    progress: Progress | None,
    on_slide: Any,
    on_share: Any,
) -> RunReport:
    """See `run_pipeline`."""
    end_copy()
    forget_sweeps()
    found = [NamedSlide.of(slide) for slide in slides]
    tell_alike(found)
    check_mpp_file(pipeline, found)
    jobs, threads = workers(pipeline, len(slides))
    executor = _executor(pipeline, jobs)
    if isinstance(executor, InProcessExecutor | ProcessExecutor):  # others may run where other things are installed
        check_steps(pipeline)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    clock = time.perf_counter()
    folder = OutputFolder(out, pipeline.tiles.label)
    problems: list[str] = []
    shard = None if pipeline.run.shard is None else Shard.parse(pipeline.run.shard)
    refused = clashing(found, folders=any(sink.makes_folders for sink in pipeline.sinks))
    refused |= given_twice([slide for slide, given in zip(found, slides, strict=True) if slide is not given])
    run = partial(
        _run_slides, pipeline, out, executor, refused=refused, published=published,
        threads=threads, trial=trial, problems=problems, progress=progress, on_slide=on_slide,
    )  # fmt: skip
    end = partial(_finish, pipeline, folder, started, clock, trial=trial, problems=problems, published=published)
    if trial:
        at_once = jobs if isinstance(executor, InProcessExecutor | ProcessExecutor) else None
        mine = found if shard is None else shard.share(folder, found, stored=False)
        return end(run(mine), at_once=at_once)
    if shard is None:
        return _shared(pipeline, folder, found, run, end)
    with ExitStack() as at_work:
        with shard.locked(folder):
            refuse_runs(folder)
            at_work.enter_context(shard.at_work(folder))
            note_pipeline(folder, pipeline)
            mine = shard.share(folder, found)
        if on_share is not None:
            on_share(len(slides) - len(mine))
        reports = run(mine)
        with shard.locked(folder):
            at_work.close()  # so that of two shards that end at once, the second sees that it is alone
            if shard.others(folder):
                return end(reports, is_left=True)
            return _end_of_all(end, shard, folder, reports)


def _shared(
    pipeline: Pipeline,
    folder: OutputFolder,
    slides: Sequence[NamedSlide],
    run: Callable[..., list[SlideReport]],
    end: Callable[..., RunReport],
) -> RunReport:
    """The report of a run that shares the slides with other runs of the pipeline in the folder, if there are any."""
    sharing = Sharing(folder, pipeline)
    with ExitStack() as at_work:
        with ExitStack() as locked:
            locked.enter_context(folder.locked() if sharing.is_alone else locked_for_a_moment(folder, by=RUN))
            refuse_shards(folder)
            at_work.enter_context(sharing.at_work())
            note_pipeline(folder, pipeline)
            if sharing.is_alone:
                return end(run(slides))
        reports = run(slides, sharing=sharing)
        with locked_for_a_moment(folder, by=RUN):
            sharing.end()
            at_work.close()
            return end(reports)


def _end_of_all(
    end: Callable[..., RunReport], shard: Shard, folder: OutputFolder, mine: Sequence[SlideReport]
) -> RunReport:
    """The report of a shard that tells of all shards so far, as no other is at work.

    Where locks do not work, another may be: what it adds meanwhile is told of, too.
    """
    while True:
        known = report_states(folder)
        found = {report.slide: report for _, report in reports_in(folder) if isinstance(report, SlideReport)}
        found |= {report.slide: report for report in mine}
        of_all = [found[name] for name in sorted(found)]
        run = end(mine, of_all=of_all, is_last=shard.is_last(folder, found))
        if report_states(folder) == known:
            return run


def _run_slides(
    pipeline: Pipeline,
    out: Path,
    executor: Executor,
    slides: Sequence[NamedSlide],
    *,
    refused: Mapping[NamedSlide, str],
    threads: int,
    trial: Trial,
    problems: list[str],
    progress: Progress | None,
    on_slide: Any,
    published: Published | None,
    sharing: Sharing | None = None,
) -> list[SlideReport]:
    """The reports of all slides, of `refused` ones with the reason; observers' errors are added to `problems`."""
    plugins = registry()
    if pipeline.run.report and plugins.reporter() is None:
        log.warning("no report will be written: no installed plugin writes one; pip install slideloom brings it")
    problems += plugins.notify("slideloom_run_started", slides=[slide.place for slide in slides], out=out)
    watch = DiskWatch(
        OutputFolder(out, pipeline.tiles.label), slides, is_on=not trial and not pipeline.run.ignore_disk_space
    )
    samples = sample_sizes(slides, seed=pipeline.tiles.seed) if trial else {}
    told_by: Progress | None = progress if isinstance(executor, InProcessExecutor) else None
    if isinstance(executor, ProcessExecutor):
        executor.on_message, told_by = progress, report_progress
    reports: dict[int, SlideReport] = {}
    first_of: dict[str, NamedSlide] = {}
    tasks: dict[int, SlideTask] = {}
    for index, slide in enumerate(slides):
        reason = _equally_named(slide, first_of) or refused.get(slide)
        if reason is not None:
            reports[index] = lost(pipeline, slide, reason)
            continue
        first_of[slide.name] = slide
        tasks[index] = SlideTask(
            pipeline=pipeline,
            path=slide.place,
            called=slide,
            out=out,
            threads=threads,
            trial=trial,
            sample=samples.get(index, 0),
            progress=told_by,
        )
    told = 0
    ended = reports_of(tasks, executor, watch, sharing)
    for index, report in ended if published is None else published.slides(ended):
        reports[index] = report
        if on_slide is not None:
            on_slide(report)
        while told in reports:
            problems += plugins.notify("slideloom_slide_done", report=reports[told])
            told += 1
    if watch.problem:
        problems.append(watch.problem)
    for index in range(told, len(slides)):
        problems += plugins.notify("slideloom_slide_done", report=reports[index])
    return [reports[index] for index in range(len(slides))]


def _equally_named(slide: NamedSlide, first_of: Mapping[str, NamedSlide]) -> str | None:
    """Why a slide is refused whose name an earlier one has, and what to do."""
    if slide.name not in first_of:
        return None
    remedy = "rename one, or name a folder above both" if "/" in slide.name else "rename one"
    return f"{slide.place}: another slide has this name: {first_of[slide.name].place}; {remedy}"


def workers(pipeline: Pipeline, slides: int) -> tuple[int, int]:
    """Number of processes and of threads in each: from the pipeline, or else from the number of cores and slides."""
    cores = usable_cores()
    jobs = pipeline.run.jobs
    if jobs is None:
        jobs = max(1, min(slides, cores // THREADS_PER_SLIDE))
    threads = pipeline.run.threads or max(1, min(cores // jobs, 2 * THREADS_PER_SLIDE))
    return jobs, threads


def _executor(pipeline: Pipeline, jobs: int) -> Executor:
    name, timeout_s = pipeline.run.executor, pipeline.run.timeout_s
    if name is None:
        alone = jobs == 1 and timeout_s is None  # only a slide in a process of its own can be given up
        return InProcess().build() if alone else Processes(jobs=jobs, timeout_s=timeout_s).build()
    own = {"jobs": jobs, "timeout_s": timeout_s}
    settings = named_step("executor", name, plugins=registry(), given=own)
    if timeout_s is not None and "timeout_s" not in options_of(type(settings)):
        option = option_name("run", "timeout_s")
        raise ConfigError(f"{option}: executor '{name}' cannot give a slide up; use 'processes', or leave it out")
    chosen: Executor = settings.build()
    return chosen


def _tell_updates(pipeline: Pipeline, reports: Sequence[SlideReport]) -> None:
    """Warn once if finished slides were made by other versions than the present ones."""
    found: dict[str, list[str]] = {}
    for report in reports:
        if report.status == "skipped":
            for name, (was, now) in updates(report, step_versions(pipeline.steps, reader=report.reader)).items():
                found.setdefault(f"{name} {was}, now {now}", []).append(report.slide)
    if found:
        told = "; ".join(f"{change} ({len(slides)} slides)" for change, slides in sorted(found.items()))
        log.warning("slides finished earlier were made by other versions and are kept: %s. %s makes "
                    "them again", told, option_given("run", "redo_updated", True))  # fmt: skip


def _tell_reopened(reports: Sequence[SlideReport]) -> None:
    """Warn once if finished slides are opened or copied by each run, only to know that they are finished."""
    for why in sorted({report.reopened for report in reports} - {""}):
        slides = [report.slide for report in reports if report.reopened == why]
        log.warning("%d finished slides, such as %s, were opened or copied again to know that they are finished, and "
                    "will be by each run: %s", len(slides), slides[0], why)  # fmt: skip


def _finish(
    pipeline: Pipeline,
    folder: OutputFolder,
    started: str,
    clock: float,
    reports: Sequence[SlideReport],
    *,
    trial: Trial,
    problems: Sequence[str],
    of_all: Sequence[SlideReport] | None = None,
    is_last: bool = True,
    is_left: bool = False,
    at_once: int | None = None,
    published: Published | None = None,
) -> RunReport:
    """The report of the run, with all that goes with it written.

    Of shards, one that ends while others are at work leaves it to them (`is_left`) to write about all slides: a
    thousand shards that each read all reports would take days. The others write the reports of all so far, `of_all`,
    and the last one the report that people read.
    """
    seconds, estimate = round(time.perf_counter() - clock, 3), None
    if trial:
        estimate = estimate_of(pipeline, reports, trial=trial, at_once=at_once, wall_s=seconds)
        lack = "" if estimate is None or pipeline.run.ignore_disk_space else lack_of_space(folder, estimate, reports)
        problems = [*problems, lack] if lack else problems
    run = RunReport(
        slides=tuple(reports),
        out=str(folder.root),
        pipeline=plain(pipeline.as_table()),
        digest=pipeline.digest(),
        versions=versions(pipeline.steps),
        started=started,
        seconds=seconds,
        dry_run=trial != "",
        plan_only=trial == "plan-only",
        problems=tuple(problems),
        is_left=is_left,
        estimate=estimate,
        published="" if published is None else published.address,
    )
    if not trial:
        _tell_updates(pipeline, reports)
        _tell_reopened(reports)
        write_burden(folder.root, run)
    is_written = not trial and not is_left
    if is_written:
        for place in _places_of(folder, reports):
            remove_abandoned(place)  # left by runs and workers that died, or were given up, on their last slide
    whole = run if of_all is None else attrs.evolve(run, slides=tuple(of_all))
    if is_written:
        write_run_report(folder.root / "extraction_report.json", whole)
        write_errors(folder.root / "errors.csv", whole)
    told = whole if is_last and not is_left else attrs.evolve(whole, pipeline=_without_report(whole.pipeline))
    found = registry().notify("slideloom_run_done", report=told, out=folder.root)
    if found and is_written:
        write_run_report(folder.root / "extraction_report.json", attrs.evolve(whole, problems=(*problems, *found)))
    if published is not None and (lacking := published.run(reports)):
        found += lacking
        write_run_report(folder.root / "extraction_report.json", attrs.evolve(whole, problems=(*problems, *found)))
    return attrs.evolve(run, problems=(*problems, *found)) if found else run


def _places_of(folder: OutputFolder, reports: Sequence[SlideReport]) -> set[Path]:
    """The folders that hold files of slides, those of slides that failed included."""
    homes = {folder.root / report.home_of(output) for report in reports for output in report.outputs}
    places = {Path(home) for home, _, _ in os.walk(folder.state)}
    for name in {report.slide for report in reports}:
        with suppress(OutputError):  # a name that no file can have
            places.update(path_of_name(home, name).parent for home in homes)
    return places


def _without_report(pipeline: Mapping[str, Any]) -> dict[str, Any]:
    return {**pipeline, "run": {**pipeline.get("run", {}), "report": False}}
