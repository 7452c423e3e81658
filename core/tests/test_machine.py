"""Cores and memory by the limits of a control group, in the folders that a kernel shows."""

from pathlib import Path

import pytest
from slideloom.base.machine import usable_cores, usable_memory


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 64 cores, of which the process may run on each."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)


def _kernel(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "0::/kubepods/pod7/main\n"
V1 = "4:memory:/docker/a\n2:cpu,cpuacct:/docker/a\n1:name=systemd:/docker/a\n"


@pytest.mark.usefixtures("many_cores")
@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 64),
        ({"proc/self/cgroup": V2}, 64),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/kubepods/pod7/main/cpu.max": "max 100000\n"}, 64),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/kubepods/pod7/main/cpu.max": "400000 100000\n"}, 4),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/kubepods/pod7/main/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/kubepods/pod7/main/cpu.max": "10000 100000\n"}, 1),
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/kubepods/pod7/main/cpu.max": "9900000 100000\n"}, 64),
        # The limit of a group further up holds as well.
        (
            {
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/kubepods/pod7/main/cpu.max": "800000 100000\n",
                "sys/fs/cgroup/kubepods/pod7/cpu.max": "300000 100000\n",
            },
            3,
        ),
        # In a container, the group is named as the machine sees it, and its files are at the top.
        ({"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/../../other\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us": "600000\n",
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us": "100000\n",
            },
            6,
        ),
        (
            {
                "proc/self/cgroup": V1,
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us": "100000\n",
            },
            64,
        ),
    ],
)
def test_the_cores_of_a_process_end_at_the_smallest_quota(files: dict[str, str], cores: int, tmp_path: Path) -> None:
    assert usable_cores(_kernel(tmp_path, files)) == cores


def test_a_process_may_not_run_on_more_cores_than_its_affinity_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {1, 5, 9}, raising=False)
    root = _kernel(tmp_path, {"proc/self/cgroup": V2, "sys/fs/cgroup/cpu.max": "800000 100000\n"})

    assert usable_cores(root) == 3


@pytest.mark.parametrize(
    ("files", "memory"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal:       16384000 kB\nMemFree: 7 kB\n"}, 16384000 * 1024),
        (
            {
                "proc/meminfo": "MemTotal:       16384000 kB\n",
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/kubepods/pod7/main/memory.max": "4294967296\n",
            },
            4 << 30,
        ),
        (
            {
                "proc/meminfo": "MemTotal:       16384000 kB\n",
                "proc/self/cgroup": V2,
                "sys/fs/cgroup/kubepods/pod7/main/memory.max": "max\n",
            },
            16384000 * 1024,
        ),
        ({"proc/self/cgroup": V1, "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes": "2147483648\n"}, 2 << 30),
        (
            {"proc/self/cgroup": V1, "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes": "9223372036854771712\n"},
            None,
        ),
    ],
)
def test_memory_ends_at_the_limit_of_the_control_group(
    files: dict[str, str], memory: int | None, tmp_path: Path
) -> None:
    assert usable_memory(_kernel(tmp_path, files)) == memory
