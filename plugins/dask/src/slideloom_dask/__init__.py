"""The executor that runs slides on a Dask cluster."""

from __future__ import annotations

from slideloom_dask.settings import Dask

__all__ = ["Dask"]
