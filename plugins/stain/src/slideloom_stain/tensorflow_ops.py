"""The operations of `slideloom_stain.tensors` in TensorFlow."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from slideloom_stain.tensors import Ops

Tensor = Any  # TensorFlow ships no types


class _TensorflowOps:
    """See `slideloom_stain.tensors.Ops`."""

    exp = staticmethod(tf.exp)
    log = staticmethod(tf.math.log)
    sqrt = staticmethod(tf.sqrt)
    cos = staticmethod(tf.cos)
    sin = staticmethod(tf.sin)
    floor = staticmethod(tf.floor)
    arctan2 = staticmethod(tf.atan2)
    minimum = staticmethod(tf.minimum)
    maximum = staticmethod(tf.maximum)
    where = staticmethod(tf.where)
    matmul = staticmethod(tf.matmul)
    stack = staticmethod(tf.stack)
    concatenate = staticmethod(tf.concat)
    reshape = staticmethod(tf.reshape)
    xor = staticmethod(tf.bitwise.bitwise_xor)

    @staticmethod
    def transpose(x: Tensor) -> Tensor:
        return tf.linalg.matrix_transpose(x)

    @staticmethod
    def sum(x: Tensor, axis: int, *, keepdims: bool = False) -> Tensor:
        return tf.reduce_sum(x, axis, keepdims=keepdims)

    @staticmethod
    def amax(x: Tensor, axis: int, *, keepdims: bool = False) -> Tensor:
        return tf.reduce_max(x, axis, keepdims=keepdims)

    @staticmethod
    def amin(x: Tensor, axis: int, *, keepdims: bool = False) -> Tensor:
        return tf.reduce_min(x, axis, keepdims=keepdims)

    @staticmethod
    def cumsum(x: Tensor) -> Tensor:
        return tf.cumsum(x, axis=-1)

    @staticmethod
    def eigenvectors(x: Tensor) -> Tensor:
        return tf.linalg.eigh(x)[1]

    @staticmethod
    def single(x: Any) -> Tensor:
        return tf.cast(x, tf.float32)

    @staticmethod
    def double(x: Tensor) -> Tensor:
        return tf.cast(x, tf.float64)

    @staticmethod
    def integer(x: Any) -> Tensor:
        return tf.cast(x, tf.int64)

    @staticmethod
    def constant(values: Any, like: Tensor) -> Tensor:  # noqa: ARG004 - TensorFlow places constants
        return tf.constant(values, tf.float32)

    @staticmethod
    def arange(count: int, like: Tensor) -> Tensor:  # noqa: ARG004 - TensorFlow places constants
        return tf.range(count, dtype=tf.int64)[None]

    @staticmethod
    def length(x: Tensor) -> Any:
        return tf.shape(x)[-1] if x.shape[-1] is None else x.shape[-1]

    @staticmethod
    def top(x: Tensor, count: Any) -> Tensor:
        return tf.math.top_k(x, tf.minimum(count, tf.shape(x)[-1])).values

    @staticmethod
    def at(x: Tensor, index: Tensor) -> Tensor:
        return tf.gather(x, index, batch_dims=1)

    @staticmethod
    def counts(x: Tensor) -> Tensor:
        found = tf.math.bincount(tf.cast(x, tf.int32), minlength=256, maxlength=256, axis=-1)
        return tf.cast(tf.ensure_shape(found, [x.shape[0], 256]), tf.int64)

    @staticmethod
    def find(sorted_rows: Tensor, values: Tensor) -> Tensor:
        return tf.searchsorted(sorted_rows, values, out_type=tf.int64)

    @staticmethod
    def repeat(rounds: int, step: Any, state: Tensor) -> Tensor:
        return tf.while_loop(
            lambda done, _: done < rounds, lambda done, present: (done + 1, step(present)), (tf.constant(0), state)
        )[1]

    @staticmethod
    def still(x: Tensor) -> Tensor:
        return tf.stop_gradient(x)

    @staticmethod
    def whole(x: Any) -> Any:
        return tf.cast(x, tf.int32) if tf.is_tensor(x) else int(x)


TENSORFLOW_OPS: Ops = _TensorflowOps()
