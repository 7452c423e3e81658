"""TIFF, BigTIFF and OME-TIFF: the images of a file, what they show, how they are stored, and damage of their tiles."""

from slideloom_formats.tiff.descriptions import (
    TiffDescription,
    described,
    imagej_resolution,
    odd_tiff_resolution,
    tiff_resolution,
)
from slideloom_formats.tiff.directories import (
    TiffDirectory,
    TiffError,
    TiffTag,
    read_tiff_directories,
    read_tiff_sub_images,
    tiff_fault,
    tiff_icc_profile,
)
from slideloom_formats.tiff.layout import TileLayout
from slideloom_formats.tiff.pictures import (
    PICTURE_TAGS,
    is_aside,
    is_scene,
    obstacle_in,
    sample_obstacle,
    tiff_obstacle,
)
from slideloom_formats.tiff.storage import check_orientation, codec_name, tiff_codec
from slideloom_formats.tiff.stored_tiles import (
    TILE_TAGS,
    StoredTiles,
    TileCheck,
    check_tile_places,
    deflate_check,
    jpeg_check,
    jpeg_fault,
    lacks_tiles,
    stored_tiles,
)
from slideloom_formats.tiff.strip_lengths import first_strip_fault
from slideloom_formats.tiff.truncation import is_cut_tiff

__all__ = [
    "PICTURE_TAGS",
    "TILE_TAGS",
    "StoredTiles",
    "TiffDescription",
    "TiffDirectory",
    "TiffError",
    "TiffTag",
    "TileCheck",
    "TileLayout",
    "check_orientation",
    "check_tile_places",
    "codec_name",
    "deflate_check",
    "described",
    "first_strip_fault",
    "imagej_resolution",
    "is_aside",
    "is_cut_tiff",
    "is_scene",
    "jpeg_check",
    "jpeg_fault",
    "lacks_tiles",
    "obstacle_in",
    "odd_tiff_resolution",
    "read_tiff_directories",
    "read_tiff_sub_images",
    "sample_obstacle",
    "stored_tiles",
    "tiff_codec",
    "tiff_fault",
    "tiff_icc_profile",
    "tiff_obstacle",
    "tiff_resolution",
]
