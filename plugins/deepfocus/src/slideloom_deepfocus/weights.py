"""DeepFocus weights from the package, from the user's file, or from the released checkpoint."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from slideloom import ConfigError

from slideloom_deepfocus.layers import DEEPFOCUS, NORM_PARTS, checked

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_PARTS = {"kernel": "W", "bias": "b", **{part: part for part in NORM_PARTS}}


def bundled() -> dict[str, NDArray[np.float32]]:
    """The weights that come with this package; see MODEL_CARD.md beside them."""
    with as_file(files("slideloom_deepfocus").joinpath("deepfocus.safetensors")) as path:
        return from_safetensors(path)


def from_file(path: Path) -> dict[str, NDArray[np.float32]]:
    """Weights from a `.safetensors` file or a TensorFlow checkpoint (its prefix, or its `.index` file).

    Raises:
        ConfigError: there is no such file, or it contains something else.
    """
    if path.suffix == ".safetensors":
        return from_safetensors(path)
    return from_checkpoint(path)


def from_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Weights under their published names, of any float type."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        raise ConfigError(f"{path}: no such file; `weights` is 'bundled', 'published' or a path")
    try:
        arrays = load_file(path)
    except SafetensorError as error:
        raise ConfigError(f"{path}: not a readable safetensors file ({error})") from error
    return checked(arrays, source=str(path))


def mpp_of(path: Path, *, default: float) -> float:
    """The training resolution in microns per pixel recorded in a safetensors file, else `default`.

    Raises:
        ConfigError: the recorded value is not a number above 0.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("mpp")
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{path}: not a readable safetensors file ({error})") from error
    try:
        mpp = default if text is None else float(text)
    except ValueError:
        mpp = 0.0
    if not mpp > 0:
        raise ConfigError(f"{path}: its metadata say mpp = {text!r}; set the option mpp")
    return mpp


def from_checkpoint(prefix: Path) -> dict[str, NDArray[np.float32]]:
    """Weights from a TensorFlow checkpoint, under the released names (`Conv2D/W`) or those of a Keras object graph.

    Raises:
        ConfigError: it cannot be read, or it is for another network.
    """
    from slideloom_deepfocus.tensorbundle import read_checkpoint

    arrays = read_checkpoint(prefix)
    if any(name.endswith(_SUFFIX) for name in arrays):
        arrays = _published_names(arrays)
    elif "Conv2D/kernel" in arrays:  # TensorFlow 2's own layers, written by a TensorFlow 1 saver
        arrays = {name.replace("/kernel", "/W").replace("/bias", "/b"): array for name, array in arrays.items()}
    return checked(arrays, source=str(prefix))


def _published_names(arrays: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Published names for a checkpoint of a Keras object graph, by the order and kind of its layers.

    Keras only numbers layers (`layer_with_weights-3/gamma`, `_operations/4/gamma`); a wrong order would show in the
    shapes, which the caller compares.
    """
    groups: dict[str, dict[str, NDArray[np.generic]]] = {}
    for name, array in arrays.items():
        path = name.removesuffix(_SUFFIX)
        layer, _, part = path.rpartition("/")
        part = _PARTS.get(part.lstrip("_"), "")
        # Names of optimizer slots contain a weight's name but end differently; the suffix above excludes them.
        if name.endswith(_SUFFIX) and ".OPTIMIZER_SLOT" not in name and part:
            groups.setdefault(layer, {})[part] = array
    ordered = [groups[layer] for layer in sorted(groups, key=_natural)]
    layers = [spec.name for spec in DEEPFOCUS.layers]
    norms = [spec.norm for spec in DEEPFOCUS.layers if spec.norm]
    result: dict[str, NDArray[np.generic]] = {}
    for names, mark in ((layers, "W"), (norms, "gamma")):
        for published, group in zip(names, [group for group in ordered if mark in group], strict=False):
            result.update({f"{published}/{part}": array for part, array in group.items()})
    return result


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A sort key that puts layer 10 after layer 9."""
    return [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in re.split(r"(\d+)", text)]
