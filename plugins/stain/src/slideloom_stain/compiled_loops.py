"""The loops of `slideloom_stain.loops` in C. If nothing was compiled, importing this module fails."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_stain import _kernels, lab
from slideloom_stain.loops import POWERS, Floats, Ranks, Separation, White
from slideloom_stain.scratch import scratch

_MOMENTS = 10
_LAB_MOMENTS = 7
_IDENTITY = np.arange(256, dtype=np.uint8)


class CompiledLoops:
    """See `slideloom_stain.loops.Loops`."""

    def ranked(self, rgb: Rgb, rank: int) -> tuple[int, int]:
        """See `Loops.ranked`."""
        return _kernels.ranked(np.ascontiguousarray(rgb), rank)

    def densities(self, rgb: Rgb, table: Floats, least: float, planes: Floats) -> list[int]:
        """See `Loops.densities`."""
        sums = np.empty((_MOMENTS, 2), np.uint64)
        _kernels.densities(np.ascontiguousarray(rgb), table, least, planes, sums)
        return _whole(sums)

    def largest(self, planes: Floats, directions: Floats, ranks: Ranks) -> Floats:
        """See `Loops.largest`."""
        found = np.empty((2, 2), np.float32)
        _largest(planes, directions, ranks, found)
        return found

    def largest_slopes(
        self, planes: Floats, directions: Floats, ranks: Ranks, *, least: float, ahead: float
    ) -> Floats | None:
        """See `Loops.largest_slopes`."""
        found = np.empty((2, 2), np.float32)
        is_found = _largest(planes, directions, ranks, found, of_quotient=True, least=least, ahead=ahead)
        return found if is_found else None

    def multiplied(self, rgb: Rgb, factors: Floats, out: Rgb) -> None:
        """See `Loops.multiplied`."""
        _kernels.multiplied(np.ascontiguousarray(rgb), factors, out)

    def roots(self, rgb: Rgb, linear: Floats, limit: float, planes: Floats, *, on_tissue: bool) -> list[int]:
        """See `Loops.roots`."""
        sums = np.empty((_LAB_MOMENTS, 2), np.uint64)
        _kernels.roots(np.ascontiguousarray(rgb), linear, lab.CONSTANTS, limit, on_tissue, planes, sums)
        return _whole(sums)

    def colours(self, planes: Floats, change: Floats, out: Rgb, white: White | None) -> None:
        """See `Loops.colours`."""
        if white is None:
            _kernels.colours(planes, lab.CONSTANTS, change, lab.GREYS, False, 0.0, out, _IDENTITY, out)
        else:
            rgb = np.ascontiguousarray(white.rgb)
            _kernels.colours(planes, lab.CONSTANTS, change, lab.GREYS, True, white.limit, rgb, white.bright, out)

    def darker(self, rgb: Rgb, luminance: NDArray[np.int32], limit: int) -> NDArray[np.bool_]:
        """See `Loops.darker`."""
        found = np.empty(rgb.shape[:2], np.uint8)
        _kernels.darker(np.ascontiguousarray(rgb), luminance, limit, found)
        return found.view(np.bool_)

    def learned(
        self, planes: Floats, stains: NDArray[np.float64], *, penalty: float, rounds: int, passes: int
    ) -> NDArray[np.float64]:
        """See `Loops.learned`."""
        found = stains.copy()
        _kernels.learned(planes, penalty, rounds, passes, found)
        return found

    def separated(self, rgb: Rgb, separation: Separation, out: Rgb) -> None:
        """See `Loops.separated`."""
        how = separation
        pixels = np.ascontiguousarray(rgb)
        _kernels.separated(pixels, how.density, how.maps, how.stains, POWERS, how.luminance, how.limit, how.bright, out)


def _whole(sums: NDArray[np.uint64]) -> list[int]:
    return [low + (high << 64) for low, high in sums.tolist()]


def _largest(
    planes: Floats,
    directions: Floats,
    ranks: Ranks,
    found: Floats,
    *,
    of_quotient: bool = False,
    least: float = 0.0,
    ahead: float = 1.0,
) -> bool:
    room = scratch("room", (2, planes.shape[1]))
    wanted = (ranks.first, ranks.need, ranks.margin)
    return _kernels.largest(planes, directions, of_quotient, least, ahead, wanted, room, found)
