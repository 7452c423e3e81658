"""The methods for TensorFlow: eager, and in the graphs of `tf.data`."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from slideloom import ConfigError

from slideloom_stain.draws import flat, spread_of
from slideloom_stain.step import HsvStep, StainStep
from slideloom_stain.tensor_methods import tensor_method
from slideloom_stain.tensorflow_ops import TENSORFLOW_OPS as OPS
from slideloom_stain.tensors import drawn_flat_fits, drawn_uniform, hsv_shifted

Tensor = Any  # TensorFlow ships no types


class TensorflowNormalizer:
    """A step as a function for `tf.data.Dataset.map`: images in, normalized images of the same shape and type out.

    Images are (H, W, 3) or (B, H, W, 3); uint8, or floating with values 0-1.

    Args:
        step: of `Macenko(...).build()` or any other setting of this package; context "slide" needs its `for_slide`.
    """

    def __init__(self, step: StainStep | HsvStep) -> None:
        self.step = step
        self._context: dict[str, Any] = {}
        if isinstance(step, HsvStep):
            self._centre = np.array([step.hue, step.saturation, step.value], np.float32)
            return
        self._form = tensor_method(OPS, step.method.name)
        self._centre = flat(step.fit).astype(np.float32)
        if step.augment != "off":
            deviation, least = spread_of(step.method.family.name, step.fit, step.augment)
            self._deviation, self._least = deviation.astype(np.float32), np.maximum(least, -1e30).astype(np.float32)
        if step.slide_statistics is not None:
            constants = self._form.constants(step.slide_statistics)
            self._context = {name: np.asarray(value, np.float32) for name, value in constants.items()}

    def __call__(self, x: Tensor, index: Tensor = None) -> Tensor:
        """`normalize` without the verdicts.

        Raises:
            tf.errors.InvalidArgumentError: a tile cannot be measured and the step's policy is "reject".
        """
        out, ok = self.normalize(x, index)
        if isinstance(self.step, StainStep) and self.step.unfit == "reject":
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
            index: (B,) integer numbers of the tiles, or a scalar, which random draws depend on; without it they are
                drawn from TensorFlow's generator.

        Returns:
            As `x`, and (B,) bool. Where it is False the image is the original.

        Raises:
            ConfigError: `x` is no image.
        """
        if x.shape.rank not in (3, 4) or x.shape[-1] not in (3, None):
            raise ConfigError(f"not an image: {x.shape}; give (H, W, 3) or (B, H, W, 3)")
        batch = x if x.shape.rank == 4 else x[None]
        shape = tf.shape(batch)
        if index is None:
            index = tf.random.uniform(shape[:1], maxval=1 << 31, dtype=tf.int64) if self._draws else tf.zeros(shape[:1])
        index = tf.reshape(tf.cast(index, tf.int64), [-1])
        pixels = None if None in batch.shape[1:3] else batch.shape[1] * batch.shape[2]
        flat_images = tf.reshape(batch, [-1, pixels or shape[1] * shape[2], 3])
        is_whole = batch.dtype == tf.uint8
        values = tf.cast(tf.transpose(flat_images, [0, 2, 1]), tf.float32) * (1.0 if is_whole else 255.0)
        out, ok = self._values(values, index, whole=is_whole)
        out = tf.clip_by_value(tf.round(out), 0.0, 255.0) if is_whole else out / 255.0
        out = tf.reshape(tf.transpose(tf.cast(out, batch.dtype), [0, 2, 1]), shape)
        out = tf.ensure_shape(out, batch.shape)
        return (out if x.shape.rank == 4 else out[0]), ok

    @property
    def _draws(self) -> bool:
        return isinstance(self.step, HsvStep) or self.step.augment != "off"

    def _values(self, x: Tensor, index: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
        if isinstance(self.step, HsvStep):
            drawn = tf.cast(drawn_uniform(OPS, self.step.seed, 0, index, 3), tf.float32)
            return hsv_shifted(OPS, x, (2.0 * drawn - 1.0) * self._centre), index >= 0
        fit = tf.constant(self._centre[None])
        if self._draws:
            uniform = drawn_uniform(OPS, self.step.seed, 0, index, 2 * self._centre.size)
            fit = drawn_flat_fits(OPS, self._centre, self._deviation, self._least, uniform)
        context = {name: tf.constant(value) for name, value in self._context.items()}
        if self.step.context == "slide":
            return (self._form.render(x, context, fit), index >= 0) if context else (x, index < 0)
        out, ok = self._form.normalize(x, fit, whole=whole)
        if self.step.unfit == "slide-fit" and context:
            return tf.where(ok[:, None, None], out, self._form.render(x, context, fit)), index >= 0
        return out, ok
