"""How to install what is missing, in words for a message."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

_NVIDIA = Path("/proc/driver/nvidia")  # there while the driver is loaded


def pip_install(what: str) -> str:
    """The command that installs a requirement, such as "pip install 'slideloom[torch]'".

    On Linux without an NVIDIA GPU, a requirement that brings PyTorch is told with a remark: pip chooses a build for
    NVIDIA GPUs, which is several gigabytes large and of no use there.

    Args:
        what: such as "slideloom-qc", or "slideloom[torch]".
    """
    # Brackets are patterns, and comparisons are redirections, in some shells.
    command = f"pip install '{what}'" if set(what) & set("[<>=! ") else f"pip install {what}"
    brings_torch = "torch" in what and find_spec("torch") is None
    if not brings_torch or sys.platform != "linux" or _NVIDIA.exists():
        return command
    return (
        f"{command} (without an NVIDIA GPU, first install PyTorch's CPU build, a fraction of the size: choose Pip and "
        "CPU on https://pytorch.org/get-started/locally/)"
    )
