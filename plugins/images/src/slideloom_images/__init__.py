"""Loose image files of tiles, one folder per slide. `Images` has the sink's settings."""

from __future__ import annotations

from slideloom_images.settings import Images

__all__ = ["Images"]
