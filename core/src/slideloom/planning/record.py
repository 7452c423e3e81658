"""The record of a slide: what was decided about its tiles so far, and what the report will say of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from attrs import define, field, frozen

from slideloom.planning.ledger import Ledger
from slideloom.planning.plan import SlidePlan
from slideloom.steps.slide_qc import QcResult


@frozen
class QcFinding:
    """What one slide QC step found, and when a tile is dropped for it.

    Attributes:
        label: how accounts and reports call it; no two findings of a slide have the same.
        result: the mask and what belongs to it.
        filter_threshold: a tile is dropped if more of it is masked, 0-1.
    """

    label: str
    result: QcResult
    filter_threshold: float


@define
class SlideRecord:
    """What was decided so far about the tiles of a `SlidePlan`.

    Attributes:
        ledger: the account of tiles.
        qc: what slide QC found, in the order it was run.
        burden: blur burden, or None if it was not measured.
        warnings: sentences for the report.
        metrics: numbers for the report.
        seconds: wall time by stage.
    """

    ledger: Ledger
    qc: list[QcFinding] = field(factory=list)
    burden: float | None = None
    warnings: list[str] = field(factory=list)
    metrics: dict[str, float] = field(factory=dict)
    seconds: dict[str, float] = field(factory=dict)

    @classmethod
    def of(cls, plan: SlidePlan) -> Self:
        """A record that knows what the plan noted, and nothing else yet."""
        return cls(ledger=Ledger(plan.tiles), warnings=list(plan.notes))

    @property
    def qc_kinds(self) -> dict[str, str]:
        """What each QC step looks for ("background", "blur" or "artifact"), by its label."""
        return {finding.label: finding.result.kind for finding in self.qc}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Adds the time spent within to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
