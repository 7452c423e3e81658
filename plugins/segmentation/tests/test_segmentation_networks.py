"""The three networks and the loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from slideloom_segmentation.losses import iou_of, loss_of
from slideloom_segmentation.networks import build_network


@pytest.mark.parametrize("arch", ["unet", "fpn", "deeplabv3plus"])
@pytest.mark.parametrize(("outputs", "side"), [(1, 32), (3, 48)])
def test_every_pixel_gets_a_logit_per_class_and_every_weight_a_gradient(arch: str, outputs: int, side: int) -> None:
    network = build_network(arch, width=4, outputs=outputs)

    logits = network(torch.rand(2, 3, side, side + 16))
    logits.square().sum().backward()

    assert logits.shape == (2, outputs, side, side + 16)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("arch", ["unet", "fpn", "deeplabv3plus"])
def test_in_use_a_patch_does_not_depend_on_its_batch(arch: str) -> None:
    torch.manual_seed(0)
    network = build_network(arch, width=4, outputs=2).eval()
    images = torch.rand(3, 3, 32, 32)

    with torch.inference_mode():
        together = network(images)
        alone = torch.cat([network(image[None]) for image in images])

    assert torch.allclose(together, alone, atol=1e-5)


def test_the_binary_loss_is_cross_entropy_plus_dice() -> None:
    chances, truth = np.array([0.9, 0.2, 0.6, 0.1]), np.array([1, 0, 1, 0])
    logits = torch.tensor(np.log(chances / (1 - chances))).reshape(1, 1, 2, 2)
    entropy = -np.mean([math.log(0.9), math.log(0.8), math.log(0.6), math.log(0.9)])
    dice = 1 - (2 * (0.9 + 0.6) + 1) / (1.8 + 2 + 1)

    loss = loss_of(logits, torch.tensor(truth).reshape(1, 2, 2), dice_weight=0.5)

    assert loss.item() == pytest.approx(entropy + 0.5 * dice, abs=1e-6)


def test_the_loss_of_several_classes_is_cross_entropy_plus_the_mean_dice() -> None:
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])  # two pixels, three classes; truth is 0 and 1
    logits = torch.tensor(np.log(chances).T).reshape(1, 3, 1, 2)
    entropy = -np.mean([math.log(0.7), math.log(0.6)])
    dices = [1 - (2 * 0.7 + 1) / (0.8 + 1 + 1), 1 - (2 * 0.6 + 1) / (0.8 + 1 + 1), 1 - 1 / (0.4 + 1)]

    loss = loss_of(logits, torch.tensor([[[0, 1]]]), dice_weight=1.0)

    assert loss.item() == pytest.approx(entropy + np.mean(dices), abs=1e-6)


def test_iou_counts_pixels_of_both_over_pixels_of_either() -> None:
    confusion = np.array([[50, 5, 0], [10, 35, 0], [0, 0, 0]])

    shares = iou_of(confusion)

    assert shares[:2].tolist() == pytest.approx([50 / 65, 35 / 50])
    assert np.isnan(shares[2])
