"""The amount of haematoxylin in a pixel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb

# Directions of optical density of haematoxylin and eosin: Ruifrok and Johnston, "Quantification of histochemical
# staining by color deconvolution", Anal Quant Cytol Histol 23 (2001). The third is the residual.
_HAEMATOXYLIN, _EOSIN = np.array([0.65, 0.70, 0.29]), np.array([0.07, 0.99, 0.11])
_GLASS = 245.0

Density = NDArray[np.float32]  # (h, w), optical density (natural log) along a stain's direction


def _unmixing() -> NDArray[np.float32]:
    stains = np.stack([_HAEMATOXYLIN, _EOSIN, np.cross(_HAEMATOXYLIN, _EOSIN)])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    return np.linalg.inv(stains).T.astype(np.float32)


_TO_STAINS = _unmixing()
_OPTICAL_DENSITY = np.maximum(-np.log(np.maximum(np.arange(256), 1) / _GLASS), 0).astype(np.float32)


def haematoxylin(rgb: Rgb) -> Density:
    """(h, w) float32 haematoxylin density, at least 0.

    Args:
        rgb: (h, w, 3) uint8.
    """
    density = cv2.LUT(rgb, _OPTICAL_DENSITY)
    separated: Density = np.asarray(cv2.transform(density, _TO_STAINS[:1]))
    return np.maximum(separated.reshape(rgb.shape[:2]), 0)
