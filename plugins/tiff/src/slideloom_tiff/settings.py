"""Options of the reader."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Reader, Settings, in_range, option


@frozen
class TiffReader(Settings[Reader]):
    """SVS and TIFF slides of JPEG tiles, the most common kind; reads their bytes directly and is the fastest reader."""

    name: ClassVar[str] = "tiff"
    step: ClassVar[str] = "slideloom_tiff.slide:TiffFiles"
    install: ClassVar[str] = "slideloom-tiff"
    rank: ClassVar[int] = 5
    cache_mb: int = option(
        24,  # with it, tiles of 128 to 512 um decode each source tile as often as with 32, with 16 up to 2% more often
        help="decoded source tiles kept in memory, for each thread that reads",
        unit="MiB",
        validator=in_range(1, 4096),
        affects_output=False,
    )

    dct_scale: bool = option(
        False,
        help="where no stored level is near, let the JPEG decoder shrink (by 2, 4 or 8) instead of averaging pixels",
    )
