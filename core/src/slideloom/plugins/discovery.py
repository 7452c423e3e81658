"""Discovery of plugins: entry points are loaded one by one, and a broken one affects only runs that use it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import Distribution, EntryPoint, entry_points
from types import ModuleType
from typing import Any

import attrs
import pluggy
from attrs import field, frozen

from slideloom.base.addresses import Address
from slideloom.base.errors import PluginError, SlideloomError
from slideloom.base.system_errors import in_words
from slideloom.plugins import builtin, hookspecs
from slideloom.plugins.formats import Formats, checked_formats
from slideloom.plugins.offers import called_hook, classes_of, defaults_of, listed, synonyms_of
from slideloom.settings.options import Settings, did_you_mean
from slideloom.steps.format import Format

log = logging.getLogger(__name__)

_CORE = "core"


@frozen
class Plugin:
    """An installed plugin.

    Attributes:
        name: of the entry point.
        dist: its distribution, and the `version` of that.
        module: where the entry point leads.
        file: of the loaded module, or "".
        steps: settings classes by kind.
        commands: sub-commands it adds to the command line.
        defaults: its steps that are used if none is named; see `hookspecs.DEFAULTS`.
        synonyms: other names of its steps, by kind, to the names of the steps.
        libraries: the libraries it depends on.
        reporters: writers of reports.
        remote_files: what opens addresses.
        formats: what it knows of files.
        error: why it cannot be used, or "".
    """

    name: str
    dist: str
    version: str
    module: str
    file: str = ""
    steps: Mapping[str, Sequence[type[Settings[Any]]]] = field(factory=dict, hash=False)
    commands: Sequence[hookspecs.Command] = ()
    defaults: Mapping[str, str] = field(factory=dict, hash=False)
    synonyms: Mapping[str, Mapping[str, tuple[str, ...]]] = field(factory=dict, hash=False)
    libraries: Sequence[hookspecs.Library] = ()
    reporters: Sequence[hookspecs.Reporter] = ()
    remote_files: Sequence[hookspecs.RemoteFiles] = ()
    formats: Sequence[Format] = ()
    error: str = ""


class Registry:
    """All installed plugins, and the hooks of those that work."""

    def __init__(self, plugins: Sequence[Plugin], manager: pluggy.PluginManager) -> None:
        self.plugins = tuple(plugins)
        self.formats = Formats([each for plugin in self.plugins for each in plugin.formats])
        self._manager = manager

    def names(self, kind: str) -> list[str]:
        """Step names of a kind, sorted; `dist/name` if two plugins offer the same name."""
        return sorted(self._by_name(kind))

    def find(self, kind: str, name: str) -> type[Settings[Any]]:
        """The settings class of a step.

        Args:
            kind: a key of `hookspecs.KINDS`.
            name: such as "otsu", "macenko_fast" or "slideloom-qc/otsu", or another name of one step; dashes and
                underscores are the same.

        Raises:
            PluginError: there is none, or there are two; broken plugins that may contain it are named.
        """
        known = self._offered(kind, name)
        if known is not None:
            return known
        meant = self._synonym(kind, name)
        if len(meant) > 1:
            raise PluginError(f"{kind} '{name}' stands for {' and '.join(meant)}; name one of them here")
        if meant:
            return self.find(kind, meant[0])
        broken = [f"{plugin.dist} ({plugin.error})" for plugin in self.plugins if plugin.error]
        hint = f"; not loaded: {'; '.join(broken)}" if broken else ""
        raise PluginError(f"no {kind} is named '{name}'{did_you_mean(name, self.names(kind))}{hint}")

    def meant(self, kind: str, name: str) -> tuple[str, ...]:
        """The names of the steps that a name stands for: the name itself, unless it is another name of some.

        Raises:
            PluginError: two plugins give the name to steps of theirs.
        """
        return (name,) if self._offered(kind, name) is not None else self._synonym(kind, name) or (name,)

    def _offered(self, kind: str, name: str) -> type[Settings[Any]] | None:
        """The settings class that has this name itself."""
        wanted = dashed(name)
        offers = [
            (plugin, cls)
            for plugin in self.plugins
            for cls in plugin.steps.get(kind, ())
            if wanted in (dashed(cls.name), dashed(f"{plugin.dist}/{cls.name}"))
        ]
        # Of two names that differ in that only, the one that is written exactly so is meant.
        offers = [(plugin, cls) for plugin, cls in offers if name in (cls.name, f"{plugin.dist}/{cls.name}")] or offers
        if len(offers) == 1:
            return offers[0][1]
        if offers:
            choices = " or ".join(f"'{plugin.dist}/{cls.name}'" for plugin, cls in offers)
            raise PluginError(f"{kind} '{name}' is offered by more than one plugin; write {choices}")
        return None

    def _synonym(self, kind: str, name: str) -> tuple[str, ...]:
        """The steps that a plugin gives this other name to; none if none does."""
        found = [
            (plugin, steps)
            for plugin in self.plugins
            for other, steps in plugin.synonyms.get(kind, {}).items()
            if dashed(other) == dashed(name)
        ]
        if len(found) > 1:
            choices = " or ".join(f"{' and '.join(steps)} of {plugin.dist}" for plugin, steps in found)
            raise PluginError(f"{kind} '{name}' may stand for {choices}; name the steps themselves")
        known = self._by_name(kind)
        return tuple(step if step in known else f"{plugin.dist}/{step}" for plugin, steps in found for step in steps)

    def default(self, use: str) -> str:
        """Name of the step to use if a pipeline names none.

        Args:
            use: a key of `hookspecs.DEFAULTS`.

        Raises:
            PluginError: no plugin offers one, or several do; the message says how to choose.
        """
        kind = hookspecs.DEFAULTS[use]
        offers = [(plugin, plugin.defaults[use]) for plugin in self.plugins if use in plugin.defaults]
        if len(offers) == 1:
            plugin, name = offers[0]
            return name if name in self.names(kind) else f"{plugin.dist}/{name}"
        if offers:
            choices = " or ".join(f"'{plugin.dist}/{name}'" for plugin, name in offers)
            raise PluginError(f"more than one plugin offers a default {kind}; name the one to use: {choices}")
        known = ", ".join(self.names(kind)) or "none is installed"
        raise PluginError(
            f"no plugin offers a default {kind}: name one (known: {known}), "
            "or install the usual ones: pip install slideloom"
        )

    def libraries(self) -> list[hookspecs.Library]:
        """The libraries that plugins depend on, each module once, with all that plugins say of its distributions."""
        found: dict[str, hookspecs.Library] = {}
        for plugin in self.plugins:
            for library in plugin.libraries:
                known = found.setdefault(library.module, library)
                found[library.module] = attrs.evolve(
                    known,
                    reported=tuple(dict.fromkeys([*known.reported, *library.reported])),
                    faults={**library.faults, **known.faults},
                )
        return list(found.values())

    def reporter(self, suffix: str = ".pdf") -> hookspecs.Reporter | None:
        """The first installed writer of reports of this format, or None."""
        return next((item for plugin in self.plugins for item in plugin.reporters if item.suffix == suffix), None)

    def remote_files(self, address: Address) -> hookspecs.RemoteFiles:
        """What opens an address.

        Raises:
            PluginError: no plugin does, or several.
        """
        offers = [(plugin, item) for plugin in self.plugins for item in plugin.remote_files]
        if len(offers) == 1:
            return offers[0][1]
        if offers:
            dists = " and ".join(plugin.dist for plugin, _ in offers)
            raise PluginError(f"{address}: {dists} both open addresses; uninstall one of them")
        raise PluginError(f"{address}: no installed plugin reads what is not local: pip install slideloom-remote")

    def all(self, kind: str) -> list[type[Settings[Any]]]:
        """Every settings class of a kind, by rank and name."""
        found = [cls for plugin in self.plugins for cls in plugin.steps.get(kind, ())]
        return sorted(found, key=lambda cls: (cls.rank, cls.name))

    def owner(self, cls: type[Settings[Any]]) -> Plugin:
        """The plugin that offers a settings class; if none does, a plugin named after the module of the class."""
        for plugin in self.plugins:
            if any(cls in classes for classes in plugin.steps.values()):
                return plugin
        return Plugin(name=cls.name, dist=cls.__module__.split(".")[0], version="", module=cls.__module__)

    def notify(self, hook: str, **arguments: Any) -> list[str]:
        """Call an observer hook of every plugin; an error in one is logged and returned as text, and stops no other."""
        problems = []
        for impl in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                impl.function(*(arguments[name] for name in impl.argnames))
            except KeyboardInterrupt:
                raise
            except (SlideloomError, OSError) as error:
                told = str(error) if isinstance(error, SlideloomError) else in_words(error)
                problems.append(f"plugin '{impl.plugin_name}' failed in {hook}: {told}")
                log.error("%s", problems[-1])
            except BaseException as error:  # a plugin that looks on must not end the run, by sys.exit neither
                log.exception("plugin '%s' failed in %s", impl.plugin_name, hook)
                problems.append(f"plugin '{impl.plugin_name}' failed in {hook}: {in_words(error)}")
        return problems

    def _by_name(self, kind: str) -> dict[str, type[Settings[Any]]]:
        offers = [(plugin, cls) for plugin in self.plugins for cls in plugin.steps.get(kind, ())]
        counts: dict[str, int] = {}
        for _, cls in offers:
            counts[cls.name] = counts.get(cls.name, 0) + 1
        return {cls.name if counts[cls.name] == 1 else f"{plugin.dist}/{cls.name}": cls for plugin, cls in offers}


def dashed(name: str) -> str:
    """A step's name as names are compared: `macenko_fast` is `macenko-fast`."""
    return name.replace("_", "-")


@cache
def registry() -> Registry:
    """The installed plugins, loaded at the first call."""
    return load_registry(_entry_points())


def _entry_points() -> list[EntryPoint]:
    found = entry_points()
    prefix = hookspecs.ENTRY_POINT_GROUP.rsplit("v", 1)[0] + "v"
    groups = sorted(group for group in found.groups if group.startswith(prefix))
    return [point for group in groups for point in found.select(group=group)]


def load_registry(points: Sequence[EntryPoint]) -> Registry:
    """The registry of the core's own steps and of these entry points, each loaded separately."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    plugins = [_register(manager, builtin, name=_CORE, dist="slideloom-core", version=_core_version())]
    named = [(*name_and_version(point.dist), point) for point in points]
    for dist, version, point in sorted(named, key=lambda found: (found[0], found[2].name)):
        plugins.append(_load(manager, point, dist=dist or "unknown", version=version))
    return Registry(plugins, manager)


def name_and_version(dist: Distribution | None) -> tuple[str, str]:
    """Of a distribution, "" for what its metadata do not say, as after a removal that was interrupted.

    Its README follows in the same file, and need not be parsed to know them.
    """
    if dist is None:
        return "", ""
    try:
        head, _, _ = (dist.read_text("METADATA") or "").partition("\n\n")
        fields = dict(line.split(": ", 1) for line in head.splitlines() if line.startswith(("Name: ", "Version: ")))
        if len(fields) < 2:  # another kind of distribution
            about = dist.metadata
            fields = {name: about[name] for name in ("Name", "Version") if name in about}
    except (UnicodeDecodeError, OSError):
        return "", ""
    return fields.get("Name", "").strip(), fields.get("Version", "").strip()


def _core_version() -> str:
    from slideloom import __version__

    return __version__


def _load(manager: pluggy.PluginManager, point: EntryPoint, *, dist: str, version: str) -> Plugin:
    blank = Plugin(name=point.name, dist=dist, version=version, module=point.value)
    if point.group != hookspecs.ENTRY_POINT_GROUP:
        reason = f"made for the plugin interface {point.group}; this slideloom offers {hookspecs.ENTRY_POINT_GROUP}"
        return attrs.evolve(blank, error=f"{reason}: update slideloom or install an older {dist}")
    try:
        module = called_hook(point.load)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return attrs.evolve(blank, error=f"does not import: {type(error).__name__}: {error}")
    if not isinstance(module, ModuleType):
        return attrs.evolve(blank, error=f"{point.value} is not a module")
    return _register(manager, module, name=point.name, dist=dist, version=version)


def _register(manager: pluggy.PluginManager, module: ModuleType, *, name: str, dist: str, version: str) -> Plugin:
    found = Plugin(name=name, dist=dist, version=version, module=module.__name__, file=module.__file__ or "")
    unique = name if dist == "slideloom-core" else f"{dist}/{name}"
    try:
        manager.register(module, name=unique)
        steps = {kind: classes_of(manager, module, hook) for kind, hook in hookspecs.KINDS.items()}
        return attrs.evolve(
            found,
            steps={kind: classes for kind, classes in steps.items() if classes},
            commands=listed(manager, module, "slideloom_commands", hookspecs.Command),
            libraries=listed(manager, module, "slideloom_libraries", hookspecs.Library),
            reporters=listed(manager, module, "slideloom_reporters", hookspecs.Reporter),
            remote_files=listed(manager, module, "slideloom_remote_files", hookspecs.RemoteFiles),
            formats=tuple(checked_formats(listed(manager, module, "slideloom_slide_formats", Format))),
            defaults=defaults_of(manager, module, steps),
            synonyms=synonyms_of(manager, module, steps),
        )
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        manager.unregister(name=unique)
        return attrs.evolve(found, error=f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
