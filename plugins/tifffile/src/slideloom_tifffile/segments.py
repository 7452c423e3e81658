"""Tiles and strips, from their bytes to samples."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from slideloom import Size, SlideError
from slideloom_formats.jpeg_2000 import Jpeg2000
from slideloom_formats.tiff import TiffDirectory, TiffError, TiffTag, TileLayout, codec_name, deflate_check

from slideloom_tifffile.codestreams import jpeg_fault, png_fault
from slideloom_tifffile.colours import JPEG, JPEG_2000
from slideloom_tifffile.refusals import NotRead

# It logs what it finds odd in directories and goes on; what matters here is an error of its own.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_WEBP, _LERC, _PNG = 50001, 34887, 34933
# Codecs of images, which know their own size: it is compared with the tile's before anything is decoded.
_IMAGES: Mapping[int, Callable[..., Any]] = {
    **dict.fromkeys(JPEG_2000, imagecodecs.jpeg2k_decode),
    _LERC: imagecodecs.lerc_decode,
    _PNG: imagecodecs.png_decode,
    _WEBP: imagecodecs.webp_decode,
    50002: imagecodecs.jpegxl_decode,
    52546: imagecodecs.jpegxl_decode,
}
# Codecs of bytes, which tifffile decodes: none, LZW, deflate, PackBits, LZMA, Zstandard.
_BYTES = {1, 5, 8, 32773, 32946, 34925, 50000}
_LERC_PARAMETERS = 50674  # version, and what the LERC is compressed by
_LERC_CODECS = {0: None, 1: imagecodecs.zlib_decode, 2: imagecodecs.zstd_decode}
_LERC_HEAD = 4096  # bytes that a LERC of random samples may take beyond them
_APERIO_YCC = 33003


@contextmanager
def _odd_numbers_as_value_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:  # what a damaged number leads to in tifffile is an error of any kind
        raise ValueError(f"its directories are damaged: {error!r:.200}") from error


class TiffFile:
    """An open file, for the bytes and the pages of its images. Thread-safe.

    Raises:
        OSError: it cannot be opened.
        ValueError: tifffile does not take it for a TIFF.
    """

    def __init__(self, path: Path) -> None:
        with _odd_numbers_as_value_errors():
            self._tiff = tifffile.TiffFile(path)
        self._lock = threading.Lock()
        self._is_closed = False

    def page(self, image: TiffDirectory) -> Any:  # Any: tifffile has no types here
        """tifffile's page of an image.

        Raises:
            ValueError: its directory is damaged.
        """
        with self._lock, _odd_numbers_as_value_errors():
            self._tiff.filehandle.seek(image.at)
            return tifffile.TiffPage(self._tiff, index=0)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset` on.

        Raises:
            ValueError: they are not in the file, or it was closed.
            OSError: the system cannot read them.
        """
        with self._lock:
            if self._is_closed:
                raise ValueError("the slide was closed")
            file = self._tiff.filehandle
            if not 0 <= offset <= offset + length <= file.size:
                raise ValueError(f"it claims {length} bytes from {offset} on, but the file ends at {file.size}")
            file.seek(offset)
            content = bytes(file.read(length))
        if len(content) != length:
            raise ValueError(f"the file ends {length - len(content)} bytes too early")
        return content

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._is_closed = True
            self._tiff.close()


class Segments:
    """Decodes the segments of one image. Thread-safe.

    Args:
        file: the open file.
        image: the image's directory.
        grid: where its segments are.

    Raises:
        NotRead: its compression is not one of those that are decoded here.
        TiffError: a tag that tells how samples are stored is damaged.
    """

    def __init__(self, file: TiffFile, image: TiffDirectory, grid: TileLayout) -> None:
        self._file, self._grid = file, grid
        self._compression = image.number(TiffTag.COMPRESSION, 1) or 1
        self.page = file.page(image)
        if self._compression not in {*_IMAGES, *_BYTES, JPEG}:
            raise NotRead(
                f"it is in {codec_name(self._compression)}, which is not read; convert it (QuPath, bfconvert)"
            )
        if self._compression == JPEG and self.page.bitspersample != 8:
            raise NotRead(f"its JPEG has {self.page.bitspersample} bits, and 8 are read; convert it")
        said = (image.number(TiffTag.BITS, 1), image.number(TiffTag.SAMPLES, 1))
        if (self.page.bitspersample, self.page.samplesperpixel) != said:  # of a damaged tag it takes the default
            raise TiffError(f"its BitsPerSample or SamplesPerPixel, {said[0]} and {said[1]}, are damaged")
        self._check = deflate_check(image)
        tables = image.raw(TiffTag.JPEG_TABLES)
        self._tables = tables if len(tables) > 4 else b""
        self._is_aperio = image.text(TiffTag.DESCRIPTION).startswith("Aperio")
        self._meaning = image.number(TiffTag.PHOTOMETRIC)
        parameters = self.page.tags.valueof(_LERC_PARAMETERS) or (0, 0)
        self._lerc_codec = _LERC_CODECS.get(int(parameters[1]) if len(parameters) > 1 else 0)

    def samples(self, number: int) -> tuple[NDArray[Any], bool]:
        """The samples of a place, and True if they are luma and chroma instead of RGB.

        Args:
            number: of the segment, row by row; of the first part if each sample has segments of its own.

        Returns:
            (h, w, s) unsigned, of which at least the part on the image is there.

        Raises:
            ValueError: a segment is damaged; the message says how, without the file's name.
            OSError: the system cannot read it.
        """
        parts = [self._decoded(number + part * self._grid.count) for part in range(self._grid.planes)]
        is_ycc = any(ycc for _, ycc in parts)
        return (parts[0][0] if len(parts) == 1 else np.concatenate([part for part, _ in parts], axis=-1)), is_ycc

    def _decoded(self, number: int) -> tuple[NDArray[Any], bool]:
        length = int(self._grid.lengths[number])
        if length == 0:
            raise ValueError("the samples of one of its channels were never written")
        content = self._file.read(int(self._grid.offsets[number]), length)
        try:
            found, is_ycc = self._samples_in(content, number)
        except MemoryError:
            raise
        except Exception as error:  # each codec has errors of its own
            raise ValueError(str(error) or type(error).__name__) from error
        shown = self._grid.shown(number)
        if found.ndim != 3 or found.shape[0] < shown.height or found.shape[1] < shown.width:
            raise ValueError(f"it decodes to {' x '.join(map(str, found.shape))} samples")
        if found.shape[2] != self._grid.samples or found.dtype.kind not in "ub":
            raise ValueError(f"it decodes to {found.shape[2]} samples per pixel of type {found.dtype}")
        return found, is_ycc

    def _samples_in(self, content: bytes, number: int) -> tuple[NDArray[Any], bool]:
        if self._compression in _IMAGES:
            is_ycc = self._compression in JPEG_2000 and self._is_ycc(content)
            return self._image(content, number), is_ycc
        if self._compression == JPEG:
            self._check_jpeg(content, number)
        elif self._check is not None:
            fault = self._check(content, self._bytes_of(number))
            if fault is not None:
                raise ValueError(fault)
        options = {"jpegtables": self._tables or None} if self._compression == JPEG else {}
        found, _, _ = self.page.decode(content, number, **options)
        return found[0], False

    def _sizes(self, number: int) -> list[Size]:
        """The sizes that an image codec may give: a whole segment, or what of it is on the image."""
        whole, shown = self._grid.tile, self._grid.shown(number)
        if not self._grid.is_tiled:
            whole = shown
        return list(dict.fromkeys([whole, shown, Size(whole.width, shown.height)]))

    def _bytes_of(self, number: int) -> int:
        size = self._sizes(number)[0]
        return size.height * -(-size.width * self._grid.samples * int(self.page.bitspersample) // 8)

    def _image(self, content: bytes, number: int) -> NDArray[Any]:
        decode, options = _IMAGES[self._compression], {}
        if self._compression == _LERC:
            if self._lerc_codec is not None:
                content = bytes(self._lerc_codec(content, out=self._bytes_of(number) + _LERC_HEAD))
            options["masks"] = True
        if self._compression == _WEBP and self._grid.samples == 4:
            options["hasalpha"] = True  # which an opaque tile may lack
        if self._compression == _PNG and (fault := png_fault(content)) is not None:
            raise ValueError(fault)
        error: Exception | None = None
        for size in self._sizes(number):
            shape = (size.height, size.width, self._grid.samples)
            out = np.empty(shape if shape[2] > 1 else shape[:2], self.page.dtype)
            try:
                found = decode(content, out=out, **options)
            except Exception as problem:  # each codec has errors of its own
                error = error or problem
                continue
            if self._compression == _LERC and found[1] is not None and not np.all(found[1]):
                raise ValueError("some of its pixels have no value")
            return out.reshape(shape)
        raise error or ValueError("it cannot be decoded")

    def _check_jpeg(self, content: bytes, number: int) -> None:
        faults = []
        head = self._tables[:-2] or b"\xff\xd8"  # without the end marker; its start alone without tables
        for size in self._sizes(number):
            fault = jpeg_fault(head + content[2:], width=size.width, height=size.height)
            if fault is None:
                return
            faults.append(fault)
        raise ValueError(faults[0])

    def _is_ycc(self, content: bytes) -> bool:
        """True for components that are luma and chroma.

        Of 33003, which is Aperio's for them, other writers make RGB. Where colours are transformed within the
        codestream, RGB comes out.
        """
        stream = Jpeg2000(content)
        if stream.is_transformed or self._grid.samples < 3:
            return False
        if self._meaning == 6:
            return True
        if self._compression == _APERIO_YCC and not self._is_aperio:
            raise ValueError("it is said to be both YCbCr (by compression 33003) and RGB")
        return self._compression == _APERIO_YCC


def named(error: ValueError | OSError, *, name: str, what: str) -> SlideError:
    """Our error for a segment that cannot be read."""
    if isinstance(error, OSError):
        reason = f"cannot be read ({error.strerror or error}); check the disk or network that it is on"
    else:
        reason = f"is damaged ({error}); copy the slide again from its source"
    return SlideError(f"{name}: {what} {reason}")
