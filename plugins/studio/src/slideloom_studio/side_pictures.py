"""Label and macro images beside a slide, for those who ask for them: they may hold a patient's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from slideloom.base.addresses import SlidePlace
from slideloom.base.geometry import Rgb

from slideloom_studio.calls import Refused

_MOST_PX = 50_000_000  # of a picture in the file; a label has a hundredth of that
_LARGEST = 1024  # along a side, as it is shown


def picture_names(path: SlidePlace) -> list[str]:
    """The names of the pictures in a slide's file, such as "label" and "macro"; none where OpenSlide reads none."""
    with _opened(path) as slide:
        return [] if slide is None else sorted(slide.associated_images)


def side_picture(path: SlidePlace, name: str) -> Rgb:
    """A picture, at most 1024 pixels along a side: (h, w, 3) uint8.

    Raises:
        Refused: there is none of that name, or it is too large to be one.
    """
    with _opened(path) as slide:
        known: Any = {} if slide is None else slide.associated_images
        if name not in known:
            raise Refused(404, f"the slide has no picture {name[:40]!r}")
        picture = known[name]
        if picture.width * picture.height > _MOST_PX:
            raise Refused(422, f"the picture {name!r} has {picture.width} x {picture.height} pixels, too many to show")
        shown = picture.convert("RGB")
        shown.thumbnail((_LARGEST, _LARGEST))
        rgb: Rgb = np.asarray(shown)
        return rgb


@contextmanager
def _opened(path: SlidePlace) -> Iterator[Any]:
    """The file in OpenSlide, or None where that is not installed or does not read it."""
    if not isinstance(path, Path) or find_spec("openslide") is None:
        yield None
        return
    import openslide

    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideError:
        yield None
        return
    with closing(slide):
        yield slide
