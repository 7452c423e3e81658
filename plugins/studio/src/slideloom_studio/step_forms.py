"""The forms of steps and of tiles: what settings classes say of their options, for a page that asks people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import attrs
from slideloom.base.addresses import Address
from slideloom.pipeline.pipeline import QcUse, RoiUse
from slideloom.pipeline.words import words
from slideloom.plugins.discovery import registry
from slideloom.settings.options import OptionInfo, Settings, help_text, options_of
from slideloom.settings.tables import plain

KINDS = ("qc", "filter", "normalizer")
TARGET = "target"
"""The option of normalizers that says what staining is the goal."""
_SIMPLE = {float: "float", int: "int", bool: "bool", str: "text"}
_USUAL = 4  # options that a form shows at once
_USUAL_TILES = ("tile_px", "tile_um", "stride_div")
_USUAL_RULES = ("method",)


def step_forms() -> list[dict[str, Any]]:
    """The form of each installed slide QC, tile filter and normalizer."""
    return [_form(kind, name) for kind in KINDS for name in registry().names(kind)]


def size_forms() -> dict[str, list[dict[str, Any]]]:
    """The forms of the tables `tiles` and `roi`: options by the names that the page's pipeline gives them."""
    tiles = [{**option_form(word.info), "name": word.name} for word in words("tiles")]
    rules = [option_form(info) for name, info in options_of(RoiUse).items() if name != "source"]
    for form, usual in ((tiles, _USUAL_TILES), (rules, _USUAL_RULES)):
        for option in form:
            option["advanced"] = option["name"] not in usual
    return {"tiles": tiles, "roi": rules}


def use_of(kind: str, settings: Settings[Any]) -> str:
    """The name by which a page, or a pipeline file, names a step: with its distribution where two have it."""
    cls = type(settings)
    names = registry().names(kind)
    return cls.name if cls.name in names else f"{registry().owner(cls).dist}/{cls.name}"


def _form(kind: str, name: str) -> dict[str, Any]:
    cls = registry().find(kind, name)
    missing = [library for library in cls.needs if find_spec(library) is None]
    options = [{**option_form(info), "from_view": takes_view(cls, info)} for info in options_of(cls).values()]
    for number, option in enumerate(options):
        option["advanced"] = not option["required"] and (number >= _USUAL or option["advanced"])
    if kind == "qc":
        options.append(option_form(options_of(QcUse)["filter_threshold"]))
    return {
        "kind": kind,
        "name": name,
        "title": name.rpartition("/")[2].replace("-", " ").capitalize(),
        "help": help_text(cls),
        "missing": f"needs {', '.join(missing)}: pip install {cls.install or missing[0]}" if missing else None,
        "options": options,
    }


def takes_view(cls: type[Settings[Any]], info: OptionInfo) -> bool:
    """True for a target that can be the values of a fit, of a normalizer that can make a fit of an image."""
    takes_values = any(get_origin(kind) is Mapping for kind in get_args(info.type))
    return info.name == TARGET and takes_values and hasattr(cls, "library_front")


def option_form(info: OptionInfo) -> dict[str, Any]:
    """The form of one option."""
    low, high = _limits(info)
    kind, choices = _kind(info.type)
    return {
        "name": info.name,
        "kind": kind,
        "items": _items(info.type) if kind == "list" else None,
        "default": None if info.default is attrs.NOTHING else plain(info.default),
        "required": info.is_required,
        "optional": NoneType in get_args(info.type),
        "minimum": low,
        "maximum": high,
        "range": info.range or None,
        "choices": choices,
        "unit": info.unit or None,
        "help": info.help,
        "advanced": not info.affects_output,
    }


def _kind(kind: Any) -> tuple[str, list[Any] | None]:
    """The kind of a form's field, and what can be chosen; "text" takes any value, written as in a pipeline file."""
    is_union = get_origin(kind) not in (Literal, tuple, list) and get_args(kind)
    kinds = [each for each in (get_args(kind) if is_union else (kind,)) if each is not NoneType]
    choices = [word for each in kinds if get_origin(each) is Literal for word in get_args(each)]
    others = [each for each in kinds if get_origin(each) is not Literal]
    if not others:
        return "choice", choices
    if Path in others or Address in others:
        return "path", choices or None
    if len(kinds) > 1:
        return "text", choices or None
    return ("list" if get_origin(others[0]) in (tuple, list) else _SIMPLE.get(others[0], "text")), None


def _items(kind: Any) -> str:
    """What the values of a list are: "text" where a number is a word like any other, else "number"."""
    lists = [kind, *get_args(kind)]
    return "text" if any(get_origin(each) in (tuple, list) and str in get_args(each) for each in lists) else "number"


def _limits(info: OptionInfo) -> tuple[float | None, float | None]:
    """The limits that an option states in words, such as "from 0 to 1"."""
    number = r"(-?[0-9.]+(?:e-?[0-9]+)?)"
    found = re.fullmatch(rf"(?:from|at least|above) {number}(?: to {number})?", info.range)
    if found is None:
        return None, None
    return float(found[1]), None if found[2] is None else float(found[2])
