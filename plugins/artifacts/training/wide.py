"""The network that `train.py` trains from nothing; `narrow.py` makes the one to ship of it.

It is `ArtifactNet` with normalizations, and with all channels of both sources in the convolutions on the way up.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from slideloom_artifacts.network import STRIDE, WIDTHS
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval


class WideNet(nn.Module):
    """Tells the classes apart, as `ArtifactNet` does, in twice the time.

    Args:
        classes: number of outputs.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = _convolved(3, WIDTHS[0], kernel=5, stride=STRIDE)
        self.down = nn.ModuleList()
        for fine, coarse in pairwise(WIDTHS):
            self.down.append(nn.Sequential(_convolved(fine, coarse, stride=2), _convolved(coarse, coarse)))
        self.up = nn.ModuleList()
        for fine, coarse in reversed(list(pairwise(WIDTHS))):
            self.up.append(_convolved(coarse + fine, fine))
        self.head = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, classes, H / 2, W / 2) scores from (B, 3, H, W), -1 to 1; H and W are multiples of 32."""
        found = [self.stem(pictures)]
        for step in self.down:
            found += [step(found[-1])]
        deep = found.pop()
        for step in self.up:
            deep = step(joined(deep, found.pop()))
        scores: Tensor = self.head(deep)
        return scores

    def fused(self) -> WideNet:
        """A copy for use, with each normalization in the convolution before it."""
        own = copy.deepcopy(self).eval()
        for module in own.modules():
            if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
                module[0], module[1] = fuse_conv_bn_eval(module[0], module[1]), nn.Identity()
        return own


def joined(deep: Tensor, fine: Tensor) -> Tensor:
    """The channels of both, those of the first enlarged to the pixels of the second."""
    wide = functional.interpolate(deep, size=fine.shape[-2:], mode="bilinear", align_corners=False)
    return torch.cat([wide, fine], dim=1)


def _convolved(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
