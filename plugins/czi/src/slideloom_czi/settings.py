"""Options of the reader."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Reader, Settings, at_least, in_range, option


@frozen
class CziReader(Settings[Reader]):
    """Zeiss CZI slides that OpenSlide does not read: a chosen scene, channel or focal plane, 16 bits."""

    name: ClassVar[str] = "czi"
    step: ClassVar[str] = "slideloom_czi.slide:CziFiles"
    install: ClassVar[str] = "slideloom-czi"
    rank: ClassVar[int] = 16

    scene: int | None = option(None, help="number of the scene to show, if there are several", validator=at_least(0))
    channel: int | None = option(
        None, help="number of a channel to show in grey, from 0, if the slide is not RGB", validator=at_least(0)
    )
    plane: int | None = option(
        None, help="number of the focal plane to show, from 0, if there are several", validator=at_least(0)
    )
    low: int = option(0, help="stored value to show as black, where samples have 16 bits", validator=at_least(0))
    high: int = option(65535, help="stored value to show as white, where samples have 16 bits", validator=at_least(1))
    cache_mb: int = option(
        64,
        help="pixels kept in memory per open slide",
        unit="MiB",
        validator=in_range(1, 4096),
        affects_output=False,
    )
