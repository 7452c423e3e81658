"""The command line. Each command imports what it needs when it runs, so that starting costs little."""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module

from slideloom import __version__
from slideloom.base.errors import SlideloomError

from slideloom_cli.output import end_output, standard_output_for_json
from slideloom_cli.parsing import Parser

_COMMANDS = {
    "extract": ("slideloom_cli.extract", "cut slides into tiles, with options on the command line"),
    "run": ("slideloom_cli.extract", "cut slides into tiles as a pipeline file says"),
    "check": ("slideloom_cli.check", "find every mistake in a pipeline file, or what is not whole in an output folder"),
    "tiles": ("slideloom_cli.tiles", "list the tiles of a slide as CSV, Parquet or GeoJSON"),
    "info": ("slideloom_cli.inspect", "show what is known of a slide"),
    "plugins": ("slideloom_cli.inspect", "list plugins and their steps"),
    "doctor": ("slideloom_cli.inspect", "check this installation"),
    "demo": ("slideloom_cli.demo", "make a demo slide and run the whole job on it"),
    "new-plugin": ("slideloom_cli.new_plugin", "write a package for a step of your own"),
}
FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 only if all went well."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = argparse.Namespace()
    try:
        parser = _parser(words)
        parser.parse_args(words, chosen)
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
        if not hasattr(chosen, "run_command"):
            parser.print_help()
            return USAGE
        with standard_output_for_json() if getattr(chosen, "json", False) else nullcontext():
            code: int = chosen.run_command(chosen)
    except SlideloomError as error:
        print(f"slideloom: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        said = getattr(chosen, "interrupted", "")
        print(f"slideloom: interrupted{said and f'; {said}'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
        return FAILED
    return code


def entry() -> None:
    """The console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # names of files may be no text, and a terminal may lack letters
    code = main()
    end_output()
    sys.exit(code)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = Parser(prog="slideloom", description="Pathology slides in, machine-learning-ready tiles out.")
    parser.add_argument("--version", action="version", version=f"slideloom {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    named = next((word for word in words if not word.startswith("-")), None)
    for name, (module, help_line) in _COMMANDS.items():
        sub = commands.add_parser(name, help=help_line, description=help_line[0].upper() + help_line[1:] + ".")
        if name == named:
            home = import_module(module)
            word = name.replace("-", "_")
            getattr(home, f"configure_{word}")(sub)
            sub.set_defaults(run_command=getattr(home, f"run_{word}"))
    if named not in _COMMANDS:
        _add_plugin_commands(commands)
    return parser


def _add_plugin_commands(commands: argparse._SubParsersAction[Parser]) -> None:
    from slideloom.plugins.discovery import registry

    taken = set(_COMMANDS)
    for plugin in registry().plugins:
        for command in plugin.commands:
            if command.name in taken:
                print(
                    f"slideloom: command '{command.name}' of {plugin.dist} is left out: the name is taken",
                    file=sys.stderr,
                )
                continue
            taken.add(command.name)
            sub = commands.add_parser(command.name, help=command.help, description=command.help)
            command.configure(sub)
            sub.set_defaults(run_command=command.run)


if __name__ == "__main__":
    entry()
