"""The pipeline of one source, from arguments with the names that the field knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from attrs import frozen
from slideloom.base.errors import ConfigError
from slideloom.pipeline.pipeline import Pipeline, QcUse, RoiUse, RunOptions, Slides
from slideloom.plugins.shorthand import folder_of_regions, step_settings
from slideloom.settings.options import Settings
from slideloom.settings.tables import made_from_table
from slideloom.slides.regions import RoiMethod

from slideloom_cohort.params import tiling_of
from slideloom_cohort.sources import Source

Step = str | Settings[Any]
_OLD_QC = {"both": ("gaussian-v2", "otsu"), "blur": ("gaussian-v2",)}


@frozen(kw_only=True)
class Extraction:
    """Arguments of `Project.extract_tiles` that describe tiles and steps; see there."""

    tile_px: int
    tile_um: float | str
    qc: Step | Sequence[Step] | None = None
    filter_threshold: float = 0.6
    roi_method: RoiMethod = "auto"
    roi_filter_method: Literal["center"] | float = "center"
    artifact_labels: Sequence[str] = ()
    normalizer: Step | None = None
    normalizer_source: str | Path | None = None
    save_tiles: bool = False
    save_tfrecords: bool = True
    img_format: Literal["jpg", "png"] = "jpg"
    shuffle: bool = True
    stride_div: float = 1.0
    enable_downsample: bool = True
    use_edge_tiles: bool = False
    randomize_origin: bool = False
    use_bounds: bool = False
    max_tiles: int | None = None
    seed: int = 0
    grayspace_fraction: float = 0.6
    grayspace_threshold: float = 0.05
    whitespace_fraction: float = 1.0
    whitespace_threshold: float = 230.0
    filters: Sequence[Step] = ()
    sinks: Sequence[Step] = ()
    placement: Step | None = None
    mpp: float | None = None
    mpp_file: str | Path | None = None
    reader: str | None = None

    def pipeline(self, source: Source, run: RunOptions) -> Pipeline:
        """The pipeline for one source.

        Raises:
            ConfigError: an argument is wrong. PluginError: a step does not exist.
        """
        tiles = tiling_of(
            self.tile_px,
            self.tile_um,
            stride_div=float(self.stride_div),
            edge_tiles=self.use_edge_tiles,
            random_origin=self.randomize_origin,
            use_bounds=self.use_bounds,
            enable_downsample=self.enable_downsample,
            max_tiles=self.max_tiles,
            seed=self.seed,
        )
        return Pipeline(
            tiles=tiles,
            slides=_made(Slides, {"mpp": self.mpp, "mpp_file": self.mpp_file, "reader": self.reader}, "slides"),
            roi=self._roi(source),
            qc=tuple(QcUse(step=step, filter_threshold=self.filter_threshold) for step in self._qc()),
            filters=(*self._filters(), *(_step("filter", step) for step in self.filters)),
            normalizer=self._normalizer(),
            sinks=(*self._sinks(source), *(_step("sink", step) for step in self.sinks)),
            placement=None if self.placement is None else _step("placement", self.placement),
            run=run,
        )

    def _roi(self, source: Source) -> tuple[RoiUse, ...]:
        if self.roi_method == "ignore":
            return ()
        if source.roi is None or not source.roi.is_dir():
            if self.roi_method in ("inside", "outside"):
                raise ConfigError(
                    f"source {source.name}: roi_method is '{self.roi_method}', but there is no folder of regions "
                    f"({source.roi or 'roi is not set in project.toml'})"
                )
            return ()
        by_share = self.roi_filter_method != "center"
        table = {
            "source": folder_of_regions(source.roi),
            "method": self.roi_method,
            "filter_method": "proportion" if by_share else "center",
            "artifacts": list(self.artifact_labels),
            **({"threshold": self.roi_filter_method} if by_share else {}),
        }
        return (_made(RoiUse, table, "roi"),)

    def _qc(self) -> list[Settings[Any]]:
        given = [] if self.qc is None else [self.qc] if isinstance(self.qc, str | Settings) else list(self.qc)
        steps: list[Settings[Any]] = []
        for step in given:
            names = _OLD_QC.get(step, (step,)) if isinstance(step, str) else (step,)
            steps.extend(_step("qc", name) for name in names)
        return steps

    def _filters(self) -> list[Settings[Any]]:
        wanted = {
            "grayspace": (self.grayspace_fraction, float(self.grayspace_threshold)),
            "whitespace": (self.whitespace_fraction, float(self.whitespace_threshold)),
        }
        return [
            step_settings("filter", name, {"fraction": float(fraction), "threshold": threshold})
            for name, (fraction, threshold) in wanted.items()
            if fraction < 1
        ]

    def _normalizer(self) -> Settings[Any] | None:
        if self.normalizer is None:
            if self.normalizer_source is not None:
                raise ConfigError("normalizer_source needs a normalizer, such as normalizer='macenko'")
            return None
        if self.normalizer_source is None:
            return _step("normalizer", self.normalizer)
        if not isinstance(self.normalizer, str):
            raise ConfigError(
                "normalizer_source goes with a normalizer given by name; set the settings' target instead"
            )
        return step_settings("normalizer", self.normalizer, {"target": str(self.normalizer_source)})

    def _sinks(self, source: Source) -> list[Settings[Any]]:
        if self.save_tiles and source.tiles.parent != source.out:
            raise ConfigError(
                f"source {source.name}: tiles ({source.tiles}) and TFRecords ({source.tfrecords}) must lie in one "
                "folder; change project.toml"
            )
        sinks = []
        if self.save_tfrecords:
            options = {"folder": source.tfrecords.name, "format": self.img_format, "shuffle": self.shuffle}
            sinks.append(step_settings("sink", "tfrecord", options))
        if self.save_tiles:
            sinks.append(step_settings("sink", "images", {"folder": source.tiles.name, "format": self.img_format}))
        return sinks


def _step(kind: str, step: Step) -> Settings[Any]:
    return step_settings(kind, step) if isinstance(step, str) else step


def _made(cls: type[Any], table: Mapping[str, Any], where: str) -> Any:  # Any: an instance of cls
    return made_from_table(cls, {key: value for key, value in table.items() if value is not None}, where=where)
