"""Settings out of the tables of TOML and JSON files, strictly, and back."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from slideloom.base.errors import ConfigError
from slideloom.settings.options import Settings, T, _type_text, did_you_mean, options_of


def from_table(
    cls: type[T], table: Mapping[str, Any], *, where: str, base: Path | None = None
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
    known = options_of(cls)
    mistakes = [f"{where}: unknown key '{key}'{did_you_mean(key, list(known))}" for key in table if key not in known]
    values: dict[str, Any] = {}
    for name, info in known.items():
        if name in table:
            try:
                values[name] = structure(table[name], info.type, base=base)
            except ValueError as error:
                mistakes.append(f"{where}: {name}: {error}")
            else:
                mistakes.extend(f"{where}: {error}" for error in _out_of_range(cls, name, values[name]))
        elif info.is_required:
            mistakes.append(f"{where}: '{name}' is missing ({info.help})")
    if mistakes:
        return None, mistakes
    try:
        return cls(**values), []
    except (ValueError, TypeError, ConfigError) as error:
        return None, [f"{where}: {error.args[0] if error.args else error}"]


def made_from_table(cls: type[T], table: Mapping[str, Any], *, where: str, base: Path | None = None) -> T:
    """`from_table` for one table by itself.

    Raises:
        ConfigError: with every mistake, one line each.
    """
    made, mistakes = from_table(cls, table, where=where, base=base)
    if made is None:
        raise ConfigError("\n".join(mistakes))
    return made


def _out_of_range(cls: type[Any], name: str, value: Any) -> list[str]:
    """What an option's validator says of a value, so that one wrong number does not hide the next."""
    attribute = attrs.fields_dict(cls)[name]
    if attribute.validator is None:
        return []
    try:
        attribute.validator(None, attribute, value)
    except (ValueError, ConfigError) as error:
        return [str(error)]
    except (AttributeError, TypeError):  # it asks the instance for more; it is asked when there is one
        pass
    return []


def structure(value: Any, wanted: Any, *, base: Path | None = None) -> Any:
    """`value`, as TOML gives it, as the type `wanted`.

    Raises:
        ValueError: it is of another type; the text says which was wanted.
    """
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        return _structure_union(value, arguments, wanted, base)
    if origin is Literal:
        if value in arguments:
            return value
        raise ValueError(f"{value!r} is not one of {', '.join(repr(choice) for choice in arguments)}")
    if origin in (tuple, list, Sequence):
        return _structure_sequence(value, arguments, wanted, base)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {structure(k, arguments[0]): structure(v, arguments[1], base=base) for k, v in value.items()}
    return _structure_plain(value, wanted, base)


def _structure_plain(value: Any, wanted: Any, base: Path | None) -> Any:
    if wanted is Any or isinstance(value, Settings):
        return value
    if wanted is Path and isinstance(value, str | Path):
        path = Path(value).expanduser()
        return path if base is None or path.is_absolute() else base / path
    if wanted is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    # bool is an int in Python, but `true` is not a number to a user
    if isinstance(wanted, type) and isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool)):
        return value
    raise ValueError(f"must be {_type_text(wanted)}, not {value!r}")


def _structure_union(value: Any, choices: Sequence[Any], wanted: Any, base: Path | None) -> Any:
    for choice in choices:
        if choice is type(None):
            if value is None:
                return None
            continue
        try:
            return structure(value, choice, base=base)
        except ValueError as error:
            reason = error
            if len([c for c in choices if c is not type(None)]) == 1:
                raise reason from None
    raise ValueError(f"must be {_type_text(wanted)}, not {value!r}")


def _structure_sequence(value: Any, arguments: Sequence[Any], wanted: Any, base: Path | None) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f"must be {_type_text(wanted)}, not {value!r}")
    if (len(arguments) == 2 and arguments[1] is Ellipsis) or get_origin(wanted) in (list, Sequence):
        return tuple(structure(item, arguments[0], base=base) for item in value)
    if len(value) != len(arguments):
        raise ValueError(f"must have {len(arguments)} values, not {len(value)}")
    return tuple(structure(item, kind, base=base) for item, kind in zip(value, arguments, strict=True))


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
    if isinstance(value, Settings):
        return {"use": value.name, **to_table(value)}
    if attrs.has(type(value)):
        return to_table(value)
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value
