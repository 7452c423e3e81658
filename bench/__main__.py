# ruff: noqa: E402, T201 - threads are limited before numpy is imported; a script prints
"""All benchmarks in one run: `python -m bench [--quick] [--rounds N] [--only SECTION] [--peer]`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # before numpy: tiles are what runs in parallel, for every contestant

from bench import loading, sections, stain, studio
from bench.slides import ROOT
from bench.table import as_text

SECTIONS: dict[str, Callable[[sections.Bench], dict[str, Any]]] = {
    "near": partial(sections.pyramid, pyramid="near"),
    "far": partial(sections.pyramid, pyramid="far"),
    "steps": sections.steps,
    "qc": sections.slide_qc,
    "threads": sections.threads,
    "sizes": sections.sizes,
    "start": sections.start_up,
    "loader": sections.loader,
    "torch": loading.torch_loader,
    "from_slides": loading.from_slides,
    "stain": stain.section,
    "studio": studio.studio,
}


def main(words: list[str] | None = None) -> int:
    """Run, print the table, and store it with all numbers."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small slide and two rounds: does it work?")
    parser.add_argument("--rounds", type=int, help="rounds to take the median of (5; 2 with --quick)")
    parser.add_argument("--only", action="append", choices=[*SECTIONS], help="this section; may be repeated")
    parser.add_argument("--peer", action="store_true", help="also Slideflow, where it is installed")
    parser.add_argument("--large", type=int, default=0, metavar="N", help="also a mosaic of N x N blocks (sizes)")
    parser.add_argument("--slides", type=Path, default=Path(tempfile.gettempdir()) / "slideloom-bench",
                        help="folder where the large slides are made and kept")  # fmt: skip
    parser.add_argument("--out", type=Path, default=ROOT / "bench-results", help="folder of the results")
    chosen = parser.parse_args(words)
    bench = sections.Bench(
        slides=chosen.slides,
        side=2 if chosen.quick else 6,
        rounds=chosen.rounds or (2 if chosen.quick else 5),
        quick=chosen.quick,
        peer=chosen.peer,
        large=chosen.large,
    )
    result: dict[str, Any] = {"about": _about(bench), "sections": {}}
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name in chosen.only or SECTIONS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        result["sections"][name] = SECTIONS[name](bench)
        result["about"]["source"] = bench.source
        # After each section, so that a run which is stopped leaves what it has measured.
        (chosen.out / "bench.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    text = as_text(result)
    (chosen.out / "bench.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


def _about(bench: sections.Bench) -> dict[str, Any]:
    from slideloom.plugins.versions import versions

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {sections.CORES} processors",
        "python": platform.python_version(),
        "load_before": load,
        "rounds": bench.rounds,
        "versions": versions(),
    }


if __name__ == "__main__":
    sys.exit(main())
