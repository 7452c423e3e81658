"""Scores of tile filters on the slide in a person's hands, kept so that another threshold reads no tile again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import define, evolve
from numpy.typing import NDArray

from slideloom.base.geometry import IntArray
from slideloom.planning.known_results import live_options, measured_by
from slideloom.planning.ledger import Ledger, numbered
from slideloom.planning.plan import SlidePlan
from slideloom.settings.digest import digest_of
from slideloom.settings.options import Settings
from slideloom.slides.regions import Regions
from slideloom.slides.tiles import Tiles
from slideloom.steps.tile_filter import TileFilter

MOST_SPARE = 8  # filters that are not in the pipeline any more


@define(eq=False)
class _Scores:
    """What a filter said of tiles.

    Attributes:
        step: the settings by which it decided.
        score: (N,) float64, NaN of a tile that it has not seen.
        keep: (N,) bool, its decision.
        seen: (N,) bool.
        needs_slide: True if the filter may have looked at more than its tiles, such as at regions.
        regions: of the slide when it did.
    """

    step: Settings[Any]
    score: NDArray[np.float64]
    keep: NDArray[np.bool_]
    seen: NDArray[np.bool_]
    needs_slide: bool
    regions: Regions | None


class KnownScores:
    """What filters said of the tiles of one slide. For one thread at a time."""

    def __init__(self) -> None:
        self._kept: list[_Scores] = []
        self._tiles: Tiles | None = None
        self._unreadable: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def follow(self, plan: SlidePlan) -> None:
        """Forget what was said of tiles that are not those of the plan."""
        known, now = self._tiles, plan.tiles
        if known is not now and (known is None or not _same_places(known, now)):
            self._kept, self._unreadable = [], np.zeros(len(now), np.bool_)
        self._tiles = now
        regions = plan.scene.regions
        self._kept = [one for one in self._kept if one.regions is regions or not one.needs_slide]

    def decide(self, plan: SlidePlan, ledger: Ledger) -> IntArray:
        """Reject by what is known, as filters would one after another.

        Returns:
            Indices of the tiles left of which some filter has not said anything.
        """
        self.follow(plan)
        if plan.pipeline.filters:
            ledger.mark_unreadable(np.flatnonzero(self._unreadable))
        unseen = np.zeros(len(ledger), np.bool_)
        for settings, label in labelled_filters(plan):
            kept = self._of(plan, settings)
            here = ledger.candidates()
            known = here[kept.seen[here]]
            unseen[here] |= ~kept.seen[here]
            if len(known):
                ledger.score(label, known, kept.score[known])
                ledger.reject(known[~kept.keep[known]], label)
        left = ledger.candidates()
        return left[unseen[left]]

    def note(
        self,
        plan: SlidePlan,
        *,
        scores: Sequence[tuple[str, IntArray, NDArray[Any]]],
        rejected: Sequence[tuple[str, IntArray]],
        unreadable: Sequence[int],
    ) -> None:
        """Keep what filters said, as the tile engine gives it: by their labels, with the numbers of the tiles."""
        self.follow(plan)
        self._unreadable[list(unreadable)] = True
        by_label = {label: self._of(plan, settings) for settings, label in labelled_filters(plan)}
        for label, which, values in scores:
            kept = by_label[label]
            kept.score[which], kept.keep[which], kept.seen[which] = values, True, True
        for label, which in rejected:
            if label in by_label:
                by_label[label].keep[which] = False

    def forget_all_but(self, steps: Sequence[Settings[Any]]) -> None:
        """Keep the scores of these filters, and some of those used last."""
        spare = [kept for kept in self._kept if not any(_same(kept.step, step) for step in steps)]
        for kept in spare[: max(0, len(spare) - MOST_SPARE)]:
            self._kept.remove(kept)

    def _of(self, plan: SlidePlan, settings: Settings[Any]) -> _Scores:
        """What is known of a filter with these settings; of none, something empty that is filled."""
        for kept in self._kept:
            if _same(kept.step, settings):
                return kept
        base = measured_by(settings) if live_options(settings) else None
        for kept in reversed(self._kept):
            if base is not None and type(kept.step) is type(settings) and measured_by(kept.step) == base:
                keep = _decided(settings, kept)
                if keep is not None:
                    return self._add(
                        evolve(kept, step=settings, score=kept.score.copy(), keep=keep, seen=kept.seen.copy())
                    )
        count = len(plan.tiles)
        return self._add(
            _Scores(
                step=settings,
                score=np.full(count, np.nan),
                keep=np.ones(count, np.bool_),
                seen=np.zeros(count, np.bool_),
                needs_slide=settings.build().needs_slide,
                regions=plan.scene.regions,
            )
        )

    def _add(self, kept: _Scores) -> _Scores:
        self._kept.append(kept)
        return kept


def labelled_filters(plan: SlidePlan) -> list[tuple[Settings[Any], str]]:
    """The filters of a plan's pipeline, each with the label that the ledger gives it."""
    filters = plan.pipeline.filters
    labels = numbered(settings.label for settings in filters)
    return [(settings, f"filter:{label}") for settings, label in zip(filters, labels, strict=True)]


def _decided(settings: Settings[Any], kept: _Scores) -> NDArray[np.bool_] | None:
    """The decisions of a filter by scores that it made with other live options."""
    built = settings.build()
    if not isinstance(built, TileFilter):
        return None
    found = built.decided(kept.score[kept.seen])
    if found is None:
        return None
    keep = np.ones(len(kept.seen), np.bool_)
    keep[kept.seen] = found
    return keep


def _same(one: Settings[Any], other: Settings[Any]) -> bool:
    if one is other:
        return True
    if type(one) is not type(other) or measured_by(one) is None:
        return False
    return digest_of(one) == digest_of(other)


def _same_places(one: Tiles, other: Tiles) -> bool:
    return one.footprint == other.footprint and np.array_equal(one.x, other.x) and np.array_equal(one.y, other.y)
