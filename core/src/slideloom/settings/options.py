"""Settings: frozen values that name a step, are sent to a worker, and build the step there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Generic, TypedDict, TypeVar, Unpack, cast, overload

import attrs
from attrs import frozen

from slideloom.base.errors import OptionError, PluginError
from slideloom.base.installing import pip_install
from slideloom.settings.conversion import as_type, shown, type_text
from slideloom.settings.field_names import near
from slideloom.settings.ranges import range_text

T = TypeVar("T")
StepT_co = TypeVar("StepT_co", covariant=True)
_METADATA = ("help", "unit", "affects_output", "range", "finite", "flag", "field", "metavar", "live", "omit_default")


@frozen
class Settings(Generic[StepT_co]):
    """Options of one step. Subclass it with `@attrs.frozen`, a `name`, and the `step` that the options are for.

    The first line of the class docstring is the step's help text. Settings and implementation do not import each
    other: `step` names the implementation, which is imported when it is needed and called with the settings.

    Attributes:
        name: the step's name in pipeline files.
        step: "package.module:Class", or "package.module:function"; it takes the settings and returns the step.
        install: what to install if a library is missing, such as "slideloom-deepfocus[torch]".
        needs: heavy libraries that the implementation imports, such as "torch"; `check` then looks whether they are
            installed, without importing anything.
        checked_by: "package.module:function" that takes the settings and looks for files; see `check`.
        rank: if several readers recognise a file, the one with the lowest rank opens it; built-in ones are below 100.
        revision: increase it when the step's results change; slides finished before are then processed again.
        opens_folders: True for a reader whose slides are folders.
        makes_folders: True for a sink whose output is a folder that has the slide's name.
        reads_slide: True for a placement or an ROI source that reads the slide's pixels. A finished slide is then
            opened to know that it is finished; others are known by what was noted of them, without being copied.
    """

    name: ClassVar[str]
    step: ClassVar[str] = ""
    install: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    checked_by: ClassVar[str] = ""
    rank: ClassVar[int] = 100
    revision: ClassVar[int] = 1
    opens_folders: ClassVar[bool] = False
    makes_folders: ClassVar[bool] = False
    reads_slide: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """The step's name in accounts and reports; override it if the options describe the step better."""
        return self.name

    def build(self) -> StepT_co:
        """Make the step, in the process that uses it.

        Raises:
            ConfigError: the options contradict each other, or a file that they name is missing.
            PluginError: a library is missing; the message says how to install it.
        """
        return cast("StepT_co", implementation_of(type(self))(self))

    def check(self) -> None:
        """Raise what would make every slide fail, for want of a library or a file. Called once, before the first slide.

        It costs little: nothing large is loaded. By default it looks for the libraries that the class `needs`, or
        imports the implementation if it names none. A step that reads files for all slides, such as weights, names the
        function that looks for them, `checked_by`.

        Raises:
            ConfigError: a file is missing, or options contradict each other.
            PluginError: a library is missing; the message says how to get it.
        """
        for library in self.needs:
            if find_spec(library) is None:
                raise PluginError(_without(type(self), library))
        if self.checked_by:
            _imported(type(self), self.checked_by)(self)
        elif self.step and not self.needs:
            implementation_of(type(self))

    def files_for(self, slide: str) -> Sequence[Path]:
        """Files that the step reads only for this slide. If one changes, the slide is processed again."""
        return ()


def implementation_of(cls: type[Settings[Any]]) -> Callable[[Any], Any]:
    """The class or function that `cls.step` names; it takes the settings and returns the step.

    Raises:
        PluginError: it cannot be imported, or `step` is not of the form "package.module:Class".
    """
    return _imported(cls, cls.step)


def _imported(cls: type[Settings[Any]], said: str) -> Callable[[Any], Any]:
    module, colon, name = said.partition(":")
    if not (module and colon and name):
        raise PluginError(
            f"step '{cls.name}': {cls.__module__}.{cls.__name__} names no implementation; "
            f'set step = "package.module:Class", not {said!r}'
        )
    try:
        made: Callable[[Any], Any] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise PluginError(_without(cls, error.name or str(error))) from error
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        remedy = f"; try: pip install --force-reinstall {_quoted(cls.install)}" if cls.install else ""
        raise PluginError(f"step '{cls.name}' cannot be loaded: {error}{remedy}") from error
    except AttributeError as error:
        raise PluginError(f"step '{cls.name}': {module} has no {name!r} ({error}); correct `step`") from error
    return made


def _without(cls: type[Settings[Any]], library: str) -> str:
    return f"step '{cls.name}' needs {library}, which is not installed: {pip_install(cls.install or library)}"


def _quoted(requirement: str) -> str:
    """A requirement quoted for a shell, because brackets are patterns in some shells."""
    return f"'{requirement}'" if "[" in requirement else requirement


class _Details(TypedDict, total=False):
    """The keywords of `option` besides `help`; the function says what they mean."""

    unit: str
    validator: Any
    converter: Any
    affects_output: bool
    finite: bool
    flag: str
    field: str
    metavar: str
    omit_default: bool
    live: bool


@overload
def option(default: T, *, help: str, **details: Unpack[_Details]) -> T: ...
@overload
def option(*, help: str, **details: Unpack[_Details]) -> Any: ...
def option(
    default: Any = attrs.NOTHING,
    *,
    help: str,
    unit: str = "",
    validator: Any = None,
    converter: Any = None,
    affects_output: bool = True,
    finite: bool = True,
    flag: str = "",
    field: str = "",
    metavar: str = "",
    omit_default: bool = False,
    live: bool = False,
) -> Any:
    """One option of a settings class (a keyword-only attrs field).

    Wherever the value comes from, it is converted to the annotated type as in a pipeline file (text to a path, a whole
    number to a float, a list to a tuple), or refused with an `OptionError`.

    Args:
        default: the value if the user gives none; without it the option is required. The default is not validated.
        help: one line for `slideloom plugins --verbose`, the help of commands, and the reference.
        unit: unit of the value, such as "um" or "px".
        validator: an attrs validator, for example `in_range(0, 1)`.
        converter: a function applied to the value before its type is checked.
        affects_output: False for options such as a device or a number of threads, which are left out of the digest.
        finite: False to accept NaN and infinity.
        flag: its flag on the command line, if not "--" and the name; several words give several spellings.
        field: its keyword argument in Python, if not its name.
        metavar: the placeholder for its value in a command's help.
        omit_default: leave it out of digests and tables while it has its default, so that those made before there was
            such an option stay valid.
        live: True if a step whose settings differ only in such options decides again from what it has measured, without
            reading pixels: `SlideQc.again` and `TileFilter.decided`.
    """
    metadata = {
        "help": help,
        "unit": unit,
        "affects_output": affects_output,
        "range": range_text(validator),
        "finite": finite,
        "flag": flag,
        "field": field,
        "metavar": metavar,
        "omit_default": omit_default,
        "live": live,
    }
    return attrs.field(
        default=default,
        validator=None if validator is None else _validating(validator),
        converter=_converter(converter),
        kw_only=True,
        metadata=metadata,
    )


@cache  # attrs inspects each for its annotations, and nearly all options share one
def _converter(of: Callable[[Any], Any] | None) -> attrs.Converter[Any, Any]:
    return attrs.Converter(_converting(of), takes_self=True, takes_field=True)


def _converting(converter: Callable[[Any], Any] | None) -> Callable[[Any, Any, attrs.Attribute[Any]], Any]:
    """A converter to the annotated type, whose errors name the option."""

    def convert(value: Any, instance: Any, attribute: attrs.Attribute[Any]) -> Any:
        try:
            given = value if converter is None else converter(value)
        except OptionError:
            raise
        except (TypeError, ValueError) as error:
            raise OptionError(attribute.name, f"cannot be {shown(value)}: {error}") from error
        try:
            return options_of(type(instance))[attribute.name].fitted(given, trust_unknown=True)
        except OptionError:
            if value is attribute.default:  # the author may use a default that no user could write
                return given
            raise
        except PluginError:  # a class made by `exec` may be in no module; a pipeline that uses it reports that
            return given

    return convert


def _validating(validator: Any) -> Callable[[Any, Any, Any], None]:
    """The same validator, with its errors as `OptionError`."""
    judge = validator if callable(validator) else attrs.validators.and_(*validator)

    def check(instance: Any, attribute: attrs.Attribute[Any], value: Any) -> None:
        try:
            judge(instance, attribute, value)
        except OptionError:
            raise
        except (TypeError, ValueError) as error:
            said = str(error.args[0] if error.args else error)
            problem = re.sub(rf"^'?{re.escape(attribute.name)}'?:? ", "", said)
            raise OptionError(
                attribute.name, problem if problem != said else f"cannot be {shown(value)}: {said}"
            ) from error

    return check


@frozen
class OptionInfo:
    """Everything that a user can know about an option."""

    name: str
    type: Any  # a typing form
    type_text: str
    default: Any  # attrs.NOTHING if required
    help: str
    unit: str
    affects_output: bool
    range: str = ""
    finite: bool = True
    flag: str = ""
    field: str = ""
    metavar: str = ""
    live: bool = False
    omit_default: bool = False

    def is_told(self, value: Any) -> bool:
        """True if digests and tables hold it with this value."""
        return not (self.omit_default and value == self.default)

    @property
    def is_required(self) -> bool:
        """True if the user must give a value."""
        return self.default is attrs.NOTHING

    def fitted(self, value: Any, *, base: Path | None = None, trust_unknown: bool = False) -> Any:
        """`value` as the option's type; see `conversion.as_type`.

        Raises:
            OptionError: it has another type.
        """
        try:
            return as_type(value, self.type, base=base, finite=self.finite, trust_unknown=trust_unknown)
        except ValueError as error:
            raise OptionError(self.name, str(error)) from None


def options_of(cls: type[Any]) -> Mapping[str, OptionInfo]:
    """The options of a settings class by name, with their types resolved.

    Raises:
        PluginError: an annotation uses a name that is not imported in the module of the class.
    """
    return _looked_up(cast("Any", cls))


@cache
def _looked_up(cls: Any) -> Mapping[str, OptionInfo]:
    try:
        attrs.resolve_types(cls)
    except NameError as error:
        raise PluginError(
            f"{cls.__module__}.{cls.__name__}: the types of its options cannot be looked up ({error}); import what "
            "they name at the top of the module, not under TYPE_CHECKING"
        ) from error
    infos = {}
    for attribute in attrs.fields(cls):
        default = attribute.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # attrs types Factory as a function
            default = default.factory()
        said = {name: attribute.metadata[name] for name in _METADATA if name in attribute.metadata}
        infos[attribute.name] = OptionInfo(
            name=attribute.name,
            type=attribute.type,
            type_text=type_text(attribute.type),
            default=default,
            **{"help": "", "unit": "", "affects_output": True, **said},
        )
    return MappingProxyType(infos)


def help_text(cls: type[Any]) -> str:
    """The first line of the class docstring."""
    return (cls.__doc__ or "").strip().split("\n")[0]


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The text ` (did you mean 'x'?)` if a known word means the same or is written alike, else the known ones."""
    said = near(word, known)
    if said:
        return said
    return f" (known: {', '.join(sorted(known))})" if known else " (it takes no options)"
