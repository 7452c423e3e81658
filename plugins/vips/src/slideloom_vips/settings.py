"""Settings of the libvips reader."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Reader, Settings, in_range, option


@frozen
class VipsReader(Settings[Reader]):
    """Tiled TIFF, BigTIFF and OME-TIFF with or without a pyramid, JPEG and PNG, read with libvips."""

    name: ClassVar[str] = "vips"
    step: ClassVar[str] = "slideloom_vips.slide:VipsFiles"
    install: ClassVar[str] = "slideloom-vips"
    rank: ClassVar[int] = 20
    reads_at_once: int = option(
        4,
        help="reads of one level at the same time; each keeps 1.5 rows of decoded tiles",
        validator=in_range(1, 64),
        affects_output=False,
    )
