"""The arguments of `extract_tiles` as a type, for `Dataset`, whose slides and size of tiles are settled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict

from slideloom.extraction.job import Progress
from slideloom.pipeline.tiling import Tiling
from slideloom.plugins.given_steps import Step
from slideloom.settings.options import options_of
from slideloom.slides.regions import RoiMethod
from slideloom.steps.reports import SlideReport


class ExtractOptions(TypedDict, total=False):
    """What `Dataset.extract_tiles` takes: the arguments of `Project.extract_tiles`, which says what each means."""

    qc: Step | Sequence[Step] | None
    filter_threshold: float
    roi_method: RoiMethod
    roi_filter_method: Literal["center"] | float
    artifact_labels: Sequence[str]
    normalizer: Step | None
    normalizer_source: str | Path | None
    context_normalize: bool
    save_tiles: bool
    save_tfrecords: bool
    img_format: Literal["jpg", "png"]
    shuffle: bool
    stride_div: float
    enable_downsample: bool
    use_edge_tiles: bool
    randomize_origin: bool
    use_bounds: bool
    max_tiles: int | None
    seed: int
    context_um: Sequence[float | str]
    tile_mask: str
    mask_classes: Sequence[str]
    mask_others: Literal["refuse", "background", "ignore"]
    mask_on_top: Literal["later", "smaller"]
    mask_without: Literal["refuse", "background"]
    grayspace_fraction: float
    grayspace_threshold: float
    whitespace_fraction: float
    whitespace_threshold: float
    tile_filters: Sequence[Step]
    sinks: Sequence[Step]
    placement: Step | None
    mpp: float | None
    mpp_file: str | Path | None
    allow_objective_power: bool
    reader: str | None
    avoid_readers: Sequence[str]
    icc: Literal["keep", "srgb"]
    exclude: Sequence[str]
    params: Path | str | None
    jobs: int | None
    threads: int | None
    executor: str | None
    buffer: Path | str | None
    buffer_gb: float
    batch_tiles: int
    timeout_s: float | None
    save_masks: bool
    overview: bool
    report: bool
    redo: bool
    shard: str | None
    ignore_disk_space: bool
    redo_updated: bool
    dry_run: bool
    plan_only: bool
    progress: Progress | None
    on_slide: Callable[[SlideReport], Any] | None


OF_DATASET = ("tile_px", "tile_um", "filters", "filter_blank", "sources")
"""Arguments of `Project.extract_tiles` that a dataset has the answer to already."""


def sizes_of(tiling: Tiling) -> Mapping[str, Any]:
    """A tiling as the arguments that it is made of."""
    told = {
        info.field or name: getattr(tiling, name)
        for name, info in options_of(Tiling).items()
        if name not in ("size_um", "magnification")
    }
    return {**told, "tile_um": tiling.magnification if tiling.size_um is None else tiling.size_um}
