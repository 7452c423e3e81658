"""A model's answer is checked for all tiles before any of it is believed, and what is wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from attrs import frozen
from numpy.typing import NDArray
from slideloom import ConfigError, PluginError, pipeline_from_table, run_pipeline
from slideloom_deepfocus import StridedModelQC, StridedModelSettings
from slideloom_deepfocus.inputs import InputShape, onnx_providers, refuse_fallback
from slideloom_deepfocus.testing import StridedModelContract
from slideloom_testing import PixelsSlide
from slideloom_testing.fixtures import DemoFiles

torch = pytest.importorskip("torch")
TILE = 50


@frozen
class Mine(StridedModelSettings):
    """A model of the test's own."""

    name: ClassVar[str] = "mine"


def tissue(columns: int = 12, rows: int = 8) -> NDArray[np.uint8]:
    """Pink, with red that rises by 10 from tile to tile of the first row."""
    rgb = np.full((rows * TILE, columns * TILE, 3), (100, 60, 140), np.uint8)
    for column in range(columns):
        rgb[:TILE, column * TILE : (column + 1) * TILE, 0] += 10 * column
    return rgb


def red(tiles: NDArray[Any]) -> NDArray[np.float64]:
    return tiles[..., 0].mean(axis=(1, 2))


def step_of(model: object, **options: Any) -> StridedModelQC:
    return StridedModelQC(model, Mine(**{"tile_px": TILE, "tile_um": float(TILE), "everywhere": True, **options}))


def scores(model: object, **options: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = step_of(model, **options)(PixelsSlide(tissue(), mpp=1.0), threshold=False).values
    return found


COUNTS: dict[str, tuple[Callable[[NDArray[Any]], Any], str]] = {
    "two values per tile in one row": (lambda tiles: np.stack([1 - red(tiles), red(tiles)], 1).ravel(), r"\(128,\)"),
    "half of the tiles": (lambda tiles: red(tiles)[: len(tiles) // 2], r"\(32,\)"),
    "ten tiles less": (lambda tiles: red(tiles)[:-10], r"\(54,\)"),
    "one for all": (lambda tiles: red(tiles).mean(), r"\(\)"),
    "a row of classes for half": (lambda tiles: np.zeros((len(tiles) // 2, 2)), r"\(32, 2\)"),
    "two maps per tile": (lambda tiles: np.zeros((2 * len(tiles), 5, 5)), r"\(128, 5, 5\)"),
}


@pytest.mark.parametrize("kind", COUNTS)
def test_more_or_fewer_scores_than_tiles_are_refused(kind: str) -> None:
    model, shape = COUNTS[kind]

    with pytest.raises(
        PluginError, match=rf"^qc 'mine' of .*: the model returned an array of shape {shape} for 64 tiles"
    ):
        scores(model)


def test_a_step_that_makes_too_many_scores_of_a_right_output_is_refused() -> None:
    class Doubling(StridedModelQC):
        def scores(self, output: NDArray[np.generic]) -> NDArray[np.float32]:
            return np.repeat(super().scores(output), 2)

    step = Doubling(red, Mine(tile_px=TILE, tile_um=float(TILE)))

    with pytest.raises(PluginError, match=r"shape \(128,\) for 64 tiles"):
        step(PixelsSlide(tissue(), mpp=1.0))


def test_the_contract_of_models_finds_a_wrong_count_and_a_wrong_order() -> None:
    def contract(model: Callable[[NDArray[Any]], Any]) -> StridedModelContract:
        class Checked(StridedModelContract):
            def built(self) -> StridedModelQC:
                return step_of(model)

        return Checked()

    contract(red).test_there_is_a_score_for_every_tile()
    contract(red).test_a_score_is_that_of_its_own_tile()
    with pytest.raises(PluginError, match="for 64 tiles"):
        contract(lambda tiles: np.repeat(red(tiles), 2)).test_there_is_a_score_for_every_tile()
    with pytest.raises(AssertionError):
        contract(lambda tiles: np.sort(red(tiles))).test_a_score_is_that_of_its_own_tile()


class Doubled(torch.nn.Module):  # type: ignore[name-defined,misc]
    """Two scores per tile in one row."""

    def forward(self, tiles: Any) -> Any:
        return torch.cat([tiles.mean((1, 2, 3)), tiles.mean((1, 2, 3))])


def saved(module: Any, path: Path, *shape: int) -> Path:
    torch.jit.trace(module.eval(), torch.zeros(*shape), strict=False).save(path)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_fails_the_slide_and_names_step_plugin_and_version(demo_slide: DemoFiles, tmp_path: Path) -> None:
    model = saved(Doubled(), tmp_path / "doubled.pt", 2, 3, 64, 64)
    qc = {"use": "strided-model", "model": str(model), "tile_px": 64, "tile_um": 64.0, "trust": True, "device": "cpu"}
    table = {"slideloom": 1, "tiles": {"size_px": 100, "size_um": 100}, "qc": [qc]}

    report = run_pipeline(pipeline_from_table(table, where="test"), [demo_slide.path], tmp_path / "out")

    (slide,) = report.slides
    assert slide.status == "failed"
    assert "qc 'strided-model' of slideloom-deepfocus 0." in str(slide.error)
    assert "shape (128,) for 64 tiles" in str(slide.error)
    assert not list(tmp_path.rglob("*.tfrecords"))


@pytest.mark.parametrize("shape", [(), (1,), (1, 5, 5)], ids=str)
def test_softmax_of_one_output_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PluginError, match=r"'softmax' needs two classes or more.*'sigmoid'"):
        scores(lambda tiles: np.ones((len(tiles), *shape)), activation="softmax", layout="channels-first")


def test_scores_outside_0_to_1_are_noted_where_the_threshold_is_inside() -> None:
    def logits(tiles: NDArray[Any]) -> NDArray[np.float64]:
        return 8 * red(tiles) - 4

    slide = PixelsSlide(tissue(), mpp=1.0)
    note = "the model's scores reach from -0.862745 to 2.58824, but the threshold is 0.5; if they are logits"

    assert [text for text in step_of(logits)(slide).notes if note in text]
    assert step_of(logits, activation="sigmoid")(slide).notes == ()
    assert step_of(logits, threshold=2.0)(slide).notes == ()
    assert step_of(red)(slide).notes == ()


def test_a_tile_without_a_number_fails_the_slide_or_stays_unjudged() -> None:
    def without_second(tiles: NDArray[Any]) -> NDArray[np.float64]:
        answer = red(tiles)
        return np.where(np.isclose(answer, 110 / 255), np.nan, answer)

    slide = PixelsSlide(tissue(), mpp=1.0)
    with pytest.raises(PluginError, match=r"no numbers \(NaN or infinite\) for 1 of 64 tiles; on_nan = \"keep\""):
        step_of(without_second)(slide)
    step = step_of(without_second, on_nan="keep", threshold=0.0)
    result = step(slide)

    assert result.mask.sum() == 8 * 12 - 1
    assert not result.mask[0, 1]
    assert result.notes == ("1 tiles got no number from the model and were not judged",)
    assert result.metrics["cells_judged"] == 8 * 12 - 1


def test_a_map_with_one_nan_is_a_tile_without_a_number() -> None:
    def maps(tiles: NDArray[Any]) -> NDArray[np.float64]:
        answer = np.repeat(np.repeat(red(tiles)[:, None, None], 5, axis=1), 5, axis=2)
        answer[np.isclose(answer[:, 0, 0], 110 / 255), 2, 2] = np.inf
        return answer

    found = scores(maps, on_nan="keep")

    assert found.shape == (8 * 5, 12 * 5)
    assert np.isnan(found[:5, 5:10]).all()
    assert np.isnan(found).sum() == 25


def test_a_model_that_knows_no_number_at_all_fails_the_slide_whatever_is_asked() -> None:
    with pytest.raises(PluginError, match="for any of 96 tiles"):
        scores(lambda tiles: red(tiles) * np.nan, on_nan="keep")


class InDict(torch.nn.Module):  # type: ignore[name-defined,misc]
    """A dict, as many libraries' models return."""

    def forward(self, tiles: Any) -> Any:
        return {"logits": tiles.mean((1, 2, 3)), "features": tiles}


@pytest.mark.parametrize(
    "model", [InDict(), lambda tiles: {"logits": red(tiles), "features": tiles}], ids=["torch", "f"]
)
def test_a_dict_is_refused_with_its_keys(model: object) -> None:
    with pytest.raises(PluginError, match=r"returned a dict \(logits, features\), not an array"):
        scores(model, device="cpu")


@pytest.mark.parametrize("answer", [["good"] * 64, [None] * 64, np.ones(64, complex)], ids=["text", "none", "complex"])
def test_what_is_no_number_is_refused(answer: Any) -> None:
    with pytest.raises(PluginError, match="not an array of numbers"):
        scores(lambda tiles: answer)


class Flat(torch.nn.Module):  # type: ignore[name-defined,misc]
    """Made for tiles of 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3 * 32 * 32, 1)

    def forward(self, tiles: Any) -> Any:
        return self.layer(tiles.flatten(1))


def test_a_model_that_fails_is_named_with_the_shape_it_got() -> None:
    with pytest.raises(
        PluginError, match=r"fails on an input of shape \(64, 3, 50, 50\) float32 \(RuntimeError: .*tile_px"
    ):
        scores(Flat(), device="cpu")


class Red(torch.nn.Module):  # type: ignore[name-defined,misc]
    """The mean of the last axis's first channel: a model that wants channels last."""

    def forward(self, tiles: Any) -> Any:
        return tiles[..., 0].mean((1, 2))


def exported(module: Any, path: Path, *shape: int) -> Path:
    torch.export.save(torch.export.export(module.eval(), (torch.zeros(*shape),)), path)
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_exported_model_that_wants_channels_last_gets_them_last(tmp_path: Path) -> None:
    path = exported(Red(), tmp_path / "red.pt2", 4, TILE, TILE, 3)

    found = scores(path, device="cpu", trust=True)

    assert np.allclose(found[0], [(100 + 10 * column) / 255 for column in range(12)])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_an_order_or_a_size_that_the_model_contradicts_is_refused_with_both_shapes(tmp_path: Path) -> None:
    path = exported(Red(), tmp_path / "red.pt2", 4, TILE, TILE, 3)

    with pytest.raises(
        ConfigError, match=r"'channels-first', but the model's input is \(4, 50, 50, 3\), channels-last"
    ):
        step_of(path, layout="channels-first", device="cpu", trust=True)
    with pytest.raises(PluginError, match=r"input is \(4, 50, 50, 3\), but tile_px = 64 .* it \(4, 64, 64, 3\)"):
        step_of(path, tile_px=64, device="cpu", trust=True)


@pytest.mark.parametrize(
    ("sizes", "usual", "is_last"),
    [
        ((None, 64, 64, 3), False, True),
        (("n", 3, "h", "w"), True, False),
        ((None, None, None, None), True, True),
        ((None, None, None, None), False, False),
        ((1, 3, 3, 3), False, False),
        ((4, 10), True, True),
        (None, False, False),
    ],
)
def test_the_order_of_axes_is_read_from_the_shape_where_it_tells(sizes: Any, usual: bool, is_last: bool) -> None:
    assert InputShape.of(sizes).is_channels_last("auto", usual=usual) is is_last


def test_a_layout_that_is_asked_for_counts_where_the_shape_does_not_tell() -> None:
    free = InputShape.of((None, None, None, None))

    assert free.is_channels_last("channels-last", usual=False)
    assert not free.is_channels_last("channels-first", usual=True)


def test_onnx_uses_the_device_that_was_asked_for_or_says_why_not() -> None:
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"

    assert onnx_providers("auto", [cpu]) == [cpu]
    assert onnx_providers("cpu", [cuda, cpu]) == [cpu]
    assert onnx_providers("auto", [cuda, cpu]) == [(cuda, {"device_id": 0, "use_tf32": 0}), cpu]
    assert onnx_providers("cuda:1", [cuda, cpu]) == [(cuda, {"device_id": 1, "use_tf32": 0}), cpu]
    for device in ("cuda", "mps", "gpu"):
        with pytest.raises(ConfigError, match=rf"device '{device}' cannot be used by this onnxruntime, which has cpu"):
            onnx_providers(device, [cpu])


def test_onnx_without_its_cuda_is_refused_by_name_and_else_told(caplog: pytest.LogCaptureFixture) -> None:
    """A build for CUDA where there is none, or a library is missing: onnxruntime takes the CPU and says nothing."""
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    wanted = onnx_providers("auto", [cuda, cpu])

    refuse_fallback(wanted, [cuda, cpu], device="cuda", of="focus.onnx")
    refuse_fallback([cpu], [cpu], device="cpu", of="focus.onnx")
    assert not caplog.messages
    with pytest.raises(ConfigError, match=r"focus\.onnx: onnxruntime has CUDA but cannot start it"):
        refuse_fallback(wanted, [cpu], device="cuda:0", of="focus.onnx")
    refuse_fallback(wanted, [cpu], device="auto", of="focus.onnx")
    assert "cannot start it" in caplog.text
    assert "runs on the CPU" in caplog.text


def test_memory_that_runs_out_says_what_to_set_and_nothing_of_the_tiles() -> None:
    class Hungry(torch.nn.Module):
        def forward(self, _: object) -> None:
            raise torch.cuda.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total of ..."
            )

    step = StridedModelQC(Hungry(), StridedModelSettings(tile_px=64, device="cpu"))

    with pytest.raises(PluginError, match=r"too little memory .*; set a smaller batch") as caught:
        step.scores_for(np.zeros((2, 64, 64, 3), np.uint8))
    assert "tile_px" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_threshold_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="threshold must be a finite number"):
        Mine(threshold=value)


@pytest.mark.parametrize("value", ["0x", "0.0x", float("inf"), float("nan")])
def test_a_tile_size_that_is_no_size_is_refused(value: float | str) -> None:
    with pytest.raises(ValueError, match=r"tile_um must be (microns, or a magnification|a finite number)"):
        Mine(tile_um=value)
