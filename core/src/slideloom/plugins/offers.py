"""What the hooks of one plugin offer, each value checked; a wrong one blocks the plugin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, TypeVar

import attrs
import pluggy

from slideloom.base.errors import PluginError
from slideloom.plugins import hookspecs
from slideloom.settings.options import Settings, did_you_mean

OfferedT = TypeVar("OfferedT")


def called_hook(function: Callable[[], Any]) -> Any:  # Any: what a plugin gives
    """What a plugin's function gives. `KeyboardInterrupt` is the user's, unless it comes again: then it is an error."""
    try:
        return function()
    except KeyboardInterrupt:
        if _interrupts(function):
            raise PluginError("raises KeyboardInterrupt, though nobody interrupts") from None
        raise


def _interrupts(function: Callable[[], Any]) -> bool:
    try:
        function()
    except KeyboardInterrupt:
        return True
    except BaseException:
        return False
    return False


def own_impl(manager: pluggy.PluginManager, module: ModuleType, hook: str) -> Callable[[], Any] | None:
    """What the plugin implements of a hook; None if nothing."""
    for impl in getattr(manager.hook, hook).get_hookimpls():
        if impl.plugin is module:
            function: Callable[[], Any] = impl.function
            return function
    return None


def classes_of(manager: pluggy.PluginManager, module: ModuleType, hook: str) -> tuple[type[Settings[Any]], ...]:
    """The settings classes that a hook returns, checked to be ones."""
    function = own_impl(manager, module, hook)
    if function is None:
        return ()
    offered = called_hook(function)
    if not isinstance(offered, Sequence) or isinstance(offered, str):
        raise PluginError(f"{hook} must return a list of settings classes, not {offered!r}")
    for cls in offered:
        if not (isinstance(cls, type) and issubclass(cls, Settings) and attrs.has(cls)):
            raise PluginError(
                f"{hook} returned {cls!r}, which is not a frozen attrs class derived from slideloom.Settings"
            )
        if not isinstance(getattr(cls, "name", None), str):
            raise PluginError(f"{hook} returned {cls.__name__}, which has no `name`")
    return tuple(offered)


def listed(manager: pluggy.PluginManager, module: ModuleType, hook: str, kind: type[OfferedT]) -> tuple[OfferedT, ...]:
    """The values that a hook returns, checked to be of one type."""
    function = own_impl(manager, module, hook)
    offered = () if function is None else called_hook(function)
    for item in offered:
        if not isinstance(item, kind):
            raise PluginError(f"{hook} returned {item!r}, which is not a slideloom.{kind.__name__}")
    return tuple(offered)


def defaults_of(
    manager: pluggy.PluginManager, module: ModuleType, steps: Mapping[str, Sequence[type[Settings[Any]]]]
) -> dict[str, str]:
    """The plugin's steps that are used if none is named, checked to be its own."""
    function = own_impl(manager, module, "slideloom_defaults")
    offered = {} if function is None else dict(called_hook(function))
    for use, name in offered.items():
        if use not in hookspecs.DEFAULTS:
            raise PluginError(f"slideloom_defaults: unknown key {use!r}{did_you_mean(use, list(hookspecs.DEFAULTS))}")
        if name not in [cls.name for cls in steps[hookspecs.DEFAULTS[use]]]:
            raise PluginError(f"slideloom_defaults: this plugin has no {hookspecs.DEFAULTS[use]} named {name!r}")
    return offered


def synonyms_of(
    manager: pluggy.PluginManager, module: ModuleType, steps: Mapping[str, Sequence[type[Settings[Any]]]]
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Other names of the plugin's steps, checked to be its own."""
    function = own_impl(manager, module, "slideloom_synonyms")
    offered: dict[str, dict[str, tuple[str, ...]]] = {}
    for kind, names in ({} if function is None else called_hook(function)).items():
        if kind not in hookspecs.KINDS:
            raise PluginError(f"slideloom_synonyms: unknown kind {kind!r}{did_you_mean(kind, list(hookspecs.KINDS))}")
        offered[kind] = {name: (meant,) if isinstance(meant, str) else tuple(meant) for name, meant in names.items()}
        missing = {step for meant in offered[kind].values() for step in meant} - {cls.name for cls in steps[kind]}
        if missing:
            raise PluginError(f"slideloom_synonyms: this plugin has no {kind} named {', '.join(sorted(missing))}")
    return offered
