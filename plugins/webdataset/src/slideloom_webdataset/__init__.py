"""WebDataset shards of tiles. `WebDataset` has the sink's settings."""

from __future__ import annotations

from slideloom_webdataset.settings import WebDataset

__all__ = ["WebDataset"]
