"""What a parser finds in a file, before it is checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from attrs import Factory, field, frozen
from numpy.typing import ArrayLike, NDArray

Shapes = NDArray[Any]  # (N,) of shapely geometries, None where there is none
# No slide is larger; beyond this, areas overflow.
MAX_COORDINATE = 1e9
_NAMED_AT_MOST = 5


class Mistake(ValueError):
    """Something in the file that cannot be parsed; the message says where and what. The source adds the file."""


@frozen
class Draft:
    """A region as read from the file.

    Attributes:
        name: as given, or None.
        place: position in the file, such as "line 12".
        shape: a polygon or multipolygon that need not be valid; None if there are not enough points.
        label: its class, or None.
        description: free text, or None.
        holes: what the file calls the shapes that were taken as its holes.
    """

    name: str | None
    place: str
    shape: Any
    label: str | None = None
    description: str | None = None
    holes: tuple[str, ...] = ()

    @property
    def called(self) -> str:
        """Its name, or its place where it has none."""
        return self.place if self.name is None else self.name


@frozen
class Parsed:
    """Everything a parser found.

    Attributes:
        drafts: in file order.
        notes: what was converted or left out, one sentence each.
        is_final: True if the file is one of ours, which says which rings are holes, so that none are guessed.
        has_holes: True if the format can store holes, so that none have to be guessed.
        is_cropped: True if coordinates are those of a viewer that crops to the scanned area.
        origin: what must be added to the coordinates according to the file, or None.
    """

    drafts: Sequence[Draft]
    notes: Sequence[str] = ()
    is_final: bool = False
    has_holes: bool = False
    is_cropped: bool = False
    origin: tuple[float, float] | None = None


@frozen
class Notes:
    """Collects what was done to each region, and reports it in one sentence per kind."""

    _found: dict[str, list[str]] = field(init=False, default=Factory(dict))

    def add(self, kind: str, what: str) -> None:
        """`what` is a region; `kind` is what happened, such as "crossed itself and was repaired"."""
        self._found.setdefault(kind, []).append(what)

    def sentences(self) -> list[str]:
        """One sentence per kind, with the number and the first few."""
        result = []
        for kind, named in self._found.items():
            more = f" and {len(named) - _NAMED_AT_MOST} more" if len(named) > _NAMED_AT_MOST else ""
            result.append(f"{kind}: {', '.join(named[:_NAMED_AT_MOST])}{more}")
        return result


def points_of(values: ArrayLike, *, place: str) -> NDArray[np.float64]:
    """(N, 2) points from a list of lists; numbers after the first two of a point are ignored.

    Raises:
        Mistake: they are not numbers, not finite, or too large.
    """
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise Mistake(f"{place}: coordinates must be pairs of numbers") from None
    if points.size == 0:
        return np.zeros((0, 2))
    if points.ndim != 2 or points.shape[1] < 2:
        raise Mistake(f"{place}: coordinates must be pairs of numbers")
    points = points[:, :2]
    check_range(points, place=place)
    return points


def check_range(points: NDArray[np.float64], *, place: str) -> None:
    """Raise Mistake unless all numbers are finite and could be pixels."""
    if not np.isfinite(points).all():
        raise Mistake(f"{place}: a coordinate is missing or infinite")
    if np.abs(points).max() > MAX_COORDINATE:
        raise Mistake(f"{place}: {np.abs(points).max():g} is not a position on a slide")


def polygon_of(rings: Sequence[NDArray[np.float64]]) -> Any | None:
    """A polygon with holes from (N, 2) rings, of which the first is the outline; None if that has too few points.

    Holes with too few points are left out. The result need not be valid.
    """
    closed = [shapely.linearrings(ring) for ring in rings if _can_be_ring(ring)]
    if not rings or not _can_be_ring(rings[0]):
        return None
    return shapely.polygons(closed[0], closed[1:] or None)


def _can_be_ring(points: NDArray[np.float64]) -> bool:
    is_closed = len(points) > 0 and bool((points[0] == points[-1]).all())
    return len(points) - is_closed >= 3
