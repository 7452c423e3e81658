"""Pipeline files: reads TOML tables strictly into a `Pipeline`, and reports every mistake at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from slideloom.base.errors import ConfigError, PluginError
from slideloom.pipeline.pipeline import VERSION, Pipeline, QcUse, RoiUse, RunOptions, Slides
from slideloom.pipeline.tiling import Tiling
from slideloom.plugins.discovery import Registry, registry
from slideloom.settings.options import Settings, did_you_mean, options_of
from slideloom.settings.tables import from_table

T = TypeVar("T")

_TABLES = ("slideloom", "slides", "tiles", "roi", "qc", "filter", "normalizer", "placement", "sink", "run")


def load_pipeline(path: Path, *, plugins: Registry | None = None) -> Pipeline:
    """The pipeline that a TOML file describes; relative paths are relative to the file's folder.

    Raises:
        ConfigError: the file cannot be read or has mistakes; the message lists all of them, one per line.
    """
    try:
        with path.open("rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    return pipeline_from_table(table, where=str(path), base=path.parent, plugins=plugins)


def pipeline_from_table(
    table: Mapping[str, Any], *, where: str, base: Path | None = None, plugins: Registry | None = None
) -> Pipeline:
    """The pipeline described by a table with the layout of a pipeline file.

    Without a `filter` table, the default tile filter is on; `filter = []` turns it off. Without a `sink` table, tiles
    go to the default sink. Plugins offer both (`slideloom_defaults`).

    Args:
        table: as parsed from TOML.
        where: the file to name in messages.
        base: the folder to which relative paths are relative.
        plugins: where steps are looked up.

    Raises:
        ConfigError: with every mistake, one per line.
    """
    reader = _TableReader(where, base, plugins or registry())
    pipeline = reader.read(table)
    if reader.mistakes or pipeline is None:
        raise ConfigError("\n".join(reader.mistakes))
    return pipeline


class _TableReader:
    """Reads the tables one by one and collects mistakes."""

    def __init__(self, where: str, base: Path | None, plugins: Registry) -> None:
        self.mistakes: list[str] = []
        self._where = where
        self._base = base
        self._plugins = plugins

    def read(self, table: Mapping[str, Any]) -> Pipeline | None:
        for key in table:
            if key not in _TABLES:
                self._note(f"unknown table '{key}'{did_you_mean(key, _TABLES)}")
        if table.get("slideloom") != VERSION:
            self._note(f"must say 'slideloom = {VERSION}' at the top, the version of the file's layout")
        slides = self._options(Slides, table.get("slides", {}), "[slides]")
        tiles = self._options(Tiling, table.get("tiles", {}), "[tiles]")
        run = self._options(RunOptions, table.get("run", {}), "[run]")
        roi = [self._use(RoiUse, "source", "roi", entry) for entry in self._list(table, "roi")]
        qc = [self._use(QcUse, "step", "qc", entry) for entry in self._list(table, "qc")]
        filters = [self._step("filter", e) for e in self._list(table, "filter", default="filter")]
        sinks = [self._step("sink", e) for e in self._list(table, "sink", default="sink")]
        normalizer = self._step("normalizer", table["normalizer"]) if "normalizer" in table else None
        placement = self._step("placement", table["placement"]) if "placement" in table else None
        if self.mistakes or slides is None or tiles is None or run is None:
            return None
        try:
            return Pipeline(
                slides=slides,
                tiles=tiles,
                roi=_complete(roi),
                qc=_complete(qc),
                filters=_complete(filters),
                normalizer=normalizer,
                sinks=_complete(sinks),
                placement=placement,
                run=run,
            )
        except ConfigError as error:
            self._note(str(error))
            return None

    def _note(self, text: str) -> None:
        self.mistakes.append(f"{self._where}: {text}")

    def _list(self, table: Mapping[str, Any], key: str, default: str | None = None) -> list[Mapping[str, Any]]:
        """The entries of a list of tables; if there is none, the step that plugins offer as the default."""
        if key not in table:
            return [] if default is None else self._default(default)
        entries = table[key]
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            self._note(f"'{key}' is a list of tables: write [[{key}]]")
            return []
        return entries

    def _default(self, use: str) -> list[Mapping[str, Any]]:
        try:
            return [{"use": self._plugins.default(use)}]
        except PluginError as error:
            self._note(f"[[{use}]]: {error}; or write {use} = [] for none")
            return []

    def _options(self, cls: type[T], table: Any, where: str) -> T | None:
        if not isinstance(table, Mapping):
            self._note(f"'{where.strip('[]')}' is a table: write {where}")
            return None
        instance, mistakes = from_table(cls, table, where=f"{self._where}: {where}", base=self._base)
        self.mistakes.extend(mistakes)
        return instance

    def _step(self, kind: str, table: Any) -> Settings[Any] | None:
        where = f"[{kind}]" if kind in ("normalizer", "placement") else f"[[{kind}]]"
        if not isinstance(table, Mapping) or not isinstance(table.get("use"), str):
            self._note(f"{where} needs 'use', the name of a {kind} (known: {', '.join(self._plugins.names(kind))})")
            return None
        try:
            cls = self._plugins.find(kind, table["use"])
        except PluginError as error:
            self._note(f"{where}: {error}")
            return None
        options = {key: value for key, value in table.items() if key != "use"}
        return self._options(cls, options, f"{where} {table['use']}")

    def _use(self, cls: type[T], member: str, kind: str, table: Mapping[str, Any]) -> T | None:
        """A step whose table holds the core's own keys beside the step's options."""
        own = [key for key in options_of(cls) if key != member]
        mine = {key: value for key, value in table.items() if key in own}
        step = self._step(kind, {key: value for key, value in table.items() if key not in own})
        if step is None:
            return None
        name = f"{self._where}: [[{kind}]] {table['use']}"
        values, mistakes = from_table(cls, {**mine, member: step}, where=name, base=self._base)
        self.mistakes.extend(mistakes)
        return values


def _complete(items: Sequence[T | None]) -> tuple[T, ...]:
    return tuple(item for item in items if item is not None)
