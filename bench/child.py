# ruff: noqa: T201 - the parent reads what is printed
"""One extraction in a process of its own: its time and its peak memory, as a line of JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def peak_mb() -> float:
    """The most memory this process has held, in MB (10**6 bytes)."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # Linux's rusage also knows what the parent held when it started this process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def main() -> None:
    """Run what the first argument says."""
    from slideloom import run_pipeline

    from bench.ours import pipeline_of, written

    asked = json.loads(sys.argv[1])
    pipeline = pipeline_of(**asked["pipeline"])
    start, used = time.perf_counter(), time.process_time()
    report = run_pipeline(pipeline, [Path(name) for name in asked["slides"]], Path(asked["out"]))
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_mb": peak_mb(), "tiles": written(report)}))


if __name__ == "__main__":
    main()
