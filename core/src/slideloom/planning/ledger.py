"""The account of one slide's tiles: every planned tile is written, rejected by a named step, or unreadable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

import attrs
import numpy as np
from numpy.typing import NDArray

from slideloom.base.geometry import IntArray
from slideloom.slides.tiles import Tiles

_CANDIDATE, _WRITTEN, _UNREADABLE, _FIRST_REASON = 0, 1, 2, 3


class Ledger:
    """The status of each planned tile, and the region that it belongs to.

    A tile is counted under the first step that rejects it, and belongs to the first region that takes it.
    """

    def __init__(self, places: Tiles) -> None:
        self._places = places
        self._owner: IntArray = np.full(len(places), -1, np.int64)
        self._status: NDArray[np.int16] = np.zeros(len(places), np.int16)
        self._reasons: list[str] = []
        self._scores: dict[str, NDArray[np.float32]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        counts = {"not decided": len(self.candidates()), "written": self.written, "unreadable": self.unreadable}
        told = ", ".join(f"{count} {word}" for word, count in {**counts, **self.rejected}.items() if count)
        return f"<Ledger: {len(self)} tiles planned{told and f'; {told}'}>"

    def copy(self) -> Self:
        """A ledger with the same entries, that goes its own way."""
        other = type(self)(self._places)
        other._owner, other._status = self._owner, self._status.copy()
        other._reasons = list(self._reasons)
        other._scores = {step: values.copy() for step, values in self._scores.items()}
        return other

    @property
    def tiles(self) -> Tiles:
        """All planned tiles for the engine and the sinks, with the region of each tile as `Tiles.roi`."""
        return attrs.evolve(self._places, roi=self._owner)

    @property
    def owner(self) -> IntArray:
        """(N,) number of the region that each tile belongs to, among all regions of the slide; -1 for none."""
        return self._owner.copy()

    def own(self, owner: IntArray) -> None:
        """Note the owners of tiles that have none so far.

        Args:
            owner: (N,) number of the region, -1 for none.
        """
        self._owner = np.where(self._owner < 0, owner, self._owner)

    def candidates(self) -> IntArray:
        """Indices of the tiles that are not decided yet."""
        return np.flatnonzero(self._status == _CANDIDATE).astype(np.int64)

    def reject(self, which: NDArray[np.integer] | NDArray[np.bool_], reason: str) -> None:
        """Reject those of the tiles at `which` (indices, or a mask over all) that nothing has been decided for."""
        if reason not in self._reasons:
            self._reasons.append(reason)
        self._settle(which, _FIRST_REASON + self._reasons.index(reason))

    def mark_written(self, which: NDArray[np.integer]) -> None:
        """Note that the tiles at these indices are in every sink."""
        self._settle(which, _WRITTEN)

    def mark_unreadable(self, which: NDArray[np.integer]) -> None:
        """The pixels of the tiles at these indices could not be read."""
        self._settle(which, _UNREADABLE)

    def score(self, step: str, which: NDArray[np.integer], values: NDArray[np.floating]) -> None:
        """Keep the number that a step's decision rests on."""
        if step not in self._scores:
            self._scores[step] = np.full(len(self), np.nan, np.float32)
        self._scores[step][which] = values

    @property
    def written(self) -> int:
        """Number of tiles written."""
        return int((self._status == _WRITTEN).sum())

    @property
    def unreadable(self) -> int:
        """Number of tiles that could not be read."""
        return int((self._status == _UNREADABLE).sum())

    @property
    def rejected(self) -> dict[str, int]:
        """Number of tiles by the step that rejected them; steps that rejected none are left out."""
        counts = np.bincount(self._status, minlength=_FIRST_REASON + len(self._reasons))
        return {
            reason: int(counts[_FIRST_REASON + i])
            for i, reason in enumerate(self._reasons)
            if counts[_FIRST_REASON + i]
        }

    @property
    def scores(self) -> Mapping[str, NDArray[np.float32]]:
        """(N,) float32 by step, NaN where the step did not see the tile."""
        return self._scores

    @property
    def words(self) -> tuple[str, ...]:
        """What a status can be: "candidate", "written", "unreadable", and each reason of rejection so far."""
        return ("candidate", "written", "unreadable", *self._reasons)

    @property
    def codes(self) -> NDArray[np.int16]:
        """(N,) the status of each tile as an index into `words`."""
        return self._status.copy()

    def status(self) -> list[str]:
        """N words: "written", "unreadable", "candidate", or the reason of rejection."""
        words = self.words
        return [words[code] for code in self._status.tolist()]

    def _settle(self, which: NDArray[np.integer] | NDArray[np.bool_], code: int) -> None:
        places = np.flatnonzero(which) if which.dtype == np.bool_ else which
        self._status[places[self._status[places] == _CANDIDATE]] = code


def numbered(labels: Iterable[str]) -> list[str]:
    """The labels, with a number from the second use on, so that each step has its own: "otsu", "otsu-2"."""
    taken: list[str] = []
    for label in labels:
        name, number = label, 1
        while name in taken:
            number += 1
            name = f"{label}-{number}"
        taken.append(name)
    return taken
