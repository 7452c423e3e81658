"""Counts the outcomes of tiles given to a model, for the report."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from slideloom_deepfocus.naming import ModelError

# The rim of every section has sparse tiles; a note is for slides of fat, fragments or pale tissue, where they are many.
_FEW, _MANY = 4, 0.25


class Tally:
    """Counts tiles and remembers the range of their scores.

    Attributes:
        unreadable: tiles that could not be read from the slide.
        judged: tiles with a score.
        unanswered: tiles for which the model returned no number.
        sparse: tiles that the model did not see, because they have some tissue, but too little.
    """

    def __init__(self) -> None:
        self.unreadable = 0
        self.judged = 0
        self.unanswered = 0
        self.sparse = 0
        self._lowest, self._highest = math.inf, -math.inf

    def counted(self, scores: NDArray[np.float32], *, may_miss: bool) -> NDArray[np.bool_]:
        """(B,) True where a tile has a score that is a number.

        Args:
            scores: (B,) or (B, h, w).
            may_miss: True if scores may be missing.

        Raises:
            ModelError: a score is missing and must not be.
        """
        good = np.asarray(np.isfinite(scores).reshape(len(scores), -1).all(axis=1), np.bool_)
        missed = int((~good).sum())
        if missed and not may_miss:
            raise ModelError(
                f"the model returned no numbers (NaN or infinite) for {missed} of {len(scores)} tiles; "
                'on_nan = "keep" leaves such tiles unjudged'
            )
        self.unanswered += missed
        self.judged += len(scores) - missed
        if good.any():
            self._lowest = min(self._lowest, float(scores[good].min()))
            self._highest = max(self._highest, float(scores[good].max()))
        return good

    @property
    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest score; None if there is none."""
        return (self._lowest, self._highest) if self.judged else None

    def notes(self, *, min_tissue: float) -> list[str]:
        """Sentences for the report.

        Args:
            min_tissue: share of a tile below which it is sparse.

        Raises:
            ModelError: the model returned no number for any tile.
        """
        if self.unanswered and not self.judged:
            raise ModelError(f"the model returned no numbers (NaN or infinite) for any of {self.unanswered} tiles")
        notes = []
        if self.unreadable:
            notes.append(f"{self.unreadable} tiles could not be read and were not judged")
        if self.unanswered:
            notes.append(f"{self.unanswered} tiles got no number from the model and were not judged")
        if self.sparse >= max(_FEW, _MANY * self.judged):
            notes.append(
                f"{self.sparse} tiles have some tissue, but on less than {min_tissue:.0%} of them, and were not judged "
                f"({self.judged} were); a lower min_tissue judges them, too"
            )
        return notes
