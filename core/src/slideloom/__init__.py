"""slideloom: whole-slide histology images in, machine-learning-ready tiles out; every stage is a plugin.

Names are imported when they are first used, so that `import slideloom` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "cohort": ("DatasetSummary",),
    "dataset": ("Dataset",),
    "devices": ("torch_device",),
    "encoding": ("ImageEncoder", "ImageOptions"),
    "errors": (
        "ConfigError", "MissingResolution", "OutputError", "PluginError", "RoiError", "SlideError", "SlideloomError",
        "UnsupportedSlide",
    ),
    "files": ("FileState",),
    "geojson": ("colour_of", "write_regions_geojson", "write_tiles_geojson"),
    "geometry": ("Box", "Mask", "Point", "Rgb", "RgbBatch", "Size"),
    "gray": ("gray_counter",),
    "hookspecs": ("Command", "hookimpl"),
    "layout": ("OutputFolder",),
    "mask_files": ("load_mask", "mask_from_npz", "save_mask"),
    "masks": ("blur_burden", "masked_share", "union_mask"),
    "mosaic": ("Mosaic",),
    "opencv_threads": ("opencv_in_one_thread",),
    "opening": ("load_regions", "open_slide"),
    "params": ("Params", "load_params", "save_params"),
    "pictures": ("LEGEND", "stretched", "tint"),
    "pipeline": ("Pipeline", "Slides"),
    "pipeline_file": ("load_pipeline", "pipeline_from_table"),
    "planning": ("SlidePlan", "apply_regions", "assess_slide", "plan_slide"),
    "plugins": ("registry",),
    "project": ("Project",),
    "regions": ("Region", "Regions"),
    "reports": ("RunReport", "SlideReport"),
    "resampling": ("NativeResampler", "resample"),
    "resolution": ("finite_number", "is_plausible"),
    "run": ("find_slides", "run_pipeline"),
    "scratch": ("Scratch",),
    "selection": ("Selection", "regions_mask", "select_tiles"),
    "settings": ("Settings", "at_least", "in_range", "option", "positive"),
    "slide": ("Level", "Resolution", "Slide", "SlideInfo", "levels_from_sizes", "same_proportions", "slide_name"),
    "stain": ("StainNormalizer",),
    "steps": (
        "Executor", "Normalized", "Normalizer", "Placement", "QcResult", "Reader", "RoiSource", "Scene", "Sink",
        "SlideQc", "TileFilter", "TileStore", "TileStores", "Verdict", "Writer",
    ),
    "storing": ("discard_path", "file_name", "partial_path", "path_inside", "storing_in", "sync_path", "write_whole"),
    "tiff_directories": (
        "TiffDirectory", "TiffError", "TiffTag", "check_orientation", "read_tiff_directories", "tiff_fault",
    ),
    "tiles": ("TileBatch", "TileGeometry", "Tiles"),
    "truncation": ("is_cut_tiff",),
    "wsi": ("WSI", "TileView"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]  # noqa: PLE0604 - computed from the table above

if TYPE_CHECKING:
    from slideloom.cohort import DatasetSummary as DatasetSummary
    from slideloom.dataset import Dataset as Dataset
    from slideloom.devices import torch_device as torch_device
    from slideloom.encoding import ImageEncoder as ImageEncoder, ImageOptions as ImageOptions
    from slideloom.errors import (
        ConfigError as ConfigError,
        MissingResolution as MissingResolution,
        OutputError as OutputError,
        PluginError as PluginError,
        RoiError as RoiError,
        SlideError as SlideError,
        SlideloomError as SlideloomError,
        UnsupportedSlide as UnsupportedSlide,
    )
    from slideloom.files import FileState as FileState
    from slideloom.geojson import (
        colour_of as colour_of,
        write_regions_geojson as write_regions_geojson,
        write_tiles_geojson as write_tiles_geojson,
    )
    from slideloom.geometry import (
        Box as Box,
        Mask as Mask,
        Point as Point,
        Rgb as Rgb,
        RgbBatch as RgbBatch,
        Size as Size,
    )
    from slideloom.gray import gray_counter as gray_counter
    from slideloom.hookspecs import Command as Command, hookimpl as hookimpl
    from slideloom.layout import OutputFolder as OutputFolder
    from slideloom.mask_files import (
        load_mask as load_mask,
        mask_from_npz as mask_from_npz,
        save_mask as save_mask,
    )
    from slideloom.masks import (
        blur_burden as blur_burden,
        masked_share as masked_share,
        union_mask as union_mask,
    )
    from slideloom.mosaic import Mosaic as Mosaic
    from slideloom.opencv_threads import opencv_in_one_thread as opencv_in_one_thread
    from slideloom.opening import load_regions as load_regions, open_slide as open_slide
    from slideloom.params import Params as Params, load_params as load_params, save_params as save_params
    from slideloom.pictures import LEGEND as LEGEND, stretched as stretched, tint as tint
    from slideloom.pipeline import Pipeline as Pipeline, Slides as Slides
    from slideloom.pipeline_file import load_pipeline as load_pipeline, pipeline_from_table as pipeline_from_table
    from slideloom.planning import (
        SlidePlan as SlidePlan,
        apply_regions as apply_regions,
        assess_slide as assess_slide,
        plan_slide as plan_slide,
    )
    from slideloom.plugins import registry as registry
    from slideloom.project import Project as Project
    from slideloom.regions import Region as Region, Regions as Regions
    from slideloom.reports import RunReport as RunReport, SlideReport as SlideReport
    from slideloom.resampling import NativeResampler as NativeResampler, resample as resample
    from slideloom.resolution import finite_number as finite_number, is_plausible as is_plausible
    from slideloom.run import find_slides as find_slides, run_pipeline as run_pipeline
    from slideloom.scratch import Scratch as Scratch
    from slideloom.selection import (
        Selection as Selection,
        regions_mask as regions_mask,
        select_tiles as select_tiles,
    )
    from slideloom.settings import (
        Settings as Settings,
        at_least as at_least,
        in_range as in_range,
        option as option,
        positive as positive,
    )
    from slideloom.slide import (
        Level as Level,
        Resolution as Resolution,
        Slide as Slide,
        SlideInfo as SlideInfo,
        levels_from_sizes as levels_from_sizes,
        same_proportions as same_proportions,
        slide_name as slide_name,
    )
    from slideloom.stain import StainNormalizer as StainNormalizer
    from slideloom.steps import (
        Executor as Executor,
        Normalized as Normalized,
        Normalizer as Normalizer,
        Placement as Placement,
        QcResult as QcResult,
        Reader as Reader,
        RoiSource as RoiSource,
        Scene as Scene,
        Sink as Sink,
        SlideQc as SlideQc,
        TileFilter as TileFilter,
        TileStore as TileStore,
        TileStores as TileStores,
        Verdict as Verdict,
        Writer as Writer,
    )
    from slideloom.storing import (
        discard_path as discard_path,
        file_name as file_name,
        partial_path as partial_path,
        path_inside as path_inside,
        storing_in as storing_in,
        sync_path as sync_path,
        write_whole as write_whole,
    )
    from slideloom.tiff_directories import (
        TiffDirectory as TiffDirectory,
        TiffError as TiffError,
        TiffTag as TiffTag,
        check_orientation as check_orientation,
        read_tiff_directories as read_tiff_directories,
        tiff_fault as tiff_fault,
    )
    from slideloom.tiles import TileBatch as TileBatch, TileGeometry as TileGeometry, Tiles as Tiles
    from slideloom.truncation import is_cut_tiff as is_cut_tiff
    from slideloom.wsi import WSI as WSI, TileView as TileView


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom' has no attribute {name!r}")
    return getattr(import_module(f"slideloom.{_HOME_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
