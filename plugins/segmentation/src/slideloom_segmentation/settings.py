"""Options of training, and of a trained model as slide QC or ROI source."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
from attrs import frozen
from attrs.validators import optional
from slideloom import (
    ConfigError,
    OptionError,
    RoiSource,
    Settings,
    SlideQc,
    at_least,
    in_range,
    option,
    positive,
)

Arch = Literal["unet", "fpn", "deeplabv3plus"]
WEIGHTS = "model.safetensors"
BACKGROUND = "background"
_COARSEST = 16  # the encoder halves the image four times


def _patch_px(_instance: Any, attribute: attrs.Attribute[Any], value: int) -> None:  # Any: as attrs has it
    if value < 2 * _COARSEST or value % _COARSEST:
        raise ValueError(f"{attribute.name} must be a multiple of {_COARSEST}, at least {2 * _COARSEST}, not {value!r}")


def _labels(_instance: Any, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:  # Any: as attrs has it
    if len(set(value)) < len(value) or BACKGROUND in value:
        raise ValueError(f"{attribute.name} must be different names other than '{BACKGROUND}', not {value!r}")


def _tuple(value: Any) -> tuple[Any, ...]:  # Any: of names, or of names and numbers
    return (value,) if isinstance(value, str | int) else tuple(value)


def _weights_file(value: str | Path) -> Path:
    """The weights in a model folder: a file, so that its content is part of the digest."""
    path = Path(value)
    return path if path.suffix == ".safetensors" else path / WEIGHTS


def _start_file(value: str | Path | None) -> Path | None:
    return None if value is None else _weights_file(value)


@frozen
class SegmentConfig:
    """How to train a segmentation model."""

    mode: Literal["binary", "multiclass"] = option(
        "binary", help="one foreground class against the rest, or one class per label (0 is the background)"
    )
    labels: tuple[str, ...] = option(
        (),
        help="region labels that are foreground; empty: every region (binary only). Other labels are background",
        converter=_tuple,
        validator=_labels,
    )
    arch: Arch = option("unet", help="network")
    width: int = option(
        16, help="channels of the first layer; the widest layer has eight times as many", validator=at_least(2)
    )
    mpp: float = option(20.0, help="resolution to segment at", unit="um/px", validator=positive)
    patch_px: int = option(256, help="side of a patch, a multiple of 16", unit="px", validator=_patch_px)
    epochs: int = option(20, help="number of passes, each over `patches` patches", validator=at_least(1))
    patches: int = option(256, help="random patches per epoch", validator=at_least(1))
    batch: int = option(8, help="patches per step", validator=at_least(1))
    learning_rate: float = option(3e-3, help="highest learning rate of Adam", validator=positive)
    schedule: Literal["cosine", "constant"] = option(
        "cosine", help="how the learning rate goes on after warming up: down to 0 along a cosine, or as it is"
    )
    warm_up: float = option(
        0.0, help="share of all steps in which the learning rate rises from 0", validator=in_range(0, 0.5)
    )
    class_weights: Literal["equal", "balanced"] = option(
        "equal", help="how pixels count in the cross-entropy: alike, or those of rare classes more"
    )
    precision: Literal["full", "mixed"] = option(
        "full", help="float32, or bfloat16 where PyTorch takes it to be safe: faster on GPUs since 2020"
    )
    patience: int | None = option(
        None, help="stop after this many epochs in a row without a better IoU", validator=optional(at_least(1))
    )
    start: Path | None = option(
        None, help="a model to start from, instead of random weights; what does not fit is left", converter=_start_file
    )
    dice_weight: float = option(
        1.0, help="weight of the dice loss relative to the cross-entropy", validator=at_least(0)
    )
    augment: bool = option(True, help="augment with flips, quarter turns and colour jitter")
    val_fraction: float = option(
        0.2, help="share of slides to validate on, at least one", validator=in_range(0.01, 0.9)
    )
    seed: int = option(
        0, help="seed of the split, the initial weights, the patches and the augmentation", validator=at_least(0)
    )
    cache_mb: int = option(1024, help="most memory for slides kept at `mpp`", unit="MB", affects_output=False)
    device: str = option("auto", help='"auto" (CUDA, then MPS, then CPU) or a PyTorch device', affects_output=False)
    tensorboard: bool = option(False, help="also write TensorBoard's files", affects_output=False)

    def __attrs_post_init__(self) -> None:
        if self.mode == "multiclass" and not self.labels:
            raise OptionError("labels", "are needed by mode multiclass, such as tumor and stroma")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all classes; 0 is the background."""
        if self.mode == "multiclass":
            return (BACKGROUND, *self.labels)
        return (BACKGROUND, self.labels[0] if len(self.labels) == 1 else "foreground")


def check_model_file(file: Path) -> None:
    """Raise `ConfigError` unless there is a model."""
    if not file.is_file():
        raise ConfigError(f"{file}: no such model; train one with `slideloom segment train`, or correct the path")


@frozen
class SegmentQc(Settings[SlideQc]):
    """Discard classes found by a trained segmentation model, by default the background."""

    name: ClassVar[str] = "segment"
    step: ClassVar[str] = "slideloom_segmentation.predicting:ModelQc"
    install: ClassVar[str] = "slideloom-segmentation[torch]"
    needs: ClassVar[tuple[str, ...]] = ("torch",)

    model: Path = option(help="folder of a trained model, or its .safetensors file", converter=_weights_file)
    discard: tuple[str | int, ...] = option(
        (BACKGROUND,),
        help="classes to discard, by name or number (0 is the background); fold:artifact:0.2 is reported by itself, as "
        "of this kind, and drops tiles with more than this share of it",
        converter=_tuple,
        live=True,
    )
    kind: Literal["background", "blur", "artifact"] = option(
        "background", help="name of the discarded areas in the report", live=True
    )
    threshold: float = option(
        0.5, help="probability from which a binary model means foreground", validator=in_range(0, 1)
    )
    overlap: float = option(0.25, help="share of a patch that neighbours have in common", validator=in_range(0, 0.5))
    batch: int = option(8, help="patches per forward pass", validator=at_least(1))
    device: str = option("auto", help='"auto" (CUDA, then MPS, then CPU) or a PyTorch device', affects_output=False)

    def check(self) -> None:
        """Look for the model, and for torch."""
        super().check()
        check_model_file(self.model)


@frozen
class SegmentRoi(Settings[RoiSource]):
    """Regions of interest found by a trained segmentation model."""

    name: ClassVar[str] = "segment"
    step: ClassVar[str] = "slideloom_segmentation.predicting:ModelRois"
    reads_slide: ClassVar[bool] = True
    install: ClassVar[str] = "slideloom-segmentation[torch]"
    needs: ClassVar[tuple[str, ...]] = ("torch",)

    model: Path = option(help="folder of a trained model, or its .safetensors file", converter=_weights_file)
    labels: tuple[str, ...] = option(
        (), help="classes that become regions; empty: all but background", converter=_tuple
    )
    min_area_mm2: float = option(0.01, help="smaller regions and holes are left out", unit="mm2", validator=at_least(0))
    simplify_um: float | None = option(
        None, help="how far simplification may move an outline; by default one pixel of the model", unit="um",
        validator=at_least(0),
    )  # fmt: skip
    threshold: float = option(
        0.5, help="probability from which a binary model means foreground", validator=in_range(0, 1)
    )
    overlap: float = option(0.25, help="share of a patch that neighbours have in common", validator=in_range(0, 0.5))
    batch: int = option(8, help="patches per forward pass", validator=at_least(1))
    device: str = option("auto", help='"auto" (CUDA, then MPS, then CPU) or a PyTorch device', affects_output=False)

    def check(self) -> None:
        """Look for the model, and for torch."""
        super().check()
        check_model_file(self.model)
