"""Every step of the plugin keeps the contract of slide QC."""

from __future__ import annotations

from pathlib import Path

import pytest
from slideloom.testing.contracts import SettingsContract, SlideQcContract
from slideloom_qc import Gaussian, GaussianV2, Otsu, Pen, SavedMask, Tissue
from slideloom_qc.files import SavedMaskQc


class TestOtsu(SlideQcContract):
    settings = Otsu()


class TestGaussian(SlideQcContract):
    settings = Gaussian()


class TestGaussianV2(SlideQcContract):
    settings = GaussianV2(mpp=2, block_px=200)


class TestPen(SlideQcContract):
    settings = Pen()


class TestTissue(SlideQcContract):
    settings = Tissue()


class TestSavedMask(SettingsContract):
    kind = SavedMaskQc

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.settings = SavedMask(folder=tmp_path, of="otsu")
