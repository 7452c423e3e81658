"""What the sink asks of a model, whatever runs it: rows of features for a batch of tiles, checked."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from slideloom import ConfigError, RgbBatch

from slideloom_features.settings import Features as Settings
from slideloom_features.transform import IMAGENET_MEAN, IMAGENET_STD, Transform

Features = NDArray[np.float32]  # (B, D)
_AXES = 4


def declared(shape: Any, *, of: str) -> tuple[int | None, int | None]:  # Any: each framework has its own
    """Batch size and side of the input that a model declares; None where they may vary.

    Raises:
        ConfigError: it takes something else than square pictures (B, 3, H, W).
    """
    if not isinstance(shape, list | tuple) or len(shape) != _AXES:
        raise ConfigError(f"{of}: takes an input of shape {tuple(shape)}, where (B, 3, height, width) is wanted")
    sizes = [size if isinstance(size, int) and size > 0 else None for size in shape]
    batch, channels, height, width = sizes
    if channels not in (None, 3) or (height is not None and width is not None and height != width):
        text = ", ".join("?" if size is None else str(size) for size in sizes)
        raise ConfigError(
            f"{of}: takes an input of shape ({text}), where (B, 3, height, width) with one side is wanted"
        )
    return batch, height or width


def transform_of(settings: Settings, *, side: int | None) -> Transform:
    """The transform of a model file: what the settings say, and the only side that the model takes.

    Raises:
        ConfigError: the settings say another side.
    """
    if None not in (side, settings.input_px) and side != settings.input_px:
        raise ConfigError(f"{settings.model}: takes pictures of {side} px only, not input_px = {settings.input_px}")
    return Transform(side or settings.input_px, settings.mean or IMAGENET_MEAN, settings.std or IMAGENET_STD)


class Encoder(ABC):
    """A model that gives features; one thread at a time calls it.

    Attributes:
        told: the model in messages and attributes, such as "uni.onnx".
        sha256: of its file, or of its state dict.
        transform: what happens to tiles before it.
        fixed_batch: the only batch size that it takes, or None.
    """

    def __init__(self, *, told: str, sha256: str, transform: Transform, fixed_batch: int | None = None) -> None:
        self.told = told
        self.sha256 = sha256
        self.transform = transform
        self.fixed_batch = fixed_batch
        self._lock = threading.Lock()

    def __call__(self, rgb: RgbBatch) -> Features:
        """(B, D) float32 features of tiles (B, H, W, 3) uint8 in the size of the input.

        Raises:
            ValueError: the model fails, or gives anything else than a row of finite numbers for each tile.
        """
        count, missing = len(rgb), (self.fixed_batch or len(rgb)) - len(rgb)
        if missing:
            rgb = np.concatenate([rgb, np.repeat(rgb[-1:], missing, axis=0)])
        try:
            with self._lock:
                answer = self._run(rgb)
        except Exception as error:  # a model may raise anything
            lines = (str(error).strip() or type(error).__name__).splitlines()
            # TorchScript reports the location first and the error last.
            said = lines[-1] if "TorchScript interpreter" in lines[0] else lines[0]
            raise ValueError(
                f"{self.told} fails on {rgb.shape[0]} tiles of {rgb.shape[1]} x {rgb.shape[2]} px "
                f"({type(error).__name__}: {said})"
            ) from error
        return self._checked(answer, len(rgb))[:count]

    def _checked(self, answer: Any, count: int) -> Features:  # Any: whatever a model returns
        wanted = f"wanted a row of features for each tile, ({count}, D)"
        if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "fiu":
            kind = answer.dtype if isinstance(answer, np.ndarray) else type(answer).__name__
            raise ValueError(f"{self.told} gave {kind}: {wanted}")
        if answer.ndim != 2 or len(answer) != count or not answer.shape[1]:
            pooled = "; let the model pool its tokens or maps" if answer.ndim > 2 and len(answer) == count else ""
            raise ValueError(f"{self.told} gave an array of shape {answer.shape}: {wanted}{pooled}")
        rows = answer.astype(np.float32)
        if not np.isfinite(rows).all():
            bad = int(np.count_nonzero(~np.isfinite(rows).all(axis=1)))
            raise ValueError(
                f"{self.told} gave NaN or infinity for {bad} of {count} tiles; check mean, std and precision"
            )
        return rows

    @abstractmethod
    def _run(self, rgb: RgbBatch) -> Any: ...  # Any: whatever a model returns
