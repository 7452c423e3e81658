"""Pictures of slides as Pillow images, which scripts show and save."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from slideloom import Mask, Rgb
from slideloom.drawing.pictures import Picture

if TYPE_CHECKING:
    from PIL.Image import Image


def as_image(picture: Picture | Rgb) -> Image:
    """A picture, or (h, w, 3) uint8 pixels, as a Pillow image."""
    from PIL import Image as pillow  # noqa: N813 - the module is named like its class

    if isinstance(picture, Picture):
        return pillow.open(io.BytesIO(picture.png())).convert("RGB")
    return pillow.fromarray(picture)


def painted(image: Image, mask: Mask, colour: str) -> Image:
    """An image with one colour where a mask of any size, over the same area, is True."""
    from PIL import Image as pillow  # noqa: N813

    where = pillow.fromarray(mask.astype(np.uint8) * 255).resize(image.size, pillow.Resampling.NEAREST)
    done = image.copy()
    done.paste(pillow.new("RGB", image.size, colour), mask=where)
    return done


def squared(image: Image, width: int) -> Image:
    """An image fitted into a white square."""
    from PIL import Image as pillow  # noqa: N813

    fitted = image.copy()
    fitted.thumbnail((width, width))
    square = pillow.new("RGB", (width, width), "white")
    square.paste(fitted, ((width - fitted.width) // 2, (width - fitted.height) // 2))
    return square


def encoded(rgb: Rgb, img_format: str, *, quality: int = 95) -> Rgb | bytes:
    """Pixels as they are ("numpy"), or as the content of a JPEG ("jpg") or PNG file."""
    if img_format == "numpy":
        return rgb
    content = io.BytesIO()
    if img_format == "png":
        as_image(rgb).save(content, "png")
    else:
        as_image(rgb).save(content, "jpeg", quality=quality, subsampling=0)
    return content.getvalue()
