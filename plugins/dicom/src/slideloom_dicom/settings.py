"""Options of the reader."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Reader, Settings, at_least, in_range, option


@frozen
class DicomReader(Settings[Reader]):
    """DICOM slides that OpenSlide does not read: JPEG-LS, RLE, HTJ2K, JPEG XL, grey, 16 bits, chosen channels."""

    name: ClassVar[str] = "dicom"
    step: ClassVar[str] = "slideloom_dicom.slide:DicomFiles"
    install: ClassVar[str] = "slideloom-dicom"
    rank: ClassVar[int] = 15

    optical_path: str | int | None = option(
        None, help="identifier of the channel or stain to show, if a slide has several"
    )
    plane: int | None = option(
        None, help="number of the focal plane to show, if a slide has several; 1 is the lowest", validator=at_least(1)
    )
    low: int = option(
        0, help="stored value to show as black, where samples have more than 8 bits", validator=at_least(0)
    )
    high: int | None = option(
        None,
        help="stored value to show as white, where samples have more than 8 bits; by default the largest they can hold",
        validator=at_least(1),
    )
    cache_mb: int = option(
        64,
        help="decoded tiles kept in memory per open slide",
        unit="MiB",
        validator=in_range(1, 4096),
        affects_output=False,
    )
