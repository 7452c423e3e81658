"""What the doctor says of one thing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs
from rich.console import Console
from rich.markup import escape

_STYLES = {"ok": "green", "note": "yellow", "absent": "yellow", "fault": "bold red"}


@attrs.frozen
class Finding:
    """One line.

    Attributes:
        verdict: "fault" ends the command with exit code 1; "absent" is what slideloom can do without, "note" what
            may surprise.
        what: it is about, such as "numpy" or "open files".
        words: what was found, and a remedy if it is not well.
    """

    verdict: Literal["ok", "note", "absent", "fault"]
    what: str
    words: str


def show(out: Console, findings: Iterable[Finding]) -> None:
    """Print a line for each."""
    for finding in findings:
        word = f"[{_STYLES[finding.verdict]}]{finding.verdict:<8}[/]"
        out.print(f"  {word} {finding.what:<24} {escape(finding.words)}", soft_wrap=True)
