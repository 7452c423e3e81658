"""DeepFocus as slide QC.

Source: Senaras et al. (2018), DeepFocus: Detection of out-of-focus regions in whole slide digital images using deep
learning, PLOS ONE 13(10): e0205387.
"""

from __future__ import annotations

from collections.abc import Hashable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, frozen
from numpy.typing import NDArray
from slideloom import ConfigError, FileState, PluginError, QcResult, Rgb, RgbBatch, Slide, pip_install

from slideloom_deepfocus import weights
from slideloom_deepfocus.centring import centred, contrasted
from slideloom_deepfocus.layers import OUT_OF_FOCUS, TILE_PX, Architecture, architecture_of
from slideloom_deepfocus.models import KerasPredictor, Predictor, TorchPredictor, once
from slideloom_deepfocus.settings import DeepFocus, StridedModelSettings
from slideloom_deepfocus.sharpness import USUAL, threshold_of
from slideloom_deepfocus.strided import PredictionMap, StridedModelQC

BUNDLED_MPP = 1.0
PUBLISHED_MPP = 0.25  # the authors' 40x


_MOST = 0.5  # of the cells: perhaps the slide, its mpp or its scanner, not a region out of focus
_FEW = 10  # cells of which no share is told
_MUCH = 0.05  # of the cells, by which a fixed threshold and "auto" differ


@frozen
class Network:
    """A network that predicts, and the table it was made from."""

    model: Predictor
    table: Architecture


class DeepFocusQC(StridedModelQC):
    """Runs the network on tiles of 64 pixels and discards those that it finds out of focus."""

    keeps_inside = True  # the edge between tissue and padding would look sharp

    def __init__(
        self,
        network: Network,
        options: StridedModelSettings,
        *,
        centre: str,
        follows_slide: bool = False,
        enlarges: bool = True,
    ) -> None:
        """Wrap a network.

        Args:
            network: what predicts.
            options: as for any model.
            centre: "tile" or "group".
            follows_slide: choose the threshold by the slide's own tissue, not by the options.
            enlarges: read a slide that is coarser than the options' scale at that scale, not at its own pixels.
        """
        super().__init__(network.model, options)
        self._centring, self._centre = network.table.centring, centre
        self._is_relative, self._follows_slide = network.table.is_relative, follows_slide
        self._enlarges = enlarges
        self.needs_whole_blocks = centre == "group"

    @property
    def step_name(self) -> str:
        """How messages call the step."""
        return DeepFocus.name

    def prepare(self, tiles: RgbBatch, *, block: Rgb) -> NDArray[np.generic]:
        """0-1 minus a mean and, if the network was trained so, divided by a contrast.

        Both are those of each tile, or of a block of 16 x 16 tiles, which does not depend on the batch size.
        """
        unit = tiles.astype(np.float32) / np.float32(255)
        if self._centring == "contrast":
            by = None if self._centre == "tile" else block[None].astype(np.float32) / np.float32(255)
            return contrasted(unit, by=by)
        if self._centre == "tile":
            return centred(unit)
        return unit - np.float32(block.mean(dtype=np.float64) / 255)

    def threshold_for(self, found: PredictionMap) -> float:
        """See `StridedModelQC.threshold_for`."""
        return threshold_of(found.values) if self._follows_slide else super().threshold_for(found)

    def mpp_for(self, slide: Slide) -> float:
        """See `StridedModelQC.mpp_for`; that of a slide that is coarser, if it is not to be enlarged.

        Enlarged pixels look out of focus, whatever the slide shows, and they show nothing that its own pixels do not.
        """
        own = slide.info.mpp
        return max(self.options.mpp, own.x, own.y) if own is not None and not self._enlarges else self.options.mpp

    def judge(self, found: PredictionMap) -> QcResult:
        """See `StridedModelQC.judge`; notes on a slide that is coarse, soft all over, or of which most is discarded."""
        result, threshold = super().judge(found), self.threshold_for(found)
        said = (self._coarse(found), self._soft(found, threshold), self._doubted(found, threshold))
        notes = (*result.notes, *filter(None, said))
        return evolve(result, metrics={**result.metrics, "threshold": threshold}, notes=notes)

    def _coarse(self, found: PredictionMap) -> str:
        """What a slide that is coarser than the network's scale hides; "" of others."""
        own, expected = stated_mpp(found), self.options.mpp
        if self._enlarges or own <= expected * (1 + self.options.mpp_tolerance):
            return ""
        return (
            f"the slide has {own:.3g} microns per pixel, more than the {expected:g} that the network expects, and was "
            f"judged as it is: defocus of less than {2 * own:.2g} microns hardly shows"
        )

    def _soft(self, found: PredictionMap, threshold: float) -> str:
        """That the threshold was raised, or that it was fixed where it would have been; "" of a sharp slide."""
        fixed, judged = self.options.threshold, found.values[found.visited]
        if threshold > fixed:
            return f"the slide's tissue is soft all over: the threshold was raised from {fixed:g} to {threshold:.2f}"
        if not self._is_relative or self._follows_slide or len(judged) < _FEW:
            return ""
        ours, theirs = share_above(fixed, judged), share_above(threshold_of(judged), judged)
        if ours - theirs < _MUCH:
            return ""
        return (
            f"the slide's tissue is soft all over: the fixed threshold of {fixed:g} discards {ours:.0%} of it, and "
            f"threshold = 'auto' would discard {theirs:.0%}"
        )

    def _doubted(self, found: PredictionMap, threshold: float) -> str:
        """Why a slide of which most looks out of focus may be sharp; "" of others."""
        judged = found.values[found.visited]
        if len(judged) < _FEW or share_above(self.options.threshold, judged) < _MOST:
            return ""
        soft, lost = share_above(self.options.threshold, judged), share_above(threshold, judged)
        return (
            f"{soft:.0%} of the tissue looks out of focus and {lost:.0%} is discarded: unless that is so, the slide's "
            f"{stated_mpp(found):.3g} microns per pixel are stated too large, or its scanner is softer than those of "
            "the training; look at it, and at the size of its nuclei"
        )


def share_above(threshold: float, scores: NDArray[np.float32]) -> float:
    """The share of scores, of which there are some, above a threshold."""
    return float((scores > threshold).mean())


def stated_mpp(found: PredictionMap) -> float:
    """The microns per pixel of the slide that a map was made from, along its coarser axis."""
    rows, columns = found.values.shape
    return float(found.cell_um * max(columns / found.extent.width, rows / found.extent.height))


def deepfocus_step(settings: DeepFocus) -> DeepFocusQC:
    """The step for these settings, around the process's one copy of the network.

    Raises:
        ConfigError: the weights are missing or are not DeepFocus weights; or options contradict each other.
        PluginError: neither torch nor TensorFlow is installed.
    """
    kind = _kind(settings)
    key = ("deepfocus", kind, settings.device if kind == "torch" else "", *_weights_key(settings))
    network = once(key, lambda: _network(settings, kind))
    options = StridedModelSettings(
        tile_px=TILE_PX,
        tile_um=_tile_um(settings),
        index=OUT_OF_FOCUS,
        threshold=USUAL if settings.threshold == "auto" else settings.threshold,
        kind="blur",
        stride_div=settings.stride_div,
        everywhere=settings.everywhere,
        min_tissue=settings.min_tissue,
        discard_unvisited=settings.discard_unvisited,
        batch=settings.batch,
        device=settings.device,
    )
    follows_slide = settings.threshold == "auto" and network.table.is_relative
    # The network has seen other scales than its own in training. A scale that is asked for is taken at its word.
    enlarges = not network.table.is_relative or settings.mpp is not None or settings.tile_um is not None
    return DeepFocusQC(network, options, centre=settings.centre, follows_slide=follows_slide, enlarges=enlarges)


def _tile_um(settings: DeepFocus) -> float | str:
    """The scale of the network's input, as strided models take it."""
    if settings.tile_um is not None:
        return settings.tile_um
    return TILE_PX * settings.mpp if settings.mpp is not None else f"{10 / _trained_mpp(settings.weights):g}x"


def check_deepfocus(settings: DeepFocus) -> None:
    """Raise what `deepfocus_step` would, without the network.

    Raises:
        ConfigError, PluginError: as there.
    """
    _kind(settings)
    _arrays(settings)


def _kind(settings: DeepFocus) -> str:
    """The framework to use, after a look at options that contradict each other."""
    if settings.centre == "group" and settings.stride_div != 1:
        raise ConfigError("deepfocus: centre = 'group' needs stride_div = 1, because groups are 16 x 16 adjacent tiles")
    if settings.mpp is not None and settings.tile_um is not None:
        raise ConfigError("deepfocus: mpp and tile_um say the same, the scale of the network's input; give one of them")
    return _framework(settings.framework)


def _framework(wanted: str) -> str:
    for name in ("torch", "tensorflow") if wanted == "auto" else (wanted,):
        if find_spec(name) is not None:
            return name
    if wanted != "auto":
        raise PluginError(f"{wanted} is not installed: {pip_install(f'slideloom-deepfocus[{wanted}]')}")
    remedy = pip_install("slideloom-deepfocus[torch]")
    raise PluginError(f"DeepFocus needs torch or TensorFlow: {remedy}, or the same with [tensorflow]")


def _network(settings: DeepFocus, kind: str) -> Network:
    from slideloom_deepfocus.models import framework

    framework(kind, extra=kind)  # names the extra if it is missing
    arrays = _arrays(settings)
    table = architecture_of(arrays)
    if kind == "torch":
        from slideloom_deepfocus.torch_network import network as torch_network

        return Network(TorchPredictor(torch_network(arrays), layout="channels-first", device=settings.device), table)
    from slideloom_deepfocus.keras_network import network as keras_network

    return Network(KerasPredictor(keras_network(arrays), layout="channels-last"), table)


def _arrays(settings: DeepFocus) -> dict[str, NDArray[np.float32]]:
    if settings.weights == "bundled":
        return weights.bundled()
    if settings.weights == "published":
        from slideloom_deepfocus.published import fetch

        return weights.from_checkpoint(fetch(cache=settings.cache))
    return weights.from_file(Path(settings.weights))


def _trained_mpp(source: Any) -> float:
    """The training resolution: recorded in a safetensors file, or that of the authors for a checkpoint."""
    if source == "bundled":
        return BUNDLED_MPP
    if source != "published" and Path(source).suffix == ".safetensors":
        return weights.mpp_of(Path(source), default=BUNDLED_MPP)
    return PUBLISHED_MPP


def _weights_key(settings: DeepFocus) -> tuple[Hashable, ...]:
    if settings.weights in ("bundled", "published"):
        return (settings.weights, settings.cache)
    path = Path(settings.weights)
    index = path if path.is_file() else path.with_name(path.name + ".index")
    return (FileState.of(index),)
