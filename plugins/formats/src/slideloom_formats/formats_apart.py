"""Formats whose reader may not be installed, or which nothing here reads: whether a file or folder is of one."""

from __future__ import annotations

from pathlib import Path

from slideloom import RemotePath

_CZI = b"ZISRAWFILE"  # the first bytes
_ISYNTAX = b"<DataObject"  # in the XML that an iSyntax file begins with, behind its declaration
_START = 512


def unread_format(path: Path) -> str | None:
    """What a file is that no reader takes, and what to do; None for any other."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        is_isyntax = path.suffix.lower() == ".isyntax" or _ISYNTAX in file.read(_START)
    if not is_isyntax:
        return None
    return f"it is a Philips iSyntax file: convert it to TIFF, as with libisyntax: isyntax-to-tiff {path.name} OUT.tiff"


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
