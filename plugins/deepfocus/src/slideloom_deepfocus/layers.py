"""The DeepFocus network as a table: layers, the names and shapes of their weights, and how they are checked.

Source: Senaras et al. (2018), DeepFocus, PLOS ONE 13(10): e0205387. The names are those of the released checkpoint,
which TFLearn wrote; arrays have TensorFlow's axis order (kernels: height, width, in, out; dense: in, out).
"""

from __future__ import annotations

from collections.abc import Mapping

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

Arrays = Mapping[str, NDArray[np.float32]]  # by name, as in `shapes()`


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


CONVS = (
    Conv("Conv2D", "BatchNormalization", 3, 32, 5, is_pooled=False),
    Conv("Conv2D_1", "BatchNormalization_1", 32, 32, 3, is_pooled=False),
    Conv("Conv2D_2", "BatchNormalization_2", 32, 64, 3, is_pooled=True),
    Conv("Conv2D_3", "BatchNormalization_3", 64, 128, 3, is_pooled=True),
    Conv("Conv2D_4", "BatchNormalization_4", 128, 128, 3, is_pooled=True),
)
DENSES = (
    Dense("FullyConnected", "BatchNormalization_5", 8 * 8 * 128, 128),
    Dense("FullyConnected_1", "BatchNormalization_6", 128, 64),
    Dense("FullyConnected_2", "", 64, CLASSES),
)
NORM_PARTS = ("gamma", "beta", "moving_mean", "moving_variance")


def shapes() -> dict[str, tuple[int, ...]]:
    """Name to shape of every weight, in the order of the layers."""
    result: dict[str, tuple[int, ...]] = {}
    for conv in CONVS:
        result[f"{conv.name}/W"] = (conv.kernel, conv.kernel, conv.inputs, conv.filters)
        result[f"{conv.name}/b"] = (conv.filters,)
        result.update({f"{conv.norm}/{part}": (conv.filters,) for part in NORM_PARTS})
    for dense in DENSES:
        result[f"{dense.name}/W"] = (dense.inputs, dense.units)
        result[f"{dense.name}/b"] = (dense.units,)
        if dense.norm:
            result.update({f"{dense.norm}/{part}": (dense.units,) for part in NORM_PARTS})
    return result


def checked(arrays: Mapping[str, NDArray[np.generic]], *, source: str) -> dict[str, NDArray[np.float32]]:
    """The weights of the network as float32, in the order of the layers; other arrays are left out.

    Raises:
        ConfigError: one is missing, has another shape, or is not finite; the message names `source`.
    """
    result = {}
    for name, shape in shapes().items():
        if name not in arrays:
            raise ConfigError(f"{source}: no array '{name}'; these are not DeepFocus weights in a known layout")
        array = np.asarray(arrays[name], dtype=np.float32)
        if array.shape != shape:
            raise ConfigError(f"{source}: array '{name}' is {array.shape}, DeepFocus needs {shape}")
        if not np.isfinite(array).all():
            raise ConfigError(f"{source}: array '{name}' holds values that are not numbers; fetch the file again")
        result[name] = array
    return result
