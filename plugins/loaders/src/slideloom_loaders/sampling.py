"""The order in which a loader gives tiles: the same for the same seed and epoch, and balanced on request."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def balanced_weights(groups: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Probabilities that draw nested groups of tiles equally often.

    For example, with labels and patients, each label has the same share; within a label each patient has the same
    share; and within a patient each tile.

    Args:
        groups: columns (N,) of group numbers, the outermost first.

    Returns:
        (N,) float64 that sum to 1.
    """
    count = len(groups[0])
    weights = np.ones(count)
    parent = np.zeros(count, np.int64)
    for column in groups:
        both = np.unique(np.stack([parent, column]), axis=1, return_inverse=True)[1].reshape(-1)
        # The number of groups within each parent group.
        firsts = np.unique(both, return_index=True)[1]
        children = np.bincount(parent[firsts])
        weights /= children[parent]
        parent = both
    weights /= np.bincount(parent)[parent]
    shares: NDArray[np.float64] = weights / weights.sum()
    return shares


def epoch_order(
    count: int, *, seed: int, epoch: int, shuffle: bool, weights: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """The tiles of one epoch: each of them once, or with weights, `count` random draws with replacement.

    Args:
        count: number of tiles.
        seed, epoch: decide the order.
        shuffle: False keeps the stored order, unless there are weights.
        weights: (count,) float64 that sum to 1, or None.
    """
    rng = np.random.default_rng([seed, epoch])
    if weights is not None:
        return rng.choice(count, size=count, p=weights).astype(np.int64)
    return rng.permutation(count) if shuffle else np.arange(count)
