"""The loops of `slideloom_stain.loops` in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_stain import lab
from slideloom_stain.density import lookup
from slideloom_stain.learning import learned, strengths_of
from slideloom_stain.loops import POWERS, SAMPLED, Floats, Ranks, Separation, White
from slideloom_stain.opencv import cv2
from slideloom_stain.scratch import scratch

_STRIP = 1 << 11  # pixels whose sums of products are exact in float64: 2^21 * 2^21 * 2^11
_LAB_STRIP = 1 << 13  # likewise, of squares of numbers up to 2^20; strips and what is made of them fit the near cache
_EIGHT = np.float32(8)
_TO_WHOLE = np.float32(1.5 * 2**23)  # a sum with it has the nearest whole number in its low bits
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_GREYS = np.pad(lab.GREYS, (0, 65536 - len(lab.GREYS)))  # as long as OpenCV wants it
_COUNTED = 1 << 24  # values that OpenCV counts exactly, in float32


class NumpyLoops:
    """See `slideloom_stain.loops.Loops`."""

    def ranked(self, rgb: Rgb, rank: int) -> tuple[int, int]:
        """See `Loops.ranked`."""
        values = np.ascontiguousarray(rgb).reshape(1, -1)
        counts = np.zeros(256, np.int64)
        for start in range(0, values.size, _COUNTED):
            found = cv2.calcHist([values[:, start : start + _COUNTED]], [0], None, [256], [0, 256])
            counts += found.ravel().astype(np.int64)
        below = np.cumsum(counts)
        first, second = np.searchsorted(below, [rank, min(rank + 1, values.size - 1)], side="right")
        return int(first), int(second)

    def densities(self, rgb: Rgb, table: Floats, least: float, planes: Floats) -> list[int]:
        """See `Loops.densities`."""
        for channel, plane in zip(cv2.split(rgb), planes, strict=True):
            lookup(channel, table, plane.reshape(channel.shape))
        tissue = _tissue_of(planes, least).astype(np.float64)
        totals = [tissue.shape[1], *(int(sum_) for sum_ in tissue.sum(axis=1)), *[0] * 6]
        for start in range(0, tissue.shape[1], _STRIP):
            part = tissue[:, start : start + _STRIP]
            products = part @ part.T
            for place, (row, column) in enumerate(_PAIRS, start=4):
                totals[place] += int(products[row, column])
        return totals

    def largest(self, planes: Floats, directions: Floats, ranks: Ranks) -> Floats:
        """See `Loops.largest`."""
        return np.stack([_two_largest(_mixed(planes, direction), ranks) for direction in directions])

    def largest_slopes(
        self, planes: Floats, directions: Floats, ranks: Ranks, *, least: float, ahead: float
    ) -> Floats | None:
        """See `Loops.largest_slopes`."""
        tissue = _tissue_of(planes, least)
        along, across = (_mixed(tissue, direction) for direction in directions)
        if not (along > np.float32(ahead)).all():
            return None
        slopes = across / along
        return np.stack([_two_largest(slopes, ranks), _two_largest(-slopes, ranks)])

    def multiplied(self, rgb: Rgb, factors: Floats, out: Rgb) -> None:
        """See `Loops.multiplied`."""
        channels = cv2.split(rgb)
        value, other = scratch("value", rgb.shape[:2]), scratch("channels", rgb.shape[:2])
        for k in range(3):
            lookup(channels[0], np.ascontiguousarray(factors[0, :, k]), value)
            for channel in (1, 2):
                lookup(channels[channel], np.ascontiguousarray(factors[channel, :, k]), other)
                np.multiply(value, other, out=value)
            np.minimum(value, np.float32(255), out=value)
            out[..., k] = np.rint(value, out=value)

    def roots(self, rgb: Rgb, linear: Floats, limit: float, planes: Floats, *, on_tissue: bool) -> list[int]:
        """See `Loops.roots`."""
        for channel, plane in zip(cv2.split(rgb), planes, strict=True):
            lookup(channel, linear, plane.reshape(channel.shape))
        totals = [0] * 7
        room, numbers = np.empty((3, 3, _LAB_STRIP), np.float32), np.empty((3, _LAB_STRIP))
        for start in range(0, planes.shape[1], _LAB_STRIP):
            strip = planes[:, start : start + _LAB_STRIP]
            light, other, guess = room[..., : strip.shape[1]]
            lab.roots_of(_all_mixed(strip, lab.TO_XYZ, light, other), out=strip, room=(other, guess))
            tissue = strip[1] < np.float32(limit)
            # The last bit of a number from 8 to 16 is 2^-20.
            bits = np.add(strip, _EIGHT, out=other).view(np.int32)
            found = numbers[:, : strip.shape[1]]
            np.subtract(bits[1], _EIGHT.view(np.int32), out=found[0])
            np.subtract(bits[:2], bits[1:], out=found[1:])
            if on_tissue:
                found *= tissue
            of_y, of_first, of_second = map(int, found.sum(axis=1).tolist())
            squares = [np.dot(row, row) for row in found]
            sums = (np.count_nonzero(tissue), of_y + of_first, of_y, of_y - of_second, *squares)
            totals = [total + int(part) for total, part in zip(totals, sums, strict=True)]
        return totals

    def colours(self, planes: Floats, change: Floats, out: Rgb, white: White | None) -> None:
        """See `Loops.colours`."""
        values = out.reshape(-1, 3)
        room = np.empty((3, 3, _LAB_STRIP), np.float32)
        for start in range(0, len(values), _LAB_STRIP):
            strip = planes[:, start : start + _LAB_STRIP]
            moved, light, other = room[..., : strip.shape[1]]
            _all_mixed(strip, change, moved, other)
            lab.lights_of(np.add(moved, change[:, 3:], out=moved), out=light, room=other)
            greys = lookup(lab.grey_index(_all_mixed(light, lab.FROM_XYZ, moved, other)), _GREYS)
            cv2.merge(greys[:, None], values[None, start : start + _LAB_STRIP])
        if white is not None:
            is_white = (planes[1] >= np.float32(white.limit)).reshape(out.shape[:2])
            cv2.copyTo(lookup(white.rgb, white.bright), is_white.view(np.uint8), out)

    def darker(self, rgb: Rgb, luminance: NDArray[np.int32], limit: int) -> NDArray[np.bool_]:
        """See `Loops.darker`."""
        red, green, blue = (luminance[channel].take(rgb[..., channel]) for channel in range(3))
        found: NDArray[np.bool_] = red + green + blue < limit
        return found

    def learned(
        self, planes: Floats, stains: NDArray[np.float64], *, penalty: float, rounds: int, passes: int
    ) -> NDArray[np.float64]:
        """See `Loops.learned`."""
        return learned(planes, stains, penalty=penalty, rounds=rounds, passes=passes)

    def separated(self, rgb: Rgb, separation: Separation, out: Rgb) -> None:
        """See `Loops.separated`."""
        planes = separation.density[np.moveaxis(rgb, -1, 0)]
        first, second = strengths_of(planes, separation.maps)
        for channel in range(3):
            power = first * separation.stains[0, channel]
            power += second * separation.stains[1, channel]
            power = np.minimum(np.maximum(power, np.float32(-100)), np.float32(0))
            shifted = power + _TO_WHOLE
            rest = power - (shifted - _TO_WHOLE)
            part = POWERS[4] * rest + POWERS[3]
            for term in POWERS[2::-1]:
                part *= rest
                part += term
            value = (part.view(np.int32) + (shifted.view(np.int32) << 23)).view(np.float32)
            out[..., channel] = np.rint(value * np.float32(255))
        tissue = self.darker(rgb, separation.luminance, separation.limit)
        np.copyto(out, separation.bright[rgb], where=~tissue[..., None])


def _tissue_of(planes: Floats, least: float) -> Floats:
    """(3, n) the densities of the tissue's pixels."""
    lowest = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    tissue: Floats = planes.take(np.flatnonzero(lowest >= np.float32(least)), axis=1)
    return tissue


def _mixed(planes: Sequence[Floats] | Floats, direction: Floats) -> Floats:
    """The sum of three planes, each times a number."""
    value: Floats = planes[0] * direction[0]
    value += planes[1] * direction[1]
    value += planes[2] * direction[2]
    return value


def _all_mixed(planes: Floats, rows: Floats, out: Floats, room: Floats) -> Floats:
    """(3, n) the sums of three planes, each times a number of a row of (3, 3 or more); written to `out`."""
    np.multiply(planes[0], rows[:, :1], out=out)
    out += np.multiply(planes[1], rows[:, 1:2], out=room)
    out += np.multiply(planes[2], rows[:, 2:3], out=room)
    return out


def _two_largest(values: NDArray[np.float32], ranks: Ranks) -> Floats:
    """(2,) the values of both ranks.

    Selecting among all values would read them several times. Instead, a sample gives a bound that almost surely lies
    below the wanted ones, and only the values above it are sorted. If the bound is too high, all values are sorted.
    """
    sample = values[::SAMPLED]
    top = values
    if ranks.margin <= sample.size:
        bound = np.partition(sample, sample.size - ranks.margin)[sample.size - ranks.margin]
        top = values[np.flatnonzero(values >= bound)]
    if top.size < ranks.need:
        top = values
    top = np.sort(top)[::-1]
    return top[[ranks.first, ranks.need - 1]]
