"""Turns a model's output, after checking its form, into one score or one small map per tile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from slideloom_deepfocus.naming import ModelError

Activation = Literal["none", "sigmoid", "softmax"]
_ROUNDING = 1e-6  # by which a score may exceed 0 or 1


def as_array(answer: Any) -> NDArray[np.generic]:
    """A model's output as an array of numbers.

    Raises:
        ModelError: it is a dict, or does not consist of numbers.
    """
    if isinstance(answer, Mapping):
        raise ModelError(
            f"the model returned a dict ({', '.join(map(str, answer))}), not an array; wrap it in a model that returns "
            "the array that counts"
        )
    array = np.asarray(answer)
    if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_) or np.iscomplexobj(array):
        raise ModelError(f"the model returned {type(answer).__name__} of {array.dtype}, not an array of numbers")
    return array


def check_count(values: NDArray[np.generic], count: int) -> None:
    """Check that there is one value, row or map per tile.

    Args:
        values: (B, ...).
        count: number of tiles given to the model.

    Raises:
        ModelError: there are more or fewer.
    """
    if values.ndim == 0 or len(values) != count:
        raise ModelError(
            f"the model returned an array of shape {values.shape} for {count} tiles; the first axis must be {count}, "
            "one score, one row of classes or one small map for each tile, in their order"
        )


def scores_of(
    output: NDArray[np.generic], *, channels_last: bool, activation: Activation, index: int | None
) -> NDArray[np.float32]:
    """One value, or one small map, per tile, from a model's output.

    Args:
        output: (B,), (B, classes), (B, h, w), or with classes first or last.
        channels_last: True if the classes of a map are the last axis.
        activation: turns an output into a score.
        index: the class to use; of two, the second by default.

    Returns:
        (B,) or (B, h, w) float32.

    Raises:
        ModelError: the shape is none of these, or does not match the options.
    """
    values: NDArray[np.float32] = np.asarray(output, dtype=np.float32)
    if values.ndim not in (1, 2, 3, 4):
        raise ModelError(
            f"the model returned an array of shape {values.shape}; understood is one score (B,), classes (B, n), a map "
            "(B, h, w) or a map with classes per tile"
        )
    if values.ndim == 4 and not channels_last:
        values = np.moveaxis(values, 1, -1)
    classes = values.shape[-1] if values.ndim in (2, 4) else 1
    if activation == "softmax" and classes == 1:
        raise ModelError(
            f"activation = 'softmax' needs two classes or more, but the model returned one value per tile (shape "
            f"{output.shape}), whose softmax is always 1; use 'sigmoid', or 'none' if it is a score already"
        )
    values = activated(values, activation)
    return values if values.ndim in (1, 3) else values[..., _chosen(classes, index)]


def range_note(low: float, high: float, *, threshold: float) -> str:
    """A sentence for the report if scores are outside 0 to 1 and the threshold is not; else ""."""
    if (low >= -_ROUNDING and high <= 1 + _ROUNDING) or not 0 <= threshold <= 1:
        return ""
    return (
        f"the model's scores reach from {low:g} to {high:g}, but the threshold is {threshold:g}; if they are logits, "
        "set activation to sigmoid or softmax"
    )


def activated(values: NDArray[np.float32], activation: Activation) -> NDArray[np.float32]:
    """Scores from outputs whose last axis, if classes share a softmax, is that of the classes."""
    if activation == "sigmoid":
        with np.errstate(over="ignore"):  # far below 0, the power is infinite and the score 0
            return (1 / (1 + np.exp(-values.astype(np.float64)))).astype(np.float32)
    if activation == "softmax":
        with np.errstate(invalid="ignore"):  # infinite values become NaN, which the step checks for
            powers = np.exp(values - values.max(axis=-1, keepdims=True))
        shares: NDArray[np.float32] = np.divide(powers, powers.sum(axis=-1, keepdims=True), dtype=np.float32)
        return shares
    return values


def _chosen(classes: int, index: int | None) -> int:
    """The class to use."""
    if index is None:
        if classes > 2:
            raise ModelError(f"the model returned {classes} values per tile; say which one with `index`")
        return classes - 1
    if not -classes <= index < classes:
        raise ModelError(f"index = {index}, but the model returned {classes} values per tile")
    return index
