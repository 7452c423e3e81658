"""A whole-slide image in Python: look at it, mask it, list and read its tiles, and cut what is on screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs

from slideloom.base.addresses import SlidePlace, local_path, place_of
from slideloom.base.closing import Closing
from slideloom.base.errors import ConfigError, MissingResolution, SlideloomError
from slideloom.base.machine import usable_cores
from slideloom.base.naming import naming
from slideloom.base.watching import Cancel, StepProgress, Watch
from slideloom.pipeline.from_words import pipeline_from_words
from slideloom.pipeline.fronts import PYTHON
from slideloom.pipeline.pipeline import Pipeline, RoiUse, RunOptions, Slides
from slideloom.pipeline.tiling import Tiling
from slideloom.pipeline.words import BESIDE_TILES
from slideloom.planning.opening import open_slide
from slideloom.plugins.discovery import registry
from slideloom.plugins.given_steps import GivenStep, Step
from slideloom.plugins.shorthand import folder_of_regions, steps_settings
from slideloom.settings.field_names import hinted
from slideloom.settings.options import Settings
from slideloom.slides.names import NamedSlide
from slideloom.slides.regions import RoiMethod
from slideloom.slides.slide import Slide
from slideloom.steps.reports import SlideReport
from slideloom.viewing.changes import OwnMask, SlideChanges
from slideloom.viewing.live import LiveSlide

if TYPE_CHECKING:
    from slideloom import StudioPage

NO_ARGUMENT = {
    "max_tiles": "chosen from the tiles that filters keep, and no filter runs",
    "exclude": "it is one slide",
    "recursive": "it is one slide",
    "filter_threshold": "each call of `qc` has its own",
    **dict.fromkeys(BESIDE_TILES, "it stores no tiles"),
}
"""Options that `WSI` does not take, besides those of `run`, and why."""


class WSI(SlideChanges, Closing):
    """A slide divided into tiles, for interactive work and for scripts.

    Steps come and go, and thresholds move; what was measured once is used again. `pipeline` is what is on screen, and
    `extract` does just that. Nothing else is written.

    Threads: what only looks may be called from any number of threads at any time, also while another thread changes
    something. It sees what was before the change or what is after it, and what it returns never changes. What changes
    something may be called from any thread; a second change waits for the first. Changes that read pixels take
    `progress`, which is told the label of a step and how much of it is done (0-1), and `cancel`, which is asked often
    and ends the call with `Cancelled` if it returns True: then nothing has changed. Both are called from several
    threads and must not raise.

    Args:
        path: the slide's file, or its address, such as "s3://bucket/a.svs", or a `Slide` that is open already and stays
            so: it keeps its reader, resolution and colours.
        tile_px: width and height of a tile image in pixels.
        tile_um: width of a tile in microns, or a magnification such as "10x".
        stride_div: stride is the tile's size divided by this.
        roi: a folder of ROI files or its address, or settings of a ROI source, or None.
        roi_method: "auto", "inside", "outside" or "ignore".
        roi_filter_method: "center", or the share of a tile's area that regions must cover.
        artifact_labels: labels of regions to cut out.
        mpp: microns per pixel, instead of the value that the slide records.
        mpp_file: CSV with the columns slide and mpp, which overrides everything else.
        allow_objective_power: use 10 / objective power as mpp if nothing else gives it.
        reader: name of the reader, or NAME:option=value.
        avoid_readers: names of readers not to choose automatically.
        icc: "srgb" transforms colours by the slide's ICC profile to sRGB.
        use_edge_tiles, edge_tiles: include tiles that extend beyond the right and bottom edges, with padding.
        randomize_origin: start the grid at a random place, which depends on `seed` and the slide's name.
        enable_downsample: False reads level 0 only.
        use_bounds: stay within the slide's scanned bounds.
        seed: seed of the random origin.

    Raises:
        SlideError: the slide cannot be opened; `MissingResolution` if its mpp is not known.
        ConfigError: an argument is wrong.
    """

    @hinted
    def __init__(
        self,
        path: SlidePlace | NamedSlide | str | Slide,
        tile_px: int,
        tile_um: float | str,
        *,
        stride_div: float = 1.0,
        roi: SlidePlace | str | Settings[Any] | None = None,
        roi_method: RoiMethod = "auto",
        roi_filter_method: float | Literal["center"] = "center",
        artifact_labels: Sequence[str] = (),
        mpp: float | None = None,
        mpp_file: Path | str | None = None,
        allow_objective_power: bool = False,
        reader: str | None = None,
        avoid_readers: Sequence[str] = (),
        icc: Literal["keep", "srgb"] = "keep",
        use_edge_tiles: bool = False,
        edge_tiles: bool = False,
        randomize_origin: bool = False,
        enable_downsample: bool = True,
        use_bounds: bool = False,
        seed: int = 0,
    ) -> None:
        given = dict(locals())  # arguments have the names of the options
        given["use_edge_tiles"] = use_edge_tiles or edge_tiles
        folder = folder_of_regions(place_of(roi)) if isinstance(roi, str | SlidePlace) else roi
        regions = [] if folder is None else [folder]
        self._open(path, pipeline_from_words(given, roi=regions, filters=[], sinks=[]))

    @classmethod
    def of(
        cls,
        path: SlidePlace | NamedSlide | str | Slide,
        tiling: Tiling,
        *,
        slides: Slides | None = None,
        roi: Sequence[RoiUse] = (),
    ) -> Self:
        """A slide from settings objects, such as those of a `Pipeline`."""
        return cls.of_pipeline(path, Pipeline(tiles=tiling, slides=slides or Slides(), roi=tuple(roi)))

    @classmethod
    def of_pipeline(
        cls,
        path: SlidePlace | NamedSlide | str | Slide,
        pipeline: Pipeline,
        *,
        progress: StepProgress | None = None,
        cancel: Cancel | None = None,
    ) -> Self:
        """A slide with the steps of a pipeline. Its slide QC runs; for its tile filters call `score`."""
        made = cls.__new__(cls)
        made._open(path, pipeline, Watch(progress, cancel))
        return made

    def _open(
        self, path: SlidePlace | NamedSlide | str | Slide, pipeline: Pipeline, watch: Watch | None = None
    ) -> None:
        with naming(PYTHON, is_last=True):
            self._planned(path, pipeline, watch)

    def _planned(
        self, path: SlidePlace | NamedSlide | str | Slide, pipeline: Pipeline, watch: Watch | None = None
    ) -> None:
        self._is_own = not isinstance(path, Slide)
        slide = (
            _as_given(path, pipeline.slides) if isinstance(path, Slide) else open_slide(path, slides=pipeline.slides)
        )
        try:
            on_screen = attrs.evolve(pipeline, sinks=(), run=RunOptions())
            self._live = LiveSlide(slide, on_screen, threads=usable_cores(), watch=watch)
        except BaseException:
            if self._is_own:
                slide.close()
            raise
        self._opened: Slide = slide

    def close(self) -> None:
        """Release the file, once a change in progress has ended, unless it was open before."""
        if self._is_own:
            with self._live.changing:
                self._opened.close()

    def pipeline(self, *, sinks: Sequence[Step] | None = None, run: RunOptions | None = None) -> Pipeline:
        """The pipeline that does what is on screen.

        Args:
            sinks: how tiles are stored; None for the default.
            run: how to run.

        Raises:
            ConfigError: there is a mask of your own, which no pipeline can say.
        """
        shown = self._state.plan.pipeline
        for use in shown.qc:
            if isinstance(use.step, GivenStep) and isinstance(use.step.given.value, OwnMask):
                raise ConfigError(
                    "a mask given to apply_mask is no step that a pipeline can name; store it by save_mask and use the "
                    "step saved-mask, or take it off by remove('qc:own')"
                )
        stored = [registry().default("sink")] if sinks is None else sinks
        made = tuple(settings for step in stored for settings in steps_settings("sink", step))
        return attrs.evolve(
            shown,
            slides=attrs.evolve(shown.slides, include=(str(self.info.path),)),
            sinks=made,
            run=run or RunOptions(),
        )

    def view(self, *, height: int = 800) -> StudioPage:
        """The slide with these steps in a page to look, draw regions and tune, for notebooks; see `slideloom.studio`.

        What is changed there does not change this object.

        Args:
            height: of the frame in pixels.

        Raises:
            ConfigError: there is a mask of your own.
            PluginError: slideloom-studio is not installed.
        """
        from slideloom import studio  # of a distribution of its own

        return studio(self.info.path, pipeline=self.pipeline(), height=height)

    def extract(
        self,
        out: Path | str,
        *,
        sinks: Sequence[Step] | None = None,
        run: RunOptions | None = None,
        progress: Any = None,  # Any: called as progress(slide, tiles done, tiles in all)
    ) -> SlideReport:
        """Store the slide's tiles by the pipeline on screen, as `slideloom extract` does with the same options.

        The slide is opened anew and its QC runs again, so that the output does not depend on what was looked at.

        Args:
            out: output folder, made if missing.
            sinks: how tiles are stored; None for the default.
            run: how to run.
            progress: called with the slide's name, the number of tiles done, and their total number.

        Raises:
            ConfigError: an option is wrong, or there is a mask of your own.
            OutputError: the folder cannot be used.
            SlideloomError: the slide failed; the message says why.
        """
        from slideloom.running.run import run_pipeline  # a run needs more than looking does

        folder = local_path(out)
        (report,) = run_pipeline(
            self.pipeline(sinks=sinks, run=run), [self.info.path], folder, progress=progress
        ).slides
        if report.status == "failed":
            raise SlideloomError(report.error)
        return report


def _as_given(slide: Slide, rules: Slides) -> Slide:
    """A slide that the caller has opened.

    Raises:
        ConfigError: there are rules for how to open it.
        MissingResolution: its microns per pixel are not known.
    """
    if rules != Slides():
        raise ConfigError(
            f"{slide.info.name}: is open already, so its reader, resolution and colours cannot be chosen; open it with "
            "these options (open_slide), or give its path"
        )
    if slide.info.mpp is None:
        raise MissingResolution(
            f"{slide.info.name}: no microns per pixel recorded; open it with open_slide(path, mpp=...)"
        )
    return slide
