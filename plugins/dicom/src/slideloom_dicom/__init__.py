"""slideloom reader for DICOM slides of every transfer syntax, using pydicom and imagecodecs."""

from slideloom_dicom.settings import DicomReader

__all__ = ["DicomReader"]
