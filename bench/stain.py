# ruff: noqa: E402, T201 - threads are limited before numpy is imported; a script prints
"""Time of each stain method per 299 px tile, beside its float64 textbook form in the same run.

    python bench/stain.py [--json OUT] [--image FILE] [--repeats 7]

CPU seconds of one thread are what counts (`time.thread_time`), so that other work on the machine matters less; the
comparison of the PyTorch form with two threads of numpy is wall time.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import cv2
import numpy as np
from slideloom import StainNormalizer
from slideloom.base.geometry import Size
from slideloom_stain.fastest import FASTEST, NUMPY
from slideloom_stain.fits import preset
from slideloom_stain.methods import method
from slideloom_testing import stained

if TYPE_CHECKING:
    from bench.sections import Bench

ROOT = Path(__file__).resolve().parent.parent
SIDE = 299
# Milliseconds per tile that the project aims at, with the compiled loops.
GOALS = {
    "macenko": 0.6, "macenko in context": 0.15, "reinhard-fast": 0.35, "reinhard": 0.45, "reinhard-mask": 0.45,
    "reinhard-fast-mask": 0.45, "vahadane": 3.0,
}  # fmt: skip
# The same without a compiler.
NUMPY_GOALS = {"reinhard": 1.5}


def textbook() -> Any:
    """The float64 forms of the tests."""
    path = ROOT / "plugins" / "stain" / "tests" / "textbook.py"
    spec = spec_from_file_location("stain_textbook", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def milliseconds(work: Callable[[], Any], *, repeats: int, clock: Callable[[], float]) -> float:
    """The median of several runs, after one to warm up."""
    work()
    taken = []
    for _ in range(repeats):
        start = clock()
        work()
        taken.append(clock() - start)
    return statistics.median(taken) * 1000


def tile_of(image: Path | None) -> Any:
    """The top left of an image, or a made tile."""
    if image is None:
        return stained(Size(SIDE, SIDE), seed=1)
    found = cv2.imread(str(image))
    if found is None or min(found.shape[:2]) < SIDE:
        raise SystemExit(f"{image}: not an image of at least {SIDE} x {SIDE} pixels")
    return np.ascontiguousarray(found[:SIDE, :SIDE, ::-1])


def reference(book: Any, name: str, tile: Any, values: dict[str, Any]) -> Callable[[], Any]:
    """The textbook form of a method."""
    if name.startswith("macenko"):
        target = values["stain_matrix_target"], values["target_concentrations"]
        return lambda: book.macenko(tile, *target, bright=name == "macenko")
    if name == "vahadane":
        return lambda: book.vahadane(tile, values["stain_matrix_target"])
    options = {"bright": "fast" not in name, "masked": name.endswith("mask")}
    return lambda: book.reinhard(tile, values["target_means"], values["target_stds"], **options)


def one_thread(tile: Any, *, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds per tile by method: ours, in numpy, and the textbook's."""
    book, results = textbook(), {}
    for name in (
        "macenko", "macenko-fast", "reinhard", "reinhard-fast", "reinhard-mask", "reinhard-fast-mask", "vahadane",
    ):  # fmt: skip
        normalizer = StainNormalizer(name)
        plain = reference(book, name, tile, normalizer.fit_values)
        slow = milliseconds(plain, repeats=1 if name == "vahadane" else 5, clock=time.thread_time)
        for label, chosen in ((name, normalizer), (f"{name} in context", StainNormalizer(name).in_context(tile))):
            fast = milliseconds(lambda c=chosen: c.transform(tile), repeats=repeats, clock=time.thread_time)  # type: ignore[misc]
            results[label] = {"ms": fast, "textbook_ms": slow}
        results[name]["numpy_ms"] = without_a_compiler(name, tile, repeats=max(5, repeats // 3))
    return results


def section(bench: Bench) -> dict[str, Any]:
    """`one_thread` on a kept tile of the smallest slide, as a section of `python -m bench`."""
    from bench.work import work_of

    cv2.setNumThreads(1)
    tile = work_of(bench.mosaic(1, pyramid="near")).images[0]
    found = one_thread(tile, repeats=5 if bench.quick else 31)
    return {
        "rows": [{"method": name, "ms": "", "numpy_ms": "", **row} for name, row in found.items()],
        "ms": {name: row["ms"] for name, row in found.items()},
        "numpy_ms": {name: row["numpy_ms"] for name, row in found.items() if "numpy_ms" in row},
    }


def without_a_compiler(name: str, tile: Any, *, repeats: int) -> float:
    """Milliseconds per tile of a method in numpy."""
    chosen, fit = copy.copy(method(name)), preset(name)
    chosen.loops = NUMPY
    return milliseconds(lambda: chosen.normalize(tile, fit), repeats=repeats, clock=time.thread_time)


def torch_against_numpy(tile: Any, *, repeats: int) -> dict[str, float]:
    """Wall milliseconds for 32 tiles: the PyTorch form on two threads, and numpy on two threads."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(2)
    batch = np.stack([np.roll(tile, 7 * shift, axis=0) for shift in range(32)])
    planar = torch.from_numpy(batch).permute(0, 3, 1, 2).contiguous()
    normalizer = StainNormalizer("macenko")
    halves = [batch[:16], batch[16:]]
    with ThreadPoolExecutor(2) as pool:
        by_numpy = milliseconds(
            lambda: list(pool.map(normalizer.transform, halves)), repeats=repeats, clock=time.perf_counter
        )
    by_torch = milliseconds(lambda: normalizer.transform(planar), repeats=repeats, clock=time.perf_counter)
    form = normalizer.torch(native=True)
    by_tensors = milliseconds(lambda: form(planar), repeats=1, clock=time.perf_counter)
    return {"numpy_ms": by_numpy, "torch_ms": by_torch, "torch_native_ms": by_tensors}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    parser.add_argument("--image", type=Path, help="take the tile from the top left of this image")
    parser.add_argument("--repeats", type=int, default=15, help="runs per median, at least 5")
    chosen = parser.parse_args()
    cv2.setNumThreads(1)
    repeats, tile = max(5, chosen.repeats), tile_of(chosen.image)
    methods, batch = one_thread(tile, repeats=repeats), torch_against_numpy(tile, repeats=max(5, repeats // 3))
    told = "compiled loops" if FASTEST is not NUMPY else "no compiled loops"
    print(f"one thread, {SIDE} x {SIDE} px, {told}, CPU milliseconds, median of {repeats}")
    print(f"{'':28s} {'tile':>7s} {'goal':>7s} {'to goal':>8s} {'numpy':>7s} {'textbook':>9s}")
    for name, row in methods.items():
        goal = GOALS.get(name)
        aimed = f"{goal:7.2f} {row['ms'] / goal:8.2f}" if goal else " " * 16
        plain = f"{row['numpy_ms']:7.2f}" if "numpy_ms" in row else " " * 7
        print(f"{name:28s} {row['ms']:7.2f} {aimed} {plain} {row['textbook_ms']:9.1f}")
    if batch:
        print(f"32 tiles, macenko, two threads: numpy {batch['numpy_ms']:.0f} ms, torch {batch['torch_ms']:.0f} ms, "
              f"torch tensors only {batch['torch_native_ms']:.0f} ms")  # fmt: skip
    if chosen.json:
        chosen.json.write_text(json.dumps({"per_tile": methods, "batch_32": batch}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
