"""Formats whose reader may not be installed: whether a file or folder is of one."""

from __future__ import annotations

from pathlib import Path

_CZI = b"ZISRAWFILE"  # the first bytes
_ISYNTAX = b"<DataObject"  # in the XML that an iSyntax file begins with, behind its declaration
_START = 512


def is_isyntax(path: Path) -> bool:
    """True for a Philips iSyntax file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _ISYNTAX in file.read(_START)


def is_zarr(path: Path) -> bool:
    """True for a folder of Zarr arrays, and for a ZIP file named as one: what it holds are chunks, and never slides."""
    name = path.name.lower()
    if path.is_dir():
        return name.endswith(".zarr") or any((path / each).is_file() for each in ("zarr.json", ".zgroup", ".zarray"))
    return name.endswith((".zarr.zip", ".ozx"))


def is_czi(path: Path) -> bool:
    """True for a Zeiss CZI file."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_CZI)) == _CZI
