"""Masks of one's own on a `WSI`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from slideloom import WSI, PluginError, QcResult


def test_a_mask_of_ones_own_drops_what_it_covers(raw: object, analytic: Callable[..., Path]) -> None:
    with WSI(analytic(), tile_px=60, tile_um=75) as wsi:
        planned = len(wsi)
        mask = np.zeros((10, 10), bool)
        mask[:, :5] = True
        wsi.apply_mask(QcResult(mask=mask, kind="artifact"))

        assert [result.kind for result in wsi.qc_results] == ["artifact"]
        assert 0.4 < len(wsi) / planned < 0.6
        assert min(tile.loc_x for tile in wsi) > wsi.dimensions[0] / 2 - 75
        with pytest.raises(PluginError, match=r"mask: wanted a mask \(h, w\) bool, got \(10, 10\) int"):
            wsi.apply_mask(QcResult(mask=mask.astype(int), kind="artifact"))

        wsi.remove_qc()
        assert len(wsi) == planned
