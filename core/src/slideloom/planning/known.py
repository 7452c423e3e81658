"""What has been measured on the slide in a person's hands, and the decisions that follow from it."""

from __future__ import annotations

from slideloom.base.geometry import IntArray
from slideloom.base.watching import Watch
from slideloom.planning.deciding import labelled_qc, reject_masked
from slideloom.planning.known_results import KnownResults
from slideloom.planning.known_scores import KnownScores
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import QcFinding, SlideRecord


class Known:
    """Results of slide QC and scores of tile filters of one slide. For one thread at a time.

    Attributes:
        results: of slide QC.
        scores: of tile filters.
    """

    def __init__(self) -> None:
        self.results = KnownResults()
        self.scores = KnownScores()

    def decided(self, plan: SlidePlan, *, watch: Watch | None = None) -> tuple[SlideRecord, IntArray]:
        """The decisions on a plan's tiles by regions, slide QC and the known scores of filters.

        QC steps that nothing is known of run; filters do not. The blur burden is not measured.

        Returns:
            The record, and the indices of the tiles left of which some filter has not said anything.

        Raises:
            PluginError: a step fails or breaks its contract.
            Cancelled: by `watch`.
        """
        record = self.results.by_regions(plan)
        for label, use in labelled_qc(plan.pipeline):
            if watch is not None:
                watch.check()
            with record.timed(f"qc:{label}"):
                result = self.results.result(plan, use, watch=watch)
            reject_masked(plan, record, QcFinding(label, result, use.filter_threshold), shares=self.results.shares)
        self.results.forget_all_but([use.step for use in plan.pipeline.qc])
        unseen = self.scores.decide(plan, record.ledger)
        self.scores.forget_all_but(plan.pipeline.filters)
        return record, unseen
