"""Options of the steps; nothing heavy is imported here."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import ClassVar, Literal

import attrs
from attrs import frozen
from slideloom import (
    ConfigError,
    FileState,
    QcClass,
    Settings,
    SlideQc,
    at_least,
    in_range,
    option,
    positive,
    qc_classes,
)

_MAGNIFICATION = re.compile(r"(\d+(?:\.\d+)?)x", re.IGNORECASE)
_MICRONS_AT_1X = 10.0  # a 10x objective is taken as 1 micron per pixel, as everywhere in slideloom


def _check_tile_um(_instance: object, _attribute: object, value: float | str | None) -> None:
    if value is None:
        return
    if isinstance(value, str):
        found = _MAGNIFICATION.fullmatch(value)
        if found is None or not float(found[1]) > 0:
            raise ValueError(f"tile_um must be microns, or a magnification such as '20x', not {value!r}")
        value = float(value[:-1])
    if not 0 < value < math.inf:
        raise ValueError(f"tile_um must be above 0 and finite, not {value!r}")


def _check_finite(_instance: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{attribute.name} must be a finite number, not {value!r}")


def _check_probability(_instance: object, _attribute: object, value: float | str) -> None:
    if value != "auto" and not (isinstance(value, int | float) and 0 <= value <= 1):
        raise ValueError(f"threshold must be from 0 to 1, or 'auto', not {value!r}")


def _words(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _check_classes(_instance: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    try:
        found = qc_classes(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}") from error
    if len(found) < 2:
        raise ValueError(f"{attribute.name} must be two or more, not {value!r}; for one score use strided-model")


@frozen
class StridedModelSettings(Settings[SlideQc]):
    """A model that scores a slide tile by tile. Subclass with a `name` and a `load`."""

    step: ClassVar[str] = "slideloom_deepfocus.strided_steps:strided_step"
    install: ClassVar[str] = "slideloom-deepfocus"

    tile_px: int = option(256, help="width and height of the model's input", unit="px", validator=at_least(1))
    tile_um: float | str = option(
        "10x", help="the same in microns, or a magnification such as '20x'", unit="um", validator=_check_tile_um
    )
    index: int | None = option(None, help="which of the model's outputs is the score; of two, the second by default")
    threshold: float = option(0.5, help="the score that separates good from bad", validator=_check_finite, live=True)
    bad: Literal["above", "below"] = option("above", help="which side of the threshold is discarded", live=True)
    kind: Literal["background", "blur", "artifact"] = option("artifact", help="kind of the discarded areas", live=True)
    activation: Literal["none", "sigmoid", "softmax"] = option("none", help="turns the model's output into a score")
    preprocess: Literal["unit", "symmetric", "imagenet", "centred", "uint8"] = option(
        "unit", help="pixels as 0-1, -1-1, ImageNet's mean and deviation, 0-1 minus each tile's mean, or unchanged"
    )
    layout: Literal["auto", "channels-first", "channels-last"] = option(
        "auto",
        help="position of the channel axis in the model's input; auto: first for torch, last for Keras and functions",
    )
    stride_div: int = option(
        1, help="steps per tile and axis; above 1, tiles overlap and are blended", validator=in_range(1, 16)
    )
    everywhere: bool = option(False, help="also where there is no tissue")
    min_tissue: float = option(0.1, help="share of a tile that must be coloured or dark", validator=in_range(0, 1))
    discard_unvisited: bool = option(False, help="also discard areas that the model did not score", live=True)
    on_nan: Literal["fail", "keep"] = option(
        "fail", help="if the model returns no number for a tile: fail the slide, or keep the tile as not scored"
    )
    trust: bool = option(False, help="load a .pt or .pt2 file, which can run its author's code", affects_output=False)
    batch: int = option(64, help="tiles per call of the model", validator=at_least(1), affects_output=False)
    device: str = option("auto", help="auto, cpu, cuda, cuda:1, mps (torch); Keras chooses", affects_output=False)

    @property
    def mpp(self) -> float:
        """Microns per pixel of the model's input."""
        if isinstance(self.tile_um, str):
            found = _MAGNIFICATION.fullmatch(self.tile_um)
            if found is None:
                raise ConfigError(f"tile_um = {self.tile_um!r} is not a magnification")
            return _MICRONS_AT_1X / float(found[1])
        return self.tile_um / self.tile_px

    @property
    def mpp_tolerance(self) -> float:
        """How far the scale may be off: 1% if given in microns, 10% for a magnification, which is nominal."""
        return 0.1 if isinstance(self.tile_um, str) else 0.01

    def load(self) -> object:
        """The model: a callable from (B, H, W, 3), a torch module, a Keras model, or a path to a file."""
        raise NotImplementedError(f"{type(self).__name__}.load is missing")

    def qc_classes(self) -> tuple[QcClass, ...]:
        """The classes that the model tells apart, in the order of its outputs, with values 0, 1, 2 and so on.

        Override it for a model with several; then `index`, `threshold`, `bad` and `kind` mean nothing. By default the
        model gives one score.
        """
        return ()

    def model_key(self) -> Hashable:
        """Settings with the same key share one model in a process."""
        return (type(self), self)


@frozen
class StridedModel(StridedModelSettings):
    """Discards what a model flags: TorchScript (.pt), torch.export (.pt2), ONNX (.onnx) or Keras (.keras)."""

    name: ClassVar[str] = "strided-model"
    checked_by: ClassVar[str] = "slideloom_deepfocus.strided_steps:check_strided_model"
    model: Path = option(help="the model file; .pt and .pt2 can run code and need trust = true")

    def load(self) -> Path:
        """The file."""
        return self.model

    def model_key(self) -> Hashable:
        """One model per device and present content of the file."""
        if not self.model.exists():
            raise ConfigError(f"{self.model}: no such model file")
        return (StridedModel, FileState.of(self.model), self.layout, self.device, self.trust)


@frozen
class StridedClasses(StridedModel):
    """Tells classes apart with a model file as `strided-model` takes it, in one run: folds, pen, blur and so on."""

    name: ClassVar[str] = "strided-classes"
    classes: tuple[str, ...] = option(
        help="the model's outputs in order: tissue is kept, fold:artifact:0.2 drops tiles with more than 20% of it",
        converter=_words,
        validator=_check_classes,
        live=True,
    )

    def qc_classes(self) -> tuple[QcClass, ...]:
        """Those of the option."""
        return qc_classes(self.classes)


@frozen
class DeepFocus(Settings[SlideQc]):
    """Discards out-of-focus tissue with the DeepFocus network (Senaras et al. 2018)."""

    name: ClassVar[str] = "deepfocus"
    step: ClassVar[str] = "slideloom_deepfocus.deepfocus:deepfocus_step"
    checked_by: ClassVar[str] = "slideloom_deepfocus.deepfocus:check_deepfocus"
    install: ClassVar[str] = "slideloom-deepfocus"
    revision: ClassVar[int] = 3  # coarse slides are judged as they are; before: other weights, cells at two sides
    weights: Literal["bundled", "published"] | Path = option(
        "bundled", help="'bundled', 'published' (fetched once) or a file of your own"
    )
    mpp: float | None = option(
        None, help="microns per pixel of the network's input; by default those of its training", unit="um/px",
        validator=positive,
    )  # fmt: skip
    tile_um: float | str | None = option(
        None,
        help="the same as a magnification such as '20x', or as the width of the network's 64 pixels",
        unit="um",
        validator=_check_tile_um,
    )
    threshold: float | Literal["auto"] = option(
        "auto",
        help="probability above which a tile is out of focus; auto: 0.5, or more on a slide that is soft all over",
        validator=_check_probability,
        live=True,
    )
    centre: Literal["tile", "group"] = option(
        "tile", help="mean subtracted from the input: each tile's, as in training, or that of 16 x 16 tiles"
    )
    stride_div: int = option(
        1, help="steps per tile and axis; above 1, tiles overlap and are blended", validator=in_range(1, 16)
    )
    min_tissue: float = option(0.2, help="share of a tile that must be coloured or dark", validator=in_range(0, 1))
    everywhere: bool = option(False, help="also where there is no tissue")
    discard_unvisited: bool = option(False, help="also discard areas that the network did not score", live=True)
    framework: Literal["auto", "torch", "tensorflow"] = option(
        "auto", help="framework that runs the network; auto prefers torch", affects_output=False
    )
    batch: int = option(64, help="tiles per call of the network", validator=at_least(1), affects_output=False)
    device: str = option("auto", help="auto, cpu, cuda, cuda:1, mps (torch)", affects_output=False)
    cache: Path | None = option(
        None, help="folder for published weights; by default Hugging Face's cache", affects_output=False
    )
