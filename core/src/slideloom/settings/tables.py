"""Reads settings strictly from the tables of TOML and JSON files, and turns them back into tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from slideloom.base.addresses import Address
from slideloom.base.errors import ConfigError, OptionError
from slideloom.settings.conversion import shown
from slideloom.settings.given import Given
from slideloom.settings.options import OptionInfo, Settings, T, did_you_mean, options_of


@frozen
class Called:
    """The name under which the user gave an option.

    Attributes:
        name: the flag, keyword argument or key, such as "--tile-um".
        wanted: what its value must be, if two options share the name; empty to use the option's own words.
    """

    name: str
    wanted: str = ""


@frozen
class Place:
    """Where options were given, so that messages use the user's words.

    Attributes:
        where: the place, such as "pipeline.toml: [tiles]"; empty if the options' names are enough.
        noun: what an option is called there, such as "key".
        called: by the option's name: the name under which it was given, if that is another name.
    """

    where: str
    noun: str = "key"
    called: Mapping[str, Called] = field(factory=dict)

    def mistake(self, text: str) -> str:
        """One line of a message, with the place."""
        return f"{self.where}: {text}" if self.where else text

    def wrong(self, error: OptionError, value: Any) -> str:
        """The line for an option with a wrong value."""
        called = self.called.get(error.option, Called(error.option))
        problem = f"must be {called.wanted}, not {shown(value)}" if called.wanted else error.problem
        return self.mistake(f"{called.name} {problem}")

    def missing(self, info: OptionInfo) -> str:
        """The line for a required option that is missing."""
        called = self.called.get(info.name)
        return self.mistake(f"{called.name if called else repr(info.name)} is missing ({info.help})")


def from_table(
    cls: type[T], table: Mapping[str, Any], *, where: str | Place, base: Path | None = None
) -> tuple[T | None, list[str]]:
    """An instance of a settings class from a table, read strictly.

    Args:
        cls: an attrs class made of `option`s.
        table: key to value, from TOML or JSON.
        where: the place to name in messages, such as "pipeline.toml: [[qc]] otsu".
        base: the folder that relative paths start from.

    Returns:
        The instance, or None if there is a mistake; and the mistakes, one line each.
    """
    place = where if isinstance(where, Place) else Place(where)
    values, mistakes = checked(cls, table, place, base=base)
    mistakes += [
        place.missing(info) for name, info in options_of(cls).items() if info.is_required and name not in table
    ]
    if mistakes:
        return None, mistakes
    try:
        return cls(**values), []
    except OptionError as error:
        return None, [place.wrong(error, values.get(error.option))]
    except (ValueError, TypeError, ConfigError) as error:
        return None, [place.mistake(str(error.args[0] if error.args else error))]


def checked(
    cls: type[Any], table: Mapping[str, Any], place: Place, *, base: Path | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The values of a table converted to the types of the options, and the mistakes. Options may be missing."""
    known = options_of(cls)
    mistakes = [
        place.mistake(f"unknown {place.noun} '{key}'{did_you_mean(key, list(known))}")
        for key in table
        if key not in known
    ]
    values: dict[str, Any] = {}
    for name, info in known.items():
        if name in table:
            try:
                values[name] = info.fitted(table[name], base=base)
                _judge(cls, name, values[name])
            except OptionError as error:
                mistakes.append(place.wrong(error, table[name]))
    return values, mistakes


def made_from_table(cls: type[T], table: Mapping[str, Any], *, where: str | Place, base: Path | None = None) -> T:
    """Like `from_table`, but raises an error for mistakes.

    Raises:
        ConfigError: the table has mistakes; the message lists them, one per line.
    """
    made, mistakes = from_table(cls, table, where=where, base=base)
    if made is None:
        raise ConfigError("\n".join(mistakes))
    return made


def _judge(cls: type[Any], name: str, value: Any) -> None:
    """Call an option's validator by itself, so that one wrong number does not hide the next.

    Raises:
        OptionError: the validator refuses the value.
    """
    attribute = attrs.fields_dict(cls)[name]
    if attribute.validator is None:
        return
    try:
        attribute.validator(None, attribute, value)
    except OptionError:
        raise
    except (ValueError, ConfigError) as error:
        raise OptionError(name, str(error)) from error
    except (AttributeError, TypeError):  # it needs the instance, and is called again when there is one
        pass


def to_table(settings: Any) -> dict[str, Any]:
    """The options of a settings instance as plain values (paths as text), without None, which TOML does not have."""
    return {
        name: plain(getattr(settings, name))
        for name, info in options_of(type(settings)).items()
        if getattr(settings, name) is not None and info.is_told(getattr(settings, name))
    }


def plain(value: Any) -> Any:
    """`value` as JSON and TOML can hold it."""
    if isinstance(value, Path | Address):
        return str(value)
    if isinstance(value, Given):
        return f"{value.told} {value.digest[:12]}"
    if isinstance(value, Settings):
        return {"use": value.name, **to_table(value)}
    if attrs.has(type(value)):
        return to_table(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value
