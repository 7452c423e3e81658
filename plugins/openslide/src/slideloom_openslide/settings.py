"""Settings of the OpenSlide reader."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import PluginError, Reader, Settings, in_range, option


@frozen
class OpenSlideReader(Settings[Reader]):
    """Whole-slide formats (SVS, NDPI, MRXS, SCN, BIF, DICOM and others), read with OpenSlide."""

    name: ClassVar[str] = "openslide"
    rank: ClassVar[int] = 10
    cache_mb: int = option(
        32,
        help="decoded tiles kept in memory per open slide",
        unit="MiB",
        validator=in_range(1, 4096),
        affects_output=False,
    )

    def build(self) -> Reader:
        """The reader.

        Raises:
            PluginError: the OpenSlide library or OpenCV cannot be loaded.
        """
        try:
            from slideloom_openslide.slide import OpenSlideFiles
        except (ImportError, OSError) as error:  # OSError: the shared library itself cannot be loaded
            raise PluginError(
                f"reader openslide: {error}; run: pip install openslide-python openslide-bin opencv-python-headless"
            ) from error
        return OpenSlideFiles(cache_bytes=self.cache_mb << 20)
