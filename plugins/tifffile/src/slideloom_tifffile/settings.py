"""Settings of the tifffile reader."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
from attrs import frozen
from slideloom import Reader, Settings, at_least, in_range, option


def _one_or_three(_instance: Any, attribute: attrs.Attribute[Any], value: tuple[int, ...]) -> None:
    if len(value) not in (0, 1, 3) or any(number < 0 for number in value):
        raise ValueError(f"{attribute.name} must be one or three numbers from 0 on, not {list(value)}")


@frozen
class TifffileReader(Settings[Reader]):
    """TIFF and OME-TIFF that faster readers refuse: other compressions, separate planes, 16 bits, channels."""

    name: ClassVar[str] = "tifffile"
    step: ClassVar[str] = "slideloom_tifffile.slide:TifffileFiles"
    install: ClassVar[str] = "slideloom-tifffile"
    rank: ClassVar[int] = 30
    scene: int | None = option(
        None, help="of an OME-TIFF of several pictures, the number of the one to read, from 0", validator=at_least(0)
    )
    channels: tuple[int, ...] = option(
        (),
        help="of an OME-TIFF of channels, the numbers of those that are red, green and blue, or of the one to show "
        "in grey, from 0",
        validator=_one_or_three,
    )
    plane: int | None = option(
        None, help="of an OME-TIFF of focal planes, the number of the one to read, from 0", validator=at_least(0)
    )
    white: int | None = option(
        None,
        help="the 16-bit sample that is shown as 255, such as 4095 for 12 bits; by default the upper 8 bits are shown",
        validator=in_range(1, 65535),
    )
    cache_mb: int = option(
        64,
        help="decoded tiles and strips kept in memory per open slide",
        unit="MiB",
        validator=in_range(1, 4096),
        affects_output=False,
    )
