"""iSyntax slides: pixels are put together from wavelet coefficients."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import (
    KeptImages,
    Level,
    NativeResampler,
    Reader,
    Rgb,
    Size,
    Slide,
    SlideError,
    SlideInfo,
    slide_name,
)
from slideloom_formats.formats_apart import is_isyntax
from slideloom_formats.grid_slide import GridSlide, TileGrid
from slideloom_formats.openable import check_kind, unreadable

from slideloom_isyntax.code_blocks import SIDE, DamagedBlock, coefficients
from slideloom_isyntax.header import PAD, Damaged, Header, Unread, read_header
from slideloom_isyntax.settings import ISyntaxReader
from slideloom_isyntax.tables import LEVELS_OF_CHUNK, Places, read_places
from slideloom_isyntax.wavelet import Plane, in_rgb, merged

_resample = NativeResampler(cv2)
_DAMAGED = "it is damaged or cut short: copy it again from its source"
_TILE = Size(512, 512)  # read at once
_STORED = 2 * SIDE  # pixels along a side of a tile whose coefficients a code block holds
_WHITE = 255

_Span = tuple[int, int]  # first, and the one behind the last


class ISyntaxFiles(Reader):
    """Opens iSyntax slides.

    Args:
        settings: how much memory to use.
    """

    def __init__(self, settings: ISyntaxReader) -> None:
        self._settings = settings

    def recognises(self, path: Path) -> bool:
        """True for a file that begins as the header of an iSyntax file does."""
        try:
            return is_isyntax(path)
        except OSError:
            return False

    def open(self, path: Path) -> Slide:
        """See `Reader.open`."""
        check_kind(path, "iSyntax", self.recognises)
        try:
            header = read_header(path)
            places = read_places(path, header)
            file = path.open("rb", buffering=0)
        except Damaged as error:
            raise SlideError(f"{path.name}: {error}; {_DAMAGED}") from error
        except Unread as error:
            remedy = "export it as TIFF with Philips' software"
            raise SlideError(f"{path.name}: {error}; {remedy}") from error
        except OSError as error:
            raise unreadable(path, error) from error
        return ISyntaxSlide(path, file, header, places, self._settings)


class ISyntaxSlide(GridSlide):
    """An open slide. Tiles that are not stored are white.

    Args:
        path: of the file.
        file: open, and closed with the slide.
        header: of it.
        places: of its code blocks.
        settings: how much memory to use.
    """

    def __init__(self, path: Path, file: BinaryIO, header: Header, places: Places, settings: ISyntaxReader) -> None:
        self._name, self._file, self._lock = path.name, file, threading.Lock()
        self._header, self._stored_at = header, places
        self._blocks = KeptImages(settings.cache_mb << 20)
        sizes = [Size(header.size.width >> scale, header.size.height >> scale) for scale in range(header.levels)]
        sizes = [size for size in sizes if size.area]
        grids = [TileGrid(size, _TILE) for size in sizes]
        super().__init__(grids, cache_bytes=settings.cache_mb << 20, resampler=_resample)
        self.info = SlideInfo(
            path=path,
            name=slide_name(path),
            reader="isyntax",
            levels=tuple(Level(size, 1 << scale, 1 << scale) for scale, size in enumerate(sizes)),
            mpp=header.resolution,
            odd_mpp=header.odd_resolution,
            vendor="philips",
            properties=header.properties,
        )

    def decode(self, level: int, column: int, row: int) -> Rgb | None:
        """See `GridSlide.decode`."""
        size = self.info.levels[level].size
        shift = _shift(self._header.levels, level)
        left, top = column * _TILE.width, row * _TILE.height
        width, height = min(_TILE.width, size.width - left), min(_TILE.height, size.height - top)
        rows, columns = (top + shift, top + shift + height), (left + shift, left + shift + width)
        self._refuse_lost(level, rows, columns)
        stored = _part(self._stored_at.known[level], rows, columns)
        if not stored.any():
            return None
        shown = in_rgb(np.stack([self._picture(color, level, rows, columns) for color in range(3)]))
        if not stored.all():
            first = rows[0] % _STORED, columns[0] % _STORED
            pixels = stored.repeat(_STORED, axis=0).repeat(_STORED, axis=1)
            shown[~pixels[first[0] : first[0] + height, first[1] : first[1] + width]] = _WHITE
        tile: Rgb = np.full((_TILE.height, _TILE.width, 3), _WHITE, np.uint8)
        tile[:height, :width] = shown
        return tile

    def icc_profile(self) -> bytes | None:
        """See `Slide.icc_profile`."""
        try:
            return self._header.icc_profile()
        except Damaged as error:
            raise SlideError(f"{self._name}: {error}; {_DAMAGED}") from error

    def give_back_memory(self) -> None:
        """See `Slide.give_back_memory`."""
        self._blocks.forget()

    def close(self) -> None:
        """Release the file, as soon as a running read is done."""
        with self._lock:
            self._file.close()

    def _refuse_lost(self, level: int, rows: _Span, columns: _Span) -> None:
        # Pixels beside such a tile are made from coefficients of it, up to the coarsest level that is stored with it.
        reach = 6 << min(self._header.levels - 1 - level, LEVELS_OF_CHUNK - 1 - level % LEVELS_OF_CHUNK)
        ys, xs = ((max(0, span[0] - reach), span[1] + reach) for span in (rows, columns))
        if _part(self._stored_at.lost[level], ys, xs).any():
            where = f"the tile of level {level} at ({columns[0]}, {rows[0]})"
            raise SlideError(f"{self._name}: {where} has code blocks, and coarser levels have none for it; {_DAMAGED}")

    def _picture(self, color: int, level: int, rows: _Span, columns: _Span) -> Plane:
        """One colour of a part of a level, in pixels with its padding."""
        ys, xs = _needed(rows), _needed(columns)
        high = self._stored(self._stored_at.high[level], color, ys, xs, bands=3)
        if level + 1 == self._header.levels:
            (low,) = self._stored(self._stored_at.low, color, ys, xs, bands=1, default=_WHITE if color == 0 else 0)
        else:
            low = self._picture(color, level + 1, ys, xs)
        found = merged(low, high)
        top, left = rows[0] - (2 * ys[0] + 3), columns[0] - (2 * xs[0] + 3)
        return found[top : top + rows[1] - rows[0], left : left + columns[1] - columns[0]]

    def _stored(
        self, numbers: NDArray[np.int32], color: int, ys: _Span, xs: _Span, *, bands: int, default: int = 0
    ) -> NDArray[np.int32]:
        """Coefficients of a part of a level, `default` where none are stored. (bands, h, w)."""
        result = np.full((bands, ys[1] - ys[0], xs[1] - xs[0]), default, np.int32)
        for row in range(max(0, ys[0] // SIDE), min(numbers.shape[0], (ys[1] - 1) // SIDE + 1)):
            for column in range(max(0, xs[0] // SIDE), min(numbers.shape[1], (xs[1] - 1) // SIDE + 1)):
                number = int(numbers[row, column, color])
                if number < 0:
                    continue
                top, left = row * SIDE - ys[0], column * SIDE - xs[0]
                place = np.s_[:, max(0, top) : top + SIDE, max(0, left) : left + SIDE]
                target = result[place]
                block = self._block(number, bands)[:, max(0, -top) :, max(0, -left) :]
                target[...] = block[:, : target.shape[1], : target.shape[2]]
        return result

    def _block(self, number: int, bands: int) -> NDArray[np.int16]:
        kept = self._blocks.get(number)
        if kept is not None:
            return kept
        at, length = int(self._stored_at.at[number]), int(self._stored_at.length[number])
        try:
            with self._lock:
                self._file.seek(at)
                content = _read(self._file, length)
        except (OSError, ValueError) as error:  # ValueError: of a file that was closed meanwhile
            where = f"{length} bytes at {at}"
            raise SlideError(f"{self._name}: {where} cannot be read ({error}); check its disk") from error
        try:
            if len(content) < length:
                raise DamagedBlock(f"the file ends after {len(content)} of {length} bytes of it")
            found = coefficients(content, bands)
        except DamagedBlock as error:
            raise SlideError(f"{self._name}: of the code block at byte {at}, {error}; {_DAMAGED}") from error
        self._blocks.keep(number, found)
        return found


def _read(file: BinaryIO, length: int) -> bytes:
    """As many bytes as there are, up to `length`; a file without a buffer may give them in parts."""
    found = bytearray()
    while len(found) < length and (piece := file.read(length - len(found))):
        found += piece
    return bytes(found)


def _shift(levels: int, level: int) -> int:
    """Pixels of the padding before those of a level.

    Of coarser levels, pixel i then lies over pixel 2^level * i + 1 of level 0: at most half a pixel of the level from
    where the middle of its square is, which is as near as whole pixels allow.
    """
    return (PAD << levels) - PAD if level == 0 else (PAD << (levels - level)) - 2


def _needed(pixels: _Span) -> _Span:
    """Coefficients that pixels are made from."""
    return (pixels[0] - 2) // 2 - 1, (pixels[1] + 2) // 2


def _part(tiles: NDArray[np.bool_], rows: _Span, columns: _Span) -> NDArray[np.bool_]:
    """The tiles that these pixels touch."""
    (top, bottom), (left, right) = ((span[0] // _STORED, (span[1] - 1) // _STORED + 1) for span in (rows, columns))
    return tiles[top:bottom, left:right]
