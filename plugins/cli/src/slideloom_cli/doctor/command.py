"""The command: its arguments, its lines, its exit code."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from rich.console import Console
from rich.markup import escape
from slideloom import __version__
from slideloom.plugins.discovery import registry

from slideloom_cli.doctor import machine
from slideloom_cli.doctor.findings import Finding, show
from slideloom_cli.doctor.libraries import examine, finding_of, unmet_requirements
from slideloom_cli.doctor.slide import slide_report
from slideloom_cli.output import print_json


def configure_doctor(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom doctor`."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--out", type=Path, metavar="DIR", help="also check an output folder: space, locks, clock")
    parser.add_argument(
        "--slide", type=Path, metavar="FILE", help="tell what others need to know of a slide that fails, without names"
    )
    parser.add_argument(
        "--with-names", action="store_true", help="of the slide also its name, labels and dates, if they may be told"
    )


def run_doctor(chosen: argparse.Namespace) -> int:
    """Check plugins, libraries and the machine, or tell of a slide. The exit code is 1 if there is a fault."""
    if chosen.slide is not None:
        return _tell_of_slide(chosen)
    rows = [examine(library) for library in registry().libraries()]
    broken = {plugin.dist: plugin.error for plugin in registry().plugins if plugin.error}
    missing = [kind for kind in ("reader", "sink") if not registry().names(kind)]
    unmet = list(unmet_requirements())
    torch_version = next((row["version"] for row in rows if row["library"] == "torch"), "")
    on_machine = list(machine.findings(chosen.out, torch_version))
    of_libraries = [finding for row in rows for finding in finding_of(row)]
    findings = [*of_libraries, *_plugin_findings(broken, missing, unmet), *on_machine]
    if chosen.json:
        print_json(
            {
                "libraries": rows,
                "broken_plugins": broken,
                "missing": missing,
                "unmet_requirements": unmet,
                "machine": [attrs.asdict(finding) for finding in on_machine],
            }
        )
    else:
        out = Console(highlight=False, emoji=False)
        out.print(_heading(), soft_wrap=True)
        show(out, findings)
        out.print(f"  {_count()}; `slideloom plugins` lists them")
    return 1 if any(finding.verdict == "fault" for finding in findings) else 0


def _plugin_findings(broken: dict[str, str], missing: list[str], unmet: list[str]) -> Iterator[Finding]:
    yield from (Finding("fault", dist, error) for dist, error in broken.items())
    yield from (Finding("fault", kind, f"no {kind} is installed: pip install slideloom") for kind in missing)
    yield from (Finding("fault", "versions", words) for words in unmet)


def _tell_of_slide(chosen: argparse.Namespace) -> int:
    report = slide_report(chosen.slide, with_names=chosen.with_names)
    if chosen.json:
        print_json(report)
    else:
        out = Console(highlight=False, emoji=False)
        out.print(_heading(with_folder=False), soft_wrap=True)
        for key, value in report.items():
            out.print(f"{key}:{_lines(value)}", soft_wrap=True, markup=False)
    return 1 if "cannot be opened" in report else 0


def _lines(value: Any) -> str:
    if isinstance(value, dict):
        value = [f"{name}: {words}" for name, words in value.items()]
    return "".join(f"\n  {item}" for item in value) if isinstance(value, list) else f" {value}"


def _heading(*, with_folder: bool = True) -> str:
    parts = [f"slideloom {__version__}", f"Python {platform.python_version()}", platform.platform()]
    return ", ".join(parts + ([escape(sys.prefix)] if with_folder else []))


def _count() -> str:
    working = [plugin for plugin in registry().plugins if not plugin.error]
    return (
        f"{len(working)} plugins with {sum(len(classes) for each in working for classes in each.steps.values())} steps"
    )
