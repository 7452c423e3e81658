"""The normalizer: uint8 tiles in, uint8 tiles out, through one or two generators."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import torch
from slideloom import FileState, Normalized, Normalizer, RgbBatch, TileBatch, computing, torch_device
from torch import Tensor

from slideloom_cyclegan.generator import ResnetGenerator
from slideloom_cyclegan.settings import CycleGan
from slideloom_cyclegan.weights import load_generator, published

_MULTIPLE = 4  # two strided convolutions
_SMALLEST = 8  # below this, the residual blocks have nothing to reflect

_Pixels = TypeVar("_Pixels", RgbBatch, Tensor)


class Translator:
    """One generator on one device. Calls from several threads take turns, so memory does not grow with them."""

    def __init__(self, generator: ResnetGenerator, device: torch.device) -> None:
        self._generator = generator.to(device)
        self._device = device
        self._lock = threading.Lock()

    def __call__(self, rgb: Tensor, *, half: bool) -> Tensor:
        """(B, H, W, 3) uint8 to the same, on the generator's device, rounded to the nearest value.

        H and W are arbitrary: the image is padded by reflection at the right and bottom, and cropped afterwards.
        """
        height, width = rgb.shape[1:3]
        use_half = half and self._device.type == "cuda"
        precision = torch.autocast("cuda", dtype=torch.float16) if use_half else nullcontext()
        # Pixels are rounded to 8 bits: TF32 moves none by more than one level, and is nine times as fast.
        with self._lock, torch.inference_mode(), computing(self._device, exact=False):
            padded = rgb.to(self._device)[:, _reflected(height)][:, :, _reflected(width)]
            image = padded.permute(0, 3, 1, 2).float() / 127.5 - 1
            with precision:
                translated: Tensor = self._generator(image)
            pixels = ((translated.float() + 1) * 127.5 + 0.5).floor().clamp(0, 255).to(torch.uint8)
        return pixels[:, :, :height, :width].permute(0, 2, 3, 1)


class CycleGanNormalizer(Normalizer):
    """See `CycleGan`. May be called from several threads; is pickled as its settings."""

    keeps_pixels = False

    def __init__(self, settings: CycleGan) -> None:
        """Load the generators.

        Raises:
            ConfigError: weights or device are missing or invalid.
        """
        self.settings = settings
        self.device = torch_device(settings.device)
        self._translators = [
            _translator(FileState.of(published(step) if source == "published" else Path(source)), str(self.device))
            for step, source in zip(settings.steps(), settings.files(), strict=True)
        ]

    def __reduce__(self) -> tuple[type[CycleGanNormalizer], tuple[CycleGan]]:
        return CycleGanNormalizer, (self.settings,)

    def apply(self, batch: TileBatch) -> Normalized:
        """The batch, translated; every tile succeeds."""
        return Normalized(rgb=self.transform(batch.rgb), ok=np.ones(len(batch), bool))

    @overload
    def transform(self, rgb: RgbBatch) -> RgbBatch: ...
    @overload
    def transform(self, rgb: Tensor) -> Tensor: ...
    def transform(self, rgb: RgbBatch | Tensor) -> RgbBatch | Tensor:
        """The images, translated; for loaders and notebooks.

        Args:
            rgb: (B, H, W, 3) or (H, W, 3) uint8, as an array or a tensor on any device.

        Returns:
            The same shape and type; a tensor stays on its device.

        Raises:
            ValueError: `rgb` has another shape or type.
        """
        given = torch.from_numpy(np.array(rgb, order="C")) if isinstance(rgb, np.ndarray) else rgb
        if given.dtype != torch.uint8 or given.ndim not in (3, 4) or given.shape[-1] != 3:
            raise ValueError(f"rgb must be (B, H, W, 3) or (H, W, 3) uint8, not {tuple(given.shape)} {given.dtype}")
        images = given if given.ndim == 4 else given[None]
        if images.numel() == 0:
            return rgb.copy() if isinstance(rgb, np.ndarray) else rgb.clone()
        size = self.settings.batch
        result = torch.cat([self._through(images[at : at + size]) for at in range(0, len(images), size)])
        result = (result if given.ndim == 4 else result[0]).to(given.device).contiguous()
        return result.numpy() if isinstance(rgb, np.ndarray) else result

    def _through(self, images: Tensor) -> Tensor:
        for translator in self._translators:
            images = translator(images, half=self.settings.half)
        return images


@lru_cache(maxsize=4)
def _translator(weights: FileState, device: str) -> Translator:
    """One per process, file and device: a process may build the same step for each of its slides."""
    return Translator(load_generator(weights.path), torch.device(device))


def _reflected(length: int) -> Tensor:
    """(N,) index of the source pixel for each pixel of an axis, padded by reflection to a size the network accepts."""
    wanted = max(_SMALLEST, -(-length // _MULTIPLE) * _MULTIPLE)
    if length == 1:
        return torch.zeros(wanted, dtype=torch.int64)
    around = torch.arange(wanted) % (2 * length - 2)
    return torch.minimum(around, 2 * length - 2 - around)
