"""What the parts of `bench.gpu` share: a row of its table, the machine that it measures, and made tiles."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Size
from slideloom_testing import stained

SIDE = 299
Array = NDArray[Any]


@frozen
class Row:
    """One line of the table.

    Attributes:
        what: the step, or the copy.
        gpu, cpu: tiles per second, or what the name says; the copy has no form on the CPU.
        farthest: largest difference of the GPU from the CPU: grey levels, or for scores 0 to 1.
    """

    what: str
    gpu: float
    cpu: float | None = None
    farthest: float | None = None


@frozen
class Machine:
    """Where and how often things are measured."""

    device: str
    batch: int
    repeats: int

    def per_second(self, work: Callable[[], Any], count: float) -> float:
        """`count` by the median time of several runs, after one that warms up."""
        import torch

        taken = []
        for _ in range(self.repeats + 1):
            torch.cuda.synchronize(self.device)
            start = time.perf_counter()
            work()
            torch.cuda.synchronize(self.device)
            taken.append(time.perf_counter() - start)
        return count / statistics.median(taken[1:])

    def both(self, what: str, gpu: Callable[[], Array], cpu: Callable[[], Array], *, share: int = 8) -> Row:
        """A row for work on a whole batch on the GPU, and on its first tiles on the CPU.

        Args:
            what: name of the row.
            gpu: result for `batch` tiles.
            cpu: result for the first `batch // share` of them.
            share: the CPU gets this part of the work, or one tile.
        """
        few = max(1, self.batch // share)
        far = np.abs(gpu()[:few].astype(np.float64) - cpu().astype(np.float64)).max()
        quick = Machine(self.device, self.batch, min(3, self.repeats))
        return Row(what, self.per_second(gpu, self.batch), quick.per_second(cpu, few), float(far))


def tiles(count: int, side: int) -> NDArray[np.uint8]:
    """(count, side, side, 3) uint8 stained tiles, each another one."""
    made = [stained(Size(side, side), seed=seed) for seed in range(min(count, 16))]
    return np.stack([np.roll(made[i % len(made)], 7 * i, axis=0) for i in range(count)])
