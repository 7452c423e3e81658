"""The networks in PyTorch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slideloom_deepfocus.layers import DEEPFOCUS, DROPOUT, EPSILON, NORM_PARTS, Architecture, Arrays, architecture_of


class FocusNet(nn.Module):
    """A network as its table says.

    Input: (B, 3, 64, 64) float32, 0-1 centred. Output: (B, 2) float32, logits, or their softmax in `eval()`.
    """

    def __init__(self, table: Architecture = DEEPFOCUS) -> None:
        super().__init__()
        self.table = table
        self.convs = nn.ModuleList(
            nn.Conv2d(conv.inputs, conv.filters, conv.kernel, padding=conv.kernel // 2) for conv in table.convs
        )
        self.conv_norms = nn.ModuleList(nn.BatchNorm2d(conv.filters, eps=EPSILON) for conv in table.convs)
        self.denses = nn.ModuleList(nn.Linear(dense.inputs, dense.units) for dense in table.denses)
        self.dense_norms = nn.ModuleList(
            nn.BatchNorm1d(dense.units, eps=EPSILON) for dense in table.denses if dense.norm
        )
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, tiles: Tensor) -> Tensor:
        """Logits while training, probabilities otherwise."""
        x = tiles.contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
        for layer, conv, norm in zip(self.table.convs, self.convs, self.conv_norms, strict=True):
            x = norm(torch.relu(conv(x)))
            if layer.is_pooled:
                x = nn.functional.max_pool2d(x, 2)
        if self.table.head == "flatten":
            # Height, width, channel: the order in which the dense weights were trained.
            x = x.permute(0, 2, 3, 1).flatten(1)
        else:
            x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)
        for dense, norm in zip(self.denses, self.dense_norms, strict=False):
            x = self.dropout(norm(torch.relu(dense(x))))
        x = self.denses[-1](x)
        return x if self.training else torch.softmax(x, dim=1)


def network(arrays: Arrays) -> FocusNet:
    """The network with these weights, ready to predict."""
    net = FocusNet(architecture_of(arrays))
    with torch.no_grad():
        for name, tensor, is_kernel in _tensors(net):
            array = torch.from_numpy(np.array(arrays[name], dtype=np.float32))
            tensor.copy_(_torch_order(array) if is_kernel else array)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # documented, but not in torch's types
    return net.eval()


def arrays_of(net: FocusNet) -> dict[str, NDArray[np.float32]]:
    """The weights under their names and in their axis order, see `layers`."""
    result = {}
    for name, tensor, is_kernel in _tensors(net):
        value = tensor.detach().cpu()
        if is_kernel:
            value = value.permute(2, 3, 1, 0) if value.ndim == 4 else value.T
        result[name] = np.ascontiguousarray(value.numpy(), dtype=np.float32)
    return result


def _torch_order(array: Tensor) -> Tensor:
    return array.permute(3, 2, 0, 1) if array.ndim == 4 else array.T


def _tensors(net: FocusNet) -> list[tuple[str, Tensor, bool]]:
    """Name, tensor, and whether it is a kernel, whose axes differ."""
    norms = iter([*net.conv_norms, *net.dense_norms])
    result: list[tuple[str, Tensor, bool]] = []
    for spec, layer in zip(net.table.layers, [*net.convs, *net.denses], strict=True):
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
