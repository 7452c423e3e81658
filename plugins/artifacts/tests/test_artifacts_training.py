"""The scripts of the training: they fit together, and narrowing keeps the channels that matter."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from slideloom_artifacts import network
from slideloom_artifacts.artifacts import _network

TRAINING = Path(__file__).parents[1] / "training"

# The bundled weights reach 0.96, 0.99, 0.25, 0.87, 0.92, 0.80 and 0.90 on the pictures below.
LEAST_IOU = {
    "tissue": 0.93, "background": 0.97, "fold": 0.18, "bubble": 0.8, "pen": 0.88, "dust": 0.75, "out-of-focus": 0.85,
}  # fmt: skip


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """A script of the training by its name; it and its neighbours are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(TRAINING))
    yield import_module
    for name in {path.stem for path in TRAINING.glob("*.py")} & (set(sys.modules) - before):
        del sys.modules[name]


@pytest.fixture
def narrow(script: Callable[[str], ModuleType]) -> ModuleType:
    """The script that makes the bundled network of a wide one."""
    return script("narrow")


@pytest.mark.parametrize("name", ["pack", "train", "narrow", "compare"])
def test_every_script_finds_what_it_needs_of_the_others(script: Callable[[str], ModuleType], name: str) -> None:
    assert callable(script(name).main)


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


def test_the_bundled_weights_find_each_class_on_a_section_that_no_training_has_seen(
    script: Callable[[str], ModuleType],
) -> None:
    """Pictures made of a generated section, with every kind of artifact simulated; figures of cells."""
    field = script("pack").generated(200)
    pairs = [script("synthesis").made(field, field, seed) for seed in range(40)]
    inputs = network.as_input(torch.from_numpy(np.stack([rgb for rgb, _ in pairs])))
    with torch.inference_mode():
        found = _network("cpu")._net(inputs).argmax(dim=1).numpy()
    truth = np.stack([script("pictures").cells(labels) for _, labels in pairs])

    figures = script("measure").figures(script("measure").confusion(truth, found))

    assert list(figures) == list(LEAST_IOU)
    assert {name: one["iou"] for name, one in figures.items() if one["iou"] < LEAST_IOU[name]} == {}


def test_the_model_card_has_the_figures_of_the_report() -> None:
    """Of pictures made of the tissue of origins held out: precision, recall and intersection over union by class."""
    report = json.loads((TRAINING / "report.json").read_text(encoding="utf-8"))["simulated"]
    card = (TRAINING.parent / "src" / "slideloom_artifacts" / "MODEL_CARD.md").read_text(encoding="utf-8")
    table = card[card.index("| class | made: precision |") :]
    rows = [[cell.strip() for cell in line.split("|")[1:5]] for line in table.splitlines()[2:9]]

    assert rows == [
        [name, *(f"{one[key]:.2f}" for key in ("precision", "recall", "iou"))] for name, one in report.items()
    ]
