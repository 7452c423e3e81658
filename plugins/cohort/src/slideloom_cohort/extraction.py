"""From the arguments of `Project.extract_tiles` to the pipeline of each source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen
from slideloom.base.errors import ConfigError, PluginError
from slideloom.pipeline.from_words import pipeline_from_words, tiling_from_words
from slideloom.pipeline.fronts import PYTHON, WordFront
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.tile_masks import REGIONS
from slideloom.pipeline.tiling import Tiling
from slideloom.pipeline.words import Word, word_of, words
from slideloom.plugins.discovery import registry
from slideloom.plugins.given_steps import Step, steps_in
from slideloom.plugins.shorthand import folder_of_regions, step_entry
from slideloom.settings.options import OptionInfo, Settings, options_of
from slideloom.settings.tables import Called, Place, made_from_table

from slideloom_cohort.params import Params
from slideloom_cohort.sources import Source

# Arguments of `Project.extract_tiles` that an `Extraction` has under the same name.
_STEPS = (
    "qc", "sinks", "normalizer", "placement", "normalizer_source", "context_normalize", "save_tiles", "save_tfrecords",
)  # fmt: skip

# Arguments that are options of steps: kind, steps and option.
_OF_STEPS = {
    "grayspace_fraction": ("filter", ("grayspace",), "fraction"),
    "grayspace_threshold": ("filter", ("grayspace",), "threshold"),
    "whitespace_fraction": ("filter", ("whitespace",), "fraction"),
    "whitespace_threshold": ("filter", ("whitespace",), "threshold"),
    "img_format": ("sink", ("tfrecord", "images"), "format"),
    "shuffle": ("sink", ("tfrecord",), "shuffle"),
}


def step_words() -> tuple[Word, ...]:
    """The arguments of `Project.extract_tiles` that are options of steps, with the steps' help, range and default."""
    return tuple(
        word_of(kind, attrs.evolve(_info(kind, uses[0], option), field=name))
        for name, (kind, uses, option) in _OF_STEPS.items()
    )


def _info(kind: str, use: str, option: str) -> OptionInfo:
    try:
        return options_of(registry().find(kind, use))[option]
    except PluginError:
        return OptionInfo(
            name=option,
            type=float | str,
            type_text="a value",
            default=None,
            help=f"{option} of the {kind} '{use}', which is not installed",
            unit="",
            affects_output=True,
        )


@frozen(kw_only=True)
class Extraction:
    """The arguments of `Project.extract_tiles`; see there.

    Attributes:
        options: values of the pipeline's options and of `step_words`; None means not given.
        qc, filters, sinks, normalizer, placement: steps.
        normalizer_source: target of the normalizer.
        context_normalize: its statistics are those of the slide, not of each tile.
        save_tiles, save_tfrecords: which of the source's own sinks to use.
        front: how messages name the options, as flags or as keyword arguments.
    """

    options: Mapping[str, Any]
    qc: Step | Sequence[Step] | None = None
    filters: Sequence[Step] = ()
    sinks: Sequence[Step] = ()
    normalizer: Step | None = None
    placement: Step | None = None
    normalizer_source: str | Path | None = None
    context_normalize: bool = False
    save_tiles: bool = False
    save_tfrecords: bool = True
    front: WordFront = field(default=PYTHON)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Extraction:
        """What arguments of `Project.extract_tiles` ask for; those that are not given have their defaults."""
        told = {name: given.get(name) for name in (word.name for word in (*words(), *step_words()))}
        return cls(
            options={**told, "report": given.get("report", True)},
            filters=given.get("tile_filters", ()),
            **{name: given[name] for name in _STEPS if name in given},
        )

    def with_model(self, model: Params | None) -> Extraction:
        """The same, with a model's tile size and normalizer where none is given.

        Raises:
            ConfigError: neither a size nor a model is given.
        """
        given = self.options
        if model is not None:
            size = {name: given.get(name) or getattr(model, name) for name in ("tile_px", "tile_um")}
            return attrs.evolve(self, options={**given, **size}, normalizer=self.normalizer or model.normalizer)
        if given.get("tile_px") is None or given.get("tile_um") is None:
            size_words = " and ".join(self.front.says(name) for name in ("tile_px", "tile_um"))
            raise ConfigError(f"give {size_words}, or {self.front.says('params')} of a model")
        return self

    def tiling(self) -> Tiling:
        """Size and places of the tiles.

        Raises:
            ConfigError: an argument is wrong.
        """
        return tiling_from_words(self.options, front=self.front)

    def pipeline(self, source: Source) -> Pipeline:
        """The pipeline for one source.

        Raises:
            ConfigError: an argument is wrong. PluginError: a step does not exist.
        """
        return pipeline_from_words(
            self.options,
            roi=self._roi(source),
            qc=self._qc(),
            filters=[*self._filters(), *self.filters],
            normalizer=self._normalizer(),
            placement=self.placement,
            sinks=[*self._sinks(source), *self.sinks],
            front=self.front,
        )

    def _roi(self, source: Source) -> list[Step]:
        method = self.options.get("roi_method")
        if method == "ignore" and self.options.get("tile_mask") != REGIONS:
            return []
        if source.roi is None or not source.roi.is_dir():
            if method in ("inside", "outside"):
                raise ConfigError(
                    f"source {source.name}: {self.front.says('roi_method')} is '{method}', but there is no folder of "
                    f"regions ({source.roi or 'roi is not set in project.toml'})"
                )
            return []
        return [folder_of_regions(source.roi)]

    def _qc(self) -> list[Step]:
        return steps_in(self.qc)

    def _filters(self) -> list[Step]:
        usual = {"grayspace": None, "whitespace": 1}  # a fraction of 1 turns a filter off
        return [
            self._made("filter", use)
            for use, fraction in usual.items()
            if self._options_of("filter", use).get("fraction", fraction) != 1
        ]

    def _normalizer(self) -> Step | None:
        """The normalizer, with what other arguments say of it."""
        source, context = (self.front.says(name) for name in ("normalizer_source", "context_normalize"))
        said = {source: self.normalizer_source is not None, context: self.context_normalize}
        if self.normalizer is None:
            for word in (word for word, is_given in said.items() if is_given):
                raise ConfigError(f"{word} needs a normalizer, such as macenko")
            return None
        entry = dict(step_entry("normalizer", self.normalizer))
        if self.normalizer_source is not None:
            if not isinstance(entry["use"], str):
                raise ConfigError(f"{source} needs a normalizer given by name; set `target` in its settings instead")
            entry["target"] = str(self.normalizer_source)
        return self._in_context(entry) if self.context_normalize else entry

    def _in_context(self, entry: dict[str, Any]) -> Step:
        """The normalizer with statistics of the slide."""
        use, word = entry["use"], self.front.says("context_normalize")
        settings = use if isinstance(use, Settings) else registry().find("normalizer", use)
        if "context" not in options_of(settings if isinstance(settings, type) else type(settings)):
            raise ConfigError(f"{word}: the normalizer {settings.name} takes no statistics of slides")
        if entry.get("context", "slide") != "slide":
            raise ConfigError(
                f"{word} says slide, and {settings.name} context = {entry['context']!r}; give one of them"
            )
        wanted: dict[str, Any] = {"context": "slide"}
        return attrs.evolve(use, **wanted) if isinstance(use, Settings) else {**entry, **wanted}

    def _sinks(self, source: Source) -> list[Step]:
        if self.save_tiles and source.tiles.parent != source.out:
            raise ConfigError(
                f"source {source.name}: tiles ({source.tiles}) and TFRecords ({source.tfrecords}) must be in the same "
                "folder; change project.toml"
            )
        sinks: list[Step] = []
        if self.save_tfrecords:
            folder = "." if source.out == source.tfrecords else source.tfrecords.name
            sinks.append(self._made("sink", "tfrecord", folder=folder))
        if self.save_tiles:
            sinks.append(self._made("sink", "images", folder=source.tiles.name))
        return sinks

    def _options_of(self, kind: str, use: str) -> dict[str, Any]:
        """The options of a step that were given as arguments."""
        given = {option: self.options.get(name) for option, name in _arguments(kind, use).items()}
        return {option: value for option, value in given.items() if value is not None}

    def _made(self, kind: str, use: str, **options: Any) -> Settings[Any]:
        called = {option: Called(self.front.says(name)) for option, name in _arguments(kind, use).items()}
        place = Place("", self.front.noun, called)
        return made_from_table(registry().find(kind, use), {**self._options_of(kind, use), **options}, where=place)


def _arguments(kind: str, use: str) -> dict[str, str]:
    """The options of a step, each with the argument that gives it."""
    return {option: name for name, (of_kind, uses, option) in _OF_STEPS.items() if of_kind == kind and use in uses}
