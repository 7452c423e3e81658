"""Makes the flags of commands from the table of options, and turns typed text into values for the strict loader.

add_flags(parser.add_argument_group("tiles"), words("tiles"))
...
tables = tables_of(given_flags(chosen))
pipeline = pipeline_from_table({"slideloom": 1, **tables}, where=FLAGS)
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import attrs

from slideloom.pipeline.words import Word, words
from slideloom.settings.options import OptionInfo

_METAVARS = {int: "N", float: "X", Path: "PATH"}


def add_flags(
    parser: argparse.ArgumentParser | argparse._ArgumentGroup,
    options: Iterable[Word],
    *,
    required: Collection[str] = (),
) -> None:
    """Add a flag for each word, with the help, unit, range and default of its option.

    Values are kept as typed, under the word's name; `given_flags` reads them.

    Args:
        parser: a command's parser, or a group in it.
        options: words, such as `words("tiles", "slides")`.
        required: names of words that must be given.
    """
    for word in options:
        form = _form(word.info)
        if word.name in required:
            form["required"] = True
        parser.add_argument(*word.flags, dest=word.name, help=flag_help(word).replace("%", "%%"), **form)


def _form(info: OptionInfo) -> dict[str, Any]:
    if info.type is bool:
        return {"action": "store_const", "const": not info.default}
    metavar = info.metavar or info.unit.upper() or _metavar(info.type)
    return {"metavar": metavar, **({"action": "append"} if _is_list(info.type) else {})}


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "{" + ",".join(get_args(kind)) + "}"
    kinds = _kinds(kind)
    return next((word for each, word in _METAVARS.items() if each in kinds), "TEXT")


def _kinds(kind: Any) -> tuple[Any, ...]:
    """The types that a value may have, without None, which means that the flag is not given."""
    return tuple(each for each in get_args(kind) or (kind,) if each is not NoneType)


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


def flag_help(word: Word) -> str:
    """One line of help: what the option is, its range and its default."""
    info = word.info
    if info.type is bool:
        return f"do not {info.help.split(';')[0]}" if info.default else info.help
    notes = [info.range] if info.range else []
    if _is_list(info.type):
        notes.append("may be given several times")
    elif info.default not in (None, attrs.NOTHING):
        notes.append(f"default {info.default:g}" if isinstance(info.default, float) else f"default {info.default}")
    return info.help + (f" ({'; '.join(notes)})" if notes else "")


def given_flags(chosen: argparse.Namespace, options: Iterable[Word] | None = None) -> dict[str, Any]:
    """The values of the given flags, by word.

    Where an option is a number, text becomes a number if possible; other text stays, and the loader refuses it.

    Args:
        chosen: the result of the parser.
        options: the words; by default those of all tables.
    """
    given = {}
    for word in words() if options is None else options:
        value = getattr(chosen, word.name, None)
        if value is not None:
            given[word.name] = _read(value, word.info.type) if isinstance(value, str) else value
    return given


def _read(text: str, kind: Any) -> Any:
    for number in (int, float):
        if number in _kinds(kind):
            try:
                return number(text)
            except ValueError:
                continue
    return text
