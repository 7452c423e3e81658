"""The pipeline on screen: as a table for the page, and read back by the strict loader of pipeline files."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from slideloom.base.errors import ConfigError, SlideloomError
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.fronts import PYTHON
from slideloom.pipeline.pipeline import VERSION, Pipeline, RoiUse
from slideloom.pipeline.words import words
from slideloom.settings.options import Settings, did_you_mean, options_of
from slideloom.settings.tables import Called, Place, plain, to_table

from slideloom_studio.calls import Refused
from slideloom_studio.pipeline_texts import context_word
from slideloom_studio.step_forms import use_of

_PARTS = ("tiles", "roi", "qc", "filters", "normalizer")
_RULES = tuple(name for name in options_of(RoiUse) if name != "source")


def first_folder(pipeline: Pipeline) -> tuple[int, Path] | None:
    """Place and folder of the pipeline's first source of regions that reads a local folder."""
    folders = [getattr(use.source, "folder", None) for use in pipeline.roi]
    return next(((place, folder) for place, folder in enumerate(folders) if isinstance(folder, Path)), None)


def folder_in(pipeline: Pipeline) -> Path | None:
    """The local folder of the pipeline's first source of regions that has one."""
    found = first_folder(pipeline)
    return None if found is None else found[1].absolute()


def pipeline_for(pipeline: Pipeline, folder: Path | None) -> Pipeline:
    """The pipeline with the regions in `folder`; without them where there is no such folder yet."""
    found = first_folder(pipeline)
    if found is None:
        return pipeline
    place, use = found[0], pipeline.roi[found[0]]
    source: Any = use.source  # Any: a source of regions whose option `folder` was just read
    here = [] if folder is None else [evolve(use, source=evolve(source, folder=folder))]
    if folder is not None and not folder.is_dir() and use.method in ("auto", "ignore"):
        here = []
    return evolve(pipeline, roi=(*pipeline.roi[:place], *here, *pipeline.roi[place + 1 :]))


def shown(pipeline: Pipeline) -> dict[str, Any]:
    """The parts of a pipeline that the page shows and changes, as JSON can hold them."""
    found = first_folder(pipeline)
    rules: Any = RoiUse if found is None else pipeline.roi[found[0]]
    return {
        "tiles": _tile_words(pipeline),
        "roi": {name: plain(getattr(rules, name)) for name in _RULES} if found is not None else {},
        "qc": [_entry("qc", use.step, {"filter_threshold": use.filter_threshold}) for use in pipeline.qc],
        "filters": [_entry("filter", step) for step in pipeline.filters],
        "normalizer": None if pipeline.normalizer is None else _entry("normalizer", pipeline.normalizer),
    }


def _tile_words(pipeline: Pipeline) -> dict[str, Any]:
    tiles = pipeline.tiles
    values = {word.name: getattr(tiles, word.info.name) for word in words("tiles")}
    context = [context_word(one.size_um, one.size_px) for one in tiles.context]
    size = tiles.magnification if tiles.size_um is None else tiles.size_um
    return {**values, "tile_um": size, "context_um": context}


def _entry(kind: str, step: Settings[Any], rules: Mapping[str, Any] | None = None) -> dict[str, Any]:
    options = {name: plain(getattr(step, name)) for name in options_of(type(step))}
    return {"use": use_of(kind, step), "options": {**options, **(rules or {})}}


@frozen
class _PageFront:
    """The page, as messages name its parts; see `slideloom.pipeline.fronts`."""

    def table(self, table: str, use: str = "") -> Place:
        called = {option: Called(word.name, wanted) for word in words(table) for option, wanted in word.options.items()}
        return Place(f"{table} {use}".rstrip(), "option", called if table == "tiles" else {})

    def step(self, kind: str, use: str = "") -> Place:
        return Place(f"{kind} {use}".rstrip(), "option")

    def none(self, kind: str) -> str:
        return ""

    def option(self, table: str, name: str) -> str:
        return PYTHON.option(table, name)

    def given(self, table: str, name: str, value: Any) -> str:
        return f"{self.option(table, name)} = {value}"


class PipelineOnScreen:
    """The pipeline of a session, with a number that counts its changes. Thread-safe.

    Args:
        pipeline: the first one.
        keeps_files: True to refuse files that this pipeline does not name, as options of steps.
    """

    def __init__(self, pipeline: Pipeline, *, keeps_files: bool = False) -> None:
        self._lock = threading.Lock()
        self._pipeline = pipeline
        self._revision = 1
        self._files = set(_files(pipeline)) if keeps_files else None

    @property
    def now(self) -> tuple[int, Pipeline]:
        """Revision and pipeline."""
        with self._lock:
            return self._revision, self._pipeline

    def table(self) -> dict[str, Any]:
        """What the page gets."""
        revision, pipeline = self.now
        return {"revision": revision, **shown(pipeline)}

    def change(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Take over what the page holds; parts that are left out stay.

        Raises:
            Refused: there are mistakes; all of them are told at once, each with its place.
        """
        with self._lock:
            pipeline = read_back(table, self._pipeline)
            problems = _file_problems(pipeline, self._files) or _missing(pipeline)
            if problems:
                raise _with_problems(problems)
            if pipeline != self._pipeline:
                self._pipeline, self._revision = pipeline, self._revision + 1
        return self.table()


def read_back(table: Mapping[str, Any], before: Pipeline) -> Pipeline:
    """The pipeline of a page's table.

    Args:
        table: as `shown` gives it; parts that are left out stay as in `before`.
        before: the pipeline on screen; steps that are shown as before stay the same objects.

    Raises:
        Refused: it has mistakes.
    """
    whole = {**shown(before), **{key: value for key, value in table.items() if key != "revision"}}
    problems = [f"{key}: unknown part{did_you_mean(key, _PARTS)}" for key in whole if key not in _PARTS]
    if misshapen := _misshapen(whole):
        raise _with_problems([*problems, *misshapen])
    known = {word.name: word for word in words("tiles")}
    tiles: dict[str, Any] = {}
    for name, value in whole["tiles"].items():
        if name not in known:
            problems.append(f"tiles: unknown option '{name}'{did_you_mean(name, list(known))}")
        elif value is not None:
            tiles.update(known[name].split(value))
    try:
        pipeline = pipeline_from_table(
            {
                "slideloom": VERSION,
                "slides": to_table(before.slides),
                "run": to_table(before.run),
                "tiles": tiles,
                "mask": to_table(before.mask),
                "roi": _sources(before, whole["roi"]),
                "qc": [_table(each, "qc", before) for each in whole["qc"]],
                "filter": [_table(each, "filter", before) for each in whole["filters"]],
                "sink": [{"use": sink} for sink in before.sinks],
                **_one("normalizer", whole["normalizer"], before),
                **({} if before.placement is None else {"placement": {"use": before.placement}}),
            },
            where=_PageFront(),
        )
    except ConfigError as error:
        raise _with_problems([*problems, *str(error).split("\n")]) from error
    if problems:
        raise _with_problems(problems)
    return pipeline


def _misshapen(whole: Mapping[str, Any]) -> list[str]:
    """Mistakes in the shape of a page's table, which the loader does not expect."""
    problems = [f"{name}: must be a table" for name in ("tiles", "roi") if not isinstance(whole[name], dict)]
    lists = {name: whole[name] for name in ("qc", "filters")}
    if whole["normalizer"] is not None:
        lists["normalizer"] = [whole["normalizer"]]
    for name, entries in lists.items():
        if not isinstance(entries, list):
            problems.append(f"{name}: must be a list")
        elif any(not isinstance(e, dict) or not isinstance(e.get("options", {}), dict) for e in entries):
            problems.append(f"{name}: each step must be a table with 'use' and 'options'")
    return problems


def _with_problems(lines: Sequence[str]) -> Refused:
    problems = []
    for line in dict.fromkeys(lines):
        where, colon, text = line.partition(": ")
        problems.append({"where": where if colon else "", "text": text if colon else line})
    return Refused(422, "; ".join(dict.fromkeys(lines)), problems=problems)


def _sources(before: Pipeline, rules: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The sources of regions, of which the folder's has the page's rules."""
    found = first_folder(before)
    tables = []
    for place, use in enumerate(before.roi):
        own = {name: getattr(use, name) for name in _RULES}
        given = {key: value for key, value in rules.items() if value is not None}
        tables.append({"use": use.source, **own, **(given if found is not None and place == found[0] else {})})
    return tables


def _table(entry: Mapping[str, Any], kind: str, before: Pipeline) -> dict[str, Any]:
    """An entry of a pipeline file for one of the page; a step that has not changed stays the same object."""
    options = {key: value for key, value in entry.get("options", {}).items() if value is not None}
    rules = (
        {"filter_threshold": options.pop("filter_threshold")} if "filter_threshold" in options and kind == "qc" else {}
    )
    for step in _steps(before, kind):
        was = _entry(kind, step)
        if was["use"] == entry.get("use") and {k: v for k, v in was["options"].items() if v is not None} == options:
            return {"use": step, **rules}
    return {"use": entry.get("use"), **options, **rules}


def _one(kind: str, entry: Any, before: Pipeline) -> dict[str, Any]:
    return {} if entry is None else {kind: _table(entry, kind, before)}


def _steps(pipeline: Pipeline, kind: str) -> Sequence[Settings[Any]]:
    if kind == "qc":
        return [use.step for use in pipeline.qc]
    if kind == "filter":
        return pipeline.filters
    return [] if pipeline.normalizer is None else [pipeline.normalizer]


def _missing(pipeline: Pipeline) -> list[str]:
    """What the steps on screen need, and is not there."""
    problems = []
    for kind in ("qc", "filter", "normalizer"):
        for step in _steps(pipeline, kind):
            try:
                step.check()
            except SlideloomError as error:
                problems.append(f"{kind} {use_of(kind, step)}: {error}")
    return problems


def _files(pipeline: Pipeline) -> Iterator[str]:
    """The files, and the words that allow a file to run code, in options of steps."""
    for kind in ("qc", "filter", "normalizer"):
        for step in _steps(pipeline, kind):
            for name in options_of(type(step)):
                value = getattr(step, name)
                if isinstance(value, Path) or (name == "trust" and value):
                    yield f"{name} {value}"


def _file_problems(pipeline: Pipeline, allowed: set[str] | None) -> list[str]:
    if allowed is None:
        return []
    return [
        f"{entry.partition(' ')[0]}: other machines can reach this studio, so files are named only where it is started"
        for entry in _files(pipeline)
        if entry not in allowed
    ]
