"""Results of slide QC on the slide in a person's hands, kept so that the next decision reads no pixel again."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import shapely
from attrs import define, evolve, field

from slideloom.base.errors import ConfigError
from slideloom.base.watching import Watch
from slideloom.pipeline.pipeline import QcUse
from slideloom.planning.deciding import apply_regions, assess_step, check_qc_result, shares_of
from slideloom.planning.masks import Floats
from slideloom.planning.plan import SlidePlan
from slideloom.planning.record import SlideRecord
from slideloom.plugins.blaming import blaming, called
from slideloom.settings.digest import digest_of
from slideloom.settings.options import Settings, options_of
from slideloom.slides.tiles import TileGeometry, Tiles
from slideloom.steps.slide_qc import QcClass, QcResult

MOST_SPARE = 8  # results of steps that are not in the pipeline any more


def live_options(step: Settings[Any]) -> frozenset[str]:
    """Options that the step decides by again without reading pixels."""
    return frozenset(name for name, info in options_of(type(step)).items() if info.live)


def measured_by(step: Settings[Any]) -> str | None:
    """A digest of what decides what a step measures, which live options do not; None if it cannot be told."""
    live, cls = live_options(step), type(step)
    names = [name for name, info in options_of(cls).items() if info.affects_output and name not in live]
    options = {name: getattr(step, name) for name in names}
    try:
        return digest_of([f"{cls.__module__}.{cls.__qualname__}", step.revision, options])
    except ConfigError:  # an object whose state nobody can compare
        return None


@define(eq=False)
class _Kept:
    """A result, and what it depends on besides the slide.

    Attributes:
        step: the settings of the step.
        key: of the step and its files; None: only for this very object.
        base: the same but for live options.
        geometry: of the tiles.
        regions: that the step may have looked at; None if it looks at none.
        result: what it found.
        shares: of each tile, for the whole mask (None) and for each class.
        tiles: that the shares are of.
    """

    step: Settings[Any]
    key: str | None
    base: str | None
    geometry: TileGeometry
    regions: Hashable
    result: QcResult
    tiles: Tiles | None = None
    shares: dict[int | None, Floats] = field(factory=dict)


class KnownResults:
    """Results of slide QC on one slide. For one thread at a time."""

    def __init__(self) -> None:
        self._kept: list[_Kept] = []  # the most recently used ones last
        self._decided: tuple[SlidePlan, SlideRecord] | None = None

    def result(self, plan: SlidePlan, use: QcUse, *, watch: Watch | None = None) -> QcResult:
        """The result of a step: as it was found before, decided again from that, or else by running the step.

        Raises:
            PluginError: the step fails or breaks its contract.
            Cancelled: by `watch`.
        """
        kept = self._found(plan, use.step)
        if kept is None:
            with blaming(use.step, "qc", plan.slide.info.name):
                built = use.step.build()
            found = assess_step(plan, use, watch=watch, built=built)
            # Whoever looks at the mask again and again should not unpack it each time.
            kept = self._keep(plan, use.step, evolve(found, mask=found.mask), built)
        self._kept.remove(kept)
        self._kept.append(kept)
        return kept.result

    def knows(self, plan: SlidePlan, step: Settings[Any]) -> bool:
        """True if `result` would read no pixel."""
        return self._found(plan, step) is not None

    def shares(self, plan: SlidePlan, result: QcResult, one: QcClass | None) -> Floats:
        """See `deciding.Shares`; each is computed once."""
        kept = next((kept for kept in self._kept if kept.result is result), None)
        if kept is None:
            return shares_of(plan, result, one)
        if kept.tiles is not plan.tiles:
            kept.tiles, kept.shares = plan.tiles, {}
        key = None if one is None else one.value
        if key not in kept.shares:
            kept.shares[key] = shares_of(plan, result, one)
        return kept.shares[key]

    def by_regions(self, plan: SlidePlan) -> SlideRecord:
        """`apply_regions`, computed once for each set of regions and places."""
        if self._decided is not None:
            known, record = self._decided
            if known.tiles is plan.tiles and known.roi_uses is plan.roi_uses and known.notes is plan.notes:
                return record.copy()
        record = apply_regions(plan)
        self._decided = (plan, record)
        return record.copy()

    def forget_all_but(self, steps: list[Settings[Any]]) -> None:
        """Keep the results of these steps, and some of those used last."""
        spare = [kept for kept in self._kept if not any(kept.step is step for step in steps)]
        for kept in spare[: max(0, len(spare) - MOST_SPARE)]:
            self._kept.remove(kept)

    def _found(self, plan: SlidePlan, step: Settings[Any]) -> _Kept | None:
        """What is known of a step, or what follows from it."""
        key = _key(plan, step)
        fitting = [kept for kept in reversed(self._kept) if self._fits(kept, plan)]
        for kept in fitting:
            if kept.step is step or (key is not None and kept.key == key):
                return kept
        base = _base(plan, step)
        for kept in fitting:
            if base is not None and kept.base == base and type(kept.step) is type(step):
                return self._again(plan, step, kept)
        return None

    def _fits(self, kept: _Kept, plan: SlidePlan) -> bool:
        return kept.geometry == plan.scene.geometry and kept.regions in (None, _regions_key(plan))

    def _again(self, plan: SlidePlan, step: Settings[Any], earlier: _Kept) -> _Kept | None:
        """What follows from an earlier result of the step with other live options."""
        with blaming(step, "qc", plan.slide.info.name):
            built = step.build()
            result = built.again(earlier.result) if hasattr(built, "again") else None
        if result is None:
            return None
        check_qc_result(result, f"{called(step, 'qc')} broke its contract on slide {plan.slide.info.name}")
        kept = self._keep(plan, step, result, built)
        if result.labels is not None and result.labels is earlier.result.labels:  # classes cover what they covered
            kept.tiles = earlier.tiles
            kept.shares = {key: share for key, share in earlier.shares.items() if key is not None}
        return kept

    def _keep(self, plan: SlidePlan, step: Settings[Any], result: QcResult, built: Any) -> _Kept:
        kept = _Kept(
            step=step,
            key=_key(plan, step),
            base=_base(plan, step),
            geometry=plan.scene.geometry,
            regions=_regions_key(plan) if getattr(built, "uses_regions", True) else None,
            result=result,
        )
        self._kept.append(kept)
        return kept


def _key(plan: SlidePlan, step: Settings[Any]) -> str | None:
    try:
        return digest_of([step, list(step.files_for(plan.slide.info.name))])
    except ConfigError:  # an object whose state nobody can compare
        return None


def _base(plan: SlidePlan, step: Settings[Any]) -> str | None:
    measured = measured_by(step) if live_options(step) else None
    return None if measured is None else digest_of([measured, list(step.files_for(plan.slide.info.name))])


def _regions_key(plan: SlidePlan) -> Hashable:
    """Of the regions of a plan; not None."""
    return tuple((region.label, shapely.to_wkb(region.shape)) for region in plan.regions)
