"""slideloom reader for whole-slide formats (SVS, NDPI, MRXS, SCN, BIF, DICOM and others), using OpenSlide."""

from slideloom_openslide.settings import OpenSlideReader

__all__ = ["OpenSlideReader"]
