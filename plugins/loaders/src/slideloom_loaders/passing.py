"""How a loader passes over the tiles: which epoch, which tiles of it on this rank, and where to go on from."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import count, islice

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray
from slideloom.base.errors import ConfigError

from slideloom_loaders.preparing import Key
from slideloom_loaders.ranks import Share, share_of
from slideloom_loaders.sampling import epoch_order

log = logging.getLogger(__name__)


@frozen
class Plan:
    """What never changes while a loader is used.

    Attributes:
        tiles: their number.
        weights: (tiles,) that sum up to 1, to draw them by; or None.
        shuffle: a new order in each epoch.
        seed: of the orders.
        infinite: epochs follow each other without end.
        rank, world_size: of this process; None asks torch.distributed, then the environment, at every pass.
    """

    tiles: int
    weights: NDArray[np.float64] | None = field(eq=False, repr=False)
    shuffle: bool
    seed: int
    infinite: bool
    rank: int | None = None
    world_size: int | None = None

    def share(self) -> Share:
        """Of this process, now.

        Raises:
            ConfigError: it has no tile.
        """
        share = share_of(self.rank, self.world_size)
        if not share.count(self.tiles):
            raise ConfigError(f"{self.tiles} tiles cannot be shared by {share.world_size} processes")
        return share

    def tell_left_out(self, share: Share) -> None:
        """Warn of tiles that are left out of every pass; where tiles are shuffled, they are others in each."""
        left_out = self.tiles - share.count(self.tiles) * share.world_size
        if left_out and not self.shuffle and self.weights is None:
            log.warning(
                "the last %d of %d tiles are left out, so that each of %d processes has as many; give rank=0 and "
                "world_size=1 to a loader that each process is to go through as a whole",
                left_out, self.tiles, share.world_size,
            )  # fmt: skip

    def keys(self, epoch: int, share: Share) -> Sequence[Key]:
        """The tiles of one rank in one epoch, in order."""
        order = epoch_order(self.tiles, seed=self.seed, epoch=epoch, shuffle=self.shuffle, weights=self.weights)
        return [(epoch, number) for number in share.of(order.tolist())]

    def stream(self, epoch: int, share: Share, *, skip: int = 0, worker: int = 0, workers: int = 1) -> Iterator[Key]:
        """The tiles of one pass that begins with an epoch; of its own share a worker takes every `workers`-th.

        Args:
            epoch: the first one.
            share: of the process.
            skip: how many of the worker's tiles to leave out.
            worker, workers: of the process.
        """
        for number in count(epoch):
            keys = self.keys(number, share)[worker::workers]
            yield from islice(keys, skip, None)
            skip = max(0, skip - len(keys))
            if not self.infinite or not keys:
                return


@define
class Progress:
    """Where a loader is.

    Attributes:
        epoch: the one that the next pass begins with.
        batches: how many batches of that pass are left out, as they were given before.
    """

    epoch: int = 0
    batches: int = 0

    def begin(self) -> Progress:
        """The pass that begins now; the next one begins with the next epoch."""
        begun = Progress(self.epoch, self.batches)
        self.epoch, self.batches = self.epoch + 1, 0
        return begun

    def move_to(self, epoch: int) -> None:
        """Let the next pass begin with this epoch, at its start unless it is the one to go on with.

        Raises:
            ConfigError: it is negative.
        """
        if epoch < 0:
            raise ConfigError(f"epoch must be at least 0, not {epoch}")
        if epoch != self.epoch:
            self.epoch, self.batches = epoch, 0
