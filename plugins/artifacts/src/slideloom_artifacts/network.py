"""The network: a small U-Net whose input is at 4 um and whose labels are at 8 um."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 2  # input pixels per label, along each axis
MULTIPLE = 32  # sides of the input are multiples of this
WIDTHS = (24, 32, 64, 96, 128)
# On the way up from a stride of 32, 16, 8 and 4: the channels that a step looks at, ...
NARROW = (64, 48, 24, 16)
# ... and pixels of that stride around the part that counts on which its answer depends. Each step looks one pixel of
# half the stride further, and its interpolation another one.
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
        for (fine, coarse), narrow in zip(reversed(list(pairwise(WIDTHS))), NARROW, strict=True):
            self.up.append(_Up(coarse, fine, narrow=narrow))
        self.head = nn.Conv2d(WIDTHS[0], classes, 1)

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
            stride //= 2
            cuts = (seen - around, margin // stride - 2 * around) if margin else (0, 0)
            deep = step(deep, found.pop(), cuts=cuts)
            seen = 2 * around if margin else 0
        scores: Tensor = _inner(self.head(deep), seen)
        return scores


class _Up(nn.Module):
    """A step to half the stride: what is known there and what is known at the larger one, together.

    Both are first brought down to a few channels, the larger stride's before it is interpolated, so that the
    convolution, by far the dearest part, has few to look at.

    Args:
        coarse, fine: channels at the larger stride and at the smaller one; as many as the latter come out.
        narrow: channels that the convolution looks at.
    """

    def __init__(self, coarse: int, fine: int, *, narrow: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(coarse, narrow, 1)
        self.fine = nn.Conv2d(fine, narrow, 1, bias=False)
        self.both = _convolved(narrow, fine)

    def forward(self, deep: Tensor, fine: Tensor, *, cuts: tuple[int, int]) -> Tensor:
        """At the stride of `fine`; so many pixels of each are left out along the sides."""
        few = _inner(self.coarse(deep), cuts[0])
        few = few.contiguous(memory_format=_form_of(few))  # interpolation is slow on a part
        wide = functional.interpolate(few, scale_factor=2, mode="bilinear", align_corners=False)
        found: Tensor = self.both(wide.add_(_inner(self.fine(fine), cuts[1])))
        return found


def _inner(pixels: Tensor, cut: int) -> Tensor:
    """Without so many pixels along each side."""
    return pixels[..., cut:-cut, cut:-cut] if cut else pixels


def _form_of(tensor: Tensor) -> torch.memory_format:
    last = torch.channels_last
    return last if tensor.stride(1) == 1 else torch.contiguous_format  # also of a part of a larger tensor


def as_input(rgb: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 in the form that the network expects: (B, 3, H, W) float32, -1 to 1."""
    return rgb.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)  # channels stay last in memory


def _convolved(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2), nn.ReLU(inplace=True))
