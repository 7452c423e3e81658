"""Slides of the hospital's scanner: a folder of tiles, with its facts in a JSON file."""

from __future__ import annotations

from slideloom_hospital.settings import Hospital

__all__ = ["Hospital"]
