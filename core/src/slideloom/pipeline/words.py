"""The names of a pipeline's options on the command line and in Python: one table, made from the settings classes.

A pipeline file writes `[tiles] edge_tiles = true`, Python `use_edge_tiles=True`, the command line `--edge-tiles`. Such
a name is called a word here. Most words stand for one option; two words stand for either of two options, such as
`tile_um`, which takes microns or a magnification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import attrs
from attrs import field, frozen

from slideloom.pipeline.pipeline import QcUse, RoiUse, RunOptions, Slides
from slideloom.pipeline.tile_masks import TileMasks
from slideloom.pipeline.tiling import Tiling
from slideloom.settings.options import OptionInfo, options_of

TABLES: Mapping[str, type[Any]] = {
    "tiles": Tiling, "mask": TileMasks, "slides": Slides, "roi": RoiUse, "qc": QcUse, "run": RunOptions,
}  # fmt: skip
"""The tables of a pipeline file that hold options of the core, and their classes."""

NO_WORD: Mapping[tuple[str, str], str] = {
    ("slides", "include"): "a command takes slides by position, a project has sources",
    ("roi", "source"): "--roi and roi= name the source, a project has a folder of regions",
    ("qc", "step"): "--qc and qc= name the step",
    ("run", "out"): "--out, or the project's folder",
    ("run", "staging"): "--staging, of commands whose output may be at an address",
}
"""Options without a word, and how they are given instead."""

BESIDE_TILES = ("context_um", "tile_mask", "mask_classes", "mask_others", "mask_on_top", "mask_without")
"""Words of what is stored with tiles, for fronts that store none."""


@frozen
class Word:
    """The name of an option on the command line and in Python.

    Attributes:
        name: the keyword argument, such as "use_edge_tiles".
        flags: the flags, such as ("--edge-tiles", "--use-edge-tiles"); messages use the first.
        table: the table of a pipeline file that holds the option.
        info: type, default, range and help.
        options: the options that it stands for, each with what messages say its value must be, or "" for the option's
            own words.
        split: turns a value into the values of these options.
    """

    name: str
    flags: tuple[str, ...]
    table: str
    info: OptionInfo
    options: Mapping[str, str]
    split: Callable[[Any], dict[str, Any]] = field(eq=False, repr=False)


def word_of(table: str, info: OptionInfo) -> Word:
    """The word for one option."""
    name = info.field or info.name
    usual = ("--no-" if info.default is True else "--") + name.replace("_", "-")
    flags = info.flag.split() or [usual]
    return Word(name, tuple(flags), table, info, {info.name: ""}, lambda value: {info.name: value})


def _tile_um(info: OptionInfo) -> Word:
    """`tile_um`: microns or a magnification."""
    return Word(
        "tile_um",
        ("--tile-um",),
        "tiles",
        attrs.evolve(
            info,
            type=float | str,
            default=attrs.NOTHING,
            help='width of a tile in microns, or a magnification such as "10x": the nearest stored level, not resized',
        ),
        {"size_um": "", "magnification": 'a number of microns or a magnification such as "10x"'},
        lambda value: {"magnification" if isinstance(value, str) else "size_um": value},
    )


def _roi_filter_method(info: OptionInfo) -> Word:
    """`roi_filter_method`: "center", or a share of the area."""

    def split(value: Any) -> dict[str, Any]:
        return {"filter_method": "center"} if value == "center" else {"filter_method": "proportion", "threshold": value}

    return Word(
        "roi_filter_method",
        ("--roi-filter",),
        "roi",
        attrs.evolve(
            info,
            type=float | str,
            help="a tile is inside if its centre is, or this share of its area",
            range="from 0 to 1",
            metavar="center|SHARE",
        ),
        {"filter_method": "", "threshold": "center or a share from 0 to 1"},
        split,
    )


# For each word that stands for two options: the first option, and the second.
_JOINED = {("tiles", "size_um"): _tile_um, ("roi", "filter_method"): _roi_filter_method}
_SECOND = {("tiles", "magnification"), ("roi", "threshold")}


@cache
def _all_words() -> Mapping[str, Word]:
    found = [
        _JOINED[table, name](info) if (table, name) in _JOINED else word_of(table, info)
        for table, cls in TABLES.items()
        for name, info in options_of(cls).items()
        if (table, name) not in NO_WORD and (table, name) not in _SECOND
    ]
    return {word.name: word for word in found}


def words(*tables: str, without: Mapping[str, str] | None = None) -> tuple[Word, ...]:
    """The words of some tables, or of all, in the order of their options.

    Args:
        tables: names of tables, such as "tiles".
        without: words to leave out, with the reason.
    """
    return tuple(
        word
        for word in _all_words().values()
        if (not tables or word.table in tables) and word.name not in (without or {})
    )


def named(*names: str) -> tuple[Word, ...]:
    """The words with these names."""
    return tuple(_all_words()[name] for name in names)


def tables_of(given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of a pipeline file for values by word. None means not given; unknown names are ignored.

    Nothing is checked here: the code that reads the tables does that, and a `Front` words its messages.
    """
    tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    for name, word in _all_words().items():
        if given.get(name) is not None:
            tables[word.table].update(word.split(given[name]))
    return tables
