"""U-Net, FPN and DeepLabV3+ on one small residual encoder.

Sources: Ronneberger et al., U-Net, MICCAI 2015; Kirillov et al., Panoptic feature pyramid networks, CVPR 2019; Chen et
al., Encoder-decoder with atrous separable convolution (DeepLabV3+), ECCV 2018; residual blocks: He et al., CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from slideloom_segmentation.settings import Arch


def build_network(arch: Arch, *, width: int, outputs: int) -> nn.Module:
    """Maps (B, 3, H, W), -1 to 1, to logits (B, outputs, H, W). H and W: multiples of 16."""
    networks: dict[Arch, type[UNet | Fpn | DeepLabV3Plus]] = {
        "unet": UNet,
        "fpn": Fpn,
        "deeplabv3plus": DeepLabV3Plus,
    }
    return networks[arch](width=width, outputs=outputs)


def _conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _enlarged(features: Tensor, factor: int) -> Tensor:
    return functional.interpolate(features, scale_factor=factor, mode="bilinear", align_corners=False)


class Residual(nn.Module):
    """Two 3x3 convolutions with batch normalization, added to the (projected) input."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.first = _conv(inputs, outputs, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, outputs, h / stride, w / stride)."""
        return functional.relu(self.second(self.first(features)) + self.shortcut(features))


class Encoder(nn.Module):
    """Features at full, half, quarter, eighth and sixteenth of the image's size, with `channels` each."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = (width, 2 * width, 4 * width, 8 * width, 8 * width)
        self.stem = _conv(3, width)
        self.stages = nn.ModuleList(
            nn.Sequential(Residual(inputs, outputs, stride=2), Residual(outputs, outputs))
            for inputs, outputs in zip(self.channels, self.channels[1:], strict=False)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Five feature maps, the largest first."""
        features = [self.stem(image)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features


class UNet(nn.Module):
    """Enlarges features step by step, each time joined with the encoder's features of that size."""

    def __init__(self, *, width: int, outputs: int) -> None:
        super().__init__()
        self.encoder = Encoder(width)
        channels = self.encoder.channels
        self.decoder = nn.ModuleList(
            nn.Sequential(_conv(below + skip, skip), _conv(skip, skip))
            for below, skip in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(width, outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """See `build_network`."""
        *skips, features = self.encoder(image)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            enlarged = functional.interpolate(features, scale_factor=2, mode="nearest")
            features = block(torch.cat([enlarged, skip], dim=1))
        logits: Tensor = self.head(features)
        return logits


class Fpn(nn.Module):
    """Adds features of equal width from all scales, each enlarged to half the image's size."""

    def __init__(self, *, width: int, outputs: int) -> None:
        super().__init__()
        self.encoder = Encoder(width)
        wide = 4 * width
        self.lateral = nn.ModuleList(nn.Conv2d(channels, wide, 1) for channels in self.encoder.channels[1:])
        self.smooth = nn.ModuleList(_conv(wide, 2 * width) for _ in self.lateral)
        self.head = nn.Sequential(_conv(2 * width, 2 * width), nn.Conv2d(2 * width, outputs, 1))

    def forward(self, image: Tensor) -> Tensor:
        """See `build_network`."""
        pyramid = [lateral(level) for lateral, level in zip(self.lateral, self.encoder(image)[1:], strict=True)]
        for fine in range(len(pyramid) - 2, -1, -1):
            pyramid[fine] = pyramid[fine] + functional.interpolate(pyramid[fine + 1], scale_factor=2, mode="nearest")
        total = self.smooth[0](pyramid[0])
        for step in range(1, len(pyramid)):
            total = total + _enlarged(self.smooth[step](pyramid[step]), 2**step)
        return _enlarged(self.head(total), 2)


class DeepLabV3Plus(nn.Module):
    """Convolutions of several dilations at a sixteenth, joined with features at a quarter of the image's size."""

    # The paper's 6, 12, 18 are for images of 513 px; these have the same relative reach in a patch of half that size.
    DILATIONS: Sequence[int] = (3, 6, 9)

    def __init__(self, *, width: int, outputs: int) -> None:
        super().__init__()
        self.encoder = Encoder(width)
        deep, wide = self.encoder.channels[-1], 4 * width
        self.branches = nn.ModuleList(
            [_conv(deep, wide, kernel=1), *(_conv(deep, wide, dilation=dilation) for dilation in self.DILATIONS)]
        )
        # No normalization here, because a single value per image has no spread.
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(deep, wide, 1), nn.ReLU())
        self.project = _conv(wide * (len(self.branches) + 1), wide, kernel=1)
        self.low = _conv(self.encoder.channels[2], width, kernel=1)
        self.head = nn.Sequential(_conv(wide + width, wide), _conv(wide, wide), nn.Conv2d(wide, outputs, 1))

    def forward(self, image: Tensor) -> Tensor:
        """See `build_network`."""
        features = self.encoder(image)
        deep = features[-1]
        around = [branch(deep) for branch in self.branches]
        around.append(self.pooled(deep).expand(-1, -1, *deep.shape[2:]))
        context = _enlarged(self.project(torch.cat(around, dim=1)), 4)
        return _enlarged(self.head(torch.cat([context, self.low(features[2])], dim=1)), 4)
