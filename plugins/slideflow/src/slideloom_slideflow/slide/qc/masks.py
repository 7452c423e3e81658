"""Otsu and the Gaussian filters."""

from __future__ import annotations

from typing import Any

from slideloom_slideflow.adapting import adapted
from slideloom_slideflow.slide.qc.steps import NamedQc, settings_named


class Otsu(NamedQc):
    """Masks background: pixels whose saturation is at most Otsu's threshold."""

    @adapted("slide.qc.Otsu")
    def __init__(self, slide_level: int | None = None) -> None:
        super().__init__(settings_named("otsu"))


class Gaussian(NamedQc):
    """Masks what is out of focus: where edges, averaged by a Gaussian, are at most the threshold."""

    @adapted("slide.qc.Gaussian")
    def __init__(self, mpp: float | None = None, sigma: float = 3, threshold: float = 0.02) -> None:
        super().__init__(settings_named("gaussian", mpp=mpp, sigma=sigma, threshold=threshold))


class GaussianV2(NamedQc):
    """The same, block by block."""

    @adapted("slide.qc.GaussianV2")
    def __init__(
        self,
        mpp: float | None = None,
        sigma: float = 3,
        threshold: float = 0.02,
        *,
        overlap: int | None = None,
        tile_px: int = 512,
        **kwargs: Any,
    ) -> None:
        super().__init__(settings_named("gaussian-v2", mpp=mpp, sigma=sigma, threshold=threshold, block_px=tile_px))
