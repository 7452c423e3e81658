"""What every adapter does with its arguments before it uses them: refuse, or warn, as the table says."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, NoReturn, ParamSpec, TypeVar

from slideloom import ConfigError
from slideloom.settings.options import did_you_mean

from slideloom_slideflow.table import rows

P = ParamSpec("P")
R = TypeVar("R")


class NotOffered(ConfigError):
    """A function or an argument of Slideflow that slideloom has nothing for; the message says what to use."""


class MissingModule(NotOffered, ImportError):
    """A module of Slideflow that slideloom has nothing of, met by an import."""


class DropInWarning(UserWarning):
    """Something is done in another way than in Slideflow."""


def adapted(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates an adapter: arguments that the table refuses raise `NotOffered`, those without effect warn.

    An argument counts as given if it is not its default, so a script may write defaults out.

    Args:
        name: of the row, such as "Project.extract_tiles".
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            settle(name, _given(name, signature.bind(*args, **kwargs)))
            return function(*args, **kwargs)

        return call

    return decorate


def _given(name: str, bound: inspect.BoundArguments) -> dict[str, Any]:
    """The arguments that are not their defaults; those gathered by `**` count one by one.

    Raises:
        TypeError: the table knows none of that name.
    """
    given: dict[str, Any] = {}
    for argument, value in bound.arguments.items():
        parameter = bound.signature.parameters[argument]
        if parameter.kind is parameter.VAR_KEYWORD:
            known = rows()[name].arguments
            unknown = [each for each in value if each not in known]
            if unknown:
                raise TypeError(f"{name} has no argument '{unknown[0]}'{did_you_mean(unknown[0], list(known))}")
            given.update(value)
        elif not _same(value, parameter.default):
            given[argument] = value
    return given


def settle(name: str, given: Mapping[str, Any]) -> None:
    """Refuse, or warn of, arguments as the table says.

    Raises:
        NotOffered: the table refuses one of them.
    """
    row = rows()[name]
    for argument, value in given.items():
        fate, words = row.arguments.get(argument, ("same", ""))
        if fate == "refused":
            raise NotOffered(f"{name}: {argument}={value!r:.60} is not offered: {words}")
        if fate == "warned":
            warnings.warn(f"{name}: {argument} has no effect: {words}", DropInWarning, stacklevel=3)


def _same(value: Any, default: Any) -> bool:
    """True if they are the same plain value; arrays and other objects are never equal to a default."""
    plain = (str, int, float, bool, tuple, list, dict, type(None))
    return value is default or (isinstance(value, plain) and isinstance(default, plain) and value == default)


def tell(message: str) -> None:
    """Warn of something that is done in another way than in Slideflow."""
    warnings.warn(message, DropInWarning, stacklevel=3)


def refuse(name: str, *, kind: type[NotOffered] = NotOffered) -> NoReturn:
    """Raise what the table says of a function, class or module that is not offered."""
    raise kind(f"slideflow.{name} is not part of slideloom: {rows()[name].note}")


class Refusing:
    """Gives a class those methods of Slideflow's that the table refuses: calling one says what to use."""

    peer: str = ""

    def __getattr__(self, name: str) -> Any:  # Any: a function of whatever arguments, which never returns
        row = rows().get(f"{self.peer}.{name}")
        if row is None or row.status != "refused":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

        def call(*_args: object, **_kwargs: object) -> NoReturn:
            refuse(row.theirs)

        return call
