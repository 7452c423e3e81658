"""Tiles as JPEG or PNG bytes: the options and the encoder that image sinks share."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Rgb
from slideloom.base.scratch import Scratch
from slideloom.settings.options import Settings, option
from slideloom.settings.ranges import in_range
from slideloom.slides.tiles import TileBatch
from slideloom.steps.sink import Sink

ImageFormat = Literal["jpg", "png"]
Subsampling = Literal["420", "444"]


@frozen
class ImageOptions(Settings[Sink]):
    """Base class for the settings of every sink that stores encoded images."""

    format: ImageFormat = option("jpg", help="image format: small jpg, or png without loss")
    quality: int = option(95, help="JPEG quality", validator=in_range(1, 100))
    subsampling: Subsampling = option(
        "420",
        help="JPEG colour resolution: 420 halves it (as OpenCV and existing datasets do), 444 keeps it",
    )


class ImageEncoder:
    """Encodes tiles according to `ImageOptions`; may be called from several threads at once.

    The core has no image library, so the sink passes in its `cv2` module. With the default options, the bytes are those
    of `cv2.imencode(".jpg", ...)`.
    """

    def __init__(self, cv2: Any, options: ImageOptions) -> None:  # Any: OpenCV cannot be named without importing it
        self._cv2 = cv2
        self._scratch = Scratch()
        self._extension = f".{options.format}"
        self._parameters: list[int] = []
        if options.format == "jpg":
            factor = {"420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444}
            self._parameters = [
                *(cv2.IMWRITE_JPEG_QUALITY, options.quality),
                *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor[options.subsampling]),
            ]

    def _bgr(self, rgb: Rgb) -> Rgb:
        """`rgb` in the channel order of OpenCV, in memory that this thread reuses for every tile."""
        memory = self._scratch.take("bgr", *rgb.shape, dtype=np.uint8)
        bgr: Rgb = self._cv2.cvtColor(rgb, self._cv2.COLOR_RGB2BGR, dst=memory)
        return bgr

    def companions(self, batch: TileBatch) -> list[dict[str, bytes]]:
        """For each tile, its companions by name as the bytes of image files: masks as PNG, others as tiles are."""
        return [
            {name: self._file(pictures[number]) for name, pictures in batch.companions.items()}
            for number in range(len(batch))
        ]

    def _file(self, picture: NDArray[np.uint8]) -> bytes:
        if picture.ndim == 3:
            return self(picture)
        _, encoded = self._cv2.imencode(".png", picture)
        contents: bytes = encoded.tobytes()
        return contents

    def __call__(self, rgb: Rgb) -> bytes:
        """`rgb` (H, W, 3) uint8 as the bytes of an image file."""
        bgr = self._bgr(rgb)
        _, encoded = self._cv2.imencode(self._extension, bgr, self._parameters)
        contents: bytes = encoded.tobytes()
        return contents
