"""slideloom reader for OME-Zarr slides, using zarr."""

from slideloom_zarr.settings import OmeZarrReader

__all__ = ["OmeZarrReader"]
