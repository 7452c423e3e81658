"""Settings out of the tables of TOML and JSON files, strictly, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen

from slideloom.base.errors import ConfigError, OptionError
from slideloom.settings.conversion import shown
from slideloom.settings.given import Given
from slideloom.settings.options import OptionInfo, Settings, T, did_you_mean, options_of


@frozen
class Called:
    """What an option is called where it was given.

    Attributes:
        name: such as "--tile-um".
        wanted: what its value must be, where two options share one name; empty: what the option itself says.
    """

    name: str
    wanted: str = ""


@frozen
class Place:
    """Where options were given, so that a mistake is told in the words of whoever made it.

    Attributes:
        where: such as "pipeline.toml: [tiles]"; empty if the options' names say it all.
        noun: what an option is called there.
        called: options by the names of their class to what they are called there, if that is another name.
    """

    where: str
    noun: str = "key"
    called: Mapping[str, Called] = field(factory=dict)

    def mistake(self, text: str) -> str:
        """One line of a message."""
        return f"{self.where}: {text}" if self.where else text

    def wrong(self, error: OptionError, value: Any) -> str:
        """The line for an option with a wrong value."""
        called = self.called.get(error.option, Called(error.option))
        problem = f"must be {called.wanted}, not {shown(value)}" if called.wanted else error.problem
        return self.mistake(f"{called.name} {problem}")

    def missing(self, info: OptionInfo) -> str:
        """The line for an option that must be given."""
        called = self.called.get(info.name)
        return self.mistake(f"{called.name if called else repr(info.name)} is missing ({info.help})")


def from_table(
    cls: type[T], table: Mapping[str, Any], *, where: str | Place, base: Path | None = None
) -> tuple[T | None, list[str]]:
    """An instance of a settings class out of a TOML table, strictly.

    Args:
        cls: an attrs class made of `option`s.
        table: key to value, as TOML or JSON gives them.
        where: the place to name in messages, such as "pipeline.toml: [[qc]] otsu".
        base: the folder that relative paths start from.

    Returns:
        The instance, or None if there is a mistake; and every mistake, one line each.
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
    """The values of a table as the options of a class want them, and every mistake; options may be missing."""
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
    """`from_table` for one table by itself.

    Raises:
        ConfigError: with every mistake, one line each.
    """
    made, mistakes = from_table(cls, table, where=where, base=base)
    if made is None:
        raise ConfigError("\n".join(mistakes))
    return made


def _judge(cls: type[Any], name: str, value: Any) -> None:
    """Ask an option's validator, so that one wrong number does not hide the next.

    Raises:
        OptionError: the option refuses the value.
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
    except (AttributeError, TypeError):  # it asks the instance for more; it is asked when there is one
        pass


def to_table(settings: Any) -> dict[str, Any]:
    """The options of a settings instance as plain values (paths as text); None is left out, as TOML has none."""
    return {
        name: plain(getattr(settings, name))
        for name in options_of(type(settings))
        if getattr(settings, name) is not None
    }


def plain(value: Any) -> Any:
    """`value` as JSON and TOML know it."""
    if isinstance(value, Path):
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
