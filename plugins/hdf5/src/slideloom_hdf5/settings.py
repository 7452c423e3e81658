"""Options of the HDF5 sink."""

from __future__ import annotations

from typing import ClassVar, Literal

from attrs import frozen
from slideloom import Settings, Sink, file_name, option

Style = Literal["trident", "clam"]


@frozen
class HDF5(Settings[Sink]):
    """Tile coordinates in HDF5, as input for TRIDENT or CLAM."""

    name: ClassVar[str] = "hdf5"
    step: ClassVar[str] = "slideloom_hdf5.sink:HDF5Sink"
    install: ClassVar[str] = "slideloom-hdf5"
    folder: str = option("hdf5", help="sub-folder of the output folder", validator=file_name)
    style: Style = option(
        "trident",
        help="names, and what patch_size counts: pixels of a tile (trident) or of the level it is read from (clam)",
    )
    images: bool = option(False, help="also store the tiles' pixels, uncompressed")
