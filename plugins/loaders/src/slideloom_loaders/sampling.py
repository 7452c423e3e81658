"""The order in which a loader gives tiles: the same for the same seed and epoch, balanced if wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def balanced_weights(groups: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Probabilities of N tiles that make groups alike, from the outside in.

    With labels and patients each label has the same share; within a label each of its patients has the same share;
    and within these each tile.

    Args:
        groups: columns (N,) of group numbers, the outermost first.

    Returns:
        (N,) that sum up to 1.
    """
    count = len(groups[0])
    weights = np.ones(count)
    parent = np.zeros(count, np.int64)
    for column in groups:
        both = np.unique(np.stack([parent, column]), axis=1, return_inverse=True)[1].reshape(-1)
        # How many groups of this kind each parent has.
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
    """The tiles of one epoch: each once, or drawn by weight as many times as there are tiles.

    Args:
        count: number of tiles.
        seed, epoch: of the order.
        shuffle: False keeps the stored order, unless there are weights.
        weights: (count,) that sum up to 1, or None.
    """
    rng = np.random.default_rng([seed, epoch])
    if weights is not None:
        return rng.choice(count, size=count, p=weights).astype(np.int64)
    return rng.permutation(count) if shuffle else np.arange(count)
