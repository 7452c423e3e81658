"""Formats as finding and opening slides asks for them; what looks into files is imported when it is needed."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar

from slideloom import Format

_MOST_CODECS = "tifffile"  # the reader that decodes the compressions of TIFF which others leave out


class Tiff(Format):
    """TIFF and BigTIFF, which most scanners write in some form."""

    name: ClassVar[str] = "TIFF"
    readers_say_more: ClassVar[bool] = True

    def refusal(self, path: Path) -> str | None:
        """See `Format.refusal`."""
        from slideloom_formats.tiff import tiff_obstacle

        return tiff_obstacle(path)

    def advice(self, path: Path, readers: Collection[str]) -> str | None:
        """See `Format.advice`."""
        from slideloom_formats.tiff import tiff_codec

        codec = tiff_codec(path)
        if codec is None:
            return None
        missing = _MOST_CODECS not in readers
        install = f"pip install slideloom-{_MOST_CODECS}, which reads most compressions, or " if missing else ""
        return f"it is a TIFF in {codec}: {install}convert it to JPEG (QuPath, bfconvert)"
