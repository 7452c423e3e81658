"""A trained model in its folder, and its predictions for a whole slide in bands."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from slideloom import (
    ConfigError,
    FileState,
    Size,
    Slide,
    computing,
    parse_json,
    partial_path,
    torch_device,
    write_whole,
)
from torch import Tensor, nn

from slideloom_segmentation.model_grid import ModelGrid
from slideloom_segmentation.networks import build_network
from slideloom_segmentation.settings import Arch, check_model_file

PARAMS = "params.json"
_KEY = "slideloom_segmentation"  # version of the facts in the metadata of the weights file
_VERSION = 1


@frozen
class Facts:
    """What must be known to use a network; stored with its weights.

    Attributes:
        arch, width: see `SegmentConfig`.
        classes: names; 0 is the background. A binary model has two and one output.
        is_binary: one output with sigmoid, instead of one per class with softmax.
        mpp: microns per pixel of its input.
        patch_px: side of the patches it was trained on.
    """

    arch: Arch
    width: int
    classes: tuple[str, ...]
    is_binary: bool
    mpp: float
    patch_px: int

    @property
    def outputs(self) -> int:
        """Channels of the network's output."""
        return 1 if self.is_binary else len(self.classes)


class SegmentModel:
    """A network with its facts, on a device. Several threads may call it; they take turns."""

    def __init__(self, facts: Facts, network: nn.Module, device: torch.device) -> None:
        self.facts = facts
        self.device = device
        self._network = network.to(device).eval()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: Path, *, device: str = "auto") -> SegmentModel:
        """The model in a folder or .safetensors file that `train` wrote.

        Raises:
            ConfigError: there is none, it is damaged, or the device does not exist.
        """
        file = path / "model.safetensors" if path.is_dir() else path
        check_model_file(file)
        return _loaded(FileState.of(file), str(torch_device(device)))

    def probabilities(self, patches: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(B, H, W, 3) uint8 to (B, classes - 1 if binary else classes, H, W), 0 to 1."""
        with self._lock, torch.inference_mode(), computing(self.device):
            logits = self._network(as_input(torch.from_numpy(patches).to(self.device)))
            chances: Tensor = torch.sigmoid(logits) if self.facts.is_binary else torch.softmax(logits, dim=1)
        found: NDArray[np.float32] = chances.float().cpu().numpy()
        return found

    def bands(
        self, slide: Slide, *, overlap: float = 0.25, batch: int = 8
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The probabilities of the whole slide, from top to bottom, in bands of the slide's width.

        Patches overlap, with weights that fall towards their edges. One band, `patch_px` high, is kept in memory.

        Args:
            slide: with known mpp.
            overlap: share of a patch that it has in common with its neighbour.
            batch: patches per forward pass.

        Yields:
            The band's first row, and (channels, rows, grid width) float32, 0 to 1; the rows of all bands together are
            `ModelGrid.of(slide.info, facts.mpp).size.height`.
        """
        grid, side = ModelGrid.of(slide.info, self.facts.mpp), self.facts.patch_px
        shared = round(side * overlap)
        tops, lefts = (_starts(length, side, side - shared) for length in (grid.size.height, grid.size.width))
        taper = _taper(side, shared)
        total = np.zeros((self.facts.outputs, side, lefts[-1] + side), np.float32)
        weight = np.zeros(total.shape[1:], np.float32)
        for top in tops:
            for at in range(0, len(lefts), batch):
                here = lefts[at : at + batch]
                patches = np.stack([slide.read_at(grid.box(x, top, Size(side, side)), Size(side, side)) for x in here])
                for x, chances in zip(here, self.probabilities(patches), strict=True):
                    total[:, :, x : x + side] += chances * taper
                    weight[:, x : x + side] += taper
            done = side - shared if top != tops[-1] else grid.size.height - top
            blended = np.divide(total[:, :done], weight[:done], dtype=np.float32)
            yield top, blended[:, :, : grid.size.width]
            total = np.concatenate([total[:, done:], np.zeros_like(total[:, :done])], axis=1)
            weight = np.concatenate([weight[done:], np.zeros_like(weight[:done])])

    def class_map(
        self,
        slide: Slide,
        *,
        threshold: float = 0.5,
        overlap: float = 0.25,
        batch: int = 8,
        tell: Callable[[float], None] | None = None,
    ) -> NDArray[np.uint8]:
        """The class of every model pixel of the slide: (h, w) uint8, one byte per model pixel in memory.

        Args:
            slide: with known mpp.
            threshold: probability from which a pixel is foreground, for a binary model; else the most likely class
                wins.
            overlap: share of a patch that it has in common with its neighbour.
            batch: patches per forward pass.
            tell: called with the share that is done, 0-1, or None.
        """
        size = ModelGrid.of(slide.info, self.facts.mpp).size
        classes = np.empty((size.height, size.width), np.uint8)
        for top, chances in self.bands(slide, overlap=overlap, batch=batch):
            found = chances[0] >= threshold if self.facts.is_binary else chances.argmax(axis=0)
            classes[top : top + found.shape[0]] = found
            if tell is not None:
                tell((top + found.shape[0]) / size.height)
        return classes


def as_input(rgb: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 in the form that the networks expect: (B, 3, H, W) float32, -1 to 1."""
    # PyTorch 2.13 on CPU crashes in the backward pass of narrow convolutions over a permuted (channels last) input.
    return rgb.permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def save_model(folder: Path, *, facts: Facts, state: Mapping[str, Tensor], training: Mapping[str, Any]) -> None:
    """Write weights with their facts, and `params.json` beside them, which also says how they were trained.

    Args:
        folder: an existing folder.
        facts: stored in both files; those in the weights file are used.
        state: of the network.
        training: plain values.
    """
    table = _table(facts)
    weights = folder / "model.safetensors"
    unfinished = partial_path(weights)
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in state.items()},
        unfinished,
        metadata={_KEY: json.dumps(table, sort_keys=True)},
    )
    unfinished.replace(weights)
    text = json.dumps({**table, "training": training}, indent=1, sort_keys=True)
    write_whole(folder / PARAMS, f"{text}\n".encode())


def _table(facts: Facts) -> dict[str, Any]:
    return {
        "version": _VERSION,
        "arch": facts.arch,
        "width": facts.width,
        "classes": list(facts.classes),
        "is_binary": facts.is_binary,
        "mpp": facts.mpp,
        "patch_px": facts.patch_px,
    }


def stored_weights(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts of a model that `train` wrote, as they are written, and its tensors.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    check_model_file(file)
    return _stored(file)


@lru_cache(maxsize=4)
def _loaded(weights: FileState, device: str) -> SegmentModel:
    """One per process, file and device: a process may build the same step for each of its slides."""
    file = weights.path
    table, state = _stored(file)
    if table.get("version") != _VERSION:
        raise ConfigError(
            f"{file}: not a model of `slideloom segment train` that this version reads "
            f"(format {table.get('version')!r}, not {_VERSION}); train it again or update slideloom-segmentation"
        )
    try:
        facts = Facts(**{**{k: v for k, v in table.items() if k != "version"}, "classes": tuple(table["classes"])})
        network = build_network(facts.arch, width=facts.width, outputs=facts.outputs)
        network.load_state_dict(state)
    except (TypeError, KeyError, RuntimeError) as error:
        raise ConfigError(f"{file}: weights and facts do not fit together: {error}") from error
    return SegmentModel(facts, network, torch.device(device))


def _stored(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The facts as they are written, and the tensors."""
    try:
        with safe_open(file, framework="pt") as stored:
            table = dict(parse_json((stored.metadata() or {}).get(_KEY, "{}")))
            return table, {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{file}: cannot be read as a model: {error}") from error


def _starts(length: int, side: int, step: int) -> list[int]:
    """Start positions of patches along an axis; the last one reaches its end."""
    return list(range(0, max(1, length - (side - step)), step))


def _taper(side: int, shared: int) -> NDArray[np.float32]:
    """(side, side) weights: 1 in the middle, falling as a squared sine over the part shared with a neighbour."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    ramp = np.sin(np.pi / 2 * np.clip(distance / max(shared, 0.5), 0, 1)) ** 2
    ramp = np.maximum(ramp, 1e-3)
    weights: NDArray[np.float32] = np.outer(ramp, ramp).astype(np.float32)
    return weights
