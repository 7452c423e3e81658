"""Where TRIDENT and CLAM look for coordinates, and which attributes they need.

Sources: TRIDENT (Zhang et al.: Accelerating data processing and benchmarking of AI models for pathology, 2025,
arXiv:2502.06750) and CLAM (Lu et al.: Data-efficient and weakly supervised computational pathology on whole-slide
images, Nature Biomedical Engineering 5, 2021), as their programs write and read these files.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from slideloom import SlideInfo, TileGeometry, utf8

from slideloom_hdf5.settings import Style

Attribute = str | int | float | NDArray[np.float64] | NDArray[np.int64]

# TRIDENT derives magnification from microns per pixel: below the first number it is the second.
_BUCKETS = ((0.16, 80), (0.2, 60), (0.3, 40), (0.6, 20), (1.2, 10), (2.4, 5))


def nominal_magnification(mpp: float) -> int | float:
    """TRIDENT's name for the magnification at `mpp` microns per pixel; 10 / mpp beyond its table."""
    return next((magnification for limit, magnification in _BUCKETS if mpp < limit), 10 / mpp)


def target_magnification(geometry: TileGeometry, level0: float) -> int | float:
    """The magnification that makes TRIDENT read exactly the tile's footprint.

    TRIDENT reads `round(patch_size * level0 / target)` level-0 pixels. This is a whole number if that gives the
    footprint exactly, else the quotient that does.
    """
    exact = level0 * geometry.tile_px / geometry.footprint.width
    whole = round(exact)
    if whole > 0 and round(geometry.tile_px * level0 / whole) == geometry.footprint.width:
        return whole
    return exact


def overlap_px(geometry: TileGeometry) -> int:
    """Pixels that a tile image shares with its right neighbour."""
    return round((1 - geometry.stride.width / geometry.footprint.width) * geometry.tile_px)


def job_folder(geometry: TileGeometry, style: Style) -> str:
    """The name that holds tile size and resolution: `10x_299px_0px_overlap` for TRIDENT, the label for CLAM.

    It must be the same for all slides of a run, so its magnification is that of the requested tile size.
    """
    if style == "clam":
        return geometry.label
    asked = re.search(r"_(\d+(?:\.\d+)?)x$", geometry.label)
    magnification = asked[1] if asked else f"{nominal_magnification(geometry.tile_um / geometry.tile_px):g}"
    return f"{magnification}x_{geometry.tile_px}px_{overlap_px(geometry)}px_overlap"


def ending_of(style: Style) -> str:
    """What follows a slide's name in that of its file."""
    return "_patches.h5" if style == "trident" else ".h5"


def coords_attributes(info: SlideInfo, geometry: TileGeometry, *, style: Style, home: str) -> dict[str, Attribute]:
    """The attributes of `coords`.

    Args:
        info: the slide.
        geometry: of its tiles.
        style: decides the unit of `patch_size`, the only name to which the tools give different meanings.
        home: the folder with `patches`, relative to the output folder: an absolute path would make equal runs differ.
    """
    level = info.levels[geometry.level]
    name = utf8(info.name).decode()
    own_mpp = info.mpp.x if info.mpp else geometry.mpp * geometry.tile_px / geometry.footprint.width
    patch_px = round(geometry.footprint.width / level.downsample_x)  # in pixels of the level that is read
    level_size = np.array([level.size.width, level.size.height], np.int64)
    attributes: dict[str, Attribute] = {
        "name": name,
        "patch_level": geometry.level,
        "downsample": np.array([level.downsample_x, level.downsample_y]),
        "level_dim": level_size,
        "downsampled_level_dim": level_size,
        "save_path": home,
        "patch_size_level0": geometry.footprint.width,
        "level0_width": info.size.width,
        "level0_height": info.size.height,
        "level0_mpp": own_mpp,
        "target_mpp": geometry.mpp,
    }
    if style == "clam":
        # Without magnifications, TRIDENT falls back to CLAM's meaning and reads the same squares.
        return {**attributes, "patch_size": patch_px, "note": _note(geometry, patch_px, style)}
    level0 = nominal_magnification(own_mpp)
    return {
        **attributes,
        "patch_size": geometry.tile_px,
        "level0_magnification": level0,
        "target_magnification": target_magnification(geometry, level0),
        "overlap": overlap_px(geometry),
        "savetodir": home,
        "note": _note(geometry, patch_px, style),
    }


def _note(geometry: TileGeometry, patch_px: int, style: Style) -> str:
    square = f"each tile is {geometry.footprint.width} x {geometry.footprint.height} level-0 pixels"
    if patch_px == geometry.tile_px:
        return f"{square}; patch_size is right for TRIDENT and CLAM"
    if style == "clam":
        return f"{square}; patch_size counts pixels of patch_level (CLAM); tiles were {geometry.tile_px} pixels wide"
    return (
        f"{square}; patch_size counts pixels at target_magnification (TRIDENT); CLAM, which reads pixels of "
        f"patch_level, would need {patch_px}. Magnifications are nominal, the mpp attributes are exact"
    )
