"""The networks as tables: layers, the names and shapes of their weights, and how they are checked.

`DEEPFOCUS` is the network of Senaras et al. (2018), DeepFocus, PLOS ONE 13(10): e0205387. Its names are those of the
released checkpoint, which TFLearn wrote. `COMPACT` is ours: it looks at small neighbourhoods and takes their mean and
maximum over the tile. Arrays have TensorFlow's axis order (kernels: height, width, in, out; dense: in, out).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import ConfigError

TILE_PX = 64
CLASSES = 2
OUT_OF_FOCUS = 1  # index of the class
# TFLearn's batch normalization adds this to the variance; Keras would add 1e-3.
EPSILON = 1e-5
DROPOUT = 0.2

Arrays = Mapping[str, NDArray[np.float32]]  # by name, as in `Architecture.shapes()`


@frozen
class Conv:
    """A convolution (same padding, bias, ReLU), then batch normalization, then optional 2 x 2 max pooling."""

    name: str
    norm: str
    inputs: int
    filters: int
    kernel: int
    is_pooled: bool


@frozen
class Dense:
    """A dense layer; ReLU and batch normalization unless it is the last (`norm` is "")."""

    name: str
    norm: str
    inputs: int
    units: int


@frozen
class Architecture:
    """A network: convolutions, what makes a vector of their output, dense layers.

    Attributes:
        name: how files of weights record it.
        convs: in their order.
        head: "flatten" keeps every position of the last map; "mean-max" keeps mean and maximum of each channel.
        denses: in their order.
        centring: what the input is made of: "mean" subtracts the mean of the tile, "contrast" also divides by the
            tile's contrast (`centring.contrasted`).
        is_relative: True if the threshold may follow the slide (`sharpness`): the scores of its training rise evenly
            with the radius of defocus.
    """

    name: str
    convs: tuple[Conv, ...]
    head: Literal["flatten", "mean-max"]
    denses: tuple[Dense, ...]
    centring: Literal["mean", "contrast"]
    is_relative: bool

    @property
    def layers(self) -> tuple[Conv | Dense, ...]:
        """All layers with weights, in their order."""
        return (*self.convs, *self.denses)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name to shape of every weight, in the order of the layers."""
        result: dict[str, tuple[int, ...]] = {}
        for layer in self.layers:
            if isinstance(layer, Conv):
                result[f"{layer.name}/W"] = (layer.kernel, layer.kernel, layer.inputs, layer.filters)
                outputs = layer.filters
            else:
                result[f"{layer.name}/W"] = (layer.inputs, layer.units)
                outputs = layer.units
            result[f"{layer.name}/b"] = (outputs,)
            if layer.norm:
                result.update({f"{layer.norm}/{part}": (outputs,) for part in NORM_PARTS})
        return result


NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")
DEEPFOCUS = Architecture(
    name="deepfocus",
    convs=(
        Conv("Conv2D", "BatchNormalization", 3, 32, 5, is_pooled=False),
        Conv("Conv2D_1", "BatchNormalization_1", 32, 32, 3, is_pooled=False),
        Conv("Conv2D_2", "BatchNormalization_2", 32, 64, 3, is_pooled=True),
        Conv("Conv2D_3", "BatchNormalization_3", 64, 128, 3, is_pooled=True),
        Conv("Conv2D_4", "BatchNormalization_4", 128, 128, 3, is_pooled=True),
    ),
    head="flatten",
    denses=(
        Dense("FullyConnected", "BatchNormalization_5", 8 * 8 * 128, 128),
        Dense("FullyConnected_1", "BatchNormalization_6", 128, 64),
        Dense("FullyConnected_2", "", 64, CLASSES),
    ),
    centring="mean",
    is_relative=False,
)
COMPACT = Architecture(
    name="compact",
    convs=(
        Conv("CompactConv", "CompactNorm", 3, 24, 5, is_pooled=False),
        Conv("CompactConv_1", "CompactNorm_1", 24, 32, 3, is_pooled=True),
        Conv("CompactConv_2", "CompactNorm_2", 32, 64, 3, is_pooled=False),
        Conv("CompactConv_3", "CompactNorm_3", 64, 64, 3, is_pooled=True),
        Conv("CompactConv_4", "CompactNorm_4", 64, 96, 3, is_pooled=False),
        Conv("CompactConv_5", "CompactNorm_5", 96, 96, 3, is_pooled=False),
    ),
    head="mean-max",
    denses=(Dense("CompactDense", "CompactNorm_6", 2 * 96, 64), Dense("CompactDense_1", "", 64, CLASSES)),
    centring="contrast",
    is_relative=True,
)
ARCHITECTURES = (DEEPFOCUS, COMPACT)


def architecture_of(arrays: Mapping[str, object]) -> Architecture:
    """The network that these weights belong to, by the name of its first layer; DeepFocus if there is none."""
    found = (each for each in ARCHITECTURES if f"{each.convs[0].name}/W" in arrays)
    return next(found, DEEPFOCUS)


def checked(arrays: Mapping[str, NDArray[np.generic]], *, source: str) -> dict[str, NDArray[np.float32]]:
    """The weights of their network as float32, in the order of its layers; other arrays are left out.

    Raises:
        ConfigError: one is missing, has another shape, or is not finite; the message names `source`.
    """
    result = {}
    for name, shape in architecture_of(arrays).shapes().items():
        if name not in arrays:
            raise ConfigError(f"{source}: no array '{name}'; these are not DeepFocus weights in a known layout")
        array = np.asarray(arrays[name], dtype=np.float32)
        if array.shape != shape:
            raise ConfigError(f"{source}: array '{name}' is {array.shape}, the network needs {shape}")
        if not np.isfinite(array).all():
            raise ConfigError(f"{source}: array '{name}' holds values that are not numbers; fetch the file again")
        result[name] = array
    return result
