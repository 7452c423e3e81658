"""Formats whose reader may not be installed, or which nothing here reads: what to do about a file of one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from slideloom.slides.dicom_files import read_dicom

# Formats, and the distribution that brings a reader; both as in the table of public names, which says where names are.
_READ_BY = {"DICOM": "slideloom-dicom", "OME-Zarr": "slideloom-zarr", "CZI": "slideloom-czi"}
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


def reader_to_install(path: Path, installed: Collection[str]) -> str | None:
    """How to get the reader of a file's format; None if it is installed, or the format is unknown.

    Args:
        path: of the file or folder.
        installed: names of the distributions that are.
    """
    kind = _format_of(path)
    if kind is None or _READ_BY[kind] in installed:
        return None
    return f"a reader for it may be this one, for {kind}: pip install {_READ_BY[kind]}"


def is_zarr(path: Path) -> bool:
    """True for a folder of Zarr arrays, and for a ZIP file named as one: what it holds are chunks, and never slides."""
    name = path.name.lower()
    if path.is_dir():
        return name.endswith(".zarr") or any((path / each).is_file() for each in ("zarr.json", ".zgroup", ".zarray"))
    return name.endswith((".zarr.zip", ".ozx"))


def _format_of(path: Path) -> str | None:
    if is_zarr(path):
        return "OME-Zarr"
    if read_dicom(path) is not None:
        return "DICOM"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return "CZI" if file.read(len(_CZI)) == _CZI else None
