"""Pixels of masks that anybody made: PNG, TIFF and NumPy files, read at bounded size."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from attrs import frozen
from numpy.typing import NDArray
from PIL import PngImagePlugin
from slideloom import Size, SlideError

Values = NDArray[Any]  # (h, w) of bool or whole numbers

_MOST_PNG_PX = 400_000_000  # a PNG has to be decoded whole
_CHECKED_SEGMENTS = 12


@frozen
class MaskImage:
    """The pixels of a mask.

    Attributes:
        values: (h, w), what was read.
        stored: size of the mask in the file.
        covered: how many of its stored pixels, along x and y, `values` stands for: at least `stored`.
        note: a sentence for the report, or "".
    """

    values: Values
    stored: Size
    covered: tuple[float, float]
    note: str = ""


def read_mask_image(path: Path, *, max_px: int) -> MaskImage:
    """The mask in a file, with at most `max_px` pixels along each side.

    Of a larger one, a smaller level of the file is read if it holds nothing but values of the largest; else every
    second, third and so on pixel of the largest level. Memory is bounded by the result, but for PNG files.

    Raises:
        SlideError: it cannot be read, or is no mask.
    """
    try:
        if path.suffix.lower() == ".png":
            return _from_png(path, max_px)
        return _from_npy(path, max_px) if path.suffix.lower() == ".npy" else _from_tiff(path, max_px)
    except _NoMask as error:
        raise SlideError(f"{path}: is no mask: {error}") from None
    except (OSError, ValueError, EOFError, SyntaxError, IndexError, KeyError, RuntimeError, MemoryError) as error:
        raise SlideError(f"{path}: the mask cannot be read ({error}); make it again, as PNG for example") from error


class _NoMask(Exception):
    """A file holds something else; the message says what, and how it becomes a mask."""


def _strided(values: Values, max_px: int) -> MaskImage:
    """Every n-th pixel, from the middle of n x n."""
    height, width = values.shape
    step = ceil(max(height, width) / max_px)
    rows, columns = _picked(height, step), _picked(width, step)
    chosen = values if step == 1 else np.ascontiguousarray(values[rows][:, columns])
    note = "" if step == 1 else f"of {width} x {height} pixels, every {_ordinal(step)} was read"
    return MaskImage(chosen, Size(width, height), (len(columns) * step, len(rows) * step), note)


def _picked(count: int, step: int) -> NDArray[np.int64]:
    return np.minimum(np.arange(0, count, step, dtype=np.int64) + step // 2, count - 1)


def _ordinal(step: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(step, f"{step}th")


def _checked(values: Values) -> Values:
    """(h, w) of bool or whole numbers.

    Raises:
        _NoMask: it is something else.
    """
    found = values
    if found.ndim == 3 and found.shape[-1] in (2, 4):
        if (found[..., -1] != np.iinfo(found.dtype).max).any():
            raise _NoMask("it is partly transparent; store the mask itself, in grey")
        found = found[..., :-1]
    if found.ndim == 3 and found.shape[-1] in (1, 3):
        if any((found[..., 0] != found[..., channel]).any() for channel in range(1, found.shape[-1])):
            raise _NoMask("it is in colour; store the number of each class, in grey or with a palette")
        found = found[..., 0]
    if found.ndim != 2 or not found.size:
        raise _NoMask(f"an array of shape {values.shape}; wanted is one number per pixel (height, width)")
    if found.dtype.kind not in "bui":
        raise _NoMask(f"its pixels are {found.dtype}; apply the threshold first, and store whole numbers")
    return found


def _from_npy(path: Path, max_px: int) -> MaskImage:
    return _strided(_checked(np.load(path, mmap_mode="r", allow_pickle=False)), max_px)


def _from_png(path: Path, max_px: int) -> MaskImage:
    with PngImagePlugin.PngImageFile(path) as image:  # Image.open would refuse what is large
        if image.width * image.height > _MOST_PNG_PX:
            raise _NoMask(
                f"{image.width} x {image.height} pixels are too many for a PNG, which is decoded whole; store it as "
                "tiled TIFF, or smaller"
            )
        values = np.asarray(image)  # of an image with a palette, the numbers
    return _strided(_checked(values), max_px)


def _from_tiff(path: Path, max_px: int) -> MaskImage:
    with tifffile.TiffFile(path) as file:
        levels = _levels(file)
        largest, *smaller = levels
        stored = Size(largest.imagewidth, largest.imagelength)
        if max(stored.width, stored.height) <= max_px:
            return MaskImage(_whole(largest, 1), stored, (stored.width, stored.height))
        for level in smaller:
            if max(level.imagewidth, level.imagelength) <= max_px:
                found = _whole(level, 1)
                if _is_sampled(found, largest):
                    note = f"its level of {level.imagewidth} x {level.imagelength} pixels was read"
                    return MaskImage(found, stored, (stored.width, stored.height), note)
                break
        step = ceil(max(stored.width, stored.height) / max_px)
        found = _whole(largest, step)
        note = f"of {stored.width} x {stored.height} pixels, every {_ordinal(step)} was read"
        return MaskImage(found, stored, (found.shape[1] * step, found.shape[0] * step), note)


def _levels(file: tifffile.TiffFile) -> list[Any]:
    """The pages that are the same mask at different sizes, the largest first. Any: pages of tifffile."""
    first: Any = file.pages[0]
    within = list(first.pages) if first.subifds else []
    pages: list[Any] = [first, *within, *(file.pages[i] for i in range(1, len(file.pages)))]
    shape = first.imagewidth / first.imagelength
    same = [
        page
        for page in pages[1:]
        if page.imagewidth < first.imagewidth
        and abs(page.imagewidth / page.imagelength / shape - 1) < 2 / min(page.imagewidth, page.imagelength)
    ]
    if len(pages) > 1 and len(same) < len(pages) - 1:
        other = next(page for page in pages[1:] if page not in same)
        if (other.imagewidth, other.imagelength) == (first.imagewidth, first.imagelength):
            raise _NoMask(f"it has {len(pages)} pictures of the same size; store one mask, with a number per class")
    return [first, *sorted(same, key=lambda page: -page.imagewidth)]


def _whole(page: Any, step: int) -> Values:
    """All of a page, or every `step`-th pixel of it, segment by segment."""
    height, width = page.imagelength, page.imagewidth
    rows, columns = _picked(height, step), _picked(width, step)
    result: Values | None = None
    for top, left, pixels in _segments(page):
        if result is None:
            result = np.zeros((len(rows), len(columns)), pixels.dtype)
        y = np.flatnonzero((rows >= top) & (rows < top + pixels.shape[0]))
        x = np.flatnonzero((columns >= left) & (columns < left + pixels.shape[1]))
        if len(y) and len(x):
            result[y[0] : y[-1] + 1, x[0] : x[-1] + 1] = pixels[rows[y] - top][:, columns[x] - left]
    if result is None:  # every tile of a sparse file is left out
        return np.zeros((len(rows), len(columns)), np.uint8)
    white_is_zero = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and page.bitspersample == 1
    return ~result.astype(bool) if white_is_zero else result


def _segments(page: Any) -> Iterator[tuple[int, int, Values]]:
    """The decoded tiles or strips of a page with their places, cut to the page; those that are left out are zero."""
    if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        raise _NoMask(f"it has {page.samplesperpixel} planes; store one number per pixel")
    for decoded, (_, _, top, left, _), shape in page.segments(maxworkers=1):
        if decoded is None:
            continue
        pixels = decoded.reshape(decoded.shape[1:])[: shape[1], : shape[2]]
        yield top, left, _checked(pixels[: page.imagelength - top, : page.imagewidth - left])


def _is_sampled(values: Values, largest: Any) -> bool:
    """True if a smaller level holds, where classes meet, only values that the largest has there.

    A level of averages would have others: between 1 and 3, the class 2.
    """
    height, width = values.shape
    scale_y, scale_x = largest.imagelength / height, largest.imagewidth / width
    seen = 0
    for top, left, pixels in _segments(largest):
        if seen == _CHECKED_SEGMENTS:
            return True
        if pixels.min() == pixels.max():
            continue
        seen += 1
        first_y, last_y = ceil(top / scale_y), int((top + pixels.shape[0]) / scale_y)
        first_x, last_x = ceil(left / scale_x), int((left + pixels.shape[1]) / scale_x)
        part = values[first_y:last_y, first_x:last_x]
        is_there = np.zeros(part.shape, np.bool_)
        for value in np.unique(pixels):
            # Of the block of each pixel, with a margin of one for other ways to round.
            count = np.pad(np.cumsum(np.cumsum(pixels == value, axis=0), axis=1), ((1, 0), (1, 0)))
            y0, y1 = _edges(first_y, last_y, scale_y, top, pixels.shape[0])
            x0, x1 = _edges(first_x, last_x, scale_x, left, pixels.shape[1])
            inside = count[y1][:, x1] - count[y0][:, x1] - count[y1][:, x0] + count[y0][:, x0]
            is_there |= (part == value) & (inside > 0)
        if not is_there.all():
            return False
    return True


def _edges(first: int, last: int, scale: float, start: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the blocks of some pixels begin and end within a segment, with a margin of one."""
    at = np.arange(first, last)
    begin = np.floor(at * scale).astype(np.int64) - start - 1
    end = np.ceil((at + 1) * scale).astype(np.int64) - start + 1
    return np.clip(begin, 0, count), np.clip(end, 0, count)
