"""The DICOM reader."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import OPENCV, Library, Reader, Settings, hookimpl

from slideloom_dicom.settings import DicomReader


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The reader of this package."""
    return [DicomReader]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [
        Library("pydicom", "slideloom-dicom", "DICOM slides", reported=("pydicom",)),
        Library("imagecodecs", "slideloom-dicom", "JPEG 2000, JPEG-LS and JPEG XL", reported=("imagecodecs",)),
        OPENCV,
    ]
