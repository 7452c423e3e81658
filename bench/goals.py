"""The goals of the project, beside what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from bench.stain import GOALS as STAIN_MS, NUMPY_GOALS as STAIN_NUMPY_MS

HEADER = ("goal", "at", "bound", "figure", "figure / bound", "")


@frozen
class Goal:
    """A bound for one figure of a section.

    Attributes:
        section: of the results.
        what: the figure in words.
        place: keys that lead to it in the section's results.
        bound: the most that it may be, or the least.
        is_least: True if the figure must not be smaller.
    """

    section: str
    what: str
    place: tuple[str, ...]
    bound: float
    is_least: bool = False

    def row(self, found: Mapping[str, Any]) -> list[Any] | None:
        """Cells as in `HEADER`; None if the figure was not measured."""
        figure: Any = found
        for key in self.place:
            if key not in figure:
                return None
            figure = figure[key]
        is_met = figure >= self.bound if self.is_least else figure <= self.bound
        word = "least" if self.is_least else "most"
        return [self.what, word, self.bound, float(figure), figure / self.bound, "met" if is_met else "missed"]


def _both(section: str, what: str, place: Sequence[str], bound: float, *, is_least: bool = False) -> Iterator[Goal]:
    for kind in ("wall", "cpu"):
        yield Goal(section, f"{what}, {kind}", (*place, kind), bound, is_least)


GOALS = (
    *_both("near", "plain extraction to the floor", ("to_floor", "slideloom"), 1.3),
    *_both("near", "whole command to the floor", ("to_floor", "slideloom, whole command"), 1.6),
    *_both("near", "openslide per tile to slideloom", ("to_slideloom", "openslide per tile"), 2.3, is_least=True),
    Goal("near", "peak memory, MB", ("memory", "peak_mb"), 250),
    *_both("far", "plain extraction to the floor", ("to_floor", "slideloom"), 1.45),
    *_both("steps", "Macenko to plain extraction", ("to_plain", "macenko"), 1.45),
    *_both("steps", "Otsu and Gaussian to plain extraction", ("to_plain", "otsu + gaussian"), 1.0),
    *_both("qc", "tissue, gaussian-v2 and pen to the dearest of them", ("to_dearest", "together"), 1.3),
    Goal("threads", "two threads to one, cpu", ("two_threads", "cpu"), 1.08),
    Goal("start", "import slideloom, s", ("import_s",), 0.15),
    Goal("start", "first tile on the disk, s", ("first_tile_s",), 0.5),
    *_both("torch", "tiles per second to plain decoding", ("speed", "torch loader"), 0.9, is_least=True),
    *_both("from_slides", "tiles per second to extraction", ("speed", "in order"), 0.8, is_least=True),
    *_both("from_slides", "in random order to extraction", ("speed", "in random order"), 0.8, is_least=True),
    *(Goal("stain", f"{name}, ms", ("ms", name), bound) for name, bound in STAIN_MS.items()),
    *(Goal("stain", f"{name} in numpy, ms", ("numpy_ms", name), bound) for name, bound in STAIN_NUMPY_MS.items()),
)


def goal_rows(section: str, found: Mapping[str, Any]) -> list[list[Any]]:
    """A row for each goal of a section whose figure was measured."""
    rows = (goal.row(found) for goal in GOALS if goal.section == section)
    return [row for row in rows if row is not None]
