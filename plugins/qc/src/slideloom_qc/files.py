"""Masks as PNG files, and the step that uses saved masks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from attrs import evolve
from numpy.typing import NDArray
from slideloom import (
    Box,
    Mask,
    QcResult,
    Scene,
    Slide,
    SlideError,
    SlideInfo,
    SlideQc,
    load_mask,
    mask_from_npz,
    path_inside,
    save_mask,
)

from slideloom_qc.settings import SavedMask

QcKind = Literal["background", "blur", "artifact"]
_OFF_AT_MOST = 0.1  # of the height: masks made of a grid of tiles end where the last whole tile does


def save_mask_png(result: QcResult, path: Path, *, slide: SlideInfo) -> tuple[Path, Path]:
    """`slideloom.save_mask`, with the mask as a black and white PNG; white is discarded.

    Of a result with classes, the PNG is grey and its values are those of the classes.
    """
    return save_mask(result, path, slide=slide, encode=_png_bytes)


def load_mask_png(path: Path, *, slide: SlideInfo | None = None) -> QcResult:
    """`slideloom.load_mask` for files written by `save_mask_png`."""
    return load_mask(path, slide=slide, decode=_mask_from_png, decode_labels=_grey_from_png)


def _png_bytes(mask: Mask | NDArray[np.uint8]) -> bytes:
    if mask.dtype == np.bool_:
        done, content = cv2.imencode(".png", mask.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    else:
        done, content = cv2.imencode(".png", mask.astype(np.uint8, copy=False))
    if not done:
        raise ValueError(f"a mask of shape {mask.shape} cannot be stored as PNG")
    return content.tobytes()


def _mask_from_png(content: bytes) -> Mask:
    mask: Mask = _grey_from_png(content) > 127
    return mask


def _grey_from_png(content: bytes) -> NDArray[np.uint8]:
    try:
        grey = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    except cv2.error as error:  # for example if no image can have that size
        raise ValueError(f"not a PNG image ({error.err})") from error
    if grey is None:
        raise ValueError("not a PNG image")
    return grey.astype(np.uint8, copy=False)


class SavedMaskQc(SlideQc):
    """Loads what `save_mask` or `save_mask_png` stored, or Slideflow."""

    uses_regions = False

    def __init__(self, settings: SavedMask) -> None:
        self._settings = settings

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The saved result.

        Raises:
            SlideError: there is none for this slide, or it does not fit the slide.
        """
        settings, info = self._settings, slide.info
        names = settings.names_for(info.name)
        for name in names:
            path = path_inside(settings.folder, name)
            if path.exists() and path.suffix == ".npz":
                return load_mask_npz(path, slide=info, kind=settings.kind)
            if path.exists():
                found = (load_mask_png if path.suffix == ".png" else load_mask)(path, slide=info)
                # A file may say of a metric that it could not be measured; a step leaves such a metric out.
                known = {name: value for name, value in found.metrics.items() if math.isfinite(value)}
                return evolve(found, metrics=known)
        raise SlideError(
            f"{info.path.name}: no saved mask {', '.join(names[:-1])} or {names[-1]} in {settings.folder}; run once "
            "with save_masks = true and name that run's folder of masks, or use the QC step itself"
        )


def load_mask_npz(path: Path, *, slide: SlideInfo, kind: QcKind) -> QcResult:
    """The mask in a `<slide>_qc.npz` of Slideflow, placed as Slideflow places it: by the ratio of the widths.

    Args:
        path: of the file, which says nothing but the mask.
        slide: that it is meant for.
        kind: of the discarded areas.

    Raises:
        SlideError: it is damaged, or has another shape than the slide.
    """
    remedy = "make it again with save_masks = true, or with the program that wrote it"
    try:
        mask = mask_from_npz(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SlideError(f"{path}: the saved mask cannot be read ({error}); {remedy}") from error
    rows, columns = mask.shape
    height = rows * slide.size.width / columns
    off = abs(height / slide.size.height - 1)
    if off > max(_OFF_AT_MOST, 1.5 / rows):
        raise SlideError(
            f"{path}: {columns} x {rows} pixels do not have the shape of {slide.path.name}, {slide.size.width} x "
            f"{slide.size.height}; is it another slide's? {remedy}"
        )
    return QcResult(mask, kind, extent=Box(0, 0, slide.size.width, height))
