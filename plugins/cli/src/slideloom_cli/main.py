"""The command line. Each command imports what it needs when it runs, so that the command starts fast."""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from slideloom import __version__
from slideloom.base.addresses import redacted
from slideloom.base.errors import SlideloomError
from slideloom.base.naming import naming
from slideloom.base.system_errors import in_words

from slideloom_cli.collecting import begin_collecting, collecting_put_off
from slideloom_cli.logs import configure_logging
from slideloom_cli.output import end_output_with_process, standard_output_for_json
from slideloom_cli.parsing import Parser

_COMMANDS = {
    "extract": ("slideloom_cli.extract", "cut slides into tiles, with options on the command line"),
    "run": ("slideloom_cli.extract", "cut slides into tiles with a pipeline file"),
    "check": ("slideloom_cli.check", "find every mistake in a pipeline file, or all damage in an output folder"),
    "tiles": ("slideloom_cli.tiles", "list the tiles of a slide as CSV, Parquet or GeoJSON"),
    "tissue": ("slideloom_cli.tissue", "write the tissue of slides as outlines for QuPath, and as masks"),
    "preview": ("slideloom_cli.preview", "lay settings side by side on a contact sheet, before anything is cut"),
    "info": ("slideloom_cli.info", "show the metadata of slides"),
    "plugins": ("slideloom_cli.plugins", "list plugins and their steps"),
    "doctor": ("slideloom_cli.doctor", "check this installation and this machine, or tell of a slide that fails"),
    "demo": ("slideloom_cli.demo", "make a demo slide and run the whole pipeline on it"),
    "new-plugin": ("slideloom_cli.new_plugin", "write a package for your own step"),
}
FAILED, USAGE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 only if everything succeeded."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = argparse.Namespace()
    try:
        parser = _parser(words)
        parser.parse_args(words, chosen)
        configure_logging(chosen)
        if not hasattr(chosen, "run_command"):
            parser.print_help()
            return USAGE
        from slideloom.pipeline.fronts import FLAGS  # not needed to print help

        begin_collecting()
        with naming(FLAGS), standard_output_for_json() if getattr(chosen, "json", False) else nullcontext():
            code: int = chosen.run_command(chosen)
    except SlideloomError as error:
        if getattr(chosen, "debug", False):
            print(redacted("".join(traceback.format_exception(error))), end="", file=sys.stderr)
        print(redacted(f"slideloom: {error}"), file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        said = getattr(chosen, "interrupted", "")
        print(f"slideloom: interrupted{said and f'; {said}'}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the program that reads our output, such as `head`, has closed it
        sys.stderr.close()
        return FAILED
    except OSError as error:
        if error.errno is None:
            raise
        print(f"slideloom: {in_words(error)}", file=sys.stderr)
        return FAILED
    return code


def entry() -> None:
    """The console script."""
    # NumPy's OpenBLAS starts a thread for each processor, and they wait busily for products of large matrices. Here
    # tiles are processed in parallel, so the threads would only cost 0.1 s of processor time, in each worker too.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # a file name may not be valid text, and a terminal may lack letters
    with collecting_put_off():
        code = main()
    end_output_with_process()
    sys.exit(code)


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = Parser(prog="slideloom", description="Pathology slides in, machine-learning-ready tiles out.")
    parser.add_argument("--version", action="version", version=f"slideloom {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    named = next((word for word in words if not word.startswith("-")), None)
    for name, (module, help_line) in _COMMANDS.items():
        sub = commands.add_parser(name, help=help_line, description=help_line[0].upper() + help_line[1:] + ".")
        _tell_repetition(sub)
        if name == named:
            home = import_module(module)
            word = name.replace("-", "_")
            getattr(home, f"configure_{word}")(sub)
            sub.set_defaults(run_command=getattr(home, f"run_{word}"))
    if named not in _COMMANDS and words != ["--version"]:  # the version needs no plugin
        _add_plugin_commands(commands, named)
    return parser


def _tell_repetition(parser: argparse.ArgumentParser) -> None:
    """Make the parser warn if an option with one value is given twice; the last value counts."""
    for word in (None, "store"):
        parser.register("action", word, _Store)


class _Store(argparse.Action):
    """Stores a value as argparse does by default, and warns if it replaces another one."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        given = vars(namespace).setdefault("given_once", {})
        if option is not None:
            if self.dest in given and given[self.dest] != values:
                said = f"{option} is given twice; {values} counts, not {given[self.dest]}"
                print(f"warning: {said}", file=sys.stderr)
            given[self.dest] = values
        setattr(namespace, self.dest, values)


def _add_plugin_commands(commands: argparse._SubParsersAction[Parser], named: str | None) -> None:
    from slideloom.plugins.discovery import registry

    taken = set(_COMMANDS)
    for plugin in registry().plugins:
        for command in plugin.commands:
            if command.name in taken:
                print(
                    f"slideloom: command '{command.name}' of {plugin.dist} is left out: its name is already used",
                    file=sys.stderr,
                )
                continue
            taken.add(command.name)
            sub = commands.add_parser(command.name, help=command.help, description=command.help)
            _tell_repetition(sub)
            if command.name == named:  # the options of the others are not needed
                command.configure(sub)
                sub.set_defaults(run_command=command.run)


if __name__ == "__main__":
    entry()
