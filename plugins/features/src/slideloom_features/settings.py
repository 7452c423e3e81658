"""Options of the sink `features`; nothing heavy is imported here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar, Literal

import attrs
from attrs import frozen
from attrs.validators import optional
from slideloom import OptionError, Settings, Sink, at_least, file_name, option, positive

Colour = tuple[float, float, float]


def _function(_instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:  # Any: as attrs has it
    if value and not re.fullmatch(r"[\w.]+:[\w.]+|\w+", value):
        raise ValueError(f"{attribute.name} must be 'module:function', or a function's name with code, not {value!r}")


def _digest(_instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:  # Any: as attrs has it
    if value and not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"{attribute.name} must be 64 digits 0-9 and a-f, not {value!r}")


def _above_zero(_instance: Any, attribute: attrs.Attribute[Any], value: Colour | None) -> None:  # Any: as attrs has it
    if value is not None and not all(number > 0 for number in value):
        raise ValueError(f"{attribute.name} must be above 0, not {value!r}")


def _name(instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:  # Any: as attrs has it
    if value:
        file_name(instance, attribute, value)


@frozen
class Features(Settings[Sink]):
    """Features of each tile by a model, in HDF5 for CLAM and TRIDENT and, if asked for, as AnnData."""

    name: ClassVar[str] = "features"
    step: ClassVar[str] = "slideloom_features.sink:FeaturesSink"
    checked_by: ClassVar[str] = "slideloom_features.loading:check_model"
    install: ClassVar[str] = "slideloom-features[torch]"

    model: Path | None = option(
        None, help="model file: TorchScript (.pt) and torch.export (.pt2) can run code and need trust; or .onnx"
    )
    factory: str = option(
        "", help="instead of a file: 'module:function' that returns a torch module", validator=_function
    )
    code: Path | None = option(None, help="Python file with the factory, which is then the name of a function in it")
    timm: str = option("", help="instead of a file: name of a model of timm, which fetches its weights unless given")
    weights: Path | None = option(
        None, help="state dict for the factory or timm model: .safetensors, or .pt, .pth or .bin of tensors only"
    )
    sha256: str = option(
        "", help="SHA-256 that the model or weights file must have; without one, that of the state dict",
        validator=_digest,
    )  # fmt: skip
    trust: bool = option(False, help="load a .pt or .pt2 model, which can run its author's code", affects_output=False)
    encoder: str = option("", help="name for folder and attributes; by default that of the model", validator=_name)
    input_px: int | None = option(
        None, help="width and height of the model's input, to which tiles are resized; by default the model's, else "
        "that of the tiles", unit="px", validator=optional(at_least(1)),
    )  # fmt: skip
    mean: Colour | None = option(
        None, help="of red, green and blue on a scale of 0 to 1, taken off; by default timm's own, else ImageNet's"
    )
    std: Colour | None = option(
        None, help="by which the rest is divided; by default timm's own, else ImageNet's", validator=_above_zero
    )
    mpp: float | None = option(
        None, help="resolution that the model was trained at; a slide whose tiles are over 10% off has a warning",
        unit="um/px", validator=optional(positive),
    )  # fmt: skip
    precision: Literal["full", "half"] = option(
        "full", help="float32, or where PyTorch takes it to be safe float16 (bfloat16 on CPUs)"
    )
    style: Literal["trident", "clam"] = option(
        "trident", help="one .h5 per slide, or CLAM's folders h5_files and pt_files"
    )
    anndata: bool = option(False, help="also write AnnData, one .h5ad per slide")
    folder: str = option("features", help="sub-folder of the output folder", validator=file_name)
    batch: int = option(32, help="tiles per call of the model", validator=at_least(1), affects_output=False)
    device: str = option(
        "auto",
        help='"auto" (CUDA, then MPS, then CPU) or a PyTorch device; ONNX: auto, cpu, cuda',
        affects_output=False,
    )

    def __attrs_post_init__(self) -> None:
        given = [name for name in ("model", "factory", "timm") if getattr(self, name)]
        if len(given) != 1:
            raise OptionError(
                "model",
                f"(or factory, or timm) must be given, and one of them only, not {' and '.join(given) or 'none'}",
            )
        if self.code is not None and (not self.factory or ":" in self.factory):
            raise OptionError("code", "goes with factory = the name of a function in that file")
        if self.factory and self.code is None and ":" not in self.factory:
            raise OptionError("factory", f"must be 'module:function' without code, not {self.factory!r}")
        if self.weights is not None and self.model is not None:
            raise OptionError("weights", "go with factory or timm; a model file holds its own")

    @property
    def home(self) -> str:
        """Where its files are: sinks with several models may share `folder`."""
        return f"{self.folder}/features_{self.encoder_name}"

    @property
    def encoder_name(self) -> str:
        """The name for folder and attributes."""
        if self.encoder:
            return self.encoder
        if self.model is not None:
            return self.model.stem
        return self.timm.replace("/", "_") or self.factory.rpartition(":")[2]
