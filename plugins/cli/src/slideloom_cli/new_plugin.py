"""`slideloom new-plugin`: a complete package for a step of one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from slideloom_cli.scaffold import kinds_offered, write_plugin


def configure_new_plugin(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom new-plugin`."""
    parser.add_argument("name", metavar="NAME", help="of the package, such as slideloom-pale-tiles")
    parser.add_argument("--kind", required=True, choices=kinds_offered(), help="of the step in it")
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder that the package's folder is made in (here)"
    )


def run_new_plugin(chosen: argparse.Namespace) -> int:
    """Write the package and say how to go on."""
    home = write_plugin(chosen.name, kind=chosen.kind, folder=chosen.out)
    say = Console(highlight=False, markup=False)
    say.print(f"made {home}, a {chosen.kind} step that works; change it to what you need", soft_wrap=True)
    say.print(f"next: cd {home} && pip install -e . && pytest && slideloom plugins", soft_wrap=True)
    return 0
