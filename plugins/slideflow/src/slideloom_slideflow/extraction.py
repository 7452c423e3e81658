"""`extract_tiles`: Slideflow's arguments as slideloom's."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import slideloom
from slideloom import ConfigError, OutputFolder, Size, SlideReport, load_mask, union_mask
from slideloom_cohort.slides import named

from slideloom_slideflow.adapting import tell
from slideloom_slideflow.function_qc import FunctionQc
from slideloom_slideflow.norm import StainNormalizer, our_name
from slideloom_slideflow.project_files import PeerSource
from slideloom_slideflow.slide.qc.saver import Save, write_mask
from slideloom_slideflow.slide.qc.steps import as_list, named_steps, settings_named
from slideloom_slideflow.table import rows

log = logging.getLogger(__name__)

# Beyond this many threads one slide gains little, and another process gains more.
_THREADS_PER_SLIDE = 4
_RENAMED = {"mpp_override": "mpp", "qc_filter_threshold": "filter_threshold"}
_BLUR = {"qc_blur_radius": "sigma", "qc_blur_threshold": "threshold", "qc_blur_mpp": "mpp"}
# What is not passed on under its own name.
HANDLED = {*_RENAMED, *_BLUR, "source", "skip_extracted", "qc", "num_threads", "normalizer", "artifact_labels"}


def extract(dataset: slideloom.Dataset, given: Mapping[str, Any]) -> dict[str, SlideReport]:
    """Cut a dataset's slides into tiles.

    Args:
        dataset: whose slides.
        given: arguments of Slideflow's `Dataset.extract_tiles`.

    Returns:
        The report of each slide by its path.

    Raises:
        ConfigError: an argument is wrong, or no slide is there.
        OutputError: tiles were made with other settings.
    """
    dataset = _of_source(dataset, given.get("source"))
    _check_folders(dataset, given)
    steps, savers = _qc(given)
    options = {**_options(given), "qc": steps, "save_masks": bool(savers)}
    if not all(hasattr(step, "to_settings") or isinstance(step, slideloom.Settings) for step in steps):
        options["jobs"] = 1  # other processes would run the script again, to find a class or function that it defines
    is_dry = bool(options.get("dry_run"))
    if given.get("skip_extracted", True) and not is_dry:
        dataset = _without_finished_by_others(dataset)
        if not dataset.slide_paths():
            return {}
    report = dataset.extract_tiles(**options)
    for slide in report.slides:
        if slide.status == "failed":
            log.error("%s: %s", slide.slide, slide.error)
        elif not is_dry:
            for saver, count in savers:
                _save(saver, count, slide, dataset)
    return {slide.path: slide for slide in report.slides}


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of slideloom's `extract_tiles`, without QC."""
    left_out = HANDLED | set(rows()["Dataset.extract_tiles"].named("warned"))
    options = {name: value for name, value in given.items() if name not in left_out and value is not None}
    options |= {ours: given[name] for name, ours in _RENAMED.items() if given.get(name) is not None}
    labels = given.get("artifact_labels")
    options["artifact_labels"] = [labels] if isinstance(labels, str) else list(labels or ())
    options["normalizer"] = _normalizer(given.get("normalizer"))
    if given.get("num_threads"):
        options |= _workers(int(given["num_threads"]))
    if not given.get("skip_extracted", True):
        options["redo"] = True
    return options


def _check_folders(dataset: slideloom.Dataset, given: Mapping[str, Any]) -> None:
    for source in dataset.sources:
        if given.get("save_tiles") and isinstance(source, PeerSource) and source.apart:
            raise ConfigError(
                f"source {source.name}: save_tiles needs tiles ({source.tiles}) and TFRecords ({source.tfrecords}) "
                "beside each other, in a folder that no other source uses; change the dataset configuration"
            )


def _of_source(dataset: slideloom.Dataset, name: str | None) -> slideloom.Dataset:
    if name is None:
        return dataset
    chosen = tuple(source for source in dataset.sources if source.name == name)
    if not chosen:
        known = ", ".join(source.name for source in dataset.sources)
        raise ConfigError(f"extract_tiles: no source '{name}' (known: {known})")
    return attrs.evolve(dataset, sources=chosen)


def _normalizer(given: Any) -> Any:
    if isinstance(given, StainNormalizer):
        return given.ours
    return our_name(given) if isinstance(given, str) else given


def _qc(given: Mapping[str, Any]) -> tuple[list[Any], list[tuple[Save, int]]]:
    """The steps, and what is saved with the number of steps before it."""
    blur = {option: given[name] for name, option in _BLUR.items() if given.get(name) is not None}
    steps: list[Any] = []
    savers: list[tuple[Save, int]] = []
    for one in as_list(given.get("qc")):
        if isinstance(one, Save):
            savers.append((one, len(steps)))
        elif isinstance(one, str):
            steps += [settings_named(name, **(blur if name == "gaussian-v2" else {})) for name in named_steps(one)]
        elif callable(one) and not isinstance(one, slideloom.SlideQc):
            steps.append(FunctionQc(one))
        else:
            steps.append(one)
    return steps, savers


def _workers(count: int) -> dict[str, int]:
    """Processes and threads for so many workers in all."""
    return {"jobs": max(1, count // _THREADS_PER_SLIDE), "threads": min(count, _THREADS_PER_SLIDE)}


def _without_finished_by_others(dataset: slideloom.Dataset) -> slideloom.Dataset:
    """The slides without those whose TFRecords another program made: Slideflow leaves out what is extracted."""
    foreign = [item.slide for item in dataset.stored() if item.tfrecord is not None and item.report() is None]
    if not foreign:
        return dataset
    tell(
        f"{len(foreign)} slides have TFRecords that another program made, and are left as they are: "
        f"{named(foreign)}; skip_extracted=False makes them anew, and keeps the old files under another name"
    )
    left = sorted(set(dataset.slide_paths()) - set(foreign))
    return dataset.filter(slides=left)


def _save(saver: Save, count: int, slide: SlideReport, dataset: slideloom.Dataset) -> None:
    """Write the masks of the first steps, all together."""
    folders = [OutputFolder(source.out, slide.label) for source in dataset.sources]
    for folder in folders:
        if folder.report(slide.slide).exists():
            masks = [load_mask(folder.mask(slide.slide, label)) for label in list(slide.qc_kinds)[:count]]
            if masks:
                write_mask(saver.path_for(Path(slide.path), slide.slide), union_mask(masks, Size(*slide.size)))
