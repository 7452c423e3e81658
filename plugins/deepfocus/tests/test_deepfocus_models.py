from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from slideloom import ConfigError, PluginError, Size
from slideloom_deepfocus import StridedModel, StridedModelQC, StridedModelSettings
from slideloom_deepfocus.models import framework, predictor
from slideloom_deepfocus.testing import StridedModelContract
from slideloom_testing import PixelsSlide, stained

torch = pytest.importorskip("torch")
WEIGHTS = (0.5, -1.0, 2.0)


class Linear(torch.nn.Module):  # type: ignore[name-defined,misc]
    """Two outputs per tile: nothing, and a weighted mean of the channels; what it gives is known without it."""

    def forward(self, tiles: Any) -> Any:
        score = (tiles.mean(dim=(2, 3)) * torch.tensor(WEIGHTS)).sum(dim=1)
        return torch.stack([torch.zeros_like(score), score], dim=1)


def expected(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`Linear` of each 40-px tile of 0-1 pixels, by hand."""
    rows, columns = rgb.shape[0] // 40, rgb.shape[1] // 40
    means = (rgb / 255).reshape(rows, 40, columns, 40, 3).mean(axis=(1, 3))
    answer: NDArray[np.float64] = means @ np.array(WEIGHTS)
    return answer


OPTIONS = StridedModelSettings(tile_px=40, tile_um=40.0, everywhere=True, batch=4, device="cpu", trust=True)


@pytest.fixture(scope="module")
def rgb() -> NDArray[np.uint8]:
    return stained(Size(200, 120), seed=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model files of every kind, all of the same function."""
    folder = tmp_path_factory.mktemp("models")
    example = torch.zeros(4, 3, 40, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations, while we make the files
        torch.jit.trace(Linear().eval(), example).save(folder / "scripted.pt")
        torch.export.save(torch.export.export(Linear().eval(), (example,)), folder / "fixed.pt2")
        free = {"tiles": {0: torch.export.Dim("batch")}}
        torch.export.save(torch.export.export(Linear().eval(), (example,), dynamic_shapes=free), folder / "free.pt2")
    return folder


@pytest.mark.parametrize("name", ["scripted.pt", "fixed.pt2", "free.pt2"])
def test_a_torch_file_gives_what_its_formula_gives(folder: Path, name: str, rgb: NDArray[np.uint8]) -> None:
    found = StridedModelQC(folder / name, OPTIONS)(PixelsSlide(rgb, mpp=1.0), threshold=False)
    assert np.abs(found.values - expected(rgb)).max() < 1e-5


def test_an_exported_model_keeps_its_own_batch_size(folder: Path) -> None:
    assert predictor(folder / "fixed.pt2", layout="auto", device="cpu", trust=True).fixed_batch == 4
    assert predictor(folder / "free.pt2", layout="auto", device="cpu", trust=True).fixed_batch is None


def test_a_torch_module_is_a_model(rgb: NDArray[np.uint8]) -> None:
    found = StridedModelQC(Linear(), OPTIONS)(PixelsSlide(rgb, mpp=1.0), threshold=False)
    assert np.abs(found.values - expected(rgb)).max() < 1e-5


@pytest.mark.parametrize("channels_last", [False, True])
def test_an_onnx_file_gives_what_its_formula_gives(tmp_path: Path, rgb: NDArray[np.uint8], channels_last: bool) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    make = onnx.helper
    shape, axes = (["n", 40, 40, 3], [1, 2]) if channels_last else (["n", 3, 40, 40], [2, 3])
    nodes = [
        make.make_node("ReduceMean", ["tiles", "axes"], ["means"], keepdims=0),
        make.make_node("MatMul", ["means", "weights"], ["score"]),
    ]
    graph = make.make_graph(
        nodes,
        "linear",
        [make.make_tensor_value_info("tiles", onnx.TensorProto.FLOAT, shape)],
        [make.make_tensor_value_info("score", onnx.TensorProto.FLOAT, ["n", 1])],
        [
            make.make_tensor("axes", onnx.TensorProto.INT64, [2], axes),
            make.make_tensor("weights", onnx.TensorProto.FLOAT, [3, 1], WEIGHTS),
        ],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=9)
    path = tmp_path / "linear.onnx"
    onnx.save(model, path)
    found = StridedModelQC(path, OPTIONS)(PixelsSlide(rgb, mpp=1.0), threshold=False)
    assert np.abs(found.values - expected(rgb)).max() < 1e-5


KERAS = """
import sys, warnings
warnings.simplefilter("ignore")
import keras
import numpy as np
layers = keras.layers
tiles = keras.Input((40, 40, 3))
out = layers.Dense(1, use_bias=False, name="score")(layers.GlobalAveragePooling2D()(tiles))
model = keras.Model(tiles, out)
model.get_layer("score").set_weights([np.array([[0.5], [-1.0], [2.0]], np.float32)])
model.save(sys.argv[1])
from slideloom import Size
from slideloom_testing import PixelsSlide, stained
from slideloom_deepfocus import StridedModelQC, StridedModelSettings
options = StridedModelSettings(tile_px=40, tile_um=40.0, everywhere=True, batch=4, device="cpu")
slide = PixelsSlide(stained(Size(200, 120), seed=2), mpp=1.0)
for source in (sys.argv[1], model):
    np.save(sys.argv[2], StridedModelQC(source, options)(slide, threshold=False).values)
"""


def test_a_keras_file_gives_what_its_formula_gives(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    pytest.importorskip("keras")
    pytest.importorskip("tensorflow")
    out = tmp_path / "values.npy"
    # In a process of its own: TensorFlow's import emits warnings, and warnings are errors here.
    subprocess.run([sys.executable, "-c", KERAS, str(tmp_path / "m.keras"), str(out)], check=True)
    assert np.abs(np.load(out) - expected(rgb)).max() < 1e-5


class TestStridedModel(StridedModelContract):
    @pytest.fixture(autouse=True)
    def _file(self, folder: Path) -> None:
        self.settings = StridedModel(model=folder / "scripted.pt", tile_px=40, tile_um=40.0, device="cpu", trust=True)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.pt: no such model file"):
        StridedModel(model=Path("nowhere.pt")).build()


@pytest.mark.parametrize(
    ("name", "words"),
    [("weights.pt", "not a TorchScript file"), ("model.pt2", "torch.export"), ("model.h5", r"ends in \.pt")],
)
def test_a_file_of_another_kind_is_refused_with_a_remedy(tmp_path: Path, name: str, words: str) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(ConfigError, match=words):
        StridedModel(model=tmp_path / name, trust=True).build()


def test_a_model_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="not int"):
        StridedModelQC(3, OPTIONS)


def test_a_device_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="device 'cuda:99' cannot be used"):
        StridedModel(model=folder / "scripted.pt", device="cuda:99", trust=True).build()


def test_a_changed_file_is_loaded_anew(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes((folder / "scripted.pt").read_bytes())
    before = StridedModel(model=path).model_key()
    path.write_bytes((folder / "scripted.pt").read_bytes() + b"\0")
    assert StridedModel(model=path).model_key() != before


def test_a_missing_framework_names_the_extra_that_brings_it() -> None:
    with pytest.raises(PluginError, match=r"pip install 'slideloom-deepfocus\[torch\]'"):
        framework("no_such_framework", extra="torch")


def test_the_plugin_and_its_settings_import_no_framework() -> None:
    code = (
        "import sys, slideloom_deepfocus.plugin as p; p.slideloom_slide_qc(); "
        "print([n for n in ('torch', 'tensorflow', 'keras', 'onnxruntime', 'huggingface_hub', 'safetensors') "
        "if n in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"
