"""Models with classes: the highest output wins, one run gives all, and what was not seen is said."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from attrs import frozen
from numpy.typing import NDArray
from slideloom import PluginError, QcClass, load_pipeline, qc_classes
from slideloom_deepfocus import StridedClasses, StridedModelSettings
from slideloom_deepfocus.testing import StridedModelContract
from slideloom_testing import PixelsSlide, scene_of

CLASSES = ("tissue", "dark:artifact:0.2", "red:background")


def shares(tiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """(B, 3): a constant, the share of dark pixels, the share of red ones."""
    dark = (tiles.max(axis=-1) < 0.2).mean(axis=(1, 2))
    red = ((tiles[..., 0] > 0.8) & (tiles[..., 1] < 0.2)).mean(axis=(1, 2))
    return np.stack([np.full_like(dark, 0.3), dark, red], axis=-1).astype(np.float32)


@frozen
class Kinds(StridedModelSettings):
    """Dark and red, by share of a tile."""

    name: ClassVar[str] = "kinds"

    def qc_classes(self) -> tuple[QcClass, ...]:
        return qc_classes(CLASSES)

    def load(self) -> object:
        return shares


@frozen
class KindsByPixel(Kinds):
    """The same for each pixel."""

    def load(self) -> object:
        return lambda tiles: np.stack(
            [np.full(tiles.shape[:3], 0.3), tiles.max(axis=-1) < 0.2, (tiles[..., 0] > 0.8) & (tiles[..., 1] < 0.2)],
            axis=-1,
        )


@frozen
class TwoOutputs(Kinds):
    """A model that does not fit its classes."""

    def load(self) -> object:
        return lambda tiles: np.zeros((len(tiles), 2), np.float32)


class TestKinds(StridedModelContract):
    settings = Kinds(tile_px=50, tile_um=50.0)


class TestKindsByPixelBlended(StridedModelContract):
    settings = KindsByPixel(tile_px=64, tile_um=64.0, stride_div=2)


def slide() -> PixelsSlide:
    pixels = np.full((200, 300, 3), (190, 90, 150), np.uint8)
    pixels[:50, :100] = (10, 10, 10)
    pixels[150:, 250:] = (250, 10, 10)
    return PixelsSlide(pixels, mpp=1.0)


def test_the_highest_output_of_a_tile_is_its_class() -> None:
    result = Kinds(tile_px=50, tile_um=50.0, everywhere=True).build().assess(slide(), scene_of(mpp=1.0))

    assert result.labels is not None
    assert result.labels.tolist() == [[1, 1, 0, 0, 0, 0], [0] * 6, [0] * 6, [0, 0, 0, 0, 0, 2]]
    assert [(one.name, one.kind, one.threshold) for one in result.classes] == [
        ("tissue", None, None), ("dark", "artifact", 0.2), ("red", "background", None), ("unjudged", None, None),
    ]  # fmt: skip
    assert result.metrics == {
        "cells_judged": 24, "share_tissue": 21 / 24, "share_dark": 2 / 24, "share_red": 1 / 24,
    }  # fmt: skip


def test_a_model_of_pixels_gives_classes_finer_than_its_tiles() -> None:
    pixels = np.full((200, 300, 3), (190, 90, 150), np.uint8)
    pixels[:25, :50] = (10, 10, 10)
    found = (
        KindsByPixel(tile_px=50, tile_um=50.0, everywhere=True)
        .build()
        .assess(PixelsSlide(pixels, mpp=1.0), scene_of(mpp=1.0))
    )

    assert found.mask.mean() == 25 * 50 / (200 * 300)
    assert found.mask[: len(found.mask) // 8, : found.mask.shape[1] // 6].all()


@pytest.mark.parametrize(("option", "kind"), [(False, None), (True, "background")])
def test_what_the_model_did_not_see_is_a_class_of_its_own(option: bool, kind: str | None) -> None:
    glass = PixelsSlide(np.full((200, 300, 3), 244, np.uint8), mpp=1.0)
    result = Kinds(tile_px=50, tile_um=50.0, discard_unvisited=option).build().assess(glass, scene_of(mpp=1.0))

    (unjudged,) = [one for one in result.classes if one.name == "unjudged"]
    assert unjudged.kind == kind
    assert result.mask_of(unjudged).all()
    assert result.mask.all() == option


def test_a_model_with_other_outputs_than_classes_is_refused() -> None:
    with pytest.raises(PluginError, match=r"kinds.*shape \(\d+, 2\), but the settings name 3 classes \(tissue, dark"):
        TwoOutputs(tile_px=50, tile_um=50.0, everywhere=True).build().assess(slide(), scene_of(mpp=1.0))


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript file with two outputs: a constant, and the share of dark pixels."""
    torch = pytest.importorskip("torch")

    class Dark(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, tiles: Any) -> Any:
            dark = (tiles.amax(dim=1) < 0.2).float().mean(dim=(1, 2))
            return torch.stack([torch.full_like(dark, 0.3), dark], dim=1)

    path = tmp_path_factory.mktemp("model") / "dark.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations, while we make the file
        torch.jit.trace(Dark().eval(), torch.zeros(2, 3, 50, 50)).save(path)
    return path


class TestStridedClasses(StridedModelContract):
    @pytest.fixture(autouse=True)
    def _settings(self, model_file: Path) -> None:
        words = ("rest", "dark:artifact:0.5")
        self.settings = StridedClasses(
            model=model_file, classes=words, tile_px=50, tile_um=50.0, device="cpu", trust=True
        )


def test_a_model_file_gives_classes_from_a_pipeline_file(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(
        f"slideloom = 1\n[tiles]\nsize_px = 50\nsize_um = 50\n[[qc]]\nuse = 'strided-classes'\nmodel = '{model_file}'\n"
        "trust = true\neverywhere = true\ntile_px = 50\ntile_um = 50\nclasses = ['rest', 'dark:artifact:0.5']\n"
    )
    step = load_pipeline(tmp_path / "p.toml").qc[0].step

    assert isinstance(step, StridedClasses)
    result = step.build().assess(slide(), scene_of(mpp=1.0))
    assert result.mask.tolist() == [[True, True, *[False] * 4], *[[False] * 6] * 3]


@pytest.mark.parametrize(
    ("classes", "said"),
    [(("dark",), "two or more"), (("dark", "dark"), "given twice"), (("a b", "dark"), "not 'a b'")],
)
def test_classes_that_cannot_be_are_refused(classes: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StridedClasses(model=Path("m.onnx"), classes=classes)
