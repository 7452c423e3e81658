"""The methods for PyTorch: batched, on the CPU and on accelerators."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Self

import numpy as np
import torch
from slideloom import ConfigError
from torch import Tensor, nn

from slideloom_stain.opencv import cv2
from slideloom_stain.tensor_step import Planned, TensorStep
from slideloom_stain.torch_ops import TORCH_OPS
from slideloom_stain.value_range import UNIT, ValueRange, refuse_kind


class TorchNormalizer(nn.Module):
    """A step as a module: `module(x)` gives normalized images of the same layout, type and device.

    Images are (3, H, W), (B, 3, H, W), (H, W, 3) or (B, H, W, 3); uint8, or floating with values 0-1 or in
    `value_range`. For floating images everything is differentiable, also through the statistics (for Vahadane, through
    a hundred rounds).

    uint8 images on the CPU are normalized by numpy, without copying: this is many times as fast as tensors there. In
    compiled or exported code, on an accelerator and with `native=True`, only tensors are used.

    Args:
        step: built from settings of this package, such as `Macenko(...).build()`; if its context is "slide", what
            its `for_slide` returns.
        native: use tensors only, never numpy.
        value_range: values of black and white in floating images.
    """

    def __init__(
        self, step: Planned, *, native: bool = False, value_range: tuple[float, float] = (UNIT.black, UNIT.white)
    ) -> None:
        super().__init__()
        self._range = ValueRange(*value_range)
        self.step = step
        self.native = native
        self._tensors = TensorStep(TORCH_OPS, step.plan())
        for name, array in self._tensors.arrays.items():  # buffers, which follow the module to its device
            self.register_buffer(name, torch.as_tensor(array), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Go to another device; constants stay float32 where a model around takes another type, as `model.half()`."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, array in self._tensors.arrays.items():
            moved = getattr(self, name)
            if moved.dtype != torch.float32:
                setattr(self, name, torch.as_tensor(array, device=moved.device))
        return self

    def forward(self, x: Tensor, index: Tensor | None = None) -> Tensor:
        """Normalized images; see `normalize`.

        Raises:
            ConfigError: a tile cannot be measured and the step's `unfit` is "reject" (not in compiled code).
        """
        out, ok = self.normalize(x, index)
        if self._tensors.plan.unfit == "reject" and not torch.compiler.is_compiling():
            refuse_unfit(int((~ok).sum()), ok.numel())
        return out

    def normalize(self, x: Tensor, index: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Normalized images, and which of them are good.

        Args:
            x: see the class.
            index: (B,) int64 numbers of the tiles; random draws depend on them. Without them, PyTorch's random
                generator gives the numbers.

        Returns:
            Images like `x`, and (B,) bool: False where the image is returned unchanged.

        Raises:
            ConfigError: `x` is not an image.
            ValueError: floating values are not in their range. Compiled code cannot raise; it gives False for such
                images.
        """
        axis, batched = _channel_axis(x)
        batch = x if batched else x[None]
        if not torch.compiler.is_compiling():
            _check_range(batch.detach(), self._range)
        if index is None:
            index = (
                torch.randint(0, 1 << 31, (batch.shape[0],))
                if self._tensors.plan.draws
                else torch.zeros(batch.shape[0])
            )
        index = index.to(device=x.device, dtype=torch.int64).reshape(-1)
        eager = not (self.native or x.requires_grad or torch.compiler.is_compiling())
        form = self._by_numpy if eager and x.dtype == torch.uint8 and x.device.type == "cpu" else self._by_tensors
        out, ok = form(batch, axis if batched else axis + 1, index)
        return (out if batched else out[0]), ok

    def _by_numpy(self, batch: Tensor, axis: int, index: Tensor) -> tuple[Tensor, Tensor]:
        out = torch.empty(batch.shape, dtype=torch.uint8)
        tiles, results, numbers = batch.numpy(), out.numpy(), index.numpy()
        ok = np.ones(len(tiles), np.bool_)

        def one(i: int) -> None:
            planar = axis == 1
            # In numpy, changing the order of the axes would take as long as the method itself.
            tile = cv2.merge([np.ascontiguousarray(plane) for plane in tiles[i]]) if planar else tiles[i]
            done = self.step.normalize(tile[None], 0, numbers[i : i + 1])
            ok[i] = self.step.succeeded(done)[0]
            if planar:
                cv2.split(done.rgb[0], list(results[i]))
            else:
                results[i] = done.rgb[0]

        threads = min(torch.get_num_threads(), len(tiles))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(one, range(len(tiles))))
        else:
            for i in range(len(tiles)):
                one(i)
        return out, torch.from_numpy(ok)

    def _by_tensors(self, batch: Tensor, axis: int, index: Tensor) -> tuple[Tensor, Tensor]:
        planar = batch.movedim(axis, 1)
        is_whole = batch.dtype == torch.uint8
        values, span = planar.flatten(2).to(torch.float32).contiguous(), self._range
        values = values if is_whole else (values - span.black) * span.step
        if is_whole:
            out, ok = self._values(values, index, whole=True)
            out = torch.round(out).clamp(0, 255).to(batch.dtype).reshape(planar.shape)
        else:
            # NaN would spread to the statistics and from there to indices, so such tiles are measured as if black.
            usable = ((planar >= span.least) & (planar <= span.most)).flatten(1).all(dim=1)
            values = torch.where(usable[:, None, None], values, torch.zeros_like(values))
            out, ok = self._values(values, index, whole=False)
            out, ok = (out / span.step + span.black).to(batch.dtype).reshape(planar.shape), ok & usable
            out = torch.where(usable[:, None, None, None], out, planar)
        return out.movedim(1, axis).contiguous(), ok

    def _values(self, values: Tensor, index: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
        """See `TensorStep.values`; in float32 also where training has turned autocast on."""
        constants = {name: getattr(self, name) for name in self._tensors.arrays}
        kind = values.device.type
        with torch.autocast(kind, enabled=False) if kind in ("cuda", "cpu") else nullcontext():
            return self._tensors.values(values, index, constants, whole=whole)


def refuse_unfit(bad: int, count: int) -> None:
    """Raise ConfigError if any tile could not be measured."""
    if bad:
        raise ConfigError(
            f"{bad} of {count} tiles have stains that cannot be estimated; choose unfit='keep-original', "
            "or call normalize(), which says which"
        )


def _check_range(batch: Tensor, span: ValueRange) -> None:
    """Raise unless the values are uint8, or floating and in their range or NaN."""
    if not batch.dtype.is_floating_point:
        if batch.dtype != torch.uint8:
            refuse_kind(str(batch.dtype))
        return
    if batch.numel():
        low, high = torch.aminmax(torch.nan_to_num(batch, nan=span.black, posinf=math.inf, neginf=-math.inf))
        span.refuse(float(low), float(high))


def _channel_axis(x: Tensor) -> tuple[int, bool]:
    """The axis of the channels, and whether `x` is a batch."""
    if x.ndim in (3, 4):
        first = x.ndim - 3
        if x.shape[first] == 3:
            return first, x.ndim == 4
        if x.shape[-1] == 3:
            return x.ndim - 1, x.ndim == 4
    raise ConfigError(f"not an image: {tuple(x.shape)}; give (3, H, W), (B, 3, H, W), (H, W, 3) or (B, H, W, 3)")
