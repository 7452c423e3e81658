"""The slide model: what a reader delivers, and how the core turns level-0 boxes into pixels."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, wraps
from math import ceil, floor
from typing import Any, ClassVar, TypeVar

import numpy as np
from attrs import evolve
from numpy.typing import NDArray

from slideloom.base.closing import Closing
from slideloom.base.errors import PluginError, SlideError, SlideloomError
from slideloom.base.geometry import Box, Point, Rgb, Size
from slideloom.base.system_errors import in_words
from slideloom.pixels.mosaic import Mosaic
from slideloom.pixels.resampling import resample
from slideloom.slides.info import Resolution, SlideInfo
from slideloom.slides.kept_images import KeptImages
from slideloom.slides.tiles import read_only

# A single read is never larger than this, so that a slide without a pyramid fits in memory.
MAX_READ_PX = 4096 * 4096
# Memory for images that show most of the slide, and for the levels that they were made from, until the slide is closed.
# An image of 3072 pixels along each side, the largest that slide QC reads, takes 28 MB, and masks of it 9 MB each.
KEPT_BYTES, KEPT_IMAGE_BYTES = 40_000_000, 30_000_000

ScalarT = TypeVar("ScalarT", bound=np.generic)


class Slide(Closing, ABC):
    """An open slide. Made by `Reader.open`; a subclass sets `info` and implements `read`.

    `read` may be called from several threads at once. If `thread_safe` is False, the core holds a lock instead.
    """

    thread_safe: ClassVar[bool] = True
    exact_parts: ClassVar[bool] = False
    """True if a read of any part of any level is that part of a larger read, pixel by pixel."""
    info: SlideInfo
    is_closed: bool = False
    identity: list[object] | None = None
    """What tells whether the slide's file has changed, where that is not a local file; else None."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        """Wrap the reader's `close`, so that reading a closed slide is always an error."""
        super().__init_subclass__(**arguments)
        if "close" in cls.__dict__:
            cls.close = _completed(cls.close)  # type: ignore[method-assign, assignment]

    def __repr__(self) -> str:
        info: SlideInfo | None = getattr(self, "info", None)  # a reader may fail before it sets this
        if info is None:
            return f"<{type(self).__name__}>"
        mpp = f"{info.mpp.mean:g} um per pixel" if info.mpp is not None else "mpp unknown"
        return f"<{type(self).__name__} {info.name}: {info.size.width} x {info.size.height}, {mpp}>"

    @abstractmethod
    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """Pixels of one level.

        Args:
            origin: top left, in pixels *of that level*; may lie outside the slide.
            level: index into `info.levels`.
            size: in pixels of that level.

        Returns:
            (size.height, size.width, 3) uint8. Outside the slide and where nothing was scanned:
            `info.background`.

        Raises:
            SlideError: these pixels cannot be read (damaged file).
        """

    def read_many(self, origins: Sequence[Point], level: int, size: Size) -> list[Rgb | SlideError]:
        """`read` at many origins; if one cannot be read, its error is returned instead of pixels.

        A reader that can share work between neighbours overrides this. Results may be read-only views.
        """
        results: list[Rgb | SlideError] = []
        for origin in origins:
            try:
                results.append(self.read(origin, level, size))
            except SlideError as error:
                results.append(error)
        return results

    def read_each(self, origins: Sequence[Point], level: int, size: Size) -> Iterator[Rgb | Mosaic | SlideError]:
        """`read_many`, one result at a time: an image may be overwritten when the next one is requested.

        A reader overrides this if it can reuse the same memory for all images. A reader whose tiles have one size may
        return a `Mosaic` whose window is the requested area, which saves a copy.
        """
        yield from self.read_many(origins, level, size)

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """`slideloom.pixels.resampling.resample`; readers with a native image library return a faster equivalent."""
        return resample(rgb, box=box, size=size)

    def resample_into(self, source: Rgb | Mosaic, *, box: Box, out: Rgb) -> None:
        """Resample an image, or the window of a mosaic, into `out` and to its size."""
        rgb = source.image() if isinstance(source, Mosaic) else source
        out[...] = self.resample(rgb, box=box, size=Size(out.shape[1], out.shape[0]))

    def icc_profile(self) -> bytes | None:
        """The ICC profile of the slide's colours, as the file holds it; None if it holds none, or nobody knows.

        Called where colours are to become sRGB, and by `slideloom info`; it may read the file.

        Raises:
            SlideError: it cannot be read.
        """
        return None

    def close(self) -> None:
        """Release the file. Called once; reading the slide afterwards is an error."""
        self.is_closed = True
        self.__dict__.pop("_kept", None)
        for finish in self.__dict__.pop("_finishes", ()):
            finish()

    def when_closed(self, finish: Callable[[], object]) -> None:
        """Call a function when the slide is closed, at the latest when it is no longer used or the program ends."""
        self.__dict__.setdefault("_finishes", []).append(weakref.finalize(self, finish))

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise SlideError(f"{self.info.path.name}: the slide was closed; open it again before reading")

    def read_at(self, box: Box, size: Size, *, level: int | None = None) -> Rgb:
        """The slide within a level-0 box, resampled to `size` with sub-pixel accuracy.

        Args:
            box: in level-0 pixels; may reach outside the slide, which is `info.background` there.
            size: of the result in pixels.
            level: the level to read; by default the coarsest that does not have to be enlarged.

        Returns:
            (size.height, size.width, 3) uint8.

        Raises:
            SlideError: pixels cannot be read.
        """
        rgb = self.image_at(box, size, level=level)
        return rgb.copy() if self._is_overview(box) else rgb

    def image_at(self, box: Box, size: Size, *, level: int | None = None) -> Rgb:
        """`read_at` for those who only look: an image of most of the slide is read-only, and others get the same."""
        if level is None:
            level = self.info.level_for(min(box.width / size.width, box.height / size.height))
        if not self._is_overview(box):
            return self._read_now(box, size, level)
        self._refuse_if_closed()
        return read_only(self._kept.made((box, size, level), lambda: self._read_overview(box, size, level)))

    def shared(self, key: Hashable, make: Callable[[], NDArray[ScalarT]]) -> NDArray[ScalarT]:
        """What several steps compute from a picture of the slide, such as a mask: computed once, if memory allows.

        Args:
            key: says what it is and everything that it depends on besides the slide; starts with the name of the
                package that makes it.
            make: returns it, as an array that nobody writes to any more.

        Returns:
            A read-only array.
        """
        self._refuse_if_closed()
        return read_only(self._kept.made(("shared", key), make))

    def give_back_memory(self) -> None:
        """Give back memory that only makes the next reads faster, such as that of decoded tiles.

        Called between one use of the slide and another, such as after each slide QC. For readers with a cache.
        """

    def forget_images(self, *, but_of: int | None = None) -> None:
        """Give back the memory of the images that the slide keeps; whoever asks for one again has it read again.

        Args:
            but_of: a level whose pixels stay, because tiles are cut from them.
        """
        self._kept.forget(but_of=but_of)

    def _is_overview(self, box: Box) -> bool:
        """True for a box with most of the slide's width and height, which other steps will probably read, too."""
        seen = box.intersection(self.info.box)
        return seen is not None and 2 * seen.width >= self.info.size.width and 2 * seen.height >= self.info.size.height

    @cached_property
    def _kept(self) -> KeptImages:
        return KeptImages(KEPT_BYTES, most_image_bytes=KEPT_IMAGE_BYTES)

    def _read_overview(self, box: Box, size: Size, level: int) -> Rgb:
        rgb = self._read_now(box, size, level)
        self.give_back_memory()  # whoever wants the same pixels gets the image, or the part that it was made from
        return rgb

    def _read_now(self, box: Box, size: Size, level: int) -> Rgb:
        stored = self.info.levels[level]
        (origin,), (within,), reach = _placed([box], x=1 / stored.downsample_x, y=1 / stored.downsample_y)
        if within.width * within.height > MAX_READ_PX and size.area > 1:
            return self._read_in_parts(box, size, level)
        if not self._is_overview(box) or 3 * reach.area > KEPT_BYTES // 2:
            return self.read_boxes([box], size, level=level)[0]
        # Images of several sizes are made from the same pixels of one level.
        source = self._kept.part(level, origin, reach, lambda: self._copied(origin, level, reach))
        rgb = np.empty((size.height, size.width, 3), np.uint8)
        self.resample_into(source, box=within, out=rgb)
        return rgb

    def _copied(self, origin: Point, level: int, size: Size) -> Rgb:
        """Pixels of one level in new memory."""
        for found in self._checked([origin], level, size):
            if isinstance(found, SlideError):
                raise found
            return found.image() if isinstance(found, Mosaic) else found.copy()
        raise AssertionError("_checked counts what it gives")

    def _read_in_parts(self, box: Box, size: Size, level: int) -> Rgb:
        result = np.empty((size.height, size.width, 3), np.uint8)
        stored = self.info.levels[level]
        step_x, step_y = box.width / size.width, box.height / size.height
        side = MAX_READ_PX**0.5
        columns = max(1, floor(side * stored.downsample_x / step_x))
        rows = max(1, floor(side * stored.downsample_y / step_y))
        for top in range(0, size.height, rows):
            for left in range(0, size.width, columns):
                part = Size(min(columns, size.width - left), min(rows, size.height - top))
                where = Box(box.x + left * step_x, box.y + top * step_y, part.width * step_x, part.height * step_y)
                result[top : top + part.height, left : left + part.width] = self.read_boxes([where], part, level=level)[
                    0
                ]
        return result

    def read_boxes(self, boxes: Sequence[Box], size: Size, *, level: int | None = None) -> list[Rgb]:
        """`read_at` for many boxes of one width and height, from one level.

        Args:
            boxes: as those of `read_at`.
            size: of each result in pixels.
            level: the level to read; by default as `read_at` chooses it.

        Raises:
            SlideError: one of them cannot be read.
        """
        if level is None and boxes:
            first = boxes[0]
            level = self.info.level_for(min(first.width / size.width, first.height / size.height))
            stored = self.info.levels[level]
            is_large = first.width * first.height > MAX_READ_PX * stored.downsample_x * stored.downsample_y
            if is_large or any(self._is_overview(box) for box in boxes):
                return [self.read_at(box, size, level=level) for box in boxes]
        results = []
        for result in self.try_read_boxes(boxes, size, level=level or 0):
            if isinstance(result, SlideError):
                raise result
            results.append(result)
        return results

    def try_read_boxes(self, boxes: Sequence[Box], size: Size, *, level: int) -> list[Rgb | SlideError]:
        """`read_boxes`, but returns the error of an unreadable box. All boxes have the same width and height."""
        images = [np.empty((size.height, size.width, 3), np.uint8) for _ in boxes]
        errors = self.read_into(boxes, images, level=level)
        return [image if error is None else error for image, error in zip(images, errors, strict=True)]

    def read_into(self, boxes: Sequence[Box], images: Sequence[Rgb], *, level: int) -> list[SlideError | None]:
        """`try_read_boxes` into existing memory.

        Args:
            boxes: in level-0 pixels, all of the same width and height.
            images: one per box, each (h, w, 3) uint8, all of one size; written to.
            level: the level to read.

        Returns:
            For each box None, or the error; its image is then unchanged or half-written.
        """
        if not boxes:
            return []
        stored = self.info.levels[level]
        origins, within, reach = _placed(boxes, x=1 / stored.downsample_x, y=1 / stored.downsample_y)
        self._refuse_if_closed()
        if self.exact_parts and (held := self._kept.windows(level, origins, reach)):
            return self._resampled(held, within, images)
        with self._naming_reader():
            return self.read_resampled(origins, level, reach, boxes=within, images=images)

    def read_resampled(
        self, origins: Sequence[Point], level: int, size: Size, *, boxes: Sequence[Box], images: Sequence[Rgb]
    ) -> list[SlideError | None]:
        """`read_into` for windows of one `size` at origins in `level`, each with a box in pixels from its origin.

        A reader whose pixels stay valid for several windows may resample these together.
        """
        return self._resampled(self._checked(origins, level, size), boxes, images)

    def _resampled(
        self, pixels: Iterable[Rgb | Mosaic | SlideError], boxes: Sequence[Box], images: Sequence[Rgb]
    ) -> list[SlideError | None]:
        errors: list[SlideError | None] = []
        for found, box, image in zip(pixels, boxes, images, strict=True):
            if isinstance(found, SlideError):
                errors.append(found)
            else:
                self.resample_into(found, box=box, out=image)
                errors.append(None)
        return errors

    def _checked(self, origins: Sequence[Point], level: int, size: Size) -> Iterator[Rgb | Mosaic | SlideError]:
        """`read_each`, with an error that names the reader if it breaks its contract."""
        self._refuse_if_closed()
        who, slide = f"reader '{self.info.reader}'", self.info.name
        shape, count = (size.height, size.width, 3), 0
        with self._naming_reader():
            for found in self.read_each(origins, level, size):
                count += 1
                if count > len(origins):
                    break
                if isinstance(found, Mosaic):
                    if found.window != size:
                        raise PluginError(
                            f"{who} broke its contract on slide {slide}: wanted {size}, got {found.window}"
                        )
                elif not isinstance(found, SlideError) and (found.shape != shape or found.dtype != np.uint8):
                    wanted = f"wanted {shape} uint8, got {found.shape} {found.dtype}"
                    raise PluginError(f"{who} broke its contract on slide {slide}: {wanted}")
                yield found
        if count != len(origins):
            wanted = f"wanted {len(origins)} images, got {count if count < len(origins) else 'more'}"
            raise PluginError(f"{who} broke its contract on slide {slide}: {wanted}")

    @contextmanager
    def _naming_reader(self) -> Iterator[None]:
        """A context in which errors that are not ours name the reader and the slide."""
        try:
            yield
        except (SlideloomError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            who = f"reader '{self.info.reader}'"
            raise PluginError(f"{who} failed on slide {self.info.name}: {in_words(error)}") from error

    def thumbnail(self, *, max_px: int | None = None, mpp: float | None = None) -> Rgb:
        """The whole slide at low resolution.

        Args:
            max_px: largest width and height; or
            mpp: the resolution in microns per pixel, if the slide's own is known.

        Returns:
            (h, w, 3) uint8, at least 1 x 1 and never larger than level 0.
        """
        return self.read_at(self.info.box, self.info.thumbnail_size(max_px=max_px, mpp=mpp))

    def use_mpp(self, mpp: Resolution) -> None:
        """Use `mpp` as the slide's resolution from now on."""
        self.info = evolve(self.info, mpp=mpp)


def _placed(boxes: Sequence[Box], *, x: float, y: float) -> tuple[list[Point], list[Box], Size]:
    """Boxes times `x` and `y`: their first pixels, the boxes from there, and the size in pixels that contains each.

    Edges within 1e-6 of a whole pixel count as on it, so that rounding errors do not cost a column.
    """
    origins, within = [], []
    across = down = 0
    for box in boxes:
        left, top, width, height = box.x * x, box.y * y, box.width * x, box.height * y
        first_x, first_y = floor(left + 1e-6), floor(top + 1e-6)
        origins.append(Point(first_x, first_y))
        within.append(Box(left - first_x, top - first_y, width, height))
        across = max(across, ceil(left + width - 1e-6) - first_x)
        down = max(down, ceil(top + height - 1e-6) - first_y)
    return origins, within, Size(across, down)


def _completed(close: Callable[[Any], None]) -> Callable[[Any], None]:
    """A `close` that calls the reader's and then marks the slide as closed."""

    @wraps(close)
    def closing(slide: Slide) -> None:
        try:
            close(slide)
        finally:
            Slide.close(slide)

    return closing
