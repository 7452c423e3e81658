"""A slide ready to be cut: its plan, the record of decisions, and the pipeline's steps, each built once."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

from slideloom.base.geometry import IntArray
from slideloom.base.watching import Watch
from slideloom.planning.deciding import apply_regions, assess_slide, discard_mask
from slideloom.planning.known import Known
from slideloom.planning.ledger import numbered
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord
from slideloom.plugins.blaming import blaming
from slideloom.settings.options import Settings
from slideloom.slides.tiles import read_only
from slideloom.steps.normalizer import Normalizer
from slideloom.steps.tile_filter import TileFilter


@frozen
class BuiltStep:
    """A step that threads share, with a lock for steps that are not thread-safe.

    Attributes:
        settings: the settings that it was built from.
        kind: kind of step, for messages.
        step: the step.
        label: its name in the ledger, such as "filter:grayspace"; unique within a slide.
        lock: held while the step is called.
    """

    settings: Settings[Any]
    kind: str
    step: Any
    label: str
    lock: AbstractContextManager[Any] = field(factory=nullcontext)


@frozen
class TileSteps:
    """The steps that tiles go through one after another, built for one slide."""

    filters: tuple[BuiltStep, ...] = ()
    normalizer: BuiltStep | None = None
    sinks: tuple[BuiltStep, ...] = ()


class PreparedSlide:
    """A planned slide with its decisions. A job writes its tiles, and `WSI` shows them.

    Regions and places are those of the plan: they are not read again when decisions are made again.

    Args:
        plan: the slide's plan, with its pipeline.
        known: what has been measured on the slide, which several prepared slides may share, one after another; None
            for a job, which measures once and keeps no more than its record.

    Attributes:
        plan, record: the plan, and the decisions so far.
        unseen: indices of the tiles left of which some filter has not said anything.
    """

    def __init__(self, plan: SlidePlan, *, known: Known | None = None) -> None:
        self.plan = plan
        self.record = SlideRecord.of(plan)
        self.unseen: IntArray = np.zeros(0, np.int64)
        self._known = known
        self._sinks: tuple[BuiltStep, ...] | None = None

    def decide(self, *, watch: Watch | None = None) -> None:
        """Decide from scratch: by regions, by the slide QC of the pipeline, and by what is known of its filters.

        With `known`, slide QC runs even if regions leave no tile, and the blur burden is not measured.

        Args:
            watch: told how far steps are; it may also end this. Only with `known`.

        Raises:
            PluginError: a step fails or breaks its contract; then nothing has changed.
            Cancelled: by `watch`; then nothing has changed.
        """
        if self._known is not None:
            self.record, self.unseen = self._known.decided(self.plan, watch=watch)
            return
        self.record = apply_regions(self.plan)
        assess_slide(self.plan, self.record)

    def tile_steps(self) -> TileSteps:
        """The pipeline's steps for tiles, built; the normalizer only if there are tiles left.

        Raises:
            PluginError: one of them cannot be built.
        """
        return TileSteps(
            filters=self.filters(),
            normalizer=self.built_normalizer() if len(self.record.ledger.candidates()) else None,
            sinks=self.sinks(),
        )

    def filters(self) -> tuple[BuiltStep, ...]:
        """The pipeline's tile filters, built, and told of the slide.

        Raises:
            PluginError: one of them cannot be built.
        """
        return tuple(self._for_slide(stage) for stage in self._built("filter", self.plan.pipeline.filters))

    def sinks(self) -> tuple[BuiltStep, ...]:
        """The pipeline's sinks, built once.

        Raises:
            PluginError: one of them cannot be built.
        """
        if self._sinks is None:
            self._sinks = self._built("sink", self.plan.pipeline.sinks)
        return self._sinks

    def normalizer(self) -> Normalizer | None:
        """The pipeline's normalizer, fitted to the slide; None if there is none."""
        settings, plan = self.plan.pipeline.normalizer, self.plan
        if settings is None:
            return None
        with blaming(settings, "normalizer", plan.slide.info.name), self.record.timed("normalizer"):
            built: Normalizer = settings.build()
            discard = discard_mask(plan, self.record)
            fitted = built.for_slide(plan.slide, plan.scene, None if discard is None else read_only(discard))
            if not isinstance(fitted, Normalizer):
                raise TypeError(f"wanted a Normalizer, got {type(fitted).__name__}")
        return fitted

    def _for_slide(self, stage: BuiltStep) -> BuiltStep:
        """A filter that knows the slide."""
        with blaming(stage.settings, stage.kind, self.plan.slide.info.name):
            fitted = stage.step.for_slide(self.plan.slide, self.plan.scene)
            if not isinstance(fitted, TileFilter):
                raise TypeError(f"for_slide: wanted a TileFilter, got {type(fitted).__name__}")
        return evolve(stage, step=fitted)

    def built_normalizer(self) -> BuiltStep | None:
        """`normalizer`, with a lock if it must be called by one thread at a time."""
        settings, step = self.plan.pipeline.normalizer, self.normalizer()
        return None if settings is None or step is None else _shared(settings, "normalizer", step, "normalizer")

    def _built(self, kind: str, chosen: tuple[Settings[Any], ...]) -> tuple[BuiltStep, ...]:
        steps = []
        for settings, label in zip(chosen, numbered(settings.label for settings in chosen), strict=True):
            with blaming(settings, kind, self.plan.slide.info.name):
                steps.append(_shared(settings, kind, settings.build(), f"{kind}:{label}"))
        return tuple(steps)


def _shared(settings: Settings[Any], kind: str, step: Any, label: str) -> BuiltStep:
    return BuiltStep(settings, kind, step, label, nullcontext() if step.thread_safe else threading.Lock())
