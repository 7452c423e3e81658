"""`slideloom new-plugin`: writes a complete package for the user's own step."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from slideloom_cli.scaffold import kinds_offered, write_plugin


def configure_new_plugin(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom new-plugin`."""
    parser.add_argument("name", metavar="NAME", help="name of the package, such as slideloom-pale-tiles")
    parser.add_argument("--kind", required=True, choices=kinds_offered(), help="kind of the step in it")
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="where to make the package's folder (current folder)"
    )


def run_new_plugin(chosen: argparse.Namespace) -> int:
    """Write the package and print the next steps."""
    home = write_plugin(chosen.name, kind=chosen.kind, folder=chosen.out)
    say = Console(highlight=False, markup=False)
    say.print(f"made {home} with a working {chosen.kind} step; change it to what you need", soft_wrap=True)
    say.print(f"next: cd {home} && pip install -e . && pytest && slideloom plugins", soft_wrap=True)
    return 0
