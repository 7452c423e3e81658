"""Samples as a file stores them to 8-bit RGB.

Source: TIFF 6.0, sections 18 (transparency) and 21 (YCbCr, whose coefficients are those of ITU-R BT.601).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Rgb
from slideloom_formats.tiff import TiffDirectory, TiffTag

from slideloom_tifffile.refusals import NotRead

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_PREMULTIPLIED, _STRAIGHT = 1, 2  # of extra samples
JPEG, JPEG_2000 = 7, (33003, 33004, 33005, 34712)
_BYTE, _16_BITS = 8, 16
_FULL = 255


@frozen
class Colours:
    """How samples become RGB.

    Attributes:
        meaning: the photometric interpretation.
        colours: samples of a pixel without its transparency: 1 or 3.
        bits: of a sample as stored.
        alpha: 0 without transparency; 1 if colours are multiplied by it; 2 if not.
        white: the 16-bit sample that is shown as 255; None to show the upper 8 bits.
        table: (2**bits,) uint8, what is shown for each value of a sample; None if it is the value itself.
        palette: (2**bits, 3) uint8; None without one.
    """

    meaning: int
    colours: int
    bits: int
    alpha: int
    white: int | None
    table: NDArray[np.uint8] | None = field(eq=False, repr=False)
    palette: NDArray[np.uint8] | None = field(eq=False, repr=False)

    @classmethod
    def of(cls, image: TiffDirectory, page: Any, *, planes: int, white: int | None) -> Colours:
        """The colours of an image.

        Args:
            image: its directory; of several planes the first.
            page: tifffile's page of it.
            planes: 1, or 3 if each channel has a directory.
            white: see `Colours`.

        Raises:
            NotRead: its colours are of a kind that is not read here.
        """
        meaning = image.number(TiffTag.PHOTOMETRIC, _BLACK_IS_ZERO)
        samples = planes * (image.number(TiffTag.SAMPLES, 1) or 1)
        bits = image.number(TiffTag.BITS, 1) or 1
        compression = image.number(TiffTag.COMPRESSION, 1)
        if meaning == _YCBCR and (compression not in (JPEG, *JPEG_2000) or bits != 8):
            raise NotRead("it stores YCbCr outside JPEG; write it as RGB")
        colours = {_RGB: 3, _YCBCR: 3, _PALETTE: 1, _WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1}.get(meaning or 0)
        if colours is None or (planes > 1 and colours > 1):
            raise NotRead(f"its colours (PhotometricInterpretation {meaning}) are not read here; write it as RGB")
        colours *= planes
        alpha = (image.number(TiffTag.EXTRA_SAMPLES, 0) or 0) if samples > colours else 0
        palette = _palette(page, bits) if meaning == _PALETTE else None
        return cls(
            meaning=meaning or 0,
            colours=colours,
            bits=bits,
            alpha=alpha,
            white=white if bits == _16_BITS else None,
            table=None if palette is not None else _table(bits, white),
            palette=palette,
        )

    def rgb(self, samples: NDArray[Any], *, is_ycc: bool) -> Rgb:
        """Pixels.

        Args:
            samples: (h, w, s) unsigned.
            is_ycc: they are luma and chroma.

        Returns:
            (h, w, 3) uint8, contiguous; what is transparent lies over white.

        Raises:
            ValueError: a sample has more bits than the file says.
        """
        if samples.dtype == np.bool_:
            samples = samples.view(np.uint8)
        if self.bits < _BYTE and int(samples.max(initial=0)) >= 1 << self.bits:
            raise ValueError(f"it decodes to samples of more than {self.bits} bits")
        if self.palette is not None:
            found: Rgb = self.palette[samples[..., 0]]
            return found
        shown: NDArray[np.uint8] = samples.astype(np.uint8, copy=False) if self.table is None else self.table[samples]
        pixels: NDArray[np.uint8] = shown[..., : self.colours]
        if is_ycc:
            pixels = rgb_of_ycc(pixels)
        if self.meaning == _WHITE_IS_ZERO:
            pixels = np.invert(pixels)
        if self.alpha:
            pixels = over_white(pixels, shown[..., self.colours :], is_premultiplied=self.alpha == _PREMULTIPLIED)
        if self.colours == 1:
            pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
        return np.ascontiguousarray(pixels)

    @property
    def told(self) -> str:
        """What is done to samples where that is a choice, in words; or ""."""
        if self.bits != _16_BITS or self.palette is not None:
            return ""
        if self.white is None:
            return "the upper 8 of 16 bits"
        return f"16-bit samples from 0 to {self.white}, as 0 to 255"


def _table(bits: int, white: int | None) -> NDArray[np.uint8] | None:
    if bits > 8:
        return _shown_of_16_bits(white)
    return None if bits == 8 else _scaled(bits)


def _shown_of_16_bits(white: int | None) -> NDArray[np.uint8]:
    values = np.arange(1 << 16)
    if white is None:
        return (values >> 8).astype(np.uint8)
    return np.minimum((values * _FULL + white // 2) // white, _FULL).astype(np.uint8)


def _scaled(bits: int) -> NDArray[np.uint8]:
    most = 2**bits - 1
    values = np.arange(most + 1)
    scaled: NDArray[np.uint8] = ((values * _FULL + most // 2) // most).astype(np.uint8)
    return scaled


def _palette(page: Any, bits: int) -> NDArray[np.uint8]:
    table = page.colormap
    if table is None or table.shape != (3, 2**bits):
        raise NotRead("its palette is missing or of another size; write it as RGB")
    found: NDArray[np.uint8] = np.ascontiguousarray((table >> 8).astype(np.uint8).T)
    return found


def rgb_of_ycc(ycc: NDArray[np.uint8]) -> Rgb:
    """(h, w, 3) uint8 RGB of luma and chroma that use all 8 bits, as in JPEG."""
    y, cb, cr = (ycc[..., i].astype(np.float64) - (0 if i == 0 else 128) for i in range(3))
    rgb = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=-1)
    found: Rgb = np.clip(np.rint(rgb), 0, _FULL).astype(np.uint8)
    return found


def over_white(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8], *, is_premultiplied: bool) -> NDArray[np.uint8]:
    """Pixels (h, w, c) of transparency (h, w, 1) on white, rounded to nearest."""
    if int(alpha.min(initial=_FULL)) == _FULL:
        return pixels
    opacity = alpha.astype(np.uint32)
    mixed: NDArray[np.uint32]
    if is_premultiplied:
        mixed = np.minimum(pixels + (_FULL - opacity), _FULL)
    else:
        mixed = (pixels * opacity + _FULL * (_FULL - opacity) + _FULL // 2) // _FULL
    shown: NDArray[np.uint8] = mixed.astype(np.uint8)
    return shown
