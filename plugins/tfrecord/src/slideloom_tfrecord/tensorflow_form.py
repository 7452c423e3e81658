"""TFRecord files as a `tf.data.Dataset`, made of TensorFlow operations only, so that no Python runs per tile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

_FILES_AT_ONCE = 16


def tiles_of(
    paths: Sequence[Path], *, shuffle: int, seed: int, beside: Mapping[str, bool]
) -> Any:  # Any: TensorFlow has no types
    """See `slideloom.TileStores.tensorflow`."""
    files = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
    if shuffle:
        files = files.shuffle(len(paths), seed=seed, reshuffle_each_iteration=True)
    # Without shuffling, files are read one after another, so that the stored order is kept.
    records = files.interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(_FILES_AT_ONCE, len(paths)) if shuffle else 1,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    if shuffle:
        # Tiles are shuffled while they are encoded, when they take a tenth of the memory.
        records = records.shuffle(shuffle, seed=seed, reshuffle_each_iteration=True)
    return records.map(lambda record: _tile(record, beside), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _tile(record: Any, beside: Mapping[str, bool]) -> dict[str, Any]:
    found = tf.io.parse_single_example(
        record,
        {
            "image_raw": tf.io.FixedLenFeature([], tf.string),
            "slide": tf.io.FixedLenFeature([], tf.string),
            "loc_x": tf.io.FixedLenFeature([], tf.int64, default_value=-1),
            "loc_y": tf.io.FixedLenFeature([], tf.int64, default_value=-1),
            **{name: tf.io.FixedLenFeature([], tf.string) for name in beside},
        },
    )
    pictures = {
        name: tf.io.decode_png(found[name], channels=1)[..., 0] if is_mask else _image(found[name])
        for name, is_mask in beside.items()
    }
    places = {name: found[name] for name in ("slide", "loc_x", "loc_y")}
    return {"image": _image(found["image_raw"]), **places, **pictures}


def _image(encoded: Any) -> Any:
    # The accurate transform gives the same pixels as other decoders; decode_image has no option for it.
    return tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(encoded, channels=3),
    )
