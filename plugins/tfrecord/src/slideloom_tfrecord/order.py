"""The order of tiles within a file: random, but the same for any number of threads and any batch size."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def shuffled(index: NDArray[np.int64], *, slide: str, seed: int) -> NDArray[np.intp]:
    """Positions (N,) that put tiles in a random order, which depends only on `seed`, the slide and the tiles' numbers.

    Adding or removing a tile does not change the order of the others.

    Args:
        index: (N,) number of each tile in the slide's plan, all different.
        slide: name of the slide; each slide has its own order.
        seed: at least 0.

    Source: the tile's rank is SplitMix64 of its number (Steele, Lea, Flood: Fast splittable pseudorandom number
    generators, OOPSLA 2014), a bijection, so that no two tiles tie.
    """
    name = slide.encode("utf-8", errors="surrogateescape")
    start = int.from_bytes(hashlib.blake2b(b"%d/%b" % (seed, name), digest_size=8).digest(), "little")
    state = np.uint64(start) + index.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(state ^ (state >> np.uint64(31)), kind="stable")
