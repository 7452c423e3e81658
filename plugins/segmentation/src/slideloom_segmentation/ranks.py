"""Several processes that train one model: each with its own patches, all with the mean of their gradients."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Self

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from slideloom import ConfigError
from torch import Tensor, distributed, nn


@frozen
class Ranks:
    """Which of the training's processes this is.

    Attributes:
        rank: from 0; the first one writes all files.
        count: number of processes.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def here(cls) -> Self:
        """Of `torch.distributed`, where it is initialised; else this process is the only one."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def is_first(self) -> bool:
        """True for the process that writes."""
        return self.rank == 0

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        if self.count > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)
                tensor.div_(self.count)

    def average_gradients(self, network: nn.Module) -> None:
        """Give every process the mean gradient."""
        self.average(value.grad for value in network.parameters() if value.grad is not None)

    def average_buffers(self, network: nn.Module) -> None:
        """Give every process the mean of what normalization layers have seen."""
        self.average(value for value in network.buffers() if value.is_floating_point())

    def total(self, counts: NDArray[np.float64], device: torch.device) -> NDArray[np.float64]:
        """The sum of an array over the processes."""
        if self.count == 1:
            return counts
        tensor = torch.from_numpy(counts.astype(np.float32 if device.type == "mps" else np.float64)).to(device)
        distributed.all_reduce(tensor)
        summed: NDArray[np.float64] = tensor.cpu().numpy().astype(np.float64)
        return summed

    def together(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            distributed.barrier()


@contextmanager
def launched() -> Iterator[None]:
    """Within it, the processes that `torchrun` started form a group. Does nothing where there is one process.

    Raises:
        ConfigError: the launcher's variables are no numbers.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ or distributed.is_initialized():
        yield
        return
    try:
        count = int(os.environ["WORLD_SIZE"])
    except ValueError as error:
        raise ConfigError(f"WORLD_SIZE={os.environ['WORLD_SIZE']} is not a number of processes") from error
    if count == 1:
        yield
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


def device_of_rank(name: str) -> str:
    """The device of this process: "auto" is the GPU with the number that the launcher gave it."""
    local = os.environ.get("LOCAL_RANK", "")
    if name == "auto" and local.isdecimal() and torch.cuda.is_available():
        return f"cuda:{int(local) % torch.cuda.device_count()}"
    return name
