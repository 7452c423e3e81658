"""Settings: frozen values that name a step, travel to the worker, and build the step there."""

from __future__ import annotations

import difflib
import hashlib
import json
import types
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, Union, cast, get_args, get_origin, overload

import attrs
from attrs import frozen

from slideloom.errors import ConfigError, PluginError

T = TypeVar("T")
StepT_co = TypeVar("StepT_co", covariant=True)


@frozen
class Settings(Generic[StepT_co]):
    """Options of one step. Subclass with `@attrs.frozen`, a `name`, and the `step` that the options are for.

    The class docstring's first line is the step's help text. Settings and implementation do not import each other:
    `step` names the implementation, which is imported where it is used and called with the settings.

    Attributes:
        name: as pipeline files say it.
        step: "package.module:Class", or a function that takes the settings and returns the step.
        install: what to install where a library is missing, such as "slideloom-deepfocus[torch]".
        rank: of readers that all recognise a file, the lowest rank is taken; built-in ones are below 100.
        opens_folders: True for a reader whose slides are folders.
    """

    name: ClassVar[str]
    step: ClassVar[str] = ""
    install: ClassVar[str] = ""
    rank: ClassVar[int] = 100
    opens_folders: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """How accounts and reports call the step; its name, unless the options say better what it is."""
        return self.name

    def build(self) -> StepT_co:
        """The step, made in the process that uses it.

        Raises:
            ConfigError: the options do not fit together or a file they name is missing.
            PluginError: a library is missing; the message says how to get it.
        """
        return cast("StepT_co", implementation_of(type(self))(self))

    def files_for(self, slide: str) -> Sequence[Path]:
        """Files that the step reads for one slide only; their content then counts when a run is resumed."""
        return ()


def implementation_of(cls: type[Settings[Any]]) -> Callable[[Any], Any]:
    """What `cls.step` names: it takes the settings and returns the step.

    Raises:
        PluginError: it cannot be imported, or `step` is not of the form "package.module:Class".
    """
    module, colon, name = cls.step.partition(":")
    if not (module and colon and name):
        raise PluginError(
            f"step '{cls.name}': {cls.__module__}.{cls.__name__} names no implementation; "
            f'set step = "package.module:Class", not {cls.step!r}'
        )
    try:
        made: Callable[[Any], Any] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        missing = error.name or str(error)
        remedy = f"pip install {_quoted(cls.install or missing)}"
        raise PluginError(f"step '{cls.name}' needs {missing}, which is not installed: {remedy}") from error
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        remedy = f"; try: pip install --force-reinstall {_quoted(cls.install)}" if cls.install else ""
        raise PluginError(f"step '{cls.name}' cannot be loaded: {error}{remedy}") from error
    except AttributeError as error:
        raise PluginError(f"step '{cls.name}': {module} has no {name!r} ({error}); correct `step`") from error
    return made


def _quoted(requirement: str) -> str:
    """A requirement as a shell takes it: brackets are patterns in some."""
    return f"'{requirement}'" if "[" in requirement else requirement


@overload
def option(
    default: T, *, help: str, unit: str = ..., validator: Any = ..., converter: Any = ..., affects_output: bool = ...
) -> T: ...
@overload
def option(
    *, help: str, unit: str = ..., validator: Any = ..., converter: Any = ..., affects_output: bool = ...
) -> Any: ...
def option(
    default: Any = attrs.NOTHING,
    *,
    help: str,
    unit: str = "",
    validator: Any = None,
    converter: Any = None,
    affects_output: bool = True,
) -> Any:
    """One option of a settings class (a keyword-only attrs field).

    Args:
        default: the value if the user gives none; without it the option is required.
        help: one line for `slideloom plugins --verbose` and the reference.
        unit: such as "um" or "px".
        validator: an attrs validator, for example `in_range(0, 1)`.
        converter: an attrs converter.
        affects_output: False for options such as a device or a thread count, which stay out of the digest.
    """
    return attrs.field(
        default=default,
        validator=validator,
        converter=converter,
        kw_only=True,
        metadata={"help": help, "unit": unit, "affects_output": affects_output},
    )


def in_range(low: float, high: float) -> Callable[[Any, Any, Any], None]:
    """A validator for numbers from `low` to `high`, both included; None passes."""

    def check(_instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and not low <= value <= high:
            raise ValueError(f"{attribute.name} must be from {low} to {high}, not {value!r}")

    return check


def at_least(low: float) -> Callable[[Any, Any, Any], None]:
    """A validator for numbers of at least `low`; None passes."""

    def check(_instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value is not None and not value >= low:
            raise ValueError(f"{attribute.name} must be at least {low}, not {value!r}")

    return check


def positive(_instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
    """A validator for numbers above 0; None passes."""
    if value is not None and not value > 0:
        raise ValueError(f"{attribute.name} must be above 0, not {value!r}")


@frozen
class OptionInfo:
    """One option as a user sees it."""

    name: str
    type: Any  # a typing form
    type_text: str
    default: Any  # attrs.NOTHING if required
    help: str
    unit: str
    affects_output: bool

    @property
    def is_required(self) -> bool:
        """True if the user must give a value."""
        return self.default is attrs.NOTHING


def options_of(cls: type[Any]) -> dict[str, OptionInfo]:
    """The options of a settings class by name, with their types resolved."""
    attrs.resolve_types(cls)
    infos = {}
    for attribute in attrs.fields(cls):
        default = attribute.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # attrs types Factory as a function
            default = default.factory()
        infos[attribute.name] = OptionInfo(
            name=attribute.name,
            type=attribute.type,
            type_text=_type_text(attribute.type),
            default=default,
            help=attribute.metadata.get("help", ""),
            unit=attribute.metadata.get("unit", ""),
            affects_output=attribute.metadata.get("affects_output", True),
        )
    return infos


def help_text(cls: type[Any]) -> str:
    """The first line of the class docstring."""
    return (cls.__doc__ or "").strip().split("\n")[0]


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The text ` (did you mean 'x'?)` if a known word is near, else a list of the known ones."""
    near = difflib.get_close_matches(
        word.replace("_", "-"), [name.replace("_", "-") for name in known], n=1, cutoff=0.6
    )
    if near:
        original = next(name for name in known if name.replace("_", "-") == near[0])
        return f" (did you mean '{original}'?)"
    return f" (known: {', '.join(sorted(known))})" if known else " (it takes no options)"


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


def _type_text(kind: Any) -> str:
    """A type as a user reads it: "a number", "text", "text or a number"."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
    if kind in names:
        return names[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(_type_text(choice) for choice in arguments if choice is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in arguments)
    if origin in (tuple, list, Sequence):
        if (len(arguments) == 2 and arguments[1] is Ellipsis) or origin is not tuple:
            return f"a list of {_type_text(arguments[0])}"
        return f"a list of {len(arguments)} values"
    if origin in (dict, Mapping):
        return "a table"
    return getattr(kind, "__name__", str(kind))


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


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of everything in `value` that affects the output.

    Options marked `affects_output=False` are left out. A path to a file counts by the file's content, a path to a
    folder by its name only: what is read from it is digested where it is read.
    """
    text = json.dumps(_digestible(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _as_number(value: Any, wanted: Any) -> Any:
    """A whole number as a float where an option takes one: 2 and 2.0 are the same setting."""
    if isinstance(value, int) and not isinstance(value, bool) and float in (wanted, *get_args(wanted)):
        return float(value)
    return value


def _digestible(value: Any) -> Any:
    if isinstance(value, Path):
        if value.is_file():
            with value.open("rb") as file:
                return {"file": hashlib.file_digest(file, "sha256").hexdigest()}
        return {"path": value.name}
    if attrs.has(type(value)):
        infos = options_of(type(value))
        items = {
            name: _digestible(_as_number(getattr(value, name), info.type))
            for name, info in infos.items()
            if info.affects_output
        }
        label = getattr(type(value), "name", None)
        if isinstance(value, Settings):
            items["use"] = f"{type(value).__module__.split('.')[0]}/{label}"
        return items
    if isinstance(value, tuple | list):
        return [_digestible(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _digestible(item) for key, item in value.items()}
    return value
