"""Steps by name, and in the short form of the command line: `NAME:option=value,option=value`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slideloom.base.addresses import Address, SlidePlace
from slideloom.base.errors import ConfigError
from slideloom.base.parsing import parse_toml
from slideloom.plugins.discovery import Registry, registry
from slideloom.plugins.given_steps import Step, settings_of
from slideloom.settings.options import Settings, options_of
from slideloom.settings.tables import Place, made_from_table


def named_step(
    kind: str, text: str, *, plugins: Registry, given: Mapping[str, Any] | None = None
) -> Settings[Any]:  # Any: a step of that kind
    """The settings described by "NAME" or "NAME:option=value".

    Args:
        kind: of step, as messages name it.
        text: such as "tiff:dct_scale=true,cache_mb=64".
        plugins: where the step is looked up.
        given: values for options that the step may or may not have; values in the text take precedence.

    Raises:
        ConfigError: an option is wrong or missing.
        PluginError: there is no such step.
    """
    table = step_table(text)
    cls = plugins.find(kind, table["use"])
    usual = {key: value for key, value in (given or {}).items() if key in options_of(cls) and value is not None}
    return made_from_table(cls, {**usual, **_without_use(table)}, where=Place(f"{kind} {text!r}", "option"))


def step_settings(kind: str, text: str, options: Mapping[str, Any] | None = None) -> Settings[Any]:
    """The settings that "NAME" or "NAME:option=value" stands for, with more options.

    Raises:
        ConfigError: an option is wrong. PluginError: there is no such step.
    """
    table = {**step_table(text), **(options or {})}
    return made_from_table(
        registry().find(kind, table["use"]), _without_use(table), where=Place(table["use"], "option")
    )


def steps_settings(kind: str, step: Step, options: Mapping[str, Any] | None = None) -> list[Settings[Any]]:
    """The settings of each step that a word, a table or an object stands for.

    An object is meant to be used at once, and need not travel. There are several settings only where a name is another
    name of several steps.

    Raises:
        ConfigError: an option is wrong, or is given where there can be none. PluginError: there is no such step.
    """
    table = {**step_entry(kind, step, travels=False), **(options or {})}
    name, only = table["use"], len(table) == 1
    names = registry().meant(kind, name) if isinstance(name, str) else ()
    if len(names) != 1 and not only:
        what = f"it stands for {' and '.join(names)}; name these" if names else "it has its own"
        raise ConfigError(f"{name if names else kind} takes no options: {what}")
    if not names:
        return [name]
    if len(names) > 1:
        return [step_settings(kind, each) for each in names]
    place = Place(name, "option")
    return [made_from_table(registry().find(kind, name), _without_use(table), where=place)]


def folder_of_regions(folder: SlidePlace) -> Settings[Any]:
    """The settings of the default reader for a folder of region files, or the address of one.

    Raises:
        PluginError: no installed plugin reads such folders.
    """
    return step_settings(
        "roi", registry().default("roi-folder"), {"folder": folder if isinstance(folder, Address) else str(folder)}
    )


def step_entry(kind: str, step: Step, *, travels: bool = True) -> Mapping[str, Any]:
    """A step by name, in one word, by its settings or as an object, as an entry of a pipeline's table.

    Raises:
        ConfigError: it is none of these.
    """
    if isinstance(step, Mapping):
        return step
    return step_table(step) if isinstance(step, str) else {"use": settings_of(kind, step, travels=travels)}


def _without_use(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key != "use"}


def step_table(text: str) -> dict[str, Any]:
    """{"use": "otsu", "level": 2} for "otsu:level=2"; values are read as TOML, else as text.

    Raises:
        ConfigError: an option has no "=".
    """
    name, _, rest = text.partition(":")
    table: dict[str, Any] = {"use": name}
    for item in _split(rest):
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"{text!r}: write options as NAME:option=value,option=value")
        table[key.strip()] = _value(value.strip())
    return table


def _split(text: str) -> list[str]:
    """The text split at commas that are not within brackets or quotes."""
    parts, start, depth, quote = [], 0, 0, ""
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return [part for part in parts if part.strip()]


def _value(text: str) -> Any:
    try:
        return parse_toml(f"value = {text}")["value"]
    except ValueError:
        return text
