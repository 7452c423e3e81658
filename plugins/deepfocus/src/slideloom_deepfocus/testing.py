# ruff: noqa: S101 - asserts are what a contract is made of
"""The contract of models for `StridedModelSettings`; it needs pytest, as `slideloom_testing` does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from slideloom import RgbBatch, Size
from slideloom_testing import stained
from slideloom_testing.contracts import SlideQcContract

from slideloom_deepfocus.strided import StridedModelQC


class StridedModelContract(SlideQcContract):
    """What a strided model must do in addition to every slide QC. Set `settings`.

    Attributes:
        tolerance: by how much a score may depend on the other tiles, because kernels round differently.
    """

    tolerance = 1e-4

    def tiles(self, count: int) -> RgbBatch:
        """(count, tile_px, tile_px, 3) uint8, all different: stained tissue."""
        side = self.step().options.tile_px
        return np.stack([stained(Size(side, side), seed=seed) for seed in range(count)])

    def step(self) -> StridedModelQC:
        """The step under test."""
        step = self.built()
        assert isinstance(step, StridedModelQC), f"{type(step).__name__} is not a StridedModelQC"
        return step

    def scores(self, tiles: RgbBatch) -> NDArray[np.float32]:
        """The step's scores for tiles."""
        return self.step().scores_for(tiles)

    def test_there_is_a_score_for_every_tile(self) -> None:
        """One score, or one small map, for each tile and for any number of tiles."""
        for count in (1, 2, 5):
            scores = self.scores(self.tiles(count))
            assert scores.shape[0] == count, f"{scores.shape} for {count} tiles"
            assert np.isfinite(scores).all(), f"{int((~np.isfinite(scores)).sum())} scores are NaN or infinite"

    def test_a_score_is_that_of_its_own_tile(self) -> None:
        """A tile has the same score in any order of tiles."""
        tiles, order = self.tiles(5), np.array([3, 0, 4, 1, 2])
        np.testing.assert_allclose(self.scores(tiles[order]), self.scores(tiles)[order], atol=self.tolerance)
