"""`slideloom plugins`, `slideloom doctor`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from importlib import metadata
from typing import Any

from rich.console import Console
from rich.markup import escape
from slideloom import __version__
from slideloom.plugins.discovery import Plugin, registry
from slideloom.plugins.hookspecs import KINDS, Library
from slideloom.settings.options import OptionInfo, help_text, options_of

from slideloom_cli.output import print_json


def configure_plugins(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom plugins`."""
    parser.add_argument("--verbose", "-v", action="store_true", help="also file, options, types, defaults and help")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_plugins(chosen: argparse.Namespace) -> int:
    """List plugins and their steps. The exit code says whether all of them load."""
    plugins = registry().plugins
    if chosen.json:
        print_json([_plugin_table(plugin) for plugin in plugins])
    else:
        out = Console(highlight=False)
        for plugin in plugins:
            _print_plugin(out, plugin, verbose=chosen.verbose)
    return 1 if any(plugin.error for plugin in plugins) else 0


def _plugin_table(plugin: Plugin) -> dict[str, Any]:
    steps = [
        {
            "kind": kind,
            "name": cls.name,
            "help": help_text(cls),
            "options": {name: _option_table(info) for name, info in options_of(cls).items()},
        }
        for kind, classes in plugin.steps.items()
        for cls in classes
    ]
    return {
        "name": plugin.name,
        "dist": plugin.dist,
        "version": plugin.version,
        "module": plugin.module,
        "file": plugin.file,
        "error": plugin.error,
        "steps": steps,
        "commands": [command.name for command in plugin.commands],
    }


def _option_table(info: OptionInfo) -> dict[str, Any]:
    default = None if info.is_required else str(info.default)
    return {
        "type": info.type_text,
        "required": info.is_required,
        "default": default,
        "help": info.help,
        "unit": info.unit,
        "range": info.range,
    }


def _print_plugin(out: Console, plugin: Plugin, *, verbose: bool) -> None:
    title = f"[bold]{escape(plugin.dist)}[/] {plugin.version}"
    if plugin.error:
        out.print(f"{title}  [bold red]not usable[/]: {escape(plugin.error)}", soft_wrap=True)
        return
    out.print(title + (f"  {escape(plugin.file)}" if verbose else ""), soft_wrap=True)
    for kind in KINDS:
        for cls in plugin.steps.get(kind, ()):
            out.print(f"  {kind:<11}{cls.name:<20}{escape(help_text(cls))}", soft_wrap=True)
            if verbose:
                _print_options(out, cls)
    for command in plugin.commands:
        out.print(f"  {'command':<11}{command.name:<20}{escape(command.help)}", soft_wrap=True)


def _print_options(out: Console, cls: type[Any]) -> None:
    for name, info in options_of(cls).items():
        default = "required" if info.is_required else f"default {info.default}"
        kind = " ".join(filter(None, (info.type_text, info.range))) + (f", {info.unit}" if info.unit else "")
        out.print(f"    {name}: {escape(kind)} ({escape(default)}): {escape(info.help)}", soft_wrap=True)


def configure_doctor(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom doctor`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_doctor(chosen: argparse.Namespace) -> int:
    """Check which plugins and libraries are installed, which of them load, and what is missing."""
    rows = [_examine(library) for library in registry().libraries()]
    broken = [plugin for plugin in registry().plugins if plugin.error]
    missing_kinds = [kind for kind in ("reader", "sink") if not registry().names(kind)]
    if chosen.json:
        print_json({"libraries": rows, "broken_plugins": {p.dist: p.error for p in broken}, "missing": missing_kinds})
    else:
        _print_doctor(rows, broken, missing_kinds)
    unusable = any(row["needed"] and row["error"] for row in rows)
    return 1 if unusable or broken or missing_kinds else 0


# If the processor is too old for their instructions, these libraries do not raise an error but end the process.
_ASK_APART = """
import importlib, json, sys
try:
    answer = [str(getattr(importlib.import_module(sys.argv[1]), "__version__", "")), ""]
except Exception as error:
    answer = ["", f"{type(error).__name__}: {error}"]
print(json.dumps(answer))
"""
# The messages that TensorFlow prints at each start are not findings; its errors are still shown.
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}


def _examine(library: Library) -> dict[str, Any]:
    version, error = _ask_apart(library.module) if library.apart else _ask(library.module)
    row: dict[str, Any] = {"library": library.module, "gives": library.gives, "needed": library.needed, "error": error}
    if error:
        row["remedy"] = f"pip install {library.install}"
    row["version"] = version
    row["builds"] = {} if error else _builds_of(library)
    return row


def _builds_of(library: Library) -> dict[str, str]:
    """Versions of the distributions that bring its native part: of OpenSlide, one version has had several builds."""
    found = {}
    for dist in library.reported:
        try:
            version = metadata.version(dist)
        except metadata.PackageNotFoundError:  # the system's own library is used
            continue
        if dist.endswith(("-bin", "-binary")):
            found[dist] = version
    return found


def _ask(name: str) -> tuple[str, str]:
    """The version and the error of a library, one of them empty."""
    try:
        module = importlib.import_module(name)
    except Exception as error:
        return "", f"{type(error).__name__}: {error}"
    native = getattr(module, "__library_version__", "")  # that of OpenSlide itself, besides its Python package
    if name == "pyvips":
        native = ".".join(str(module.version(part)) for part in range(3))
    return str(getattr(module, "__version__", "")) + (f" (native {native})" if native else ""), ""


def _ask_apart(name: str) -> tuple[str, str]:
    done = subprocess.run(  # noqa: S603 - the module is one of our own list
        [sys.executable, "-P", "-c", _ASK_APART, name],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**_QUIET, **os.environ},
    )
    if done.returncode:
        return "", f"importing it ends the process with code {done.returncode}"
    version, error = json.loads(done.stdout.splitlines()[-1])
    return version, error


def _print_doctor(rows: list[dict[str, Any]], broken: list[Plugin], missing_kinds: list[str]) -> None:
    out = Console(highlight=False)
    out.print(
        f"slideloom {__version__}, Python {platform.python_version()}, {platform.platform()}, {escape(sys.prefix)}",
        soft_wrap=True,
    )
    for row in rows:
        if not row["error"]:
            version = ", ".join([row["version"], *(f"{dist} {build}" for dist, build in row["builds"].items())])
            out.print(f"  [green]ok[/]       {row['library']:<20}{version:<28} {row['gives']}", soft_wrap=True)
            continue
        word = "[bold red]missing[/] " if row["needed"] else "[yellow]absent[/]  "
        out.print(f"  {word} {row['library']:<20}{row['gives']}: {escape(row['remedy'])}", soft_wrap=True)
        if row["needed"]:
            out.print(f"           {escape(row['error'])}", soft_wrap=True)
    for plugin in broken:
        out.print(f"  [bold red]broken[/]   {plugin.dist}: {escape(plugin.error)}", soft_wrap=True)
    for kind in missing_kinds:
        out.print(f"  [bold red]missing[/]  no {kind} is installed: pip install slideloom", soft_wrap=True)
    working = [plugin for plugin in registry().plugins if not plugin.error]
    steps = sum(len(classes) for plugin in working for classes in plugin.steps.values())
    out.print(f"  {len(working)} plugins with {steps} steps; `slideloom plugins` lists them")
