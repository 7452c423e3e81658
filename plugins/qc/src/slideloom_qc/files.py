"""Masks as PNG files, and the step that uses saved masks."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from attrs import evolve
from slideloom import Mask, QcResult, Scene, Slide, SlideError, SlideInfo, SlideQc, load_mask, path_inside, save_mask

from slideloom_qc.settings import SavedMask


def save_mask_png(result: QcResult, path: Path, *, slide: SlideInfo) -> tuple[Path, Path]:
    """`slideloom.save_mask`, with the mask as a black and white PNG; white is discarded."""
    return save_mask(result, path, slide=slide, encode=_png_bytes)


def load_mask_png(path: Path, *, slide: SlideInfo | None = None) -> QcResult:
    """`slideloom.load_mask` for files written by `save_mask_png`."""
    return load_mask(path, slide=slide, decode=_mask_from_png)


def _png_bytes(mask: Mask) -> bytes:
    done, content = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    if not done:
        raise ValueError(f"a mask of shape {mask.shape} cannot be stored as PNG")
    return content.tobytes()


def _mask_from_png(content: bytes) -> Mask:
    try:
        grey = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    except cv2.error as error:  # for example if no image can have that size
        raise ValueError(f"not a PNG image ({error.err})") from error
    if grey is None:
        raise ValueError("not a PNG image")
    return grey > 127


class SavedMaskQc(SlideQc):
    """Loads what `save_mask` or `save_mask_png` stored."""

    def __init__(self, settings: SavedMask) -> None:
        self._folder, self._of = settings.folder, settings.of

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The saved result.

        Raises:
            SlideError: there is none for this slide, or it does not fit the slide.
        """
        stem = f"{slide.info.name}-{self._of}" if self._of else slide.info.name
        for suffix, load in ((".npy", load_mask), (".png", load_mask_png)):
            path = path_inside(self._folder, f"{stem}{suffix}")
            if path.exists():
                found = load(path, slide=slide.info)
                # A file may say of a metric that it could not be measured; a step leaves such a metric out.
                known = {name: value for name, value in found.metrics.items() if math.isfinite(value)}
                return evolve(found, metrics=known)
        raise SlideError(
            f"{slide.info.path.name}: no saved mask {stem}.npy or .png in {self._folder}; run once with save_masks "
            "= true and name that run's folder of masks, or use the QC step itself"
        )
