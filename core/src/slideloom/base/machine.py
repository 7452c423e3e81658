"""What of the machine this process may use: cores by affinity, cores and memory by the limits of its control group.

In a container or a job of a cluster, the machine's size says nothing about one's own share. Python's count of cores
follows the affinity, but not the quotas that container engines and Kubernetes set.

Source: Linux kernel documentation, admin-guide/cgroup-v2 (`cpu.max`, `memory.max`), scheduler/sched-bwc
(`cpu.cfs_quota_us`) and admin-guide/cgroup-v1/memory (`memory.limit_in_bytes`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")
_NO_LIMIT = 1 << 60  # bytes; version 1 says "no limit" by a number near 2^63


def usable_cores(root: Path = _ROOT) -> int:
    """Number of CPU cores that this process may use, at least 1; a part of a core counts as one.

    Args:
        root: the folder that holds `proc` and `sys`.
    """
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [_quota(group, version) for group, version in _groups(root, "cpu")]
    return max(1, min([seen, *(math.ceil(quota) for quota in quotas if quota is not None)]))


def usable_memory(root: Path = _ROOT) -> int | None:
    """Bytes of memory that this process and its workers may use together; None if that cannot be told."""
    limits = [_memory_limit(group, version) for group, version in _groups(root, "memory")]
    known = [limit for limit in [_installed_memory(root), *limits] if limit is not None]
    return min(known, default=None)


def _groups(root: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Folders of the control groups that limit this process, with the version of their interface."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        number, controllers, place = line.split(":", 2)
        if number == "0" and not controllers:
            yield from ((group, 2) for group in _upwards(root / "sys/fs/cgroup", place))
        elif controller in controllers.split(","):
            yield from ((group, 1) for group in _upwards(root / "sys/fs/cgroup" / controller, place))


def _upwards(top: Path, place: str) -> Iterator[Path]:
    """A group's folder and those above it. In a container, `place` may be outside of what is mounted: only `top` is."""
    folder = top.joinpath(*(part for part in place.split("/") if part not in ("", "..")))
    while folder != top:
        yield folder
        folder = folder.parent
    yield top


def _quota(group: Path, version: int) -> float | None:
    """Cores, from microseconds of processor time per period; "max" and -1 mean no limit."""
    names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    words = [word for name in names for word in _words(group / name)]
    if len(words) != 2 or not all(word.isdigit() for word in words) or words[1] == "0":
        return None
    return int(words[0]) / int(words[1])


def _memory_limit(group: Path, version: int) -> int | None:
    words = _words(group / ("memory.max" if version == 2 else "memory.limit_in_bytes"))
    limit = int(words[0]) if words and words[0].isdigit() else _NO_LIMIT
    return limit if limit < _NO_LIMIT else None


def _installed_memory(root: Path) -> int | None:
    for line in _lines(root / "proc/meminfo"):
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            return int(rest.split()[0]) * 1024
    return None


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError:  # the root of all groups has no limits
        return []
