"""Networks as slide QC: `DeepFocus`, and two classes to inherit from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from slideloom import ConfigError, QcResult, Rgb, RgbBatch, Scene, Settings, Slide, SlideQc

from slideloom_slideflow.adapting import NotOffered, adapted
from slideloom_slideflow.slide.qc.steps import HasOurs, QcObject, settings_named

if TYPE_CHECKING:
    from slideloom_deepfocus import PredictionMap, StridedModelQC, StridedModelSettings


class _Predicting(QcObject):
    """A network that can also be asked for its raw predictions."""

    @abstractmethod
    def _built(self) -> StridedModelQC:
        """slideloom's step, ready to predict."""

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """See `SlideQc.assess`."""
        return self._built().assess(slide, scene)

    def __call__(self, wsi: HasOurs, threshold: bool | float | None = None) -> Any:  # Any: bool or float32
        """The mask of what to discard, or the predictions.

        Args:
            wsi: the slide.
            threshold: False gives the predictions, (h, w) float32, NaN where the network was not run; a number stands
                in for the object's own threshold.
        """
        found: PredictionMap = self._built().predict(wsi.ours.slide)
        if threshold is False:
            return found.values
        if threshold is None or threshold is True:
            return self._built().judge(found).mask
        return (found.values > threshold) | ~found.visited


class StridedDL(_Predicting):
    """A network that scores a slide tile by tile, to inherit from: call `super().__init__` with the network.

    Override `preprocess` to change what the network sees.
    """

    @adapted("slide.qc.StridedDL")
    def __init__(
        self,
        model: Callable[..., Any],
        pred_idx: int,
        tile_px: int,
        tile_um: float | str,
        *,
        buffer: int = 8,
        verbose: bool = False,
        pred_threshold: float = 0.5,
        **wsi_kwargs: Any,
    ) -> None:
        if type(self).apply is not StridedDL.apply:
            raise NotOffered(f"{type(self).__name__}.apply is not called; override preprocess, or wrap the model")
        from slideloom_deepfocus import StridedModelSettings

        self.model = model
        self.settings = StridedModelSettings(
            tile_px=tile_px, tile_um=tile_um, index=pred_idx, threshold=pred_threshold, everywhere=True
        )

    def preprocess(self, image: Rgb) -> NDArray[np.generic]:
        """What the network sees of one tile: by default its pixels from 0 to 1, float32."""
        return np.clip(image.astype(np.float32) / 255, 0, 1)

    def apply(self, image: Rgb) -> NDArray[np.generic]:
        """The scores of one tile; a subclass cannot override it."""
        return self._built().scores_for(image[None])

    def _built(self) -> StridedModelQC:
        return _step(self.model, self.settings, self.preprocess)


class StridedDL_V2(_Predicting):  # noqa: N801 - Slideflow's name
    """A filter that marks pixels, to inherit from: `apply` gives a map of one tile, and tiles are joined.

    Override `apply`: from (tile_px, tile_px, 3) uint8 to a map (h, w) of what to discard, bool or from 0 to 1.
    """

    @adapted("slide.qc.StridedDL_V2")
    def __init__(
        self,
        tile_px: int,
        tile_um: float | str,
        *,
        verbose: bool = False,
        grayspace_fraction: float = 1,
        overlap: int = 0,
        filter_threads: int | None = 8,
        persistent_threads: bool = True,
        pool: Any = None,
        out_classes: int = 0,
        **wsi_kwargs: Any,
    ) -> None:
        from slideloom_deepfocus import StridedModelSettings

        if not 0 <= overlap < tile_px / 2:
            raise ConfigError(f"overlap must be from 0 to below half of tile_px, not {overlap!r}")
        # With an overlap, tiles are taken at half steps and blended, which is at least as much as was asked for.
        stride_div = 2 if overlap else 1
        self.settings = StridedModelSettings(
            tile_px=tile_px, tile_um=tile_um, stride_div=stride_div, preprocess="uint8", everywhere=True
        )

    @abstractmethod
    def apply(self, image: Rgb) -> NDArray[np.generic]:
        """A map of what to discard of one tile."""

    def _built(self) -> StridedModelQC:
        def each(tiles: RgbBatch) -> NDArray[np.float32]:
            return np.stack([np.asarray(self.apply(tile), np.float32) for tile in tiles])

        from slideloom_deepfocus import StridedModelQC

        return StridedModelQC(each, self.settings)


class DeepFocus(_Predicting):
    """Masks what is out of focus by the DeepFocus network (Senaras et al. 2018)."""

    @adapted("slide.qc.DeepFocus")
    def __init__(
        self, ckpt: str | Path | None = None, *, buffer: int = 16, tile_um: float | str = "40x", **kwargs: Any
    ) -> None:
        threshold = kwargs.pop("pred_threshold", None)
        self._step = settings_named(
            "deepfocus",
            weights=str(ckpt or "published"),
            tile_um=tile_um,
            threshold=threshold,
            centre="group",
            everywhere=True,
        )

    def to_settings(self) -> Settings[SlideQc]:
        """Settings of `deepfocus`."""
        return self._step

    def _built(self) -> StridedModelQC:
        built: StridedModelQC = self._step.build()  # type: ignore[assignment]  # this step is one
        return built


def _step(model: Any, settings: StridedModelSettings, preprocess: Callable[[Rgb], Any]) -> StridedModelQC:
    """The step that runs a model on tiles that a function prepares."""
    from slideloom_deepfocus import StridedModelQC

    class Prepared(StridedModelQC):
        """A model with the preprocessing of an object of the drop-in."""

        def prepare(self, tiles: RgbBatch, *, block: Rgb) -> NDArray[np.generic]:
            return np.stack([np.asarray(preprocess(tile)) for tile in tiles])

    return Prepared(model, settings)
