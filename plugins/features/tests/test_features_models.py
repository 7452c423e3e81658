"""Models of every kind give the same features, and what cannot be loaded is refused by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from slideloom import ConfigError, OptionError, PluginError, Settings, pipeline_from_table
from slideloom_features import Features
from slideloom_features.encoder import declared
from slideloom_features.loading import encoder_of
from slideloom_features.onnx_encoder import providers, refuse_fallback

from plugins.features.tests.stored_features import SMALL_MODELS, batch, expected_colours, given, module_of, stored

ModelFile = Callable[..., Path]


def features(path: Path) -> np.ndarray:
    with h5py.File(path, "r") as file:
        return file["features"][:]


def made(out: Path, settings: Settings[Any], count: int = 5) -> np.ndarray:
    (path,) = stored(out, settings, batch(count))
    return features(path)


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx"])
def test_a_model_file_of_each_kind_gives_the_features_of_the_formula(
    tmp_path: Path, model_file: ModelFile, suffix: str
) -> None:
    path = model_file(suffix)

    (stored_as,) = stored(tmp_path, Features(model=path, trust=True, device="cpu", batch=2), batch(5))

    np.testing.assert_allclose(features(stored_as), expected_colours(batch(5).rgb), rtol=1e-5, atol=1e-5)
    with h5py.File(stored_as, "r") as file:
        assert file["features"].attrs["model"] == f"colours{suffix}"
        assert file["features"].attrs["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_a_model_of_one_batch_size_and_side_is_given_both(tmp_path: Path, model_file: ModelFile, suffix: str) -> None:
    """Four tiles of 32 x 32 at a time, whatever `batch` says; the last call is filled up."""
    halved = batch(6).rgb.reshape(6, 32, 2, 32, 2, 3).astype(float).mean(axis=(2, 4))

    found = made(tmp_path, Features(model=model_file(suffix, fixed=(4, 32)), trust=True, device="cpu"), 6)

    np.testing.assert_allclose(found, expected_colours(np.floor(halved + 0.5)), rtol=1e-5, atol=1e-5)


def test_another_side_than_the_model_takes_is_refused(model_file: ModelFile) -> None:
    with pytest.raises(ConfigError, match="takes pictures of 32 px only, not input_px = 64"):
        Features(model=model_file(".onnx", fixed=(4, 32)), input_px=64).build()


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_file_that_can_run_code_needs_trust(model_file: ModelFile, suffix: str) -> None:
    with pytest.raises(ConfigError, match="can run its author's code; set trust = true"):
        Features(model=model_file(suffix)).check()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_factory_is_given_its_state_dict(tmp_path: Path, suffix: str) -> None:
    weights = tmp_path / f"weights{suffix}"
    state = {"weight": torch.tensor([2.0, 2.0, 2.0, -1.0, -1.0, -1.0])}
    save_file(state, weights) if suffix == ".safetensors" else torch.save(state, weights)

    found = made(tmp_path / "out", given(weights=weights))

    np.testing.assert_allclose(found, expected_colours(batch(5).rgb) * [2, 2, 2, -1, -1, -1], rtol=1e-5, atol=1e-5)


def test_changed_weights_or_code_change_the_digest_of_the_pipeline(tmp_path: Path) -> None:
    weights, code = tmp_path / "w.safetensors", tmp_path / "m.py"

    def digest() -> str:
        sink = {"use": "features", "factory": "colours", "code": str(code), "weights": str(weights)}
        table = {"slideloom": 1, "tiles": {"size_px": 64, "size_um": 64}, "sink": [sink]}
        return pipeline_from_table(table, where="test").digest()

    code.write_bytes(SMALL_MODELS.read_bytes())
    save_file({"weight": torch.ones(6)}, weights)
    first = digest()
    save_file({"weight": torch.zeros(6)}, weights)
    second = digest()
    code.write_bytes(code.read_bytes() + b"\n# changed\n")

    assert len({first, second, digest()}) == 3


def test_several_models_in_one_run_need_names_of_their_own() -> None:
    def pipeline(*names: str) -> object:
        sinks = [{"use": "features", "factory": "a:b", "encoder": name} for name in names]
        return pipeline_from_table(
            {"slideloom": 1, "tiles": {"size_px": 64, "size_um": 64}, "sink": sinks}, where="test"
        )

    pipeline("one", "two")
    with pytest.raises(ConfigError, match="two sinks write to the same place"):
        pipeline("one", "one")


def test_the_next_slide_is_given_the_weights_that_are_there_now(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    save_file({"weight": torch.ones(6)}, weights)
    first = made(tmp_path / "one", given(weights=weights))
    weights.unlink()
    save_file({"weight": torch.full((6,), 3.0)}, weights)

    assert np.allclose(made(tmp_path / "two", given(weights=weights)), 3 * first, rtol=1e-5)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("evil"),))


def test_a_pickle_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": _Evil()}, tmp_path / "w.pth")

    with pytest.raises(ConfigError, match=r"w\.pth: no state dict can be read from it"):
        given(weights=tmp_path / "w.pth").build()
    assert not Path("evil").exists()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"weight": torch.ones(5)}, r"size mismatch for weight.*is it the state dict of this model"),
        ({"weights": torch.ones(6)}, r"lacks weight; has too much: weights; is it the state dict of this model"),
    ],
)
def test_a_state_dict_of_another_model_is_refused(tmp_path: Path, state: dict[str, torch.Tensor], said: str) -> None:
    save_file(state, tmp_path / "w.safetensors")

    with pytest.raises(ConfigError, match=said):
        given(weights=tmp_path / "w.safetensors").build()


def test_a_file_or_state_dict_with_another_digest_is_refused(tmp_path: Path, model_file: ModelFile) -> None:
    path = model_file(".onnx")
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    state = hashlib.sha256(b"weight torch.float32 (6,)\n" + np.ones(6, np.float32).tobytes()).hexdigest()

    Features(model=path, sha256=right).check()
    given(sha256=state).build()
    with pytest.raises(ConfigError, match=f"colours.onnx: its SHA-256 is {right}, not 0000"):
        Features(model=path, sha256="0" * 64).check()
    with pytest.raises(ConfigError, match=f"colours: its SHA-256 is {state}, not 0000"):
        given(sha256="0" * 64).build()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "model \\(or factory, or timm\\) must be given, and one of them only, not none"),
        ({"model": "a.onnx", "timm": "resnet18"}, "one of them only, not model and timm"),
        ({"factory": "encoder"}, "must be 'module:function' without code"),
        ({"factory": "a b"}, "must be 'module:function', or a function's name with code"),
        ({"factory": "a:b", "code": "m.py"}, "goes with factory = the name of a function in that file"),
        ({"model": "a.onnx", "weights": "w.pth"}, "a model file holds its own"),
        ({"factory": "a:b", "std": [0.2, 0, 0.2]}, "must be above 0"),
        ({"factory": "a:b", "sha256": "abc"}, "must be 64 digits"),
        ({"factory": "a:b", "encoder": "a/b"}, "must be one name without separators"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Features(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"factory": "no_such_package:encoder"}, "no_such_package.*install the package that has it"),
        ({"factory": "no_such_function", "code": SMALL_MODELS}, "has no function no_such_function"),
        ({"factory": "not_a_module", "code": SMALL_MODELS}, "returned str, where a torch module is wanted"),
        (
            {"factory": "unseeded", "code": SMALL_MODELS},
            "unseeded: gives other weights each time.*features of different models; give weights",
        ),
        ({"model": Path("gone.onnx")}, "gone.onnx: there is no such file"),
        ({"model": Path("model.h5")}, r"the file of a model ends in \.pt, \.pt2, \.onnx"),
    ],
)
def test_a_model_that_cannot_be_had_is_refused_by_name(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Features(**options).build()


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx"])
def test_a_damaged_model_file_is_refused_by_name(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"m{suffix}").write_bytes(b"not a model" * 100)

    with pytest.raises(
        ConfigError, match=rf"m\{suffix}: (not a TorchScript file|torch.export cannot|onnxruntime cannot)"
    ):
        Features(model=tmp_path / f"m{suffix}", trust=True).build()


def test_an_onnx_file_with_weights_beside_it_is_refused(tmp_path: Path, model_file: ModelFile) -> None:
    """They would not be part of the digest."""
    import onnx

    outside = tmp_path / "m.onnx"
    onnx.save_model(
        onnx.load(model_file(".onnx")), outside, save_as_external_data=True, location="m.bin", size_threshold=0
    )

    with pytest.raises(ConfigError, match="the file must hold all weights itself"):
        Features(model=outside).build()


def test_timm_that_is_missing_is_named_with_what_installs_it() -> None:
    from importlib.util import find_spec

    if find_spec("timm") is not None:
        pytest.skip("timm is installed")

    with pytest.raises(PluginError, match=r"timm is not installed: pip install 'slideloom-features\[timm\]'"):
        Features(timm="resnet18").check()


def test_half_precision_is_close_to_full_and_no_matter_of_onnx(tmp_path: Path, model_file: ModelFile) -> None:
    full = made(tmp_path / "full", given("network"))
    half = made(tmp_path / "half", given("network", precision="half"))

    assert 0 < np.abs(half - full).max() < 0.05 * np.abs(full).max()  # bfloat16 has 8 binary digits
    with pytest.raises(ConfigError, match="store the ONNX file itself in float16"):
        Features(model=model_file(".onnx"), precision="half").build()


def test_a_state_dict_digest_is_that_of_its_names_types_shapes_and_values() -> None:
    from slideloom_features.torch_encoder import state_digest

    state = module_of("network").state_dict()
    other = {name: value.clone() for name, value in reversed(state.items())}

    assert state_digest(other) == state_digest(state)
    other["0.bias"][0] += 1
    assert state_digest(other) != state_digest(state)


def test_inputs_that_are_no_pictures_are_refused() -> None:
    assert declared(["batch", 3, 224, 224], of="m") == (None, 224)
    assert declared([8, 3, None, None], of="m") == (8, None)
    for shape in ([1, 224, 224, 3], [1, 3, 224, 112], [1, 1, 64, 64], [3, 224, 224]):
        with pytest.raises(ConfigError, match=r"m: takes an input of shape .*\(B, 3, height, width\)"):
            declared(shape, of="m")


def test_onnxruntime_computes_where_it_is_told_to() -> None:
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"

    assert providers("auto", [cpu]) == providers("cpu", [cuda, cpu]) == [cpu]
    assert providers("auto", [cuda, cpu]) == [(cuda, {"device_id": 0, "use_tf32": 0}), cpu]
    assert providers("cuda:1", [cuda, cpu]) == [(cuda, {"device_id": 1, "use_tf32": 0}), cpu]
    for device, known in (("cuda", [cpu]), ("mps", [cpu])):
        with pytest.raises(ConfigError, match="cannot be used by this onnxruntime"):
            providers(device, known)


def test_onnxruntime_without_its_cuda_is_refused_by_name_and_else_told(caplog: pytest.LogCaptureFixture) -> None:
    """A build for CUDA where there is none, or a library is missing: onnxruntime takes the CPU and says nothing."""
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    wanted = providers("auto", [cuda, cpu])

    refuse_fallback(wanted, [cuda, cpu], device="cuda", of="uni.onnx")
    refuse_fallback([cpu], [cpu], device="cpu", of="uni.onnx")
    assert not caplog.messages
    with pytest.raises(ConfigError, match=r"uni\.onnx: onnxruntime has CUDA but cannot start it"):
        refuse_fallback(wanted, [cpu], device="cuda", of="uni.onnx")
    refuse_fallback(wanted, [cpu], device="auto", of="uni.onnx")
    assert "cannot start it" in caplog.text
    assert "runs on the CPU" in caplog.text


def test_memory_that_runs_out_says_what_to_set() -> None:
    settings = Features(code=SMALL_MODELS, factory="hungry", device="cpu")

    with pytest.raises(ValueError, match=r"hungry fails on 5 tiles .*too little memory .*; set a smaller batch"):
        encoder_of(settings)(batch(5).rgb.copy())
