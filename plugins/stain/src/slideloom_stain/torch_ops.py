"""The operations of `slideloom_stain.tensors` in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _TorchOps:
    """See `slideloom_stain.tensors.Ops`."""

    exp, log, sqrt, cos, sin, floor = torch.exp, torch.log, torch.sqrt, torch.cos, torch.sin, torch.floor
    arctan2, minimum, maximum, where = torch.atan2, torch.minimum, torch.maximum, torch.where
    stack, concatenate, reshape = torch.stack, torch.cat, torch.reshape
    xor = torch.bitwise_xor

    @staticmethod
    def matmul(x: Tensor, y: Tensor) -> Tensor:
        return exact_product(x, y)

    @staticmethod
    def transpose(x: Tensor) -> Tensor:
        return x.transpose(-1, -2)

    @staticmethod
    def sum(x: Tensor, axis: int, *, keepdims: bool = False) -> Tensor:
        return x.sum(axis, keepdim=keepdims)

    @staticmethod
    def amax(x: Tensor, axis: int, *, keepdims: bool = False) -> Tensor:
        return x.amax(axis, keepdim=keepdims)

    @staticmethod
    def amin(x: Tensor, axis: int, *, keepdims: bool = False) -> Tensor:
        return x.amin(axis, keepdim=keepdims)

    @staticmethod
    def cumsum(x: Tensor) -> Tensor:
        return x.cumsum(-1)

    @staticmethod
    def eigenvectors(x: Tensor) -> Tensor:
        vectors: Tensor = torch.linalg.eigh(x)[1]
        return vectors

    @staticmethod
    def single(x: Any) -> Any:
        return x.to(torch.float32) if isinstance(x, Tensor) else 1.0 * x

    @staticmethod
    def double(x: Tensor) -> Tensor:
        return x.to(torch.float64)

    @staticmethod
    def integer(x: Any) -> Any:
        return x.to(torch.int64) if isinstance(x, Tensor) else x

    @staticmethod
    def constant(values: Any, like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=like.device)

    @staticmethod
    def arange(count: int, like: Tensor) -> Tensor:
        return torch.arange(count, device=like.device, dtype=torch.int64)[None]

    @staticmethod
    def length(x: Tensor) -> int:
        return x.shape[-1]

    @staticmethod
    def top(x: Tensor, count: int) -> Tensor:
        return torch.topk(x, min(count, x.shape[-1]), dim=-1).values

    @staticmethod
    def at(x: Tensor, index: Tensor) -> Tensor:
        if index.ndim == 1:
            return torch.gather(x, -1, index[:, None])[:, 0]
        return torch.gather(x, -1, index)

    @staticmethod
    def counts(x: Tensor) -> Tensor:
        none = torch.zeros(x.shape[0], 256, dtype=torch.int64, device=x.device)
        return none.scatter_add(1, x.to(torch.int64), torch.ones_like(x, dtype=torch.int64))

    @staticmethod
    def find(sorted_rows: Tensor, values: Tensor) -> Tensor:
        return torch.searchsorted(sorted_rows, values)

    @staticmethod
    def repeat(rounds: int, step: Any, state: Tensor) -> Tensor:
        for _ in range(rounds):
            state = step(state)
        return state

    @staticmethod
    def still(x: Tensor) -> Tensor:
        return x.detach()

    @staticmethod
    def whole(x: float) -> Any:
        return int(x)


def exact_product(x: Tensor, y: Tensor) -> Tensor:
    """`x @ y` in their own type, whatever the program allows: GPUs would round to 10 bits first, some CPUs to 7.

    Programs often allow it for their networks (`torch.set_float32_matmul_precision`), and it would change pixels.

    Args:
        x: (..., n, k), with n or k of 3 or less.
        y: (..., k, m).

    Returns:
        (..., n, m).
    """
    if x.shape[-1] > 3:
        rows = [(x[..., n : n + 1, :] * y.transpose(-1, -2)).sum(-1) for n in range(x.shape[-2])]
        return torch.stack(rows, -2)
    total = x[..., :1] * y[..., :1, :]
    for k in range(1, x.shape[-1]):
        total = torch.addcmul(total, x[..., k : k + 1], y[..., k : k + 1, :])
    return total


TORCH_OPS: Any = _TorchOps()  # Any: an Ops, but PyTorch types its functions too narrowly
