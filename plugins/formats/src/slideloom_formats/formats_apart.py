"""Formats whose reader may not be installed: whether a file or folder is of one."""

from __future__ import annotations

import re
from pathlib import Path

from slideloom import RemotePath

_CZI = b"ZISRAWFILE"  # the first bytes
# In the XML that an iSyntax file begins with, behind its declaration; a tool may have given it a namespace.
_ISYNTAX = re.compile(rb"<([A-Za-z_][\w.-]*:)?DataObject[\s>]", re.IGNORECASE)
_START = 512


def is_isyntax(path: Path | RemotePath) -> bool:
    """True for a Philips iSyntax file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _ISYNTAX.search(file.read(_START)) is not None


def is_zarr(path: Path | RemotePath) -> bool:
    """True for a folder of Zarr arrays, and for a ZIP file named as one: what it holds are chunks, and never slides."""
    name = path.name.lower()
    if path.is_dir():
        return name.endswith(".zarr") or any((path / each).is_file() for each in ("zarr.json", ".zgroup", ".zarray"))
    return name.endswith((".zarr.zip", ".ozx"))


def is_czi(path: Path | RemotePath) -> bool:
    """True for a Zeiss CZI file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_CZI)) == _CZI
