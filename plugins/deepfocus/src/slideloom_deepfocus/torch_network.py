"""DeepFocus in PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slideloom_deepfocus.layers import CONVS, DENSES, DROPOUT, EPSILON, NORM_PARTS, Arrays, Conv, Dense


class DeepFocusNet(nn.Module):
    """The published network.

    Input: (B, 3, 64, 64) float32, 0-1 minus a mean. Output: (B, 2) float32, logits, or their softmax in `eval()`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(conv.inputs, conv.filters, conv.kernel, padding=conv.kernel // 2) for conv in CONVS
        )
        self.conv_norms = nn.ModuleList(nn.BatchNorm2d(conv.filters, eps=EPSILON) for conv in CONVS)
        self.denses = nn.ModuleList(nn.Linear(dense.inputs, dense.units) for dense in DENSES)
        self.dense_norms = nn.ModuleList(nn.BatchNorm1d(dense.units, eps=EPSILON) for dense in DENSES if dense.norm)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, tiles: Tensor) -> Tensor:
        """Logits while training, probabilities otherwise."""
        x = tiles.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
        for layer, conv, norm in zip(CONVS, self.convs, self.conv_norms, strict=True):
            x = norm(torch.relu(conv(x)))
            if layer.is_pooled:
                x = nn.functional.max_pool2d(x, 2)
        x = x.permute(0, 2, 3, 1).flatten(
            1
        )  # height, width, channel: the order in which the dense weights were trained
        for dense, norm in zip(self.denses, self.dense_norms, strict=False):
            x = self.dropout(norm(torch.relu(dense(x))))
        x = self.denses[-1](x)
        return x if self.training else torch.softmax(x, dim=1)


def network(arrays: Arrays) -> DeepFocusNet:
    """The network with these weights, ready to predict."""
    net = DeepFocusNet()
    with torch.no_grad():
        for name, tensor, is_kernel in _tensors(net):
            array = torch.from_numpy(np.array(arrays[name], dtype=np.float32))
            tensor.copy_(_torch_order(array) if is_kernel else array)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # documented, but not in torch's types
    return net.eval()


def arrays_of(net: DeepFocusNet) -> dict[str, NDArray[np.float32]]:
    """The weights under their published names and in their published axis order."""
    result = {}
    for name, tensor, is_kernel in _tensors(net):
        value = tensor.detach().cpu()
        if is_kernel:
            value = value.permute(2, 3, 1, 0) if value.ndim == 4 else value.T
        result[name] = np.ascontiguousarray(value.numpy(), dtype=np.float32)
    return result


def _torch_order(array: Tensor) -> Tensor:
    return array.permute(3, 2, 0, 1) if array.ndim == 4 else array.T


def _tensors(net: DeepFocusNet) -> list[tuple[str, Tensor, bool]]:
    """Published name, tensor, and whether it is a kernel, whose axes differ."""
    specs: list[Conv | Dense] = [*CONVS, *DENSES]
    norms = iter([*net.conv_norms, *net.dense_norms])
    result: list[tuple[str, Tensor, bool]] = []
    for spec, layer in zip(specs, [*net.convs, *net.denses], strict=True):
        result += [(f"{spec.name}/W", _tensor(layer.weight), True), (f"{spec.name}/b", _tensor(layer.bias), False)]
        if spec.norm:
            norm = next(norms)
            parts = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
            result += [
                (f"{spec.norm}/{part}", _tensor(value), False) for part, value in zip(NORM_PARTS, parts, strict=True)
            ]
    return result


def _tensor(value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"expected a tensor, not {type(value).__name__}")
    return value
