"""What of a machine bites people: cores and memory of a container, limits, disks, locks, the clock, the GPU."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from slideloom.base.installing import pip_install
from slideloom.base.locks import take_lock
from slideloom.base.machine import usable_cores, usable_memory

from slideloom_cli.doctor.findings import Finding

_MEMORY_OF_PROCESS = 250 << 20  # bytes; docs/benchmarks.md has figures
_LITTLE_SPACE, _NO_SPACE = 5 << 30, 256 << 20  # bytes
_FEW_FILES, _TOO_FEW_FILES = 1024, 256
_CLOCK_S = 60.0
_FIRST_RELEASE = 1_764_547_200.0  # 2025-12-01, in seconds since 1970: no true clock is before it


def cores() -> Finding:
    """Cores of this process and those of the machine."""
    here, machine = usable_cores(), os.cpu_count() or 1
    return Finding("ok", "cores", f"{here}" + ("" if here == machine else f" of the machine's {machine}"))


def memory() -> Finding:
    """Memory of this process, against that of one worker on each core."""
    found = usable_memory()
    if found is None:
        return Finding("note", "memory", "cannot be told on this system")
    words = f"{_gigabytes(found)}"
    if found < usable_cores() * _MEMORY_OF_PROCESS:
        return Finding("note", "memory", f"{words}: little for {usable_cores()} cores; run with --jobs 1")
    return Finding("ok", "memory", words)


def open_files() -> Finding | None:
    """How many files a process may hold open; None where there is no such limit."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FEW_FILES:
        return Finding("ok", "open files", "no limit" if soft == resource.RLIM_INFINITY else str(soft))
    remedy = f"at most {soft} at once; raise it with `ulimit -n {_FEW_FILES if hard < 0 else min(hard, 4096)}`"
    return Finding("fault" if soft < _TOO_FEW_FILES else "note", "open files", remedy)


def folder(path: Path, what: str, *, makes: str) -> Iterator[Finding]:
    """Whether a folder takes files, its free space, its clock and its locks.

    Args:
        path: of the folder; a file is written there and removed.
        what: it is, such as "temporary folder".
        makes: what is stored there, for the message.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=".slideloom-doctor-", dir=path) as name:
            place = Path(name)
            before = time.time()
            (place / "written").write_bytes(b"x")
            skew = (place / "written").stat().st_mtime - before
            yield _space(path, what, makes)
            yield from _lock(place, what)
    except OSError as error:
        yield Finding("fault", what, f"{path}: {makes} cannot be written: {error.strerror or error}")
        return
    if abs(skew) > _CLOCK_S:
        words = f"the clock of {path} is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} this machine's"
        yield Finding("note", "clock", f"{words}; set both by NTP")


def clock() -> Finding:
    """Whether the clock can be right."""
    now = time.time()
    today = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    if now < _FIRST_RELEASE:
        return Finding("fault", "clock", f"{today} is before this release; set it, or files will bear wrong dates")
    return Finding("ok", "clock", today)


def gpu(torch_version: str) -> Finding | None:
    """The NVIDIA GPUs, and whether the installed PyTorch can use them; None if the machine has none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    names = _printed([program, "--query-gpu=name,memory.total", "--format=csv,noheader"])
    if not names:
        return Finding("note", "GPU", "nvidia-smi is installed, and lists no GPU; does the driver run?")
    found = ", ".join(names.splitlines())
    if not torch_version:
        return Finding("note", "GPU", f"{found}; no PyTorch that could use it: {pip_install('slideloom[torch]')}")
    if _printed([sys.executable, "-P", "-c", "import torch; print(torch.cuda.is_available())"]) != "True":
        remedy = "install a build of PyTorch for the CUDA release of the driver"
        return Finding("note", "GPU", f"{found}; PyTorch {torch_version} cannot use it: {remedy}")
    return Finding("ok", "GPU", found)


def findings(out: Path | None, torch_version: str) -> Iterator[Finding]:
    """All of the above; the output folder only if one is named."""
    checks: list[Callable[[], Finding | None]] = [cores, memory, open_files, clock, lambda: gpu(torch_version)]
    yield from (found for check in checks if (found := check()) is not None)
    yield from folder(Path(tempfile.gettempdir()), "temporary folder", makes="copies of slides")
    if out is not None:
        yield from folder(out, "output folder", makes="tiles")


def _space(path: Path, what: str, makes: str) -> Finding:
    free = shutil.disk_usage(path).free
    words = f"{path}: {_gigabytes(free)} free"
    if free < _NO_SPACE:
        return Finding("fault", what, f"{words}, too little for {makes}")
    return Finding("note" if free < _LITTLE_SPACE else "ok", what, words)


def _lock(place: Path, what: str) -> Iterator[Finding]:
    lock = take_lock(place / "lock")
    if lock is None:
        yield Finding("fault", what, f"{place.parent}: a new lock there is held already; its locks cannot be used")
        return
    stands_in = (place / "lock.stand-in").exists()
    lock.release()
    if stands_in:
        words = f"{place.parent}: has no file locks; files stand in for them, and stay behind a killed run"
        yield Finding("note", what, words)


def _printed(command: list[str]) -> str:
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)  # noqa: S603 - programs of this machine
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
