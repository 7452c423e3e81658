"""The ResNet-9 generator of CycleGAN.

Source: Zhu et al., Unpaired image-to-image translation using cycle-consistent adversarial networks, ICCV 2017,
appendix 7.2: c7s1-64, d128, d256, nine R256, u128, u64, c7s1-3, with instance normalization and reflection padding.
Modules have the names in the published weights (`model.1.weight`, `model.10.conv_block.1.weight`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FILTERS = 64
BLOCKS = 9


def _norm(channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels, affine=False, track_running_stats=False)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, added to the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            _norm(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            _norm(channels),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(B, channels, h, w) to the same shape."""
        residual: Tensor = self.conv_block(image)
        return image + residual


class ResnetGenerator(nn.Module):
    """Maps (B, 3, H, W), -1 to 1, to the same shape and range. H and W: multiples of 4, at least 8."""

    def __init__(self) -> None:
        super().__init__()
        f = FILTERS
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, f, 7),
            _norm(f),
            nn.ReLU(),
            nn.Conv2d(f, 2 * f, 3, stride=2, padding=1),
            _norm(2 * f),
            nn.ReLU(),
            nn.Conv2d(2 * f, 4 * f, 3, stride=2, padding=1),
            _norm(4 * f),
            nn.ReLU(),
            *(ResidualBlock(4 * f) for _ in range(BLOCKS)),
            nn.ConvTranspose2d(4 * f, 2 * f, 3, stride=2, padding=1, output_padding=1),
            _norm(2 * f),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * f, f, 3, stride=2, padding=1, output_padding=1),
            _norm(f),
            nn.ReLU(),
            nn.ReflectionPad2d(3),
            nn.Conv2d(f, 3, 7),
            nn.Tanh(),
        )

    def forward(self, image: Tensor) -> Tensor:
        """The translated image."""
        translated: Tensor = self.model(image)
        return translated


def empty_generator() -> ResnetGenerator:
    """A generator without memory for its parameters, for loading a state dict with `assign=True`."""
    with torch.device("meta"):
        return ResnetGenerator()
