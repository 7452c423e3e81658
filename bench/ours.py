"""The job of the benchmarks, done by slideloom."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slideloom import Pipeline, RunReport, pipeline_from_table, run_pipeline

from bench.measure import with_bytecode

TILE_PX, TILE_UM = 299, 302


def pipeline_of(
    *, qc: Sequence[str] = (), normalizer: str | None = None, threads: int | None = None, jobs: int | None = None
) -> Pipeline:
    """Tiles of 299 px and 302 um into TFRecords, every other option at its default (the grayspace filter is on)."""
    table: dict[str, Any] = {"slideloom": 1, "tiles": {"size_px": TILE_PX, "size_um": TILE_UM}}
    table["qc"] = [{"use": name} for name in qc]
    if normalizer is not None:
        table["normalizer"] = {"use": normalizer}
    table["run"] = {key: value for key, value in (("threads", threads), ("jobs", jobs)) if value is not None}
    return pipeline_from_table(table, where="benchmark", base=Path())


def extract(pipeline: Pipeline, slides: Sequence[Path], out: Path) -> RunReport:
    """A whole run into an empty folder, with its reports and accounts."""
    shutil.rmtree(out, ignore_errors=True)
    return run_pipeline(pipeline, slides, out)


def written(report: RunReport) -> int:
    """Tiles written; a slide that failed ends the benchmark."""
    for slide in report.slides:
        if slide.status != "done" or not slide.is_accounted:
            raise RuntimeError(f"{slide.slide}: {slide.status} {slide.error}")
    return sum(slide.written for slide in report.slides)


def command(slide: Path, out: Path) -> None:
    """The same as a command, interpreter and imports included."""
    shutil.rmtree(out, ignore_errors=True)
    words = [sys.executable, "-m", "slideloom", "extract", str(slide), "--out", str(out), "--quiet"]
    words += ["--tile-px", str(TILE_PX), "--tile-um", str(TILE_UM)]
    subprocess.run(words, check=True, capture_output=True, env=with_bytecode())  # noqa: S603 - our own words
