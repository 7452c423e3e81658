"""The network: a small U-Net whose input is at 4 um and whose labels are at 8 um."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

STRIDE = 2  # input pixels per label, along each axis
MULTIPLE = 32  # sides of the input are multiples of this
WIDTHS = (24, 32, 64, 96, 128)
# On the way up from a stride of 32, 16, 8 and 4: pixels of that stride around the part that counts on which its answer
# depends. Each step looks one pixel of half the stride further, and its interpolation another one.
AROUND = (2, 2, 2, 1)


class ArtifactNet(nn.Module):
    """Tells the classes of tissue and artifacts apart, for each square of 2 x 2 pixels.

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

    def fuse(self) -> None:
        """Put each normalization into the convolution before it: the same answers in less time, for use only."""
        for module in self.modules():
            if not isinstance(module, nn.Sequential) or len(module) < 2:
                continue
            convolution, normalization = module[0], module[1]
            if isinstance(convolution, nn.Conv2d) and isinstance(normalization, nn.BatchNorm2d):
                module[0], module[1] = fuse_conv_bn_eval(convolution, normalization), nn.Identity()

    def forward(self, pictures: Tensor, margin: int = 0) -> Tensor:
        """(B, classes, H / 2, W / 2) scores from (B, 3, H, W), -1 to 1; H and W are multiples of 32.

        Args:
            pictures: of tissue.
            margin: pixels along each side that are looked at, but whose scores are left out; 0, or a multiple of 64.
                The last steps leave out as much of them as they can, which changes no score.
        """
        found = [self.stem(pictures)]
        for step in self.down:
            found += [step(found[-1])]
        deep = found.pop()
        seen, stride = margin // MULTIPLE, MULTIPLE  # pixels of `deep` around the part that counts
        for step, around in zip(self.up, AROUND, strict=True):
            fine, stride = found.pop(), stride // 2
            if margin:
                deep, fine = _inner(deep, seen - around), _inner(fine, margin // stride - 2 * around)
                deep = deep.contiguous(memory_format=_form_of(deep))  # interpolation is slow on a part
                seen = 2 * around
            wide = functional.interpolate(deep, size=fine.shape[-2:], mode="bilinear", align_corners=False)
            deep = step(_joined(wide, fine))
        scores: Tensor = self.head(_inner(deep, seen))
        return scores


def _inner(pixels: Tensor, cut: int) -> Tensor:
    """Without so many pixels along each side."""
    return pixels[..., cut:-cut, cut:-cut] if cut else pixels


def _joined(wide: Tensor, fine: Tensor) -> Tensor:
    """The channels of both, as `torch.cat` gives them; in a quarter of its time where nothing is learned."""
    if torch.is_grad_enabled():
        return torch.cat([wide, fine], dim=1)
    channels = wide.shape[1]
    shape = (fine.shape[0], channels + fine.shape[1], *fine.shape[2:])
    both = torch.empty(shape, dtype=fine.dtype, device=fine.device, memory_format=_form_of(fine))
    both[:, :channels], both[:, channels:] = wide, fine
    return both


def _form_of(tensor: Tensor) -> torch.memory_format:
    last = torch.channels_last
    return last if tensor.stride(1) == 1 else torch.contiguous_format  # also of a part of a larger tensor


def as_input(rgb: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 in the form that the network expects: (B, 3, H, W) float32, -1 to 1."""
    return rgb.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)  # channels stay last in memory


def _convolved(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
