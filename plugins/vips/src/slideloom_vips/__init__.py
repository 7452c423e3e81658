"""slideloom reader for tiled TIFF, BigTIFF, OME-TIFF, JPEG and PNG, using libvips."""

from slideloom_vips.settings import VipsReader

__all__ = ["VipsReader"]
