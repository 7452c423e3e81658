"""Chooses the device for PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slideloom import ConfigError, pip_install, worker_number

if TYPE_CHECKING:
    import torch


def torch_device(name: str) -> torch.device:
    """The PyTorch device with this name, tested with a tensor; "auto" is CUDA, else MPS, else the CPU.

    The worker processes of a run share the machine's CUDA devices: the first takes the first, and so on.

    Raises:
        ConfigError: PyTorch does not know it, it is not on this machine, or PyTorch is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise  # it is installed, but something it needs is not
        remedy = pip_install("slideloom[torch]")
        raise ConfigError(f"device {name!r} needs PyTorch: {remedy}") from error
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", worker_number() % torch.cuda.device_count())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f'device {name!r} is unknown; use "auto", "cpu", "mps" or "cuda:0"') from error
    try:
        # Only this detects that "cuda:7" is missing if there are four, and that "meta" cannot hold values.
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f'device {name!r} cannot be used on this machine ({reason}); use "auto" or "cpu"') from error
    return device
