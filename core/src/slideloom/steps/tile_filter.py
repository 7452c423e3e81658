"""The contract of tile filters: a batch of tiles in, keep or reject for each out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.slides.tiles import TileBatch


@frozen
class Verdict:
    """What a tile filter decided for a batch.

    Attributes:
        keep: (B,) bool, False where the tile is rejected.
        score: (B,) float32, the number on which the decision is based.
    """

    keep: NDArray[np.bool_] = field(eq=False)
    score: NDArray[np.float32] = field(eq=False)


class TileFilter(ABC):
    """Keeps or rejects tiles by their pixels."""

    thread_safe: ClassVar[bool] = True
    keeps_pixels: bool = True

    @abstractmethod
    def check(self, batch: TileBatch) -> Verdict:
        """One decision per tile, each only from the tile's own pixels."""
