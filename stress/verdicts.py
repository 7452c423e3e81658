"""What a campaign counts: a case went right, was refused in our words, ended in another exception, or went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

from attrs import define, field, frozen


class Kind(StrEnum):
    """How a case ended; the last two are faults."""

    RIGHT = "right"
    REFUSED = "refused with our error"
    OTHER = "other exception"
    WRONG = "wrong"


@frozen
class Verdict:
    """How one case ended, and in which words; those of a right one tell what of it nobody could confirm."""

    kind: Kind
    words: str = ""

    @property
    def is_fault(self) -> bool:
        """True for what must not happen."""
        return self.kind in (Kind.OTHER, Kind.WRONG)


@frozen
class Campaign:
    """One way to try to break slideloom.

    Attributes:
        name: as given on the command line.
        help: one line.
        prepare: called with an empty folder; writes what all cases use.
        cases: called with that folder and a seed; the names of all cases, in an order that the seed decides.
        judge: called with that folder and a case's name, in a process that other cases may share.
        environment: called with that folder; variables that this process is started with.
        in_memory: the folder may lie in memory, where the system offers that: what is tried is not the disk.
        patience_s: for one case; a longer one is a hang, which is a fault.
    """

    name: str
    help: str
    prepare: Callable[[Path], None]
    cases: Callable[[Path, int], list[str]]
    judge: Callable[[Path, str], Verdict]
    environment: Callable[[Path], dict[str, str]] = field(default=lambda _folder: {})
    in_memory: bool = False
    patience_s: int = 180


@define
class Tally:
    """Counts of one campaign, and its faults in words; `unconfirmed` are right, as far as could be told."""

    name: str
    counts: Counter[Kind] = field(factory=Counter)
    unconfirmed: list[tuple[str, str]] = field(factory=list)
    faults: list[tuple[str, Verdict]] = field(factory=list)

    def add(self, case: str, verdict: Verdict) -> None:
        """Count a case."""
        self.counts[verdict.kind] += 1
        if verdict.kind is Kind.RIGHT and verdict.words:
            self.unconfirmed.append((case, verdict.words))
        if verdict.is_fault:
            self.faults.append((case, verdict))

    def as_table(self) -> dict[str, Any]:
        """Plain values for JSON."""
        counts = {kind.value: self.counts[kind] for kind in Kind}
        faults = [{"case": case, "kind": verdict.kind.value, "words": verdict.words} for case, verdict in self.faults]
        return {"cases": self.counts.total(), **counts, "unconfirmed": dict(self.unconfirmed), "faults": faults}
