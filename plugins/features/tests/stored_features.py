"""Tiles, and what the sink makes of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from slideloom import Size, SlideInfo, TileBatch
from slideloom.steps.scene import Scene
from slideloom_features import Features
from slideloom_testing import batch_of, info_of, scene_of, stained, tiles_of

SMALL_MODELS = Path(__file__).with_name("small_models.py")
FOOTPRINT = Size(200, 200)


def given(factory: str = "colours", **options: object) -> Features:
    return Features(factory=factory, code=SMALL_MODELS, device="cpu", **options)


def batch(count: int = 7, *, px: int = 64, labels: Sequence[str | None] | None = None) -> TileBatch:
    made = batch_of(
        [stained(Size(px, px), seed=seed) for seed in range(count)], tiles=tiles_of(count, footprint=FOOTPRINT)
    )
    return made if labels is None else TileBatch(made.rgb, made.tiles, made.slide, tuple(labels))


def scene(*, px: int = 64, mpp: float = 1.0) -> Scene:
    return scene_of(tile_px=px, footprint=FOOTPRINT, mpp=mpp)


def stored(
    out: Path, settings: Features, *batches: TileBatch, info: SlideInfo | None = None, scene: Scene | None = None
) -> list[Path]:
    sink = settings.build()
    out.mkdir(exist_ok=True)
    writer = sink.open(info or info_of("slide"), scene or scene_of(tile_px=64, footprint=FOOTPRINT, mpp=1.0), out)
    for each in batches:
        writer.write(each.tiles, sink.encode(each))
    return list(writer.commit())


def expected_colours(rgb: np.ndarray) -> np.ndarray:
    """(B, 6) float64 by the formula of `Colours`, with ImageNet's mean and deviation."""
    scaled = (rgb / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    return np.concatenate([scaled.mean(axis=(1, 2)), scaled.max(axis=(1, 2))], axis=1)


def module_of(name: str = "colours") -> torch.nn.Module:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("small_models_of_tests", SMALL_MODELS)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # TorchScript looks for the source there
    spec.loader.exec_module(module)
    made: torch.nn.Module = getattr(module, name)().eval()
    return made
