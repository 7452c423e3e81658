"""Models for tests, by factories: what each gives is a formula."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Colours(nn.Module):
    """(B, 6): mean and largest value of each channel, times a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.cat([pixels.mean(dim=(2, 3)), pixels.amax(dim=(2, 3))], dim=1) * self.weight


class Odd(nn.Module):
    """`Colours`, and then one fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.colours, self.fault, self.calls = Colours(), fault, 0

    def forward(self, pixels: Tensor) -> object:
        rows = self.colours(pixels)
        self.calls += 1
        if self.fault == "raises":
            raise RuntimeError("no such layer")
        if self.fault == "hungry":
            raise torch.cuda.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total of ..."
            )
        return {
            "short": rows[:-1],
            "tokens": rows[:, None].repeat(1, 4, 1),
            "single": rows[:, 0],
            "nan": torch.where(torch.arange(len(rows))[:, None] == 1, torch.nan, rows),
            "several": (rows, rows),
            "wavering": rows[:, : 6 - (self.calls > 1)],
        }[self.fault]


def colours() -> nn.Module:
    return Colours()


def network() -> nn.Module:
    """Convolutions, normalization and dropout, as encoders have them; 16 features."""
    torch_state = torch.get_rng_state()
    torch.manual_seed(5)
    made = nn.Sequential(
        nn.Conv2d(3, 8, 7, stride=4),
        nn.BatchNorm2d(8),
        nn.GELU(),
        nn.Conv2d(8, 16, 3, stride=2),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    torch.set_rng_state(torch_state)
    return made


def unseeded() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 7), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def short() -> nn.Module:
    return Odd("short")


def tokens() -> nn.Module:
    return Odd("tokens")


def single() -> nn.Module:
    return Odd("single")


def nan() -> nn.Module:
    return Odd("nan")


def several() -> nn.Module:
    return Odd("several")


def wavering() -> nn.Module:
    return Odd("wavering")


def raises() -> nn.Module:
    return Odd("raises")


def hungry() -> nn.Module:
    return Odd("hungry")


def not_a_module() -> object:
    return "a model"
