"""What a studio is opened with: slides, a project, a pipeline file, or the output folder of a run."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve
from slideloom.base.addresses import Address, SlidePlace, is_address, local_path, place_of
from slideloom.base.errors import ConfigError, PluginError
from slideloom.base.naming import option_given
from slideloom.pipeline.file import load_pipeline
from slideloom.pipeline.flags import given_flags
from slideloom.pipeline.pipeline import Pipeline, RoiUse
from slideloom.plugins.discovery import registry
from slideloom.plugins.shorthand import step_settings, step_table
from slideloom.running.find_slides import require_slides, slides_of
from slideloom.slides.names import NamedSlide, with_shared_names
from slideloom_cli.options import pipeline_of
from slideloom_cohort.project import Project
from slideloom_cohort.slides import source_slides
from slideloom_cohort.sources import PROJECT_FILE

from slideloom_studio.pipelines import folder_in
from slideloom_studio.results import Results, is_results
from slideloom_studio.shelf import Entry
from slideloom_studio.studio import Opening

SIZE = {"tile_px": 299, "tile_um": 302.0}
"""The size of tiles until somebody chooses another."""
_STEPS = ("roi", "qc", "filter", "normalizer", "sink", "placement")
_OUT = Path("tiles")
_ROI = Path("roi")


def asked_opening(chosen: argparse.Namespace) -> Opening:
    """What the arguments of `slideloom studio` ask for.

    Raises:
        ConfigError: they contradict each other, or name what is not there.
    """
    given: Sequence[str] = chosen.slides or ["."]
    only = None if len(given) > 1 or is_address(given[0]) else Path(given[0]).expanduser()
    if only is not None and only.suffix.lower() == ".toml" and only.is_file():
        return _of_file(only, chosen)
    if only is not None and (only / PROJECT_FILE).is_file():
        return _of_project(only, chosen)
    if only is not None and is_results(only):
        return _of_results(only, chosen)
    return _of_slides(given, chosen)


def _of_slides(given: Sequence[str], chosen: argparse.Namespace) -> Opening:
    folder, sources = _roi_folder(chosen.roi)
    pipeline = _flag_pipeline(chosen, [_folder_step(folder), *sources], include=[_whole(entry) for entry in given])
    slides = _there(slides_of(pipeline, None))
    out = (chosen.out or _OUT).absolute()
    title = Path(given[0]).absolute().name if len(given) == 1 and not is_address(given[0]) else f"{len(slides)} slides"
    return Opening(
        title=title,
        entries=_entries([(path, folder, out) for path in slides]),
        pipeline=pipeline,
        out=out,
        roi=folder,
        read_only=chosen.read_only,
        exposed=chosen.expose,
        shows_pictures=chosen.pictures,
    )


def _of_file(path: Path, chosen: argparse.Namespace) -> Opening:
    """A pipeline file: everything but the output folder and the folder of regions is as it says."""
    words = [*given_flags(chosen), *(name for name in _STEPS if name != "roi" and getattr(chosen, name))]
    if words:
        raise ConfigError(f"{path}: is the pipeline; change {', '.join(sorted(words))} in the file, or on the page")
    whole = path.absolute()
    pipeline = load_pipeline(whole)
    slides = _there(slides_of(pipeline, whole.parent))
    include = tuple(_whole(str(whole.parent / entry)) for entry in pipeline.slides.include)
    pipeline = evolve(pipeline, slides=evolve(pipeline.slides, include=include))
    folder = _roi_folder(chosen.roi)[0] if chosen.roi else folder_in(pipeline) or whole.parent / _ROI
    out = local_path(chosen.out or pipeline.run.out or whole.parent).absolute()
    return Opening(
        title=path.name,
        entries=_entries([(slide, folder, out) for slide in slides]),
        pipeline=_with_folder(pipeline, folder),
        out=out,
        roi=folder,
        read_only=chosen.read_only,
        exposed=chosen.expose,
        shows_pictures=chosen.pictures,
    )


def library_opening(
    given: Sequence[SlidePlace | str], pipeline: Pipeline, *, roi: Path | str | None, out: Path, read_only: bool
) -> Opening:
    """What the arguments of `slideloom.studio` ask for; see there."""
    include = tuple(entry.url if isinstance(entry, Address) else _whole(str(entry)) for entry in given)
    whole = evolve(pipeline, slides=evolve(pipeline.slides, include=include))
    slides = _there(slides_of(whole, None))
    folder = Path(roi).expanduser().absolute() if roi is not None else folder_in(whole) or _ROI.absolute()
    return Opening(
        title=slides[0].name if len(slides) == 1 else f"{len(slides)} slides",
        entries=_entries([(slide, folder, out.absolute()) for slide in slides]),
        pipeline=_with_folder(whole, folder),
        out=out.absolute(),
        roi=folder,
        read_only=read_only,
    )


def _with_folder(pipeline: Pipeline, folder: Path) -> Pipeline:
    """The pipeline with a source of regions for the folder, if it has none with a folder."""
    if folder_in(pipeline) is not None:
        return pipeline
    use = RoiUse(source=step_settings("roi", _folder_step(folder)))
    return evolve(pipeline, roi=(use, *pipeline.roi))


def _of_project(root: Path, chosen: argparse.Namespace) -> Opening:
    """A project: its sources' slides, with their folders of regions and of outputs."""
    if chosen.roi or chosen.out:
        raise ConfigError(f"{root}: is a project, which knows its folders of regions and outputs; name none")
    project = Project(root)
    found: list[tuple[NamedSlide, Path, Path]] = []
    folders = []
    for source in project.sources.values():
        roi = source.roi or project.root / _ROI / ("" if source.name == "main" else source.name)
        folders.append(roi)
        found += [(slide, roi, source.out) for slide in source_slides(source)]
    require_slides([slide.place for slide, _, _ in found])
    return Opening(
        title=project.name,
        entries=_entries(found),
        pipeline=_flag_pipeline(chosen, [_folder_step(folders[0])], include=[str(slide) for slide, _, _ in found]),
        out=project.root,
        patients=project.annotations.patients() if project.annotations is not None else {},
        roi=folders[0] if len(folders) == 1 else None,
        read_only=chosen.read_only,
        exposed=chosen.expose,
        shows_pictures=chosen.pictures,
    )


def _of_results(root: Path, chosen: argparse.Namespace) -> Opening:
    """The output folder of a run: its slides, where they were, and the pipeline that made it."""
    words = [*given_flags(chosen), *(name for name in _STEPS if getattr(chosen, name))]
    if words or chosen.out:
        raise ConfigError(f"{root}: is the output folder of a run, whose pipeline is shown; leave out all options")
    whole = root.absolute()
    results = Results(whole)
    pipeline = results.pipeline()
    if not results.reports:
        raise ConfigError(f"{root}: tells of no slide; run the pipeline again")
    folder = folder_in(pipeline)
    named = [NamedSlide(place_of(report.path), report.slide) for report in results.reports.values()]
    return Opening(
        title=root.name,
        entries=_entries([(slide, folder, whole) for slide in with_shared_names(named, named)]),
        pipeline=pipeline,
        out=whole,
        roi=folder,
        read_only=chosen.read_only,
        exposed=chosen.expose,
        shows_pictures=chosen.pictures,
        results=results,
    )


def _flag_pipeline(chosen: argparse.Namespace, sources: Sequence[str], *, include: Sequence[str]) -> Pipeline:
    """The pipeline of the options, with the usual size where none is given."""
    known = argparse.Namespace(**{**vars(chosen), "roi": list(sources)})
    for name, value in SIZE.items():
        if getattr(known, name) is None:
            setattr(known, name, str(value))
    filters = None if chosen.filter is None else [text for text in chosen.filter if text != "none"]
    return pipeline_of(known, include=include, filters=filters, sinks=chosen.sink)


def _roi_folder(given: Sequence[str]) -> tuple[Path, list[str]]:
    """The folder that regions are saved to, and the sources that only choose tiles.

    The first word that names a folder, there or not, is the folder; other words name sources.
    """
    folder: Path | None = None
    sources = []
    for text in given:
        if folder is None and not is_address(text) and not _is_source(text):
            folder = Path(text).expanduser().absolute()
        else:
            sources.append(text)
    return folder or _ROI.absolute(), sources


def _is_source(text: str) -> bool:
    if Path(text).is_dir():
        return False
    try:
        registry().find("roi", step_table(text)["use"])
    except (PluginError, ConfigError):
        return False
    return True


def _folder_step(folder: Path) -> str:
    """The source that reads a folder of regions, in one word. The folder need not be there yet."""
    return f"{registry().default('roi-folder')}:folder={json.dumps(str(folder))}"


def _there(found: Sequence[NamedSlide]) -> Sequence[NamedSlide]:
    """The slides, of which there is one at least.

    Raises:
        SlideError: there is none.
        ConfigError: a file is named that is not there.
    """
    require_slides([slide.place for slide in found])
    missing = [str(slide) for slide in found if isinstance(slide.place, Path) and not slide.place.exists()]
    if missing:
        raise ConfigError(f"{', '.join(missing[:6])}: no such file; correct its name")
    return found


def _whole(entry: str) -> str:
    return entry if is_address(entry) else str(Path(entry).expanduser().absolute())


def _entries(found: Sequence[tuple[NamedSlide, Path | None, Path]]) -> tuple[Entry, ...]:
    """The slides with IDs.

    Raises:
        ConfigError: two slides have the same name, so that their regions would have the same file.
    """
    entries = [
        Entry(f"s{number}", evolve(slide, place=_absolute(slide.place)), roi, out)
        for number, (slide, roi, out) in enumerate(found, 1)
    ]
    names = Counter(entry.name for entry in entries)
    twice = [str(entry.path) for entry in entries if names[entry.name] > 1]
    if twice:
        raise ConfigError(
            f"slides with the same name would share their regions: {', '.join(twice[:6])}; open them apart, or the "
            f"folder above them with {option_given('slides', 'recursive', True)}"
        )
    return tuple(entries)


def _absolute(place: SlidePlace) -> SlidePlace:
    return place.absolute() if isinstance(place, Path) else place
