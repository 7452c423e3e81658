"""Chooses the device for PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slideloom import ConfigError, pip_install, worker_number

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> torch.device:
    """The PyTorch device with this name, tested with a tensor; "auto" is CUDA, else MPS, else the CPU.

    The worker processes of a run share the machine's CUDA devices: the first takes the first, and so on. A GPU that is
    there but cannot compute is an error, and never replaced by the CPU.

    Raises:
        ConfigError: PyTorch does not know it, it is not on this machine or has no code for it, this process was forked
            from one that uses the GPU, or PyTorch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise  # it is installed, but something it needs is not
        remedy = pip_install("slideloom[torch]")
        raise ConfigError(f"device {name!r} needs PyTorch: {remedy}") from error
    try:
        device = usual_device() if name == "auto" else torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f'device {name!r} is unknown; use "auto", "cpu", "mps" or "cuda:0"') from error
    if device.type != "cpu":
        _try(device, name)
    return device


def usual_device() -> torch.device:
    """What "auto" stands for in this process, not tried yet."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda", worker_number() % torch.cuda.device_count())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _try(device: torch.device, name: str) -> None:
    """Compute something on a device.

    Raises:
        ConfigError: it cannot.
    """
    import torch

    try:
        # Only this detects that "cuda:7" is missing if there are four, that "meta" cannot hold values, and that this
        # build of PyTorch has no code for an old or very new GPU, which the addition needs.
        (torch.ones(1, device=device) + 1).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        found = f", which is {device} here," if name == "auto" else ""
        remedy = 'use "cpu"' if name == "auto" else 'use "auto" or "cpu"'
        if "forked subprocess" in reason:
            remedy = 'start the processes of a loader with multiprocessing_context="spawn", or use "cpu"'
        raise ConfigError(f"device {name!r}{found} cannot be used on this machine ({reason}); {remedy}") from error
