"""A function of a slide as slide QC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from slideloom import QcResult, Scene, Slide, SlideQc, local_path

from slideloom_slideflow.slide.wsi import WSI


class FunctionQc(SlideQc):
    """Masks what a function of a `WSI` gives, (h, w) bool over the whole slide.

    Args:
        function: called once per slide; the slide it gets has no QC.
    """

    def __init__(self, function: Callable[[WSI], Any]) -> None:
        self.function = function

    @property
    def name(self) -> str:
        """The function's name, by which reports call the step."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """See `SlideQc.assess`."""
        geometry, resolution = scene.geometry, slide.info.mpp
        mpp = None if resolution is None else resolution.mean
        with WSI(local_path(slide.info.path), geometry.tile_px, geometry.tile_um, mpp=mpp) as wsi:
            return QcResult(mask=np.asarray(self.function(wsi), np.bool_), kind="artifact")
