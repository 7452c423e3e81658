"""A pipeline as text that does just this: a pipeline file, a command, or Python."""

from __future__ import annotations

import json
import math
import pprint
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from slideloom.base.errors import ConfigError
from slideloom.pipeline.pipeline import VERSION, Pipeline
from slideloom.pipeline.words import Word, words
from slideloom.plugins.given_steps import GivenStep
from slideloom.settings.options import Settings, options_of
from slideloom.settings.tables import plain

from slideloom_studio.step_forms import use_of

_WIDTH = 100
_KEY = re.compile(r"[A-Za-z0-9_-]+")


@frozen
class PipelineText:
    """A pipeline with its slides and its output folder.

    Attributes:
        pipeline: whose `slides.include` names the slides.
        out: the output folder.
    """

    pipeline: Pipeline
    out: Path

    def tables(self) -> dict[str, Any]:
        """The tables of a pipeline file, without options that have their default values.

        Raises:
            ConfigError: a step was given as an object, which no text can name.
        """
        pipeline = self.pipeline
        tables: dict[str, Any] = {"slideloom": VERSION}
        lists = {
            "roi": [{**_step("roi", use.source), **_changed(use, without="source")} for use in pipeline.roi],
            "qc": [{**_step("qc", use.step), **_changed(use, without="step")} for use in pipeline.qc],
            "filter": [_step("filter", step) for step in pipeline.filters],
            "sink": [_step("sink", step) for step in pipeline.sinks],
        }
        # Left out, a filter or a sink means the default one.
        tables |= {name: [] for name in ("filter", "sink") if not lists[name]}
        tables |= {"slides": _changed(pipeline.slides), "tiles": _changed(pipeline.tiles)}
        tables |= {"mask": _changed(pipeline.mask)} if pipeline.mask.of else {}
        tables |= {name: entries for name, entries in lists.items() if entries}
        if pipeline.normalizer is not None:
            tables["normalizer"] = _step("normalizer", pipeline.normalizer)
        if pipeline.placement is not None:
            tables["placement"] = _step("placement", pipeline.placement)
        run = _changed(pipeline.run)
        return {**tables, "run": run} if run else tables

    def toml(self) -> str:
        """A pipeline file."""
        tables = self.tables()
        tables["run"] = {"out": str(self.out), **tables.get("run", {})}
        lines = [f"{key} = {_toml(value)}" for key, value in tables.items() if not _is_table(value)]
        for key, value in tables.items():
            if not _is_table(value):
                continue
            for entry in value if isinstance(value, list) else [value]:
                lines += ["", f"[[{key}]]" if isinstance(value, list) else f"[{key}]"]
                lines += [f"{_key(name)} = {_toml(item)}" for name, item in entry.items()]
        return "\n".join(lines) + "\n"

    def command(self) -> str:
        """A command for a POSIX shell."""
        tables, pipeline = self.tables(), self.pipeline
        parts = [("slideloom extract",), *((entry,) for entry in pipeline.slides.include), ("--out", str(self.out))]
        for table in ("tiles", "mask", "slides", "run"):
            parts += _flags(table, getattr(pipeline, table))
        for kind in ("roi", "qc", "filter", "sink"):
            parts += [(f"--{kind}", _short(entry)) for entry in tables.get(kind, [])]
        for kind in ("normalizer", "placement"):
            parts += [(f"--{kind}", _short(tables[kind]))] if kind in tables else []
        if not pipeline.filters:
            parts.append(("--filter", "none"))
        first, *rest = parts
        return " \\\n  ".join([*first, *(" ".join(map(shlex.quote, part)) for part in rest)]) + "\n"

    def python(self) -> str:
        """A program."""
        tables = self.tables()
        slides = tables["slides"].pop("include", [])
        told = {name: table for name, table in tables.items() if table != {}}
        text = pprint.pformat(told, width=_WIDTH, sort_dicts=False)
        chosen = [repr(slides)]
        if self.pipeline.slides.exclude:
            chosen.append(f"exclude={list(self.pipeline.slides.exclude)!r}")
        if self.pipeline.slides.recursive:
            chosen.append("recursive=True")
        return (
            "from pathlib import Path\n\nimport slideloom as sl\n\n"
            f'pipeline = sl.pipeline_from_table(\n{_indented(text)},\n    where="studio",\n)\n'
            f"slides = sl.find_slides({', '.join(chosen)})\n"
            f"report = sl.run_pipeline(pipeline, slides, Path({str(self.out)!r}))\n"
        )


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.split("\n"))


def _changed(settings: Any, *, without: str = "") -> dict[str, Any]:
    """The options of settings that differ from their defaults, as plain values."""
    return {
        name: plain(getattr(settings, name))
        for name, info in options_of(type(settings)).items()
        if name != without and (info.is_required or getattr(settings, name) != info.default)
    }


def _step(kind: str, settings: Settings[Any]) -> dict[str, Any]:
    if isinstance(settings, GivenStep):
        raise ConfigError(f"{kind} '{settings.label}' was given as an object, which no text can name; name a step")
    return {"use": use_of(kind, settings), **_changed(settings)}


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value))


def _flags(table: str, settings: Any) -> list[tuple[str, ...]]:
    """The flags of the options of a table that differ from their defaults."""
    changed = _changed(settings)
    found: list[tuple[str, ...]] = []
    for word in words(table):
        for option in word.options:
            if option in changed:
                found += _flag(word, changed[option])
    return found


def _flag(word: Word, value: Any) -> list[tuple[str, ...]]:
    name = word.flags[0]
    if isinstance(value, bool):
        return [(name,)]
    return [(name, _word(each)) for each in (value if isinstance(value, list) else [value])]


def _word(value: Any) -> str:
    """A value as a flag takes it: a context as UM or UM:PX."""
    return context_word(value["size_um"], value.get("size_px")) if isinstance(value, dict) else str(value)


def context_word(size_um: float, size_px: int | None) -> str:
    """A context, as flags and pages write it: "604.0", or "604.0:256" with the width of its picture."""
    return f"{size_um!r}:{size_px}" if size_px is not None else repr(size_um)


def _short(entry: Mapping[str, Any]) -> str:
    """A step as NAME:option=value,option=value."""
    options = ",".join(f"{name}={_toml(value)}" for name, value in entry.items() if name != "use")
    return f"{entry['use']}:{options}" if options else str(entry["use"])


def _toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    raise ConfigError(f"a pipeline file cannot hold {value!r}")


def _toml_text(value: str) -> str:
    """Text as TOML: as it is where that needs no escapes, so that the short form of steps can hold quotes."""
    if '"' in value and "'" not in value and value.isprintable():
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if _KEY.fullmatch(name) else _toml_text(name)
