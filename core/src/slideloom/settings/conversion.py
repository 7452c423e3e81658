"""Converts a value to the type of an option if nothing is lost, and otherwise refuses it in plain words."""

from __future__ import annotations

import math
import os
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from attrs import frozen

from slideloom.base.addresses import Address, is_address, local_path, place_of, redacted
from slideloom.base.errors import ConfigError
from slideloom.settings.frozen_tables import FrozenTable

_SHOWN = 100  # characters of a wrong value that a message repeats


def as_type(
    value: Any, wanted: Any, *, base: Path | None = None, finite: bool = True, trust_unknown: bool = False
) -> Any:
    """`value` as the type `wanted`.

    Text becomes a path, a whole number a float, a list a tuple, a table a `FrozenTable`, and a NumPy scalar the number
    it holds, where that type is wanted; a class with `of_plain` makes itself of plain values. Nothing else is
    converted: neither text nor `true` is a number.

    Args:
        value: a value from TOML, JSON or Python.
        wanted: a type, or a `typing` form such as `Literal["a", "b"] | None`.
        base: the folder that relative paths start from.
        finite: refuse NaN and infinity.
        trust_unknown: accept any value if `wanted` is a form that values cannot be checked against.

    Raises:
        ValueError: it has another type; the message follows the option's name: "must be a number, not 'x'".
    """
    try:
        return _Fitting(base, finite, trust_unknown).fit(value, wanted)
    except _Remote as error:
        raise ValueError(f"must be a local path: {error}") from None
    except _Unfit:
        raise ValueError(f"must be {type_text(wanted)}, not {shown(value)}") from None
    except _Infinite:
        raise ValueError(f"must be a finite number, not {shown(value)}") from None


class _Unfit(Exception):
    """A value does not have the wanted type."""


class _Remote(Exception):
    """A path is an address."""


class _Infinite(Exception):
    """A number is NaN or infinite."""


@frozen
class _Fitting:
    base: Path | None
    finite: bool
    trust_unknown: bool

    def fit(self, value: Any, wanted: Any) -> Any:
        origin, arguments = get_origin(wanted), get_args(wanted)
        if origin in (Union, types.UnionType):
            return self._any_of(value, arguments)
        if origin is Literal:
            return _choice(value, arguments)
        if origin in (tuple, list, Sequence):
            return self._sequence(value, arguments, origin)
        if origin in (dict, Mapping) and isinstance(value, Mapping):
            table = {self.fit(key, arguments[0]): self.fit(item, arguments[1]) for key, item in value.items()}
            return table if origin is dict else FrozenTable(table)
        if hasattr(wanted, "of_plain"):
            return value if isinstance(value, wanted) else wanted.of_plain(value)
        return self._plain(value, origin or wanted)

    def _any_of(self, value: Any, kinds: Sequence[Any]) -> Any:
        if value is None and type(None) in kinds:
            return None
        remote: _Remote | None = None
        for kind in kinds:
            try:
                return self.fit(value, kind)
            except _Unfit:
                continue
            except _Remote as error:  # another kind may take addresses
                remote = error
        raise remote or _Unfit

    def _sequence(self, value: Any, arguments: Sequence[Any], origin: Any) -> tuple[Any, ...]:
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise _Unfit
        is_any_length = origin is not tuple or (len(arguments) == 2 and arguments[1] is Ellipsis)
        kinds = [arguments[0]] * len(value) if is_any_length else arguments
        if len(value) != len(kinds):
            raise _Unfit
        return tuple(self.fit(item, kind) for item, kind in zip(value, kinds, strict=True))

    def _plain(self, value: Any, wanted: Any) -> Any:
        if wanted in (int, float, bool, str) and getattr(value, "shape", None) == ():
            value = value.item()  # a NumPy scalar
        if wanted is Path and isinstance(value, str | os.PathLike):
            return self._path(value)
        if wanted is Address and isinstance(value, str) and is_address(value):
            return place_of(value)
        if isinstance(value, bool) and wanted in (int, float):  # an int in Python, but not a number to a user
            raise _Unfit
        if wanted is int and isinstance(value, Integral):
            return int(value)
        if wanted is float and isinstance(value, Real):
            return self._number(value)
        try:
            if wanted is Any or isinstance(value, wanted):
                return value
        except TypeError:  # a type variable, a protocol, or another form that values cannot be checked against
            if self.trust_unknown:
                return value
        raise _Unfit

    def _number(self, value: Real) -> float:
        try:
            number = float(value)
        except OverflowError:
            raise _Infinite from None
        if self.finite and not math.isfinite(number):
            raise _Infinite
        return number

    def _path(self, value: str | os.PathLike[str]) -> Path:
        try:
            path = local_path(value)
        except ConfigError as error:
            raise _Remote(str(error)) from None
        with suppress(RuntimeError):  # there is no such user; a file name may begin with a tilde, too
            path = path.expanduser()
        return path if self.base is None or path.is_absolute() else self.base / path


def _choice(value: Any, choices: Sequence[Any]) -> Any:
    for choice in choices:
        if choice == value and isinstance(value, type(choice)) and isinstance(value, bool) == isinstance(choice, bool):
            return choice
    raise _Unfit


def shown(value: Any) -> str:
    """A value for a message, shortened if it is long."""
    text = redacted(repr(value))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def type_text(kind: Any) -> str:
    """A type in the user's words: "a number", "text", "text or a number"."""
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path",
             Address: "an address"}  # fmt: skip
    if kind in names:
        return names[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(type_text(choice) for choice in arguments if choice is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(repr(choice) for choice in arguments)
    if origin in (tuple, list, Sequence):
        if (len(arguments) == 2 and arguments[1] is Ellipsis) or origin is not tuple:
            return f"a list of {type_text(arguments[0])}"
        return f"a list of {len(arguments)} values"
    if origin in (dict, Mapping):
        return "a table"
    if hasattr(kind, "of_plain"):
        return str(kind.told)
    return f"an instance of {getattr(origin or kind, '__name__', kind)}"
