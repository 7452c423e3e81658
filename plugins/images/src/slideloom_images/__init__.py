"""Loose image files of tiles, one folder per slide. `Images` are the sink's settings."""

from __future__ import annotations

from slideloom_images.settings import Images

__all__ = ["Images"]
