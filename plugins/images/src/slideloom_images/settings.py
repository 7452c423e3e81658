"""Options of the sink of loose image files."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import ImageOptions, file_name, option


@frozen
class Images(ImageOptions):
    """Loose JPEG or PNG files, one folder per slide."""

    name: ClassVar[str] = "images"
    step: ClassVar[str] = "slideloom_images.sink:ImageSink"
    install: ClassVar[str] = "slideloom-images"
    makes_folders: ClassVar[bool] = True
    folder: str = option("tiles", help="sub-folder of the output folder", validator=file_name)
