"""The table of Slideflow 3.0.2's names for slide processing: what the drop-in makes of each, argument by argument.

`table.toml` is read by the adapters themselves, by the tests, and by the migration page, so the three cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from attrs import field, frozen
from slideloom.base.parsing import parse_toml

Status = Literal["works", "differs", "refused"]
Fate = Literal["same", "differs", "warned", "refused"]


@frozen
class Row:
    """One function, class or module of Slideflow.

    Attributes:
        theirs: its name below `slideflow`, such as "Project.extract_tiles".
        section: of the migration page.
        status: "works" as there, "differs" in what the note says, or "refused".
        ours: what does the same in slideloom without the drop-in.
        note: the difference, or what to use.
        since: release of slideloom that has it.
        called: what slideloom calls an argument, where it has another name there.
        arguments: what becomes of each: "same" (honoured, with the same meaning), "differs" (honoured, with the
            difference), "warned" (it has no effect, and a warning says so) or "refused"; and the words for it.
    """

    theirs: str
    section: str
    status: Status
    ours: str = ""
    note: str = ""
    since: str = "0.1.0"
    called: Mapping[str, str] = field(factory=dict)
    arguments: Mapping[str, tuple[Fate, str]] = field(factory=dict)

    def named(self, *fates: Fate) -> dict[str, str]:
        """The arguments with one of these fates, and the words for each."""
        return {name: words for name, (fate, words) in self.arguments.items() if fate in fates}


@cache
def rows() -> Mapping[str, Row]:
    """The table, by the names of Slideflow, in the order of the page."""
    text = files(__package__).joinpath("table.toml").read_text(encoding="utf-8")
    found: dict[str, Row] = {}
    for section in parse_toml(text)["section"]:
        for entry in section["row"]:
            row = _row(entry, section["title"])
            if row.theirs in found:
                raise ValueError(f"table.toml: {row.theirs} is there twice")
            found[row.theirs] = row
    return found


def _row(entry: Mapping[str, Any], section: str) -> Row:
    rest = {key: value for key, value in entry.items() if key not in ("same", "differs", "warned", "refuses")}
    return Row(section=section, arguments=dict(_arguments(entry)), **rest)


def _arguments(entry: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Fate, str]]]:
    yield from ((name, ("same", "")) for name in entry.get("same", "").split())
    fates: tuple[tuple[str, Fate], ...] = (("differs", "differs"), ("warned", "warned"), ("refuses", "refused"))
    for key, fate in fates:
        yield from ((name, (fate, words)) for name, words in entry.get(key, {}).items())
