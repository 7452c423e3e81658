"""The record of a slide: the decisions about its tiles so far, and what the report will say about it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

import numpy as np
from attrs import define, evolve, field, frozen
from shapely.geometry.base import BaseGeometry

from slideloom.base.geometry import Mask
from slideloom.planning.ledger import Ledger
from slideloom.planning.plan import SlidePlan
from slideloom.steps.slide_qc import QcKind, QcResult


@frozen
class QcFinding:
    """The result of one slide QC step, and the rule by which it drops tiles.

    Attributes:
        label: its name in accounts and reports; unique within a slide.
        result: the mask with its kind, extent and metrics.
        filter_threshold: a tile is dropped if more than this share of it is masked, 0-1.
    """

    label: str
    result: QcResult
    filter_threshold: float

    def threshold_of(self, kind: QcKind) -> float:
        """The share of a tile above which it is dropped for what is of a kind, 0-1."""
        own = [one.threshold for one in self.result.classes if one.kind == kind and one.threshold is not None]
        return min(self.filter_threshold, max(own, default=1.0))


@define
class SlideRecord:
    """The decisions so far about the tiles of a `SlidePlan`.

    Attributes:
        ledger: the account of the tiles.
        qc: results of slide QC, in the order in which it ran.
        burden: blur burden, or None if it was not measured.
        warnings: sentences for the report.
        metrics: numbers for the report.
        told: (N,) bool by reason, such as "qc:artifacts:fold", for each class that is told but kept: True for tiles of
            which more than the class's threshold is of it.
        outlines: areas of these classes by reason, each with the result that they are of, once they were asked for.
        seconds: wall time by stage.
    """

    ledger: Ledger
    qc: list[QcFinding] = field(factory=list)
    burden: float | None = None
    warnings: list[str] = field(factory=list)
    metrics: dict[str, float] = field(factory=dict)
    told: dict[str, Mask] = field(factory=dict)
    outlines: dict[str, tuple[QcResult, Sequence[BaseGeometry]]] = field(factory=dict, init=False, repr=False, eq=False)
    seconds: dict[str, float] = field(factory=dict)

    @classmethod
    def of(cls, plan: SlidePlan) -> Self:
        """A new record with the notes and metrics of the plan."""
        return cls(ledger=Ledger(plan.tiles), warnings=list(plan.notes), metrics=dict(plan.metrics))

    def copy(self) -> Self:
        """A record with the same decisions, that goes its own way."""
        return evolve(
            self,
            ledger=self.ledger.copy(),
            qc=list(self.qc),
            warnings=list(self.warnings),
            metrics=dict(self.metrics),
            told=dict(self.told),
            seconds=dict(self.seconds),
        )

    @property
    def qc_kinds(self) -> dict[str, str]:
        """What each QC step looks for ("background", "blur" or "artifact"), by its label."""
        return {finding.label: finding.result.kind for finding in self.qc}

    @property
    def qc_classes(self) -> dict[str, dict[str, str]]:
        """The classes that QC steps discard, with the kind of each, by the label of the step."""
        return {
            finding.label: {one.name: one.kind for one in finding.result.classes if one.kind is not None}
            for finding in self.qc
            if finding.result.classes
        }

    @property
    def qc_told(self) -> dict[str, dict[str, int]]:
        """The classes that QC steps tell but keep, with how many kept tiles have each, by the label of the step.

        A tile counts if more than the class's threshold is of it.
        """
        kept = np.isin(self.ledger.codes, [self.ledger.words.index(word) for word in ("candidate", "written")])
        counts: dict[str, dict[str, int]] = {}
        for finding in self.qc:
            for one in finding.result.classes:
                if one.is_told:
                    with_it = self.told[f"qc:{finding.label}:{one.name}"]
                    counts.setdefault(finding.label, {})[one.name] = int(np.count_nonzero(kept & with_it))
        return counts

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Within it, time is added to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
