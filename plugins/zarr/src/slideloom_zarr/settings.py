"""Options of the reader."""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import frozen
from slideloom import Reader, Settings, at_least, in_range, option


@frozen
class OmeZarrReader(Settings[Reader]):
    """OME-Zarr slides (0.4 and 0.5) in folders or ZIP files: brightfield RGB, or one chosen channel."""

    name: ClassVar[str] = "ome-zarr"
    step: ClassVar[str] = "slideloom_zarr.files:ZarrFiles"
    install: ClassVar[str] = "slideloom-zarr"
    rank: ClassVar[int] = 17
    opens_folders: ClassVar[bool] = True

    scene: int | None = option(
        None, help="number of the image to show, from 0, if there are several", validator=at_least(0)
    )
    channel: int | None = option(
        None, help="number of a channel to show in grey, from 0, if the image is not RGB", validator=at_least(0)
    )
    plane: int | None = option(
        None, help="number of the focal plane to show, from 0, if there are several", validator=at_least(0)
    )
    rgb: bool = option(False, help="take three channels for red, green and blue though they have other names")
    missing: Literal["auto", "unreadable", "fill"] = option(
        "auto",
        help="chunks that are not there are unreadable, or have the fill value; auto: the latter if that is white",
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
        help="decoded chunks kept in memory per open slide",
        unit="MiB",
        validator=in_range(1, 4096),
        affects_output=False,
    )
