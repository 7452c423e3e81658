"""Fits from a preset, a fit file, or an image."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from slideloom import ConfigError, Rgb

from slideloom_stain.base import Method
from slideloom_stain.fits import StainFit, Unfit, fit_from, load_fit, preset
from slideloom_stain.methods import method
from slideloom_stain.opencv import cv2


def read_rgb(path: Path) -> Rgb:
    """An image file as (h, w, 3) uint8, without its alpha channel.

    Raises:
        ConfigError: the file is missing or is not an image.
    """
    try:
        encoded = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        hint = "target takes a preset (v1, v2, v3), an image or a fit file"
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); {hint}") from error
    return decode_rgb(encoded, source=str(path))


def decode_rgb(encoded: Any, *, source: str) -> Rgb:
    """An encoded image (PNG, JPEG, TIFF) as (h, w, 3) uint8. Any: (n,) uint8 or bytes.

    Raises:
        ConfigError: it is not an image.
    """
    flat = np.frombuffer(encoded, np.uint8)
    try:
        found = cv2.imdecode(flat, cv2.IMREAD_COLOR) if flat.size else None
    except cv2.error:  # raised, for example, for an impossible image size
        found = None
    if found is None:
        raise ConfigError(f"{source}: not an image that can be decoded; give a PNG, JPEG or TIFF")
    return np.asarray(cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def target_fit(name: str, target: str | Path | Mapping[str, Any]) -> StainFit:
    """The fit that a `target` option names.

    Args:
        name: name of the method.
        target: preset, image, fit file (`.json`), or the values of a fit by their names.

    Raises:
        ConfigError: there is no such preset or file, the image has too little tissue, or the values are no fit.
    """
    if isinstance(target, Mapping):
        return fit_from(name, target)
    if isinstance(target, str):
        return preset(name, target)
    if target.name in ("v1", "v2", "v3") and not target.exists():
        return preset(name, target.name)  # its error lists the presets
    if target.suffix.lower() == ".json":
        return load_fit(target, name)[1]
    return image_fit(method(name), read_rgb(target), source=str(target))


def image_fit(chosen: Method[Any, Any], rgb: Rgb, *, source: str) -> StainFit:
    """The fit of an image.

    Raises:
        ConfigError: its stains cannot be estimated; the message names `source`.
    """
    try:
        fit: StainFit = chosen.fit_image(rgb)
    except Unfit as error:
        raise ConfigError(f"{source}: no target for {chosen.name}: {error}; give an image with more tissue") from error
    return fit
