"""An object in hand as the value of an option: what it is counts by its class and its state, as it was when given."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, Self

import numpy as np
from attrs import frozen

from slideloom.base.errors import ConfigError

_PROTOCOL = 4  # of pickling, which says what an object is made of
_SCALARS = (str, int, float, bool, type(None))


@frozen(eq=False)
class Given:
    """An object that was given instead of settings.

    Attributes:
        value: the object.
        digest: SHA-256 (hex) of its class and state when it was given; empty where it is used at once, and here.
    """

    value: Any  # Any: anybody's class
    digest: str = ""

    @classmethod
    def of(cls, value: Any) -> Self:
        """An object that travels, and counts by what it is.

        Its digest is made once, from the class (its name, and its source where that can be read) and from all that
        pickling would send, so that the same object made again counts as the same, and one with another state as
        another.

        Raises:
            ConfigError: the object cannot be made again elsewhere, because of what it holds.
        """
        try:
            parts = [_source(type(value)), _State().of(value)]
        except ConfigError:
            raise
        except Exception as error:  # what pickling calls is anybody's code
            reason = f"{type(error).__name__}: {error}"
            raise ConfigError(
                f"{name_of(type(value))}: cannot be made again in another process or a later run ({reason}); give the "
                "settings of the step, or an object that pickle can store"
            ) from error
        return cls(value, hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest())

    @property
    def told(self) -> str:
        """Its class, as messages and reports name it: "my_module.MyQc"."""
        return f"{type(self.value).__module__}.{type(self.value).__qualname__}"


def name_of(thing: Any) -> str:
    """Module and name of a class or function.

    Raises:
        ConfigError: no other process can find it by its name.
    """
    name = f"{thing.__module__}.{thing.__qualname__}"
    if "<locals>" in name or "<lambda>" in name:
        raise ConfigError(f"{name}: is defined within a function; define it at the top of a module")
    return name


def _source(cls: type[Any]) -> str:
    """The text of a class; empty where there is none, as for classes typed at a prompt."""
    try:
        return inspect.getsource(cls)
    except (OSError, TypeError):
        return ""


class _State:
    """What an object is made of, as values that JSON knows; an object that is met again is named by its number."""

    def __init__(self) -> None:
        self._met: dict[int, int] = {}
        self._kept: list[Any] = []  # so that no number is given twice

    def of(self, value: Any) -> Any:
        if isinstance(value, _SCALARS):
            return value if not isinstance(value, float) else repr(value)
        if isinstance(value, type | FunctionType | BuiltinFunctionType | ModuleType):
            return {"name": value.__name__ if isinstance(value, ModuleType) else name_of(value)}
        if id(value) in self._met:
            return {"met": self._met[id(value)]}
        self._met[id(value)] = len(self._met)
        self._kept.append(value)
        return self._contents(value)

    def _contents(self, value: Any) -> Any:
        if isinstance(value, bytes | bytearray | memoryview):
            return {"bytes": hashlib.sha256(value).hexdigest()}
        if isinstance(value, np.ndarray) and value.dtype.kind != "O":
            content = hashlib.sha256(value.tobytes()).hexdigest()
            return {"array": [value.dtype.str, list(value.shape), content]}
        if isinstance(value, Path):
            return {"path": str(value)}
        if type(value) in (list, tuple):
            return [self.of(item) for item in value]
        if isinstance(value, set | frozenset):
            return {"set": sorted(json.dumps(_State().of(item), sort_keys=True) for item in value)}
        if type(value) is dict:
            return {"table": [[self.of(key), self.of(item)] for key, item in value.items()]}
        return self._reduced(value)

    def _reduced(self, value: Any) -> Any:
        """An object of any other class, as pickling takes it apart."""
        made = value.__reduce_ex__(_PROTOCOL)
        if isinstance(made, str):
            return {"name": f"{value.__module__}.{made}"}
        function, arguments, *rest = made
        state, items, pairs = (*rest, None, None, None)[:3]
        return {
            "made": [self.of(function), self.of(tuple(arguments))],
            "state": self.of(state),
            "items": [self.of(item) for item in items or ()],
            "pairs": [[self.of(key), self.of(item)] for key, item in pairs or ()],
        }
