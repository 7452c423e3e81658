"""Features of tiles, by any model. `Features` has the sink's settings."""

from __future__ import annotations

from slideloom_features.settings import Features

__all__ = ["Features"]
