"""Options of the reader; what it needs is imported when it is built."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Reader, Settings, in_range, option


@frozen
class TiffReader(Settings[Reader]):
    """Tiled JPEG SVS and TIFF, straight from the bytes: the fastest, for the commonest slides."""

    name: ClassVar[str] = "tiff"
    step: ClassVar[str] = "slideloom_tiff.slide:TiffFiles"
    install: ClassVar[str] = "slideloom-tiff"
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
