"""The loops of `slideloom_stain.loops` in C. If nothing was compiled, importing this module fails."""

from __future__ import annotations

import numpy as np
from slideloom import Rgb

from slideloom_stain import _kernels
from slideloom_stain.loops import Floats, Ranks
from slideloom_stain.scratch import scratch

_MOMENTS = 10


class CompiledLoops:
    """See `slideloom_stain.loops.Loops`."""

    def ranked(self, rgb: Rgb, rank: int) -> tuple[int, int]:
        """See `Loops.ranked`."""
        return _kernels.ranked(np.ascontiguousarray(rgb), rank)

    def densities(self, rgb: Rgb, table: Floats, least: float, planes: Floats) -> list[int]:
        """See `Loops.densities`."""
        sums = np.empty((_MOMENTS, 2), np.uint64)
        _kernels.densities(np.ascontiguousarray(rgb), table, least, planes, sums)
        return [low + (high << 64) for low, high in sums.tolist()]

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
