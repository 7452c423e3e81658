"""What can be changed of a slide that is divided into tiles: steps come and go, and thresholds move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import attrs
from attrs import frozen

from slideloom.base.errors import ConfigError
from slideloom.base.watching import Cancel, StepProgress, Watch
from slideloom.pipeline.pipeline import QcUse, RoiUse
from slideloom.pipeline.tiling import Tiling
from slideloom.planning.deciding import check_qc_result
from slideloom.plugins.given_steps import GivenStep, Step, steps_in
from slideloom.plugins.shorthand import steps_settings
from slideloom.settings.given import Given
from slideloom.settings.options import Settings, did_you_mean, options_of
from slideloom.slides.slide import Slide
from slideloom.steps.scene import Scene
from slideloom.steps.slide_qc import QcResult, SlideQc
from slideloom.viewing.looks import SlideLooks
from slideloom.viewing.views import LiveStep


class SlideChanges(SlideLooks):
    """The part of `WSI` that changes what is on screen. See there for threads, `progress` and `cancel`."""

    def update(
        self,
        *,
        qc: Sequence[QcUse | Step] | None = None,
        filters: Sequence[Step] | None = None,
        normalizer: Step | Literal["as before"] | None = "as before",
        tiling: Tiling | None = None,
        roi: Sequence[RoiUse] | None = None,
        placement: Settings[Any] | Literal["as before"] | None = "as before",
        progress: StepProgress | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        """Put these steps on screen; what is not given stays. All at once, or nothing.

        Masks of steps that ran before with the same settings are used again, and so is what steps measured, where
        only options differ that are `live`. Tile filters decide by the scores that are known; `score` reads the tiles
        that they have not seen.

        Args:
            qc: slide QC, in order; a step without `QcUse` drops tiles that are masked by more than 0.6.
            filters: tile filters, in order.
            normalizer: the normalizer, or None for none.
            tiling: size and placement of tiles.
            roi: sources of regions, which are read again.
            placement: of tiles; None for a grid.
            progress, cancel: see the class.

        Raises:
            ConfigError: a name or an option is wrong.
            PluginError: a step fails.
            Cancelled: by `cancel`.
        """
        changes: dict[str, Any] = {}
        with self._live.changing, _refusing():
            if qc is not None:
                changes["qc"] = tuple(use for each in qc for use in _qc_uses(each))
            if filters is not None:
                changes["filters"] = tuple(step for each in filters for step in steps_settings("filter", each))
            if normalizer != "as before":
                changes["normalizer"] = None if normalizer is None else _normalizer(normalizer)
            if tiling is not None:
                changes["tiles"] = tiling
            if roi is not None:
                changes["roi"] = tuple(roi)
            if placement != "as before":
                changes["placement"] = placement
            self._live.change(watch=Watch(progress, cancel), **changes)

    def qc(
        self,
        steps: Step | Sequence[Step],
        *,
        filter_threshold: float = 0.6,
        progress: StepProgress | None = None,
        cancel: Cancel | None = None,
        **options: Any,
    ) -> QcResult | list[QcResult]:
        """Run slide QC and drop the tiles that it masks. The results of earlier QC stay.

        Args:
            steps: a name such as "otsu", settings such as `Otsu()`, your own step, or a list of these. A name may stand
                for several steps: "both" is blur and Otsu.
            filter_threshold: drop a tile if more than this share of it is masked.
            progress, cancel: see the class.
            options: options for a single step that is given by name.

        Returns:
            The result, or a list of results for a list or a name that stands for several steps.

        Raises:
            ConfigError: a name or an option is wrong.
            PluginError: a step fails.
            Cancelled: by `cancel`.
        """
        given = steps_in(steps)
        is_one = not isinstance(steps, Sequence) or isinstance(steps, str)
        _refuse_options(options, is_one=is_one)
        uses = [use for step in given for use in _qc_uses(step, options, filter_threshold=filter_threshold)]
        with self._live.changing:
            self.update(qc=[*self._state.plan.pipeline.qc, *uses], progress=progress, cancel=cancel)
            results = list(self.qc_results[len(self.qc_results) - len(uses) :])
        return results[0] if is_one and len(results) == 1 else results

    def apply_mask(self, result: QcResult, *, filter_threshold: float = 0.6) -> None:
        """Drop the tiles of which more than `filter_threshold` is covered by your own mask.

        No pipeline can say that: what is on screen is then for looking only.
        """
        check_qc_result(result, "mask")
        if not 0 <= filter_threshold <= 1:
            raise ConfigError(f"filter_threshold must be from 0 to 1, not {filter_threshold!r}")
        own = QcUse(step=GivenStep(given=Given(OwnMask(result))), filter_threshold=filter_threshold)
        with self._live.changing:
            self.update(qc=[*self._state.plan.pipeline.qc, own])

    def filter(
        self,
        steps: Step | Sequence[Step],
        *,
        now: bool = True,
        progress: StepProgress | None = None,
        cancel: Cancel | None = None,
        **options: Any,
    ) -> None:
        """Add tile filters, after those that are there.

        Args:
            steps: a name such as "grayspace", settings, your own filter, or a list of these.
            now: read the tiles that they have not seen; False leaves that to `score`.
            progress, cancel: see the class.
            options: options for a single filter that is given by name.

        Raises:
            ConfigError: a name or an option is wrong. PluginError: a filter fails. Cancelled: by `cancel`.
        """
        _refuse_options(options, is_one=not isinstance(steps, Sequence) or isinstance(steps, str))
        found = [settings for step in steps_in(steps) for settings in steps_settings("filter", step, options)]
        with self._live.changing:
            self._filters([*self._state.plan.pipeline.filters, *found], now=now, watch=Watch(progress, cancel))

    def score(self, *, progress: StepProgress | None = None, cancel: Cancel | None = None) -> int:
        """Read the tiles that tile filters have not seen, and decide on them.

        Returns:
            Number of tiles read.

        Raises:
            PluginError: a filter fails. Cancelled: by `cancel`; what was read until then is not read again.
        """
        return self._live.score(watch=Watch(progress, cancel))

    def normalize(self, step: Step | None, **options: Any) -> None:
        """Choose the normalizer, or None for none. It runs where a tile is looked at, and in `extract`.

        Raises:
            ConfigError: a name or an option is wrong.
        """
        self.update(normalizer=None if step is None else _normalizer(step, options))

    def change(
        self,
        label: str,
        *,
        filter_threshold: float | None = None,
        now: bool = True,
        progress: StepProgress | None = None,
        cancel: Cancel | None = None,
        **options: Any,
    ) -> bool:
        """Give a step other options, or slide QC another threshold.

        Args:
            label: of the step, such as "otsu", or its `reason`, such as "qc:otsu".
            filter_threshold: of slide QC.
            now: read the tiles that a tile filter with these options has not seen; False leaves that to `score`.
            progress, cancel: see the class.
            options: of the step; the others stay.

        Returns:
            True if pixels were read; False if the decision follows from what is known (`LiveStep.live`).

        Raises:
            ConfigError: there is no such step, or an option is wrong.
            PluginError: the step fails. Cancelled: by `cancel`.
        """
        watch = Watch(progress, cancel)
        with self._live.changing:
            number, step = self._found(label)
            settings = _with_options(step.settings, options)
            pipeline = self._state.plan.pipeline
            if filter_threshold is not None and step.kind != "qc":
                raise ConfigError(f"{step.reason} takes no filter_threshold: it is no slide QC")
            if step.kind == "normalizer":
                self.normalize(settings)
                return False
            if step.kind == "filter":
                filters = [*pipeline.filters[:number], settings, *pipeline.filters[number + 1 :]]
                return self._filters(filters, now=now, watch=watch) > 0
            reads = self._live.reads_pixels(settings)
            with _refusing():
                threshold = pipeline.qc[number].filter_threshold if filter_threshold is None else filter_threshold
                use = QcUse(step=settings, filter_threshold=threshold)
            self._live.change(watch=watch, qc=(*pipeline.qc[:number], use, *pipeline.qc[number + 1 :]))
            return reads

    def remove(self, label: str) -> None:
        """Take a step off the screen. What it measured is kept for a while, in case it comes back.

        Args:
            label: of the step, such as "otsu", or its `reason`, such as "qc:otsu".
        """
        with self._live.changing:
            number, step = self._found(label)
            pipeline = self._state.plan.pipeline
            if step.kind == "qc":
                self._live.change(qc=(*pipeline.qc[:number], *pipeline.qc[number + 1 :]))
            elif step.kind == "filter":
                self._live.change(filters=(*pipeline.filters[:number], *pipeline.filters[number + 1 :]))
            else:
                self._live.change(normalizer=None)

    def remove_qc(self) -> None:
        """Remove all QC results; the tiles that QC dropped are kept again."""
        self.update(qc=[])

    def reload_regions(self, *, progress: StepProgress | None = None, cancel: Cancel | None = None) -> None:
        """Read the regions again, after their files have changed. Slide QC that depends on regions runs again."""
        with self._live.changing:
            self.update(roi=self._state.plan.pipeline.roi, progress=progress, cancel=cancel)

    def _filters(self, filters: Sequence[Settings[Any]], *, now: bool, watch: Watch) -> int:
        """Put tile filters on screen, and return the number of tiles that were read for them."""
        before = self._state.plan.pipeline.filters
        self._live.change(filters=tuple(filters))
        if not now:
            return 0
        try:
            return self._live.score(watch=watch)
        except BaseException:
            self._live.change(filters=before)
            raise

    def _found(self, label: str) -> tuple[int, LiveStep]:
        """A step by its label, and its number among the steps of its kind."""
        steps = self.steps
        found = [step for step in steps if label in (step.label, step.reason)]
        if len(found) != 1:
            reasons = [step.reason for step in steps]
            said = f"several steps are called {label!r}: " if found else f"no step is called {label!r}"
            raise ConfigError(f"{said}{' or '.join(step.reason for step in found) or did_you_mean(label, reasons)}")
        alike = [step for step in steps if step.kind == found[0].kind]
        return alike.index(found[0]), found[0]


@frozen(eq=False)
class OwnMask(SlideQc):
    """A mask that the caller made, as a step."""

    result: QcResult
    label: ClassVar[str] = "own"  # how accounts call it
    uses_regions: ClassVar[bool] = False

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The mask."""
        return self.result


def _qc_uses(
    step: QcUse | Step, options: Mapping[str, Any] | None = None, *, filter_threshold: float = 0.6
) -> list[QcUse]:
    if isinstance(step, QcUse):
        return [step]
    with _refusing():
        return [QcUse(step=made, filter_threshold=filter_threshold) for made in steps_settings("qc", step, options)]


def _normalizer(step: Step, options: Mapping[str, Any] | None = None) -> Settings[Any]:
    (settings,) = steps_settings("normalizer", step, options)
    return settings


def _with_options(settings: Settings[Any], options: Mapping[str, Any]) -> Settings[Any]:
    if not options:  # the same object, which may be all that tells it
        return settings
    known = options_of(type(settings))
    for name in options:
        if name not in known:
            raise ConfigError(f"{settings.label} has no option {name!r}{did_you_mean(name, list(known))}")
    with _refusing():
        return attrs.evolve(settings, **options)


def _refuse_options(options: Mapping[str, Any], *, is_one: bool) -> None:
    if options and not is_one:
        raise ConfigError(f"options {', '.join(options)} need a single step; pass settings objects in the list instead")


@contextmanager
def _refusing() -> Iterator[None]:
    """Within it, the `ValueError` of an option that is out of range becomes a `ConfigError`."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from error
