"""What training minimises, what it is judged by, and how rare classes are weighed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from slideloom_segmentation.sampling import Plot
from slideloom_segmentation.settings import SegmentConfig

_LOOKED_AT = 128  # patches, to know how frequent classes are
_RAREST = 1e-3  # share of pixels: a class that is rarer gets the weight of this one


def loss_of(logits: Tensor, labels: Tensor, *, dice_weight: float, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy plus `dice_weight` times the mean dice loss over the classes (the foreground, if binary).

    Args:
        logits: (B, 1, H, W) binary, or (B, classes, H, W).
        labels: (B, H, W) int64.
        dice_weight: at least 0.
        class_weights: (classes,) of the pixels of each class in the cross-entropy; all equal by default.

    Source: Milletari et al., V-Net, 3DV 2016, for dice; here summed over the batch, without squares.
    """
    logits = logits.float()  # sums over a batch need more digits than half precision has
    if logits.shape[1] == 1:
        truth = labels[:, None].clamp(max=1).float()
        each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        weight = torch.ones_like(truth) if class_weights is None else class_weights[truth.long()]
        entropy = (each * weight).sum() / weight.sum()
        chances = torch.sigmoid(logits)
    else:
        truth = functional.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).contiguous().float()
        entropy = functional.cross_entropy(logits, labels, weight=class_weights)
        chances = torch.softmax(logits, dim=1)
    common = (chances * truth).sum(dim=(0, 2, 3))
    total = (chances + truth).sum(dim=(0, 2, 3))
    dice = 1 - (2 * common + 1) / (total + 1)  # adding 1 keeps a class that is not in the batch from dominating
    return entropy + dice_weight * dice.mean()


def iou_of(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union per class from counts (truth, found); nan for a class that does not occur."""
    both = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    with np.errstate(invalid="ignore"):
        shares: NDArray[np.float64] = both / np.where(either, either, np.nan)
    return shares


def balanced_weights(plots: Sequence[Plot], config: SegmentConfig) -> NDArray[np.float64]:
    """(classes,) weights that are the median share of a class divided by the share of each, in training patches.

    Source: median frequency balancing, Eigen and Fergus, ICCV 2015.
    """
    random = np.random.default_rng([config.seed, 3])
    counts = np.zeros(len(config.classes), np.int64)
    for _ in range(_LOOKED_AT):
        plot = plots[int(random.integers(len(plots)))]
        labels = plot.labels(*plot.random_place(config.patch_px, random), config.patch_px)
        counts += np.bincount(labels.ravel(), minlength=len(counts))
    shares = np.maximum(counts / counts.sum(), _RAREST)
    weights: NDArray[np.float64] = np.median(shares) / shares
    return weights
