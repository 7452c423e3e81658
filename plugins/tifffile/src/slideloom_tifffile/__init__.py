"""slideloom reader for TIFF and OME-TIFF in any compression and layout, using tifffile and imagecodecs."""

from slideloom_tifffile.settings import TifffileReader

__all__ = ["TifffileReader"]
