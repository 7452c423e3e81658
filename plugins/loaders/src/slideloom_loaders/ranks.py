"""Which share of every epoch is this process's, where several train together."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TypeVar

from attrs import frozen
from slideloom.base.errors import ConfigError

T = TypeVar("T")


@frozen
class Share:
    """One of `world_size` equal shares.

    Raises:
        ConfigError: there is no such rank.
    """

    rank: int = 0
    world_size: int = 1

    def __attrs_post_init__(self) -> None:
        if self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise ConfigError(f"rank must be from 0 to world_size - 1, not {self.rank} of {self.world_size}")

    def count(self, whole: int) -> int:
        """How many of `whole` things each rank has: the same on all, so that up to `world_size - 1` are left over."""
        return whole // self.world_size

    def of(self, whole: Sequence[T]) -> Sequence[T]:
        """This rank's things; no other rank has one of them."""
        return whole[self.rank : self.count(len(whole)) * self.world_size : self.world_size]


def share_of(rank: int | None, world_size: int | None) -> Share:
    """The share of a process: as given, else of `torch.distributed`, else of RANK and WORLD_SIZE, else the whole.

    Launchers such as torchrun set these variables before they start a script.

    Raises:
        ConfigError: only one of the two is given, or they are no numbers or none that fit together.
    """
    if (rank is None) != (world_size is None):
        raise ConfigError(f"rank and world_size go together, not rank={rank} and world_size={world_size}")
    if rank is not None and world_size is not None:
        return Share(rank, world_size)
    distributed = sys.modules.get("torch.distributed")  # who uses it has imported it
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return Share(distributed.get_rank(), distributed.get_world_size())
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        try:
            return Share(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        except ValueError as error:
            raise ConfigError(
                f"RANK={os.environ['RANK']} and WORLD_SIZE={os.environ['WORLD_SIZE']} are no ranks; give rank= and "
                "world_size="
            ) from error
    return Share()
