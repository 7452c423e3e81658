"""Attributes with which TRIDENT and CLAM find their way about features; those of coordinates are as in `hdf5`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from slideloom import SlideInfo, TileGeometry, utf8

from slideloom_features.encoder import Encoder
from slideloom_features.settings import Features

Attribute = str | int | float | NDArray[np.float64] | NDArray[np.int64]

# TRIDENT derives magnification from microns per pixel: below the first number it is the second.
_BUCKETS = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))


def coords_attributes(info: SlideInfo, geometry: TileGeometry, *, home: str) -> dict[str, Attribute]:
    """The attributes of `coords`, as the sink `hdf5` has them in TRIDENT's style; a test compares the two.

    Args:
        info: the slide.
        geometry: of its tiles.
        home: the folder of the features, relative to the output folder: an absolute path would make equal runs differ.
    """
    level = info.levels[geometry.level]
    footprint = geometry.footprint.width
    own_mpp = info.mpp.x if info.mpp else geometry.mpp * geometry.tile_px / footprint
    level0 = next((number for limit, number in _BUCKETS if own_mpp < limit), 10 / own_mpp)
    exact = level0 * geometry.tile_px / footprint
    whole = round(exact)
    is_whole = whole > 0 and round(geometry.tile_px * level0 / whole) == footprint
    size = np.array([level.size.width, level.size.height], np.int64)
    return {
        "name": utf8(info.name).decode(),
        "savetodir": home,
        "save_path": home,
        "patch_size": geometry.tile_px,
        "patch_size_level0": footprint,
        "patch_level": geometry.level,
        "overlap": round((1 - geometry.stride.width / footprint) * geometry.tile_px),
        "level0_magnification": level0,
        "target_magnification": whole if is_whole else exact,
        "level0_mpp": own_mpp,
        "target_mpp": geometry.mpp,
        "level0_width": info.size.width,
        "level0_height": info.size.height,
        "downsample": np.array([level.downsample_x, level.downsample_y]),
        "level_dim": size,
        "downsampled_level_dim": size,
    }


def model_attributes(settings: Features, encoder: Encoder, geometry: TileGeometry) -> dict[str, Attribute]:
    """What made the features: the model, its digest and its transform."""
    transform = encoder.transform
    found: dict[str, Attribute] = {
        "encoder": settings.encoder_name,
        "model": encoder.told,
        "weights_sha256": encoder.sha256,
        "input_px": transform.input_px or geometry.tile_px,
        "input_mpp": input_mpp(encoder, geometry),
        "mean": np.array(transform.mean),
        "std": np.array(transform.std),
        "precision": settings.precision,
    }
    return found if settings.mpp is None else {**found, "model_mpp": settings.mpp}


def input_mpp(encoder: Encoder, geometry: TileGeometry) -> float:
    """Microns per pixel of what the model sees: of the tiles after they were resized to its input."""
    return geometry.mpp * geometry.tile_px / (encoder.transform.input_px or geometry.tile_px)
