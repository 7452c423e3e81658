"""One place per option: each is reached by its flag, its argument and its key, with one default and the same words."""

from __future__ import annotations

import argparse
import inspect
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import attrs
import pytest
from slideloom import WSI, ConfigError, Project, Settings, registry
from slideloom.base.errors import OptionError
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.flags import add_flags, given_flags
from slideloom.pipeline.from_words import pipeline_from_words
from slideloom.pipeline.fronts import FLAGS
from slideloom.pipeline.pipeline import Pipeline, RunOptions, Slides
from slideloom.pipeline.tiling import Context
from slideloom.pipeline.words import NO_WORD, TABLES, Word, named, words
from slideloom.plugins.hookspecs import KINDS
from slideloom.settings.options import OptionInfo, options_of
from slideloom.viewing import wsi
from slideloom_cli import main as cli, tiles
from slideloom_cohort import command
from slideloom_cohort.arguments import OF_DATASET, ExtractOptions
from slideloom_cohort.extraction import step_words
from slideloom_deepfocus import StridedModelSettings
from slideloom_segmentation import SegmentConfig

RUN = {word.name: "nothing is run" for word in words("run")}
EVERY = [pytest.param(word, id=word.name) for word in words()]
STEPS = [pytest.param(cls, id=f"{kind} {cls.name}") for kind in KINDS for cls in registry().all(kind)]
# Options that are no step's: parts of a pipeline, and what plugins take from Python.
OTHERS = [RunOptions, Slides, StridedModelSettings, SegmentConfig]


def test_every_option_has_a_word_or_a_reason_why_not() -> None:
    options = {(table, name) for table, cls in TABLES.items() for name in options_of(cls)}
    said = {(word.table, name) for word in words() for name in word.options}

    assert said | set(NO_WORD) == options
    assert not said & set(NO_WORD)
    assert all(NO_WORD.values())


def flags_of(*names: str) -> set[str]:
    """Where the flags of a command put what they are given."""
    parser = cli._parser(names)
    for name in names:
        (commands,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        parser = commands.choices[name]
    return {action.dest for action in parser._actions}


# A project finds slides by its sources, whose slides may be a pattern.
OF_SOURCES = {"recursive": command.NO_FLAG["recursive"]}


@pytest.mark.parametrize(
    ("front", "reached", "left_out"),
    [
        ("extract", flags_of("extract"), {}),
        (
            "run",
            flags_of("run"),
            {word.name: "the file says it" for word in words("tiles", "mask", "slides", "roi", "qc")},
        ),
        ("tiles", flags_of("tiles"), {**tiles.NO_FLAG, **RUN}),
        ("project extract", flags_of("project", "extract"), command.NO_FLAG),
        ("Project.extract_tiles", set(inspect.signature(Project.extract_tiles).parameters), OF_SOURCES),
        ("WSI", set(inspect.signature(WSI).parameters), {**wsi.NO_ARGUMENT, **RUN}),
    ],
)
def test_every_front_reaches_every_option_or_says_why_not(
    front: str, reached: Collection[str], left_out: Mapping[str, str]
) -> None:
    every = {word.name for word in words()}

    assert {name for name in every if name in reached} == every - set(left_out), front
    assert all(left_out.values())


def test_a_dataset_takes_every_argument_of_a_project_but_what_it_has_itself() -> None:
    of_project = set(inspect.signature(Project.extract_tiles).parameters) - {"self"}

    assert set(ExtractOptions.__annotations__) == of_project - set(OF_DATASET)


# What a project does by itself, unlike a run of a file: it writes its report, and may take sizes from a model.
OWN = {"report": True, "tile_px": None, "tile_um": None}


@pytest.mark.parametrize("function", [Project.extract_tiles, WSI.__init__], ids=["extract_tiles", "WSI"])
def test_arguments_have_the_defaults_of_the_table(function: Any) -> None:
    parameters = inspect.signature(function).parameters
    project = function is Project.extract_tiles
    for word in (*words(), *(step_words() if project else ())):
        if word.name in parameters:
            default = OWN[word.name] if project and word.name in OWN else word.info.default
            found = parameters[word.name].default
            assert found == (inspect.Parameter.empty if default is attrs.NOTHING else default), word.name


@pytest.mark.parametrize("thing", [Project.extract_tiles, WSI], ids=["extract_tiles", "WSI"])
def test_every_argument_is_told_in_the_docstring(thing: Any) -> None:
    lines = re.findall(r"^ +([a-z_, ]+): ", inspect.getdoc(thing) or "", re.MULTILINE)
    told = {name for line in lines for name in line.split(", ")}

    assert set(inspect.signature(thing).parameters) - {"self"} <= told


def example(info: OptionInfo) -> Any:
    """A value that is not the default."""
    if info.type is bool:
        return not info.default
    if info.field == "tile_mask":
        return "roi"
    if get_origin(info.type) is Literal:
        return get_args(info.type)[-1]
    if get_origin(info.type) is tuple:
        return ["500", "700:64"] if Context in get_args(info.type) else ["a", "b"]
    for kind, value in ((int, 7), (float, 0.25), (Path, Path("some.csv")), (str, "some")):
        if kind in (info.type, *get_args(info.type)):
            return value
    raise AssertionError(f"no example for {info.type}")


def typed(word: Word, value: Any) -> list[str]:
    """A value as somebody types it."""
    if isinstance(value, bool):
        return [word.flags[-1]]
    return [part for item in (value if isinstance(value, list) else [value]) for part in (word.flags[-1], str(item))]


def pipeline_of(given: Mapping[str, Any], **more: Any) -> Pipeline:
    masks = {"tile_mask": "qc:otsu"} if more.get("qc", True) else {}  # other options of masks go with masks only
    given = {**masks, **given}
    steps = {"roi": ["roi-folder:folder=rois"], "qc": ["otsu"], "filters": [], "sinks": []}
    return pipeline_from_words({"tile_px": 299, "tile_um": 302, **given}, **{**steps, **more})


@pytest.mark.parametrize("word", EVERY)
def test_flag_argument_and_key_say_the_same_and_nothing_else(word: Word) -> None:
    value = example(word.info)
    parser = argparse.ArgumentParser()
    add_flags(parser, words())
    by_flag = pipeline_of(given_flags(parser.parse_args(typed(word, value))), front=FLAGS)
    by_word = pipeline_of({word.name: value})

    table = pipeline_of({}).as_table()
    changed = word.split(value)
    for entry in table[word.table] if isinstance(table[word.table], list) else [table[word.table]]:
        entry.update(changed)
    by_key = pipeline_from_table(table, where="pipeline.toml")

    assert by_flag == by_word == by_key
    differing = {
        (name, key)
        for name, cls in TABLES.items()
        for before, after in zip(parts_of(pipeline_of({}), cls), parts_of(by_word, cls), strict=True)
        for key in options_of(cls)
        if getattr(before, key) != getattr(after, key)
    }
    assert differing == {(word.table, key) for key in changed}


def parts_of(pipeline: Pipeline, cls: type[Any]) -> list[Any]:
    parts = [pipeline.tiles, pipeline.mask, pipeline.slides, pipeline.run, *pipeline.roi, *pipeline.qc]
    return [part for part in parts if isinstance(part, cls)]


def wrong_text(info: OptionInfo) -> str | None:
    """What nobody can mean; None for free text, switches and lists."""
    kinds = (info.type, *get_args(info.type))
    return "nan" if int in kinds or float in kinds else "?" if get_origin(info.type) is Literal else None


@pytest.mark.parametrize("word", [word for word in words() if wrong_text(word.info)], ids=lambda word: word.name)
def test_a_wrong_value_is_one_message_that_names_the_flag_or_the_argument(word: Word) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, words())
    given = given_flags(parser.parse_args([word.flags[0], str(wrong_text(word.info))]))

    without_steps: dict[str, Any] = {"roi": [], "qc": []}  # where the rules of a step are not needed
    for more in ({}, without_steps):
        with pytest.raises(ConfigError, match=f"^{word.flags[0]} must be [^\n]+$"):
            pipeline_of(given, front=FLAGS, **more)
        with pytest.raises(ConfigError, match=f"^{word.name} must be [^\n]+$"):
            pipeline_of(given, **more)


def test_help_shows_range_default_and_unit_of_the_table() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, named("stride_div", "buffer_gb", "roi_method", "enable_downsample", "exclude"))
    shown = " ".join(parser.format_help().split())

    for text in (
        "--stride-div X stride is the tile size divided by this; with 2, tiles overlap by half (above 0; default 1)",
        "--buffer-gb GB maximum size of the buffer (above 0; default 50)",
        "--roi-method {auto,inside,outside,ignore} auto (",
        "--no-downsample do not read from lower levels if they suffice",
        "--exclude PATTERN patterns to leave out (may be given several times)",
    ):
        assert text in shown


# Steps that need one of several options, and one that will do.
ONE_OF = {"features": {"timm": "resnet18"}}


@pytest.mark.parametrize("cls", [*STEPS, *OTHERS])
def test_every_option_of_every_step_is_checked_in_python(cls: type[Settings[Any]]) -> None:
    infos = options_of(cls)
    needed = {name: example(info) for name, info in infos.items() if info.is_required}
    needed |= ONE_OF.get(getattr(cls, "name", ""), {})
    made = cls(**needed)
    for name, info in infos.items():
        wrong = [object()]
        if float in (info.type, *get_args(info.type)):
            wrong += [math.nan, math.inf, -math.inf]
        if Literal in (get_origin(info.type), *map(get_origin, get_args(info.type))) and Path not in get_args(
            info.type
        ):
            wrong += ["no such choice"]
        for value in wrong:
            with pytest.raises(OptionError, match=f"^{name} "):
                attrs.evolve(made, **{name: value})
