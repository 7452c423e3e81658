"""Pipeline files: reads TOML tables strictly into a `Pipeline`, and reports every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from slideloom.base.addresses import check_local
from slideloom.base.errors import ConfigError, PluginError
from slideloom.base.parsing import parse_toml
from slideloom.pipeline.fronts import FileFront, Front
from slideloom.pipeline.pipeline import VERSION, Pipeline, QcUse, RoiUse, RunOptions, Slides
from slideloom.pipeline.tile_masks import TileMasks
from slideloom.pipeline.tiling import Tiling
from slideloom.plugins.discovery import Registry, registry
from slideloom.settings.options import Settings, did_you_mean, options_of
from slideloom.settings.tables import Place, checked, from_table

T = TypeVar("T")

_USES: Mapping[str, type[Any]] = {"roi": RoiUse, "qc": QcUse}
_TABLES = ("slideloom", "slides", "tiles", "mask", "roi", "qc", "filter", "normalizer", "placement", "sink", "run")


def load_pipeline(path: Path, *, plugins: Registry | None = None) -> Pipeline:
    """The pipeline that a TOML file describes; relative paths are relative to the file's folder.

    Raises:
        ConfigError: the file cannot be read or has mistakes; the message lists all of them, one per line.
    """
    check_local(path)
    try:
        table = parse_toml(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    return pipeline_from_table(table, where=str(path), base=path.parent, plugins=plugins)


def pipeline_from_table(
    table: Mapping[str, Any], *, where: str | Front, base: Path | None = None, plugins: Registry | None = None
) -> Pipeline:
    """The pipeline described by a table with the layout of a pipeline file.

    Without a `filter` table, the default tile filter is on; `filter = []` turns it off. Without a `sink` table, tiles
    go to the default sink. Plugins offer both (`slideloom_defaults`).

    Args:
        table: the tables of a TOML file; `use` may also be the settings of a step.
        where: the file to name in messages, or how else messages name tables and options.
        base: the folder that relative paths start from.
        plugins: the registry in which steps are looked up.

    Raises:
        ConfigError: the table has mistakes; the message lists all of them, one per line.
    """
    front = FileFront(where) if isinstance(where, str) else where
    reader = _TableReader(front, base, plugins or registry())
    pipeline = reader.read(table)
    if reader.mistakes or pipeline is None:
        raise ConfigError("\n".join(dict.fromkeys(reader.mistakes)))
    return pipeline


class _TableReader:
    """Reads the tables one by one and collects mistakes."""

    def __init__(self, front: Front, base: Path | None, plugins: Registry) -> None:
        self.mistakes: list[str] = []
        self._front = front
        self._base = base
        self._plugins = plugins

    def read(self, table: Mapping[str, Any]) -> Pipeline | None:
        if isinstance(self._front, FileFront):
            self._check_layout(table, self._front.path)
        slides = self._options(Slides, table, "slides")
        tiles = self._options(Tiling, table, "tiles")
        mask = self._options(TileMasks, table, "mask")
        run = self._options(RunOptions, table, "run")
        roi = [self._use(RoiUse, "source", "roi", entry) for entry in self._list(table, "roi")]
        qc = [self._use(QcUse, "step", "qc", entry) for entry in self._list(table, "qc")]
        filters = [self._step("filter", e) for e in self._list(table, "filter", default="filter")]
        sinks = [self._step("sink", e) for e in self._list(table, "sink", default="sink")]
        normalizer = self._step("normalizer", table["normalizer"]) if "normalizer" in table else None
        placement = self._step("placement", table["placement"]) if "placement" in table else None
        if self.mistakes or slides is None or tiles is None or mask is None or run is None:
            return None
        try:
            return Pipeline(
                slides=slides,
                tiles=tiles,
                mask=mask,
                roi=_complete(roi),
                qc=_complete(qc),
                filters=_complete(filters),
                normalizer=normalizer,
                sinks=_complete(sinks),
                placement=placement,
                run=run,
                front=self._front,
            )
        except ConfigError as error:
            self._note(self._front.table("mask") if mask.of else self._front.step("sink"), str(error))
            return None

    def _check_layout(self, table: Mapping[str, Any], path: str) -> None:
        """Find mistakes that are only possible in a file."""
        place = Place(path)
        for key in table:
            if key not in _TABLES:
                self._note(place, f"unknown table '{key}'{did_you_mean(key, _TABLES)}")
        if table.get("slideloom") != VERSION:
            self._note(place, f"must say 'slideloom = {VERSION}' at the top, the version of the file's layout")

    def _note(self, place: Place, text: str) -> None:
        self.mistakes.append(place.mistake(text))

    def _list(self, table: Mapping[str, Any], key: str, default: str | None = None) -> list[Mapping[str, Any]]:
        """The entries of a list of tables; if there is none, the step that plugins offer as the default."""
        if key not in table:
            return [] if default is None else self._default(default)
        entries = table[key]
        if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
            self._note(self._front.step(key), f"'{key}' is a list of tables: write [[{key}]]")
            return []
        return [each for entry in entries for each in self._meant(key, entry)]

    def _meant(self, kind: str, entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The entry, or one for each step where its name stands for several."""
        use = entry.get("use")
        try:
            names = self._plugins.meant(kind, use) if isinstance(use, str) else ()
        except PluginError as error:
            self._note(self._front.step(kind), str(error))
            return []
        if len(names) < 2:
            return [entry]
        rules = options_of(_USES[kind]) if kind in _USES else {}
        options = [key for key in entry if key != "use" and key not in rules]
        if options:
            steps = " and ".join(names)
            self._note(
                self._front.step(kind, str(use)), f"takes no {', '.join(options)}: it stands for {steps}; name these"
            )
            return []
        return [{**entry, "use": name} for name in names]

    def _default(self, use: str) -> list[Mapping[str, Any]]:
        try:
            return [{"use": self._plugins.default(use)}]
        except PluginError as error:
            none = self._front.none(use)
            self._note(self._front.step(use), f"{error}{f'; or write {none} for none' if none else ''}")
            return []

    def _options(self, cls: type[T], whole: Mapping[str, Any], name: str) -> T | None:
        place, table = self._front.table(name), whole.get(name, {})
        if not isinstance(table, Mapping):
            self._note(place, f"'{name}' is a table: write [{name}]")
            return None
        return self._made(cls, table, place)

    def _made(self, cls: type[T], table: Mapping[str, Any], place: Place) -> T | None:
        instance, mistakes = from_table(cls, table, where=place, base=self._base)
        self.mistakes.extend(mistakes)
        return instance

    def _step(self, kind: str, table: Any) -> Settings[Any] | None:
        use = table.get("use") if isinstance(table, Mapping) else None
        options = {key: value for key, value in table.items() if key != "use"} if isinstance(table, Mapping) else {}
        if isinstance(use, Settings) and not options:
            return use
        if not isinstance(use, str):
            is_file = isinstance(self._front, FileFront)
            wanted = (
                f"needs 'use', the name of a {kind}" if is_file else f"must be the name of a {kind} or its settings"
            )
            known = ", ".join(self._plugins.names(kind))
            self.mistakes.append(f"{self._front.step(kind).where} {wanted} (known: {known})")
            return None
        try:
            cls = self._plugins.find(kind, use)
        except PluginError as error:
            self._note(self._front.step(kind), str(error))
            return None
        return self._made(cls, options, self._front.step(kind, use))

    def _use(self, cls: type[T], member: str, kind: str, table: Mapping[str, Any]) -> T | None:
        """A step whose table holds keys of the core besides the step's own options."""
        own = [key for key in options_of(cls) if key != member]
        mine = {key: value for key, value in table.items() if key in own}
        step = self._step(kind, {key: value for key, value in table.items() if key not in own})
        if step is None:
            self.mistakes += checked(cls, mine, self._front.table(kind), base=self._base)[1]
            return None
        return self._made(cls, {**mine, member: step}, self._front.table(kind, step.name))


def _complete(items: Sequence[T | None]) -> tuple[T, ...]:
    return tuple(item for item in items if item is not None)
