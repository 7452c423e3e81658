"""Tile coordinates in HDF5, as TRIDENT and CLAM read them. `HDF5` has the sink's settings."""

from __future__ import annotations

from slideloom_hdf5.settings import HDF5

__all__ = ["HDF5"]
