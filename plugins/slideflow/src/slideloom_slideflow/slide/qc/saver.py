"""Masks kept in files: `<slide>_qc.npz`, with the array `mask`, True where the slide is discarded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from slideloom import Mask, QcResult, Scene, Slide, local_path, write_whole
from slideloom.base.storing import storing_in

from slideloom_slideflow.adapting import adapted
from slideloom_slideflow.slide.qc.steps import QcObject, settings_named

SUFFIX = "_qc.npz"


class Save:
    """Stores what the steps before it mask, all together, as `<slide>_qc.npz`.

    Args:
        dest: folder; by default that of the slide.
    """

    @adapted("slide.qc.Save")
    def __init__(self, dest: str | Path | None = None) -> None:
        self.dest = None if dest is None else Path(dest)

    def path_for(self, slide: Path, name: str) -> Path:
        """The file for a slide."""
        return (self.dest or slide.parent) / f"{name}{SUFFIX}"

    def __call__(self, wsi: Any) -> None:  # Any: the drop-in's WSI
        """Store the masks that a slide in hand has; there must be one."""
        info = wsi.ours.info
        write_mask(self.path_for(info.path, info.name), wsi.qc_mask)


class Load(QcObject):
    """Masks what an earlier run stored with `Save`.

    Args:
        source: folder; by default that of each slide.
    """

    @adapted("slide.qc.Load")
    def __init__(self, source: str | Path | None = None) -> None:
        self.source = None if source is None else Path(source)

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """See `SlideQc.assess`: slideloom's `saved-mask`, in the slide's own folder where none is named."""
        folder = self.source or local_path(slide.info.path).parent
        return settings_named("saved-mask", folder=str(folder), of="qc").build().assess(slide, scene)


def write_mask(path: Path, mask: Mask | None) -> None:
    """Write a mask, whole or not at all.

    Raises:
        ValueError: there is none.
        OutputError: it cannot be written.
    """
    if mask is None:
        raise ValueError(f"{path.name}: no QC was run, so there is no mask to save")
    content = io.BytesIO()
    np.savez_compressed(content, mask=mask)
    with storing_in(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.getvalue())
