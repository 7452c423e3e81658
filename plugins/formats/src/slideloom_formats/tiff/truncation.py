"""Detects truncated files."""

from __future__ import annotations

from pathlib import Path

from slideloom_formats.tiff.directories import CutTiff, TiffError, read_tiff_directories


def is_cut_tiff(path: Path) -> bool:
    """True for a TIFF or BigTIFF file that ends before one of its image directories, as after an aborted copy.

    False for any other file, and for a file that cannot be read.
    """
    try:
        read_tiff_directories(path)
    except CutTiff:
        return True
    except (TiffError, OSError):
        return False
    return False
