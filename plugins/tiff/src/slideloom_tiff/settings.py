"""Options of the reader; nothing heavy is imported before `build`."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import PluginError, Reader, Settings, in_range, option


@frozen
class TiffReader(Settings[Reader]):
    """Tiled JPEG SVS and TIFF, straight from the bytes: the fastest, for the commonest slides."""

    name: ClassVar[str] = "tiff"
    rank: ClassVar[int] = 5
    cache_mb: int = option(
        32,
        help="decoded source tiles kept in memory, for each thread that reads",
        unit="MiB",
        validator=in_range(1, 4096),
        affects_output=False,
    )

    dct_scale: bool = option(
        False,
        help="where no stored level is near, let the JPEG decoder shrink (by 2, 4 or 8) instead of averaging pixels",
    )

    def build(self) -> Reader:
        """The reader.

        Raises:
            PluginError: simplejpeg or OpenCV does not load.
        """
        try:
            from slideloom_tiff.slide import TiffFiles
        except ImportError as error:
            raise PluginError(f"reader tiff: {error}; run: pip install simplejpeg opencv-python-headless") from error
        return TiffFiles(cache_bytes=self.cache_mb << 20, dct_scale=self.dct_scale)
