"""Settings: frozen values that name a step, travel to the worker, and build the step there."""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, Union, cast, get_args, get_origin, overload

import attrs
from attrs import frozen

from slideloom.base.errors import PluginError

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
        revision: raise it when the step's results change, and slides that were finished before are made again.
        opens_folders: True for a reader whose slides are folders.
    """

    name: ClassVar[str]
    step: ClassVar[str] = ""
    install: ClassVar[str] = ""
    rank: ClassVar[int] = 100
    revision: ClassVar[int] = 1
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
