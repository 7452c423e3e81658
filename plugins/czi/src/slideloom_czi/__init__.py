"""slideloom reader for Zeiss CZI slides, using pylibCZIrw."""

from slideloom_czi.settings import CziReader

__all__ = ["CziReader"]
