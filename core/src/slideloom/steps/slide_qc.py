"""The contract of slide QC: a slide in, a mask of what to discard out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal

import numpy as np
from attrs import field, frozen

from slideloom.base.geometry import Box, Mask
from slideloom.slides.slide import Slide
from slideloom.steps.scene import Scene

QcKind = Literal["background", "blur", "artifact"]


def _in_words(mask: object) -> str:
    if not isinstance(mask, np.ndarray):  # a plugin's mistake, which is told elsewhere
        return repr(mask)
    return f"<{' x '.join(map(str, mask.shape[::-1]))}, {mask.mean() if mask.size else 0:.1%} masked>"


@frozen
class QcResult:
    """What a slide QC found.

    Attributes:
        mask: (h, w) bool, True where the slide should be discarded.
        kind: "background" (no tissue), "blur" (out of focus) or "artifact" (pen, folds, anything else).
        extent: the level-0 box that the mask covers; None means the whole slide.
        metrics: named numbers for the report.
        notes: sentences for the report.
    """

    mask: Mask = field(eq=False, repr=_in_words)
    kind: QcKind
    extent: Box | None = None
    metrics: Mapping[str, float] = field(factory=dict, hash=False)
    notes: tuple[str, ...] = ()


class SlideQc(ABC):
    """Finds parts of a slide to discard, at low magnification."""

    @abstractmethod
    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The mask of what to discard. Called once per slide; `slide.info.mpp` is known.

        Memory must be bounded: read blocks, not a whole large level. A slow step may process `scene.threads` blocks at
        a time; it starts and ends its own threads.
        """
