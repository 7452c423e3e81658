"""How the bundled network was made of a wide one: which channels the convolutions on the way up look at."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from slideloom_artifacts import network

TRAINING = Path(__file__).parents[1] / "training"


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script; it and its neighbours are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(TRAINING))
    yield import_module("narrow")
    for name in {path.stem for path in TRAINING.glob("*.py")} & (set(sys.modules) - before):
        del sys.modules[name]


@pytest.mark.parametrize("kept", [2, 5, 8])
def test_the_channels_kept_lose_no_more_than_the_singular_values_left_out(narrow: ModuleType, kept: int) -> None:
    """The expected square of the error is the sum of the squares of those values: the theorem of Eckart and Young."""
    torch.manual_seed(0)
    weight, mixing = torch.randn(6, 8, 3, 3), torch.randn(8, 8)
    covariance = mixing @ mixing.T
    reduce, widen = narrow._factors(weight, covariance, kept)

    taps = weight.permute(0, 2, 3, 1).reshape(-1, 8)
    lost = taps @ (torch.eye(8) - widen @ reduce)
    values = torch.linalg.svdvals(taps @ torch.linalg.cholesky(covariance))

    assert (reduce.shape, widen.shape) == ((kept, 8), (8, kept))
    error, left_out = torch.trace(lost @ covariance @ lost.T).item(), values[kept:].square().sum().item()
    assert error == pytest.approx(left_out, rel=1e-3, abs=1e-2)


def test_with_all_channels_kept_the_narrow_network_answers_as_the_wide_one(
    narrow: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [coarse + fine for fine, coarse in zip(network.WIDTHS[-2::-1], network.WIDTHS[:0:-1], strict=True)]
    monkeypatch.setattr(network, "NARROW", tuple(every))
    torch.manual_seed(1)
    wide = narrow.WideNet(7).fused()
    rgb = torch.randint(0, 256, (1, 512, 512, 3), dtype=torch.uint8)
    inputs = network.as_input(rgb)

    with torch.inference_mode():
        found, told = narrow.narrowed(wide, rgb)(inputs), wide(inputs)

    # Beyond the sides the one sees zeros and the other what is usual, so they differ there.
    inner = slice(100, -100)
    torch.testing.assert_close(found[..., inner, inner], told[..., inner, inner], rtol=0, atol=1e-5)
