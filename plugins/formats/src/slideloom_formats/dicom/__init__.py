"""DICOM: which files are one slide and which of them stands for it, and damage that decoders do not survive."""

from slideloom_formats.dicom.files import (
    DicomFile,
    dicom_obstacle,
    not_a_dicom_slide,
    read_dicom,
    series_in,
    stands_for_series,
)
from slideloom_formats.dicom.frames import frames_fault, native_fault

__all__ = [
    "DicomFile",
    "dicom_obstacle",
    "frames_fault",
    "native_fault",
    "not_a_dicom_slide",
    "read_dicom",
    "series_in",
    "stands_for_series",
]
