"""ICC profiles of slides: their names, and slides whose colours are transformed by them to sRGB.

Scanners store colours of their own, and a profile that says what they are. Pillow's ImageCms, which is LittleCMS, does
the transform, with the intent that the profile asks for.

Source: ICC.1:2022 (profiles); IEC 61966-2-1 (sRGB).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from attrs import evolve

from slideloom.base.errors import PluginError, SlideError
from slideloom.base.geometry import Box, Point, Rgb, Size
from slideloom.base.naming import option_name
from slideloom.pixels.mosaic import Mosaic
from slideloom.slides.slide import Slide

NO_PROFILE = "none"
"""What stands for the name of a profile where a file has none."""

_MOST_NAME = 100  # characters


def profile_name(profile: bytes) -> str:
    """The description of an ICC profile, such as "ScanScope v1".

    Raises:
        PluginError: Pillow, which reads profiles, is not installed.
        ValueError: the profile is damaged.
    """
    cms = _image_cms()
    size = int.from_bytes(profile[:4], "big")
    if size > len(profile):
        raise ValueError(f"its ICC profile of {len(profile)} bytes is damaged (it says that it has {size})")
    try:
        found = cms.getProfileDescription(_opened(cms, profile))
    except (cms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise ValueError(f"its ICC profile of {len(profile)} bytes is damaged ({error})") from error
    return " ".join(str(found).split())[:_MOST_NAME] or "unnamed"


def in_srgb(slide: Slide) -> Slide:
    """The slide with its colours transformed to sRGB; the slide itself if its file has no profile.

    Its `info.icc` says which profile was used. Closing it closes the slide.

    Raises:
        PluginError: Pillow is not installed.
        SlideError: the profile cannot be used.
    """
    profile = slide.icc_profile()
    if profile is None:
        slide.info = evolve(slide.info, icc=NO_PROFILE)
        return slide
    name = slide.info.path.name
    try:
        description = profile_name(profile)
    except ValueError as error:
        raise SlideError(f"{name}: {error}; {_remedy()}") from error
    return SrgbSlide(slide, SrgbTransform(profile, slide=name, description=description), description=description)


def _remedy() -> str:
    return f"leave out {option_name('slides', 'icc')} to keep its colours as they are"


class SrgbTransform:
    """From a profile's colours to sRGB. Thread-safe.

    Args:
        profile: an ICC profile.
        slide: name of its file, for messages.
        description: its name.

    Raises:
        SlideError: it is not one of RGB, or cannot be used for images.
    """

    def __init__(self, profile: bytes, *, slide: str, description: str) -> None:
        cms = _image_cms()
        try:
            source = _opened(cms, profile)
            space = source.profile.xcolor_space.strip()
            if space != "RGB":
                raise SlideError(f"{slide}: its ICC profile '{description}' is of {space}, not RGB; {_remedy()}")
            self._transform = cms.buildTransform(
                source, cms.createProfile("sRGB"), "RGB", "RGB", renderingIntent=cms.getDefaultIntent(source)
            )
        except (cms.PyCMSError, OSError, ValueError, TypeError) as error:
            problem = f"its ICC profile '{description}' cannot be used ({error})"
            raise SlideError(f"{slide}: {problem}; {_remedy()}") from error

    def __call__(self, rgb: Rgb) -> Rgb:
        """(h, w, 3) uint8, in new memory."""
        from PIL import Image

        height, width = rgb.shape[:2]
        image = Image.frombuffer("RGB", (width, height), np.ascontiguousarray(rgb), "raw", "RGB", 0, 1)
        return np.asarray(self._transform.apply(image))


class SrgbSlide(Slide):
    """A slide whose pixels are another one's, transformed to sRGB; the background is, too."""

    def __init__(self, slide: Slide, transform: SrgbTransform, *, description: str) -> None:
        self._slide, self._transform = slide, transform
        self.identity = slide.identity
        self.thread_safe = slide.thread_safe  # type: ignore[misc]  # each slide has that of the one it is made of
        plain = np.array(slide.info.background, np.uint8).reshape(1, 1, 3)
        red, green, blue = transform(plain)[0, 0].tolist()
        self.info = evolve(slide.info, icc=description, background=(red, green, blue))

    def icc_profile(self) -> bytes | None:
        """See `Slide.icc_profile`."""
        return self._slide.icc_profile()

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`."""
        return self._transform(self._slide.read(origin, level, size))

    def read_each(self, origins: Sequence[Point], level: int, size: Size) -> Iterator[Rgb | Mosaic | SlideError]:
        """See `Slide.read_each`."""
        for found in self._slide.read_each(origins, level, size):
            if isinstance(found, SlideError):
                yield found
            else:
                yield self._transform(found.image() if isinstance(found, Mosaic) else found)

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `Slide.resample`."""
        return self._slide.resample(rgb, box=box, size=size)

    def resample_into(self, source: Rgb | Mosaic, *, box: Box, out: Rgb) -> None:
        """See `Slide.resample_into`."""
        self._slide.resample_into(source, box=box, out=out)

    def close(self) -> None:
        """Release the file."""
        self._slide.close()


def _image_cms() -> Any:  # Any: a module
    try:
        from PIL import ImageCms
    except ImportError as error:
        raise PluginError(
            f"ICC profiles are read by Pillow, which cannot be used ({error}): pip install pillow"
        ) from error
    return ImageCms


def _opened(cms: Any, profile: bytes) -> Any:  # Any: Pillow's profile
    return cms.ImageCmsProfile(io.BytesIO(profile))
