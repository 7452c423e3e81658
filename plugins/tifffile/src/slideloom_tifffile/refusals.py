"""Why a TIFF is not read."""

from __future__ import annotations


class NotRead(Exception):
    """The reason, and what to do, without the name of the file."""
