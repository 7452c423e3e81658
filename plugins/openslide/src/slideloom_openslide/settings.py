"""Settings of the OpenSlide reader."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Reader, Settings, in_range, option


@frozen
class OpenSlideReader(Settings[Reader]):
    """Whole-slide formats (SVS, NDPI, MRXS, SCN, BIF, DICOM and others), read with OpenSlide."""

    name: ClassVar[str] = "openslide"
    step: ClassVar[str] = "slideloom_openslide.slide:OpenSlideFiles"
    install: ClassVar[str] = "slideloom-openslide"
    rank: ClassVar[int] = 10
    cache_mb: int = option(
        32,
        help="decoded tiles kept in memory per open slide",
        unit="MiB",
        validator=in_range(1, 4096),
        affects_output=False,
    )
