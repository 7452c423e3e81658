"""The networks in Keras."""

from __future__ import annotations

from typing import Any

import numpy as np

from slideloom_deepfocus.layers import DROPOUT, EPSILON, NORM_PARTS, TILE_PX, Arrays, architecture_of
from slideloom_deepfocus.models import framework


def network(arrays: Arrays) -> Any:  # Any: a keras.Model, which cannot be named without importing Keras
    """The network with these weights.

    Input: (B, 64, 64, 3) float32, 0-1 centred. Output: (B, 2) float32 probabilities.
    """
    keras = framework("keras", extra="tensorflow")
    table = architecture_of(arrays)
    layers = keras.layers
    x = first = keras.Input((TILE_PX, TILE_PX, 3))
    for conv in table.convs:
        x = layers.Conv2D(conv.filters, conv.kernel, padding="same", activation="relu", name=conv.name)(x)
        x = layers.BatchNormalization(epsilon=EPSILON, name=conv.norm)(x)
        if conv.is_pooled:
            x = layers.MaxPooling2D(2)(x)
    if table.head == "flatten":
        x = layers.Flatten()(x)
    else:
        x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    for dense in table.denses:
        x = layers.Dense(dense.units, activation="relu" if dense.norm else "softmax", name=dense.name)(x)
        if dense.norm:
            x = layers.BatchNormalization(epsilon=EPSILON, name=dense.norm)(x)
            x = layers.Dropout(DROPOUT)(x)
    model = keras.Model(first, x)
    for layer in table.layers:
        model.get_layer(layer.name).set_weights([np.asarray(arrays[f"{layer.name}/{part}"]) for part in ("W", "b")])
        if layer.norm:
            model.get_layer(layer.norm).set_weights([np.asarray(arrays[f"{layer.norm}/{part}"]) for part in NORM_PARTS])
    return model
