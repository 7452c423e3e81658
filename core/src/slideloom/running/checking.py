"""What is looked at before a run begins, so that what is wrong is one error and not one for each slide."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

from slideloom.base.addresses import SlidePlace
from slideloom.base.errors import ConfigError, OutputError, PluginError, SlideloomError
from slideloom.base.naming import option_given
from slideloom.base.parsing import parse_json
from slideloom.base.storing import storing_in, write_json
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.pipeline import Pipeline, pipeline_differences
from slideloom.running.looking_in_folders import tell_once
from slideloom.running.shards import shards_at_work
from slideloom.slides.names import NamedSlide, alike_on_some_disks, own_name
from slideloom.slides.resolution import read_mpp_file
from slideloom.steps.reports import SlideReport

log = logging.getLogger(__name__)


def check_mpp_file(pipeline: Pipeline, slides: Sequence[SlidePlace | NamedSlide]) -> None:
    """Read the mpp file before the run, so that a mistake in it is reported once and not for each slide.

    Raises:
        ConfigError: the file is wrong, or names a slide without its folders although several have this name.
    """
    if pipeline.slides.mpp_file is None:
        return
    found = [NamedSlide.of(slide) for slide in slides]
    here = {name for slide in found for name in slide.names}
    listed = read_mpp_file(pipeline.slides.mpp_file)
    for slide in found:
        plain = own_name(slide.name), slide.place.name
        unclear = next((name for name in plain if name in listed and name not in here), None)
        if unclear is not None and slide.shares_name and not any(name in listed for name in slide.names):
            alike = [other.name for other in found if own_name(other.name) == own_name(slide.name)]
            raise ConfigError(
                f"{pipeline.slides.mpp_file}: {unclear} may be any of {', '.join(alike[:3])}"
                + (", ..." if len(alike) > 3 else "")
                + "; write the slide with its folders"
            )
    others = [name for name in listed if name not in here]
    if others:
        some = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        count = "1 slide that is" if len(others) == 1 else f"{len(others)} slides that are"
        log.warning("%s names %s not in this run: %s", pipeline.slides.mpp_file, count, some)


def tell_alike(slides: Sequence[NamedSlide]) -> None:
    """Warn of slides whose outputs are the same files on disks that do not tell upper from lower case."""
    for slide, other in alike_on_some_disks(slides).items():
        tell_once(
            f"{slide.place}: on some disks, its name {slide.name} is the same as {other.name}, that of {other.place}, "
            "and the tiles of one would replace those of the other; rename one if the output may come to such a disk"
        )


def check_steps(pipeline: Pipeline) -> None:
    """Look once for the libraries and files that the pipeline's steps need, so that what is missing is one error.

    Raises:
        PluginError, ConfigError: with everything that is missing, one line each.
    """
    mistakes: list[SlideloomError] = []
    for step in pipeline.steps:
        try:
            step.check()
        except SlideloomError as error:
            mistakes.append(error)
        except Exception as error:  # a plugin's own code
            mistakes.append(PluginError(f"step '{step.name}' cannot be checked: {type(error).__name__}: {error}"))
    if mistakes:
        raise type(mistakes[0])("\n".join(dict.fromkeys(map(str, mistakes)))) from mistakes[0]


def refuse_shards(folder: OutputFolder) -> None:
    """Refuse to run alone in a folder where shards are at work.

    Raises:
        OutputError: some are.
    """
    at_work = shards_at_work(folder)
    if at_work:
        raise OutputError(
            f"{folder.root}: shards work in this folder ({', '.join(at_work)}); wait for them or use another folder"
        )


def note_pipeline(folder: OutputFolder, pipeline: Pipeline) -> None:
    """Note with what pipeline the folder's tiles are made; the folder must be locked.

    Raises:
        OutputError: it holds tiles made with other settings, or cannot be written.
    """
    _check_earlier(folder, pipeline)
    write_json(folder.pipeline, {"digest": pipeline.digest(), "pipeline": _without_run(pipeline)})
    if pipeline.mask.of:
        write_json(folder.mask_classes, dict(pipeline.mask.values))
    else:
        with storing_in(folder.state):
            folder.mask_classes.unlink(missing_ok=True)


def _without_run(pipeline: Pipeline) -> dict[str, Any]:
    """The pipeline as plain values, without options that do not affect the output."""
    table = pipeline.as_table()
    table.pop("run")
    for key in ("include", "exclude"):
        table["slides"].pop(key, None)
    return table


def _check_earlier(folder: OutputFolder, pipeline: Pipeline) -> None:
    """Refuse a folder that holds tiles made with other settings."""
    try:
        earlier = parse_json(folder.pipeline.read_text(encoding="utf-8"))
        digest, table = earlier["digest"], dict(earlier["pipeline"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: cannot be read (%s); slides are compared one by one", folder.pipeline, error)
        return
    if digest == pipeline.digest() or pipeline.run.redo or not _holds_tiles(folder):
        return
    differences = pipeline_differences(table, json.loads(json.dumps(_without_run(pipeline))))
    listed = "\n  ".join(differences) or "the content of a file that the settings name"
    raise OutputError(
        f"{folder.root}: holds tiles of {folder.label} made with other settings:\n  {listed}\n"
        f"run with {option_given('run', 'redo', True)} to make them again, or choose another output folder"
    )


def _holds_tiles(folder: OutputFolder) -> bool:
    """True if an earlier run may have stored tiles; False if every slide failed before, such as for a missing mpp."""
    for path in (folder.state / "slides").glob("*.json"):
        try:
            report = SlideReport.load(path)
        except (OSError, ValueError, TypeError):
            return True
        if report.written:
            return True
    return False
