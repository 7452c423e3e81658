"""slideloom: whole-slide histology images in, machine-learning-ready tiles out; every stage is a plugin.

Names are imported when they are first used, so that `import slideloom` costs next to nothing. Some come from
distributions of their own: the table says which module each name lives in, and what is missing is an error with the
command that installs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "slideloom.base.addresses": ("Address", "SlidePlace", "local_path", "place_of", "redacted"),
    "slideloom.base.csv_tables": ("Table", "csv_text", "guarded", "number_in", "open_table", "unguarded"),
    "slideloom.base.drafts": ("Draft", "check_size"),
    "slideloom.base.errors": (
        "Cancelled", "ConfigError", "LostSlide", "MissingResolution", "OptionError", "OutputError", "PluginError",
        "RoiError", "SlideError", "SlideloomError", "Unlisted", "UnsupportedSlide",
    ),
    "slideloom.base.files": ("FileState",),
    "slideloom.base.geometry": ("Box", "Mask", "Point", "Rgb", "RgbBatch", "Size"),
    "slideloom.base.installing": ("pip_install",),
    "slideloom.base.naming": ("option_given", "option_name"),
    "slideloom.base.opencv_threads": ("opencv_in_one_thread",),
    "slideloom.base.packed_masks": ("PackedMask",),
    "slideloom.base.parsing": ("parse_json", "parse_toml"),
    "slideloom.base.patient_file": ("PatientFile",),
    "slideloom.base.scratch": ("Scratch",),
    "slideloom.base.storing": (
        "file_name", "json_text", "make_room", "path_inside", "path_of_name", "storing_in", "sync_path", "utf8",
        "write_whole",
    ),
    "slideloom.base.temporary": ("discard_path", "partial_path"),
    "slideloom.pixels.gray": ("gray_counter",),
    "slideloom.pixels.mosaic": ("Mosaic",),
    "slideloom.pixels.resampling": ("NativeResampler", "resample"),
    "slideloom.settings.digest": ("file_digest",),
    "slideloom.settings.options": ("Settings", "option"),
    "slideloom.settings.ranges": ("at_least", "in_range", "positive"),
    "slideloom.slides.icc": ("profile_name",),
    "slideloom.slides.info": (
        "Level", "Resolution", "SlideInfo", "levels_from_sizes", "same_proportions", "slide_name",
    ),
    "slideloom.slides.kept_images": ("KeptImages",),
    "slideloom.slides.names": ("NamedSlide", "own_name"),
    "slideloom.slides.outlines": ("Outlines",),
    "slideloom.slides.regions": ("Region", "Regions"),
    "slideloom.slides.remote_file": ("RemoteFile",),
    "slideloom.slides.remote_folder": ("RemoteFolder", "RemoteState"),
    "slideloom.slides.remote_path": ("RemotePath",),
    "slideloom.slides.remote_tree": ("RemoteEntry", "RemoteTree", "in_parallel"),
    "slideloom.slides.resolution": ("finite_number", "is_plausible", "odd_mpp"),
    "slideloom.slides.slide": ("Slide",),
    "slideloom.slides.tiles": ("TileBatch", "TileGeometry", "Tiles"),
    "slideloom.drawing.geojson": ("colour_of", "write_regions_geojson", "write_tiles_geojson"),
    "slideloom.drawing.mask_outlines": ("mask_polygons",),
    "slideloom.drawing.pictures": ("LEGEND", "reason_colours", "stretched", "tint"),
    "slideloom.drawing.told": ("DASHES", "EDGE", "LineLook", "told_looks"),
    "slideloom.steps.companions": ("MASK", "Companion"),
    "slideloom.steps.encoding": ("ImageEncoder", "ImageOptions"),
    "slideloom.steps.executor": ("Executor",),
    "slideloom.steps.format": ("Format",),
    "slideloom.steps.normalizer": ("Normalized", "Normalizer"),
    "slideloom.steps.placement": ("Placed", "Placement"),
    "slideloom.steps.reader": ("Reader",),
    "slideloom.steps.remote_output": ("RemoteOutput",),
    "slideloom.steps.reports": ("RunReport", "SlideReport"),
    "slideloom.steps.roi_source": ("RoiSource",),
    "slideloom.steps.scene": ("Scene",),
    "slideloom.steps.sink": ("Prepared", "Sink", "Writer"),
    "slideloom.steps.slide_qc": ("QcClass", "QcResult", "SlideQc", "qc_classes"),
    "slideloom.steps.store": ("TileStore", "TileStores"),
    "slideloom.steps.tile_filter": ("TileFilter", "Verdict"),
    "slideloom.plugins.discovery": ("registry",),
    "slideloom.plugins.hookspecs": ("OPENCV", "Command", "Library", "RemoteFiles", "Reporter", "hookimpl"),
    "slideloom.pipeline.file": ("load_pipeline", "pipeline_from_table"),
    "slideloom.pipeline.pipeline": ("Pipeline", "QcUse", "RoiUse", "RunOptions", "Slides", "pipeline_differences"),
    "slideloom.pipeline.tile_masks": ("TileMasks",),
    "slideloom.pipeline.tiling": ("Context", "Tiling"),
    "slideloom.planning.deciding": ("apply_regions", "assess_slide"),
    "slideloom.planning.grid": ("plan_grid", "tile_geometry"),
    "slideloom.planning.mask_files": ("load_mask", "mask_from_npz", "save_mask"),
    "slideloom.planning.burden": ("blur_burden",),
    "slideloom.planning.masks": ("masked_share", "union_mask"),
    "slideloom.planning.opening": ("load_regions", "open_slide"),
    "slideloom.planning.plan": ("SlidePlan", "plan_slide"),
    "slideloom.planning.record": ("QcFinding", "SlideRecord"),
    "slideloom.planning.told": ("told_areas",),
    "slideloom.planning.selection": ("Selection", "regions_mask", "select_tiles"),
    "slideloom.extraction.output_folder": ("OutputFolder",),
    "slideloom.running.find_slides": ("find_slides", "named_slides"),
    "slideloom.running.main_script": ("script_for_workers",),
    "slideloom.running.run": ("run_pipeline",),
    "slideloom.running.worker_process": ("worker_number",),
    "slideloom.viewing.views": ("LiveStep", "MaskClass", "MaskLayer", "TileDetail", "TileMap", "TileView"),
    "slideloom.viewing.wsi": ("WSI",),
    "slideloom_cli.preview": ("contact_sheet",),
    "slideloom_cli.sheet": ("ContactSheet",),
    "slideloom_cohort.bags": ("Bag", "Bags"),
    "slideloom_cohort.dataset": ("Dataset",),
    "slideloom_cohort.params": ("Params", "load_params", "save_params"),
    "slideloom_cohort.project": ("Project",),
    "slideloom_cohort.slides": ("DatasetSummary",),
    "slideloom_loaders.factories": ("tensorflow_loader", "torch_loader"),
    "slideloom_stain.library": ("StainNormalizer",),
    "slideloom_studio.notebook": ("StudioPage", "studio"),
    "slideloom_torch.computing": ("computing",),
    "slideloom_torch.devices": ("torch_device",),
    "slideloom_torch.hub": ("hub_file",),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

# What people use in scripts, notebooks and programs. The other names are as public, and for authors of plugins.
_FOR_USERS = (
    "Address", "Bag", "Bags", "Box", "Cancelled", "ConfigError", "ContactSheet", "Context", "Dataset", "DatasetSummary",
    "Level", "LiveStep", "Mask", "MaskClass", "MaskLayer", "MissingResolution", "NamedSlide", "OptionError",
    "OutputError", "PackedMask", "Params", "Pipeline", "PluginError", "Point", "Project", "QcClass", "QcFinding",
    "QcResult", "QcUse", "Region", "Regions", "Resolution", "Rgb", "RgbBatch", "RoiError", "RoiUse", "RunOptions",
    "RunReport", "Selection", "Size", "Slide", "SlideError", "SlideInfo", "SlidePlace", "SlidePlan", "SlideRecord",
    "SlideReport", "SlideloomError", "Slides", "StainNormalizer",
    "StudioPage", "TileBatch", "TileDetail", "TileGeometry", "TileMap", "TileMasks", "TileView", "Tiles", "Tiling",
    "UnsupportedSlide", "WSI", "apply_regions", "assess_slide", "blur_burden", "contact_sheet", "find_slides",
    "load_mask", "load_params", "load_pipeline", "load_regions", "mask_polygons", "masked_share", "named_slides",
    "open_slide", "pipeline_differences", "pipeline_from_table", "plan_grid", "plan_slide", "regions_mask",
    "run_pipeline", "save_mask", "save_params", "script_for_workers", "select_tiles", "studio", "tensorflow_loader",
    "tile_geometry", "torch_loader", "union_mask", "write_regions_geojson", "write_tiles_geojson",
)  # fmt: skip
__all__ = ["__version__", *_FOR_USERS]  # noqa: PLE0604 - each is in the table above

if TYPE_CHECKING:
    from slideloom_cli.preview import contact_sheet as contact_sheet
    from slideloom_cli.sheet import ContactSheet as ContactSheet
    from slideloom_cohort.bags import Bag as Bag, Bags as Bags
    from slideloom_cohort.dataset import Dataset as Dataset
    from slideloom_cohort.params import Params as Params, load_params as load_params, save_params as save_params
    from slideloom_cohort.project import Project as Project
    from slideloom_cohort.slides import DatasetSummary as DatasetSummary
    from slideloom_loaders.factories import tensorflow_loader as tensorflow_loader, torch_loader as torch_loader
    from slideloom_stain.library import StainNormalizer as StainNormalizer
    from slideloom_studio.notebook import StudioPage as StudioPage, studio as studio
    from slideloom_torch.computing import computing as computing
    from slideloom_torch.devices import torch_device as torch_device
    from slideloom_torch.hub import hub_file as hub_file

    from slideloom.base.addresses import (
        Address as Address,
        SlidePlace as SlidePlace,
        local_path as local_path,
        place_of as place_of,
        redacted as redacted,
    )
    from slideloom.base.csv_tables import (
        Table as Table,
        csv_text as csv_text,
        guarded as guarded,
        number_in as number_in,
        open_table as open_table,
        unguarded as unguarded,
    )
    from slideloom.base.drafts import Draft as Draft, check_size as check_size
    from slideloom.base.errors import (
        Cancelled as Cancelled,
        ConfigError as ConfigError,
        LostSlide as LostSlide,
        MissingResolution as MissingResolution,
        OptionError as OptionError,
        OutputError as OutputError,
        PluginError as PluginError,
        RoiError as RoiError,
        SlideError as SlideError,
        SlideloomError as SlideloomError,
        Unlisted as Unlisted,
        UnsupportedSlide as UnsupportedSlide,
    )
    from slideloom.base.files import FileState as FileState
    from slideloom.base.geometry import (
        Box as Box,
        Mask as Mask,
        Point as Point,
        Rgb as Rgb,
        RgbBatch as RgbBatch,
        Size as Size,
    )
    from slideloom.base.installing import pip_install as pip_install
    from slideloom.base.naming import option_given as option_given, option_name as option_name
    from slideloom.base.opencv_threads import opencv_in_one_thread as opencv_in_one_thread
    from slideloom.base.packed_masks import PackedMask as PackedMask
    from slideloom.base.parsing import parse_json as parse_json, parse_toml as parse_toml
    from slideloom.base.patient_file import PatientFile as PatientFile
    from slideloom.base.scratch import Scratch as Scratch
    from slideloom.base.storing import (
        file_name as file_name,
        json_text as json_text,
        make_room as make_room,
        path_inside as path_inside,
        path_of_name as path_of_name,
        storing_in as storing_in,
        sync_path as sync_path,
        utf8 as utf8,
        write_whole as write_whole,
    )
    from slideloom.base.temporary import discard_path as discard_path, partial_path as partial_path
    from slideloom.drawing.geojson import (
        colour_of as colour_of,
        write_regions_geojson as write_regions_geojson,
        write_tiles_geojson as write_tiles_geojson,
    )
    from slideloom.drawing.mask_outlines import mask_polygons as mask_polygons
    from slideloom.drawing.pictures import (
        LEGEND as LEGEND,
        reason_colours as reason_colours,
        stretched as stretched,
        tint as tint,
    )
    from slideloom.drawing.told import (
        DASHES as DASHES,
        EDGE as EDGE,
        LineLook as LineLook,
        told_looks as told_looks,
    )
    from slideloom.extraction.output_folder import OutputFolder as OutputFolder
    from slideloom.pipeline.file import load_pipeline as load_pipeline, pipeline_from_table as pipeline_from_table
    from slideloom.pipeline.pipeline import (
        Pipeline as Pipeline,
        QcUse as QcUse,
        RoiUse as RoiUse,
        RunOptions as RunOptions,
        Slides as Slides,
        pipeline_differences as pipeline_differences,
    )
    from slideloom.pipeline.tile_masks import TileMasks as TileMasks
    from slideloom.pipeline.tiling import Context as Context, Tiling as Tiling
    from slideloom.pixels.gray import gray_counter as gray_counter
    from slideloom.pixels.mosaic import Mosaic as Mosaic
    from slideloom.pixels.resampling import NativeResampler as NativeResampler, resample as resample
    from slideloom.planning.burden import blur_burden as blur_burden
    from slideloom.planning.deciding import apply_regions as apply_regions, assess_slide as assess_slide
    from slideloom.planning.grid import plan_grid as plan_grid, tile_geometry as tile_geometry
    from slideloom.planning.mask_files import (
        load_mask as load_mask,
        mask_from_npz as mask_from_npz,
        save_mask as save_mask,
    )
    from slideloom.planning.masks import masked_share as masked_share, union_mask as union_mask
    from slideloom.planning.opening import load_regions as load_regions, open_slide as open_slide
    from slideloom.planning.plan import SlidePlan as SlidePlan, plan_slide as plan_slide
    from slideloom.planning.record import QcFinding as QcFinding, SlideRecord as SlideRecord
    from slideloom.planning.selection import (
        Selection as Selection,
        regions_mask as regions_mask,
        select_tiles as select_tiles,
    )
    from slideloom.planning.told import told_areas as told_areas
    from slideloom.plugins.discovery import registry as registry
    from slideloom.plugins.hookspecs import (
        OPENCV as OPENCV,
        Command as Command,
        Library as Library,
        RemoteFiles as RemoteFiles,
        Reporter as Reporter,
        hookimpl as hookimpl,
    )
    from slideloom.running.find_slides import find_slides as find_slides, named_slides as named_slides
    from slideloom.running.main_script import script_for_workers as script_for_workers
    from slideloom.running.run import run_pipeline as run_pipeline
    from slideloom.running.worker_process import worker_number as worker_number
    from slideloom.settings.digest import file_digest as file_digest
    from slideloom.settings.options import Settings as Settings, option as option
    from slideloom.settings.ranges import at_least as at_least, in_range as in_range, positive as positive
    from slideloom.slides.icc import profile_name as profile_name
    from slideloom.slides.info import (
        Level as Level,
        Resolution as Resolution,
        SlideInfo as SlideInfo,
        levels_from_sizes as levels_from_sizes,
        same_proportions as same_proportions,
        slide_name as slide_name,
    )
    from slideloom.slides.kept_images import KeptImages as KeptImages
    from slideloom.slides.names import NamedSlide as NamedSlide, own_name as own_name
    from slideloom.slides.outlines import Outlines as Outlines
    from slideloom.slides.regions import Region as Region, Regions as Regions
    from slideloom.slides.remote_file import RemoteFile as RemoteFile
    from slideloom.slides.remote_folder import RemoteFolder as RemoteFolder, RemoteState as RemoteState
    from slideloom.slides.remote_path import RemotePath as RemotePath
    from slideloom.slides.remote_tree import (
        RemoteEntry as RemoteEntry,
        RemoteTree as RemoteTree,
        in_parallel as in_parallel,
    )
    from slideloom.slides.resolution import (
        finite_number as finite_number,
        is_plausible as is_plausible,
        odd_mpp as odd_mpp,
    )
    from slideloom.slides.slide import Slide as Slide
    from slideloom.slides.tiles import TileBatch as TileBatch, TileGeometry as TileGeometry, Tiles as Tiles
    from slideloom.steps.companions import MASK as MASK, Companion as Companion
    from slideloom.steps.encoding import ImageEncoder as ImageEncoder, ImageOptions as ImageOptions
    from slideloom.steps.executor import Executor as Executor
    from slideloom.steps.format import Format as Format
    from slideloom.steps.normalizer import Normalized as Normalized, Normalizer as Normalizer
    from slideloom.steps.placement import Placed as Placed, Placement as Placement
    from slideloom.steps.reader import Reader as Reader
    from slideloom.steps.remote_output import RemoteOutput as RemoteOutput
    from slideloom.steps.reports import RunReport as RunReport, SlideReport as SlideReport
    from slideloom.steps.roi_source import RoiSource as RoiSource
    from slideloom.steps.scene import Scene as Scene
    from slideloom.steps.sink import Prepared as Prepared, Sink as Sink, Writer as Writer
    from slideloom.steps.slide_qc import (
        QcClass as QcClass,
        QcResult as QcResult,
        SlideQc as SlideQc,
        qc_classes as qc_classes,
    )
    from slideloom.steps.store import TileStore as TileStore, TileStores as TileStores
    from slideloom.steps.tile_filter import TileFilter as TileFilter, Verdict as Verdict
    from slideloom.viewing.views import (
        LiveStep as LiveStep,
        MaskClass as MaskClass,
        MaskLayer as MaskLayer,
        TileDetail as TileDetail,
        TileMap as TileMap,
        TileView as TileView,
    )
    from slideloom.viewing.wsi import WSI as WSI


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom' has no attribute {name!r}")
    home = _HOME_OF[name]
    package = home.split(".")[0]
    try:
        module = import_module(home)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package:
            raise
        from slideloom.base.errors import PluginError

        dist = package.replace("_", "-")
        raise PluginError(f"slideloom.{name} comes with {dist}, which is not installed: pip install {dist}") from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
