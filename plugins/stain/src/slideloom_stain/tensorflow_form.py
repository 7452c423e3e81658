"""The methods for TensorFlow: eager, and in the graphs of `tf.data`."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from slideloom import ConfigError

from slideloom_stain.tensor_step import Planned, TensorStep
from slideloom_stain.tensorflow_ops import TENSORFLOW_OPS as OPS
from slideloom_stain.value_range import UNIT, ValueRange, refuse_kind

Tensor = Any  # TensorFlow ships no types


class TensorflowNormalizer:
    """A step as a function for `tf.data.Dataset.map`: images in, normalized images of the same shape and type out.

    Images are (H, W, 3), (B, H, W, 3), (3, H, W) or (B, 3, H, W); uint8, or floating with values 0-1 or in
    `value_range`.

    Args:
        step: built from settings of this package, such as `Macenko(...).build()`; if its context is "slide", what
            its `for_slide` returns.
        value_range: values of black and white in floating images.
    """

    def __init__(self, step: Planned, *, value_range: tuple[float, float] = (UNIT.black, UNIT.white)) -> None:
        self.step = step
        self._range = ValueRange(*value_range)
        self._tensors = TensorStep(OPS, step.plan())

    def __call__(self, x: Tensor, index: Tensor = None) -> Tensor:
        """Normalized images; see `normalize`.

        Raises:
            tf.errors.InvalidArgumentError: a tile cannot be measured and the step's policy is "reject".
        """
        out, ok = self.normalize(x, index)
        if self._tensors.plan.unfit == "reject":
            told = tf.debugging.Assert(
                tf.reduce_all(ok), ["tiles have stains that cannot be estimated; choose unfit='keep-original'"]
            )
            with tf.control_dependencies([told] if told is not None else []):
                out = tf.identity(out)
        return out

    def normalize(self, x: Tensor, index: Tensor = None) -> tuple[Tensor, Tensor]:
        """Normalized images, and which of them are good.

        Args:
            x: see the class.
            index: (B,) integer numbers of the tiles, or a scalar; random draws depend on them. Without them,
                TensorFlow's random generator gives the numbers.

        Returns:
            Images like `x`, and (B,) bool: False where the image is returned unchanged.

        Raises:
            ConfigError: `x` is not an image.
            ValueError: floating values are not in their range; in a graph, tf.errors.InvalidArgumentError.
        """
        if _is_channels_first(x.shape):
            planes = [0, 2, 3, 1] if x.shape.rank == 4 else [1, 2, 0]
            out, ok = self.normalize(tf.transpose(x, planes), index)
            return tf.transpose(out, [0, 3, 1, 2] if x.shape.rank == 4 else [2, 0, 1]), ok
        span = self._range
        batch = _checked(x if x.shape.rank == 4 else x[None], span)
        shape = tf.shape(batch)
        if index is None:
            draws = self._tensors.plan.draws
            index = tf.random.uniform(shape[:1], maxval=1 << 31, dtype=tf.int64) if draws else tf.zeros(shape[:1])
        index = tf.reshape(tf.cast(index, tf.int64), [-1])
        pixels = None if None in batch.shape[1:3] else batch.shape[1] * batch.shape[2]
        flat_images = tf.reshape(batch, [-1, pixels or shape[1] * shape[2], 3])
        is_whole = batch.dtype == tf.uint8
        values = tf.cast(tf.transpose(flat_images, [0, 2, 1]), tf.float32)
        values = values if is_whole else (values - span.black) * span.step
        constants = {name: tf.constant(array) for name, array in self._tensors.arrays.items()}
        if is_whole:
            out, ok = self._tensors.values(values, index, constants, whole=True)
            out = tf.clip_by_value(tf.round(out), 0.0, 255.0)
        else:
            # NaN would spread to the statistics and from there to indices, so such tiles are measured as if black.
            usable = tf.reduce_all((flat_images >= span.least) & (flat_images <= span.most), axis=[1, 2])
            values = tf.where(usable[:, None, None], values, tf.zeros_like(values))
            out, ok = self._tensors.values(values, index, constants, whole=False)
            out, ok = out / span.step + span.black, ok & usable
        out = tf.reshape(tf.transpose(tf.cast(out, batch.dtype), [0, 2, 1]), shape)
        if not is_whole:
            out = tf.where(usable[:, None, None, None], out, batch)
        out = tf.ensure_shape(out, batch.shape)
        return (out if x.shape.rank == 4 else out[0]), ok


def _is_channels_first(shape: Any) -> bool:  # Any: a tf.TensorShape
    """True for (3, H, W) and (B, 3, H, W), False for (H, W, 3) and (B, H, W, 3), which a shape of both kinds counts as.

    Raises:
        ConfigError: it is neither.
    """
    if shape.rank in (3, 4):
        if shape[-1] in (3, None):
            return False
        if shape[-3] == 3:
            return True
    raise ConfigError(f"not an image: {shape}; give (H, W, 3), (B, H, W, 3), (3, H, W) or (B, 3, H, W)")


def _checked(batch: Tensor, span: ValueRange) -> Tensor:
    """The batch if its values are uint8, or floating and in range or NaN. Else raises; a graph raises when it runs."""
    if not batch.dtype.is_floating:
        if batch.dtype != tf.uint8:
            refuse_kind(batch.dtype.name)
        return batch
    known = tf.where(tf.math.is_nan(batch), tf.ones_like(batch) * span.black, batch)
    low, high = tf.reduce_min(known), tf.reduce_max(known)
    if tf.executing_eagerly():
        if tf.size(known):
            span.refuse(float(low), float(high))
        return batch
    remedy = "divide by 255, or give uint8" if span == UNIT else "give uint8"
    text = f"a floating image has values from {span.text}, this one has others; {remedy} (found from, to):"
    fits = tf.logical_or(tf.equal(tf.size(known), 0), (low >= span.least) & (high <= span.most))
    with tf.control_dependencies([tf.debugging.Assert(fits, [text, low, high])]):
        return tf.identity(batch)
