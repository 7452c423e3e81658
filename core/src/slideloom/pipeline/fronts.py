"""How pipeline files, the command line and Python name tables, options and steps, for messages in the user's words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from attrs import field, frozen

from slideloom.base.naming import Naming
from slideloom.pipeline.words import TABLES, words
from slideloom.settings.tables import Called, Place

# Tables that a pipeline file holds once; it may hold any number of the others.
_SINGLE = ("slides", "tiles", "mask", "normalizer", "placement", "run")


class Front(Naming, Protocol):
    """One of the ways to write a pipeline."""

    def table(self, table: str, use: str = "") -> Place:
        """Where the core's own options in a table are given; `use` names the step that the table belongs to."""

    def step(self, kind: str, use: str = "") -> Place:
        """Where a step and its options are given."""

    def none(self, kind: str) -> str:
        """How to write that no step of a kind is wanted; empty if there is no way."""


@frozen
class FileFront:
    """A pipeline file.

    Attributes:
        path: the file's name in messages.
        flagged: tables whose options may be given as flags, too, which messages then name.
    """

    path: str
    flagged: Collection[str] = ()

    def option(self, table: str, name: str) -> str:
        """Such as "slides.mpp_file"."""
        return FLAGS.option(table, name) if self._has_flags(table) else f"{table}.{name}"

    def given(self, table: str, name: str, value: Any) -> str:
        """Such as "run.jobs = 1"."""
        if self._has_flags(table):
            return FLAGS.given(table, name, value)
        return f"{table}.{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}"

    def _has_flags(self, table: str) -> bool:
        """True for options that the command takes besides the file, and for those of other commands."""
        return table in self.flagged or table not in TABLES

    def table(self, table: str, use: str = "") -> Place:
        """Such as "pipeline.toml: [tiles]"."""
        header = f"[{table}]" if table in _SINGLE else f"[[{table}]]"
        return Place(f"{self.path}: {header} {use}".rstrip())

    def step(self, kind: str, use: str = "") -> Place:
        """Such as "pipeline.toml: [[qc]] otsu"."""
        return self.table(kind, use)

    def none(self, kind: str) -> str:
        """Such as "filter = []"."""
        return f"{kind} = []"


@frozen
class WordFront:
    """The command line, or Python.

    Attributes:
        noun: what an option of a step is called, such as "argument".
        dashes: "--" if options are flags, else empty.
        kinds: other names for kinds of steps.
        nothing: by kind: how to write that no step is wanted, if there is a way.
    """

    noun: str
    dashes: str = ""
    kinds: Mapping[str, str] = field(factory=dict)
    nothing: Mapping[str, str] = field(factory=dict)

    def option(self, table: str, name: str) -> str:
        """Such as "--mpp-file" or "mpp_file"."""
        return self.says(next((word.name for word in words() if word.table == table and name in word.options), name))

    def given(self, table: str, name: str, value: Any) -> str:
        """Such as "--jobs 1" or "jobs=1"."""
        said = self.option(table, name)
        if not self.dashes:
            return f"{said}={value!r}"
        return said if value is True else f"{said} {value}"

    def table(self, table: str, use: str = "") -> Place:
        """No place, because the words themselves are enough."""
        called = {
            option: Called(self.says(word.name), wanted)
            for word in words(table)
            for option, wanted in word.options.items()
        }
        return Place("", self.noun, called)

    def step(self, kind: str, use: str = "") -> Place:
        """Such as "--qc otsu"."""
        return Place(f"{self.dashes}{self.kinds.get(kind, kind)} {use}".rstrip(), self.noun)

    def none(self, kind: str) -> str:
        """Such as "--filter none"."""
        return self.nothing.get(kind, "")

    def says(self, name: str) -> str:
        """The name of a keyword argument here, whether it is in the table of options or not."""
        if not self.dashes:
            return name
        found = [word.flags[0] for word in words() if word.name == name]
        return found[0] if found else self.dashes + name.replace("_", "-")


FLAGS = WordFront("option", "--", nothing={"filter": "--filter none"})
"""The command line: options are named by their flags."""

PYTHON = WordFront("argument")
"""Python: options are named by their keyword arguments."""
