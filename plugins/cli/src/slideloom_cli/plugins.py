"""`slideloom plugins`."""

from __future__ import annotations

import argparse
from typing import Any

from rich.console import Console
from rich.markup import escape
from slideloom.plugins.discovery import Plugin, registry
from slideloom.plugins.hookspecs import KINDS
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
        out = Console(highlight=False, emoji=False)
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
        "formats": [each.name for each in plugin.formats],
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
    for each in plugin.formats:
        about = (type(each).__doc__ or "").strip().partition("\n")[0]
        out.print(f"  {'format':<11}{each.name:<20}{escape(about)}", soft_wrap=True)
    for command in plugin.commands:
        out.print(f"  {'command':<11}{command.name:<20}{escape(command.help)}", soft_wrap=True)


def _print_options(out: Console, cls: type[Any]) -> None:
    for name, info in options_of(cls).items():
        default = "required" if info.is_required else f"default {info.default}"
        kind = " ".join(filter(None, (info.type_text, info.range))) + (f", {info.unit}" if info.unit else "")
        out.print(f"    {name}: {escape(kind)} ({escape(default)}): {escape(info.help)}", soft_wrap=True)
