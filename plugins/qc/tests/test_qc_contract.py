"""Every step of the plugin keeps the contract of slide QC."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from slideloom import Size, Slide
from slideloom_qc import Gaussian, GaussianV2, Otsu, Pen, SavedMask, Tissue
from slideloom_qc.files import SavedMaskQc
from slideloom_testing import PixelsSlide, stained
from slideloom_testing.contracts import SettingsContract, SlideQcContract


@cache
def _section(levels: int) -> Slide:
    rgb = np.full((800, 1200, 3), 244, np.uint8)
    rgb[150:650, 200:1000] = stained(Size(800, 500))
    return PixelsSlide(rgb, mpp=1.0, downsamples=(1, 4, 16)[:levels])


class QcContract(SlideQcContract):
    """The contract on a smaller slide, made once: 4 seconds instead of 150."""

    def slide(self, *, levels: int = 3) -> Slide:
        return _section(levels)


class TestOtsu(QcContract):
    settings = Otsu()


class TestGaussian(QcContract):
    settings = Gaussian()


class TestGaussianV2(QcContract):
    settings = GaussianV2(mpp=2, block_px=200)


class TestPen(QcContract):
    settings = Pen()


class TestTissue(QcContract):
    settings = Tissue()


class TestSavedMask(SettingsContract):
    kind = SavedMaskQc

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.settings = SavedMask(folder=tmp_path, of="otsu")
