"""Finds what a model needs before the first slide, and loads it once per process."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from importlib.util import find_spec
from pathlib import Path

from slideloom import ConfigError, FileState, PluginError, file_digest, pip_install

from slideloom_features.encoder import Encoder
from slideloom_features.settings import Features

_MODELS = (".pt", ".pt2", ".onnx")
_CAN_RUN_CODE = (".pt", ".pt2")  # TorchScript is a program, and torch.export.load unpickles
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")
_KEPT_AT_MOST = 2  # models: a pipeline may have two such sinks, and memory of a GPU is short
_kept: dict[Hashable, Encoder] = {}
_lock = threading.Lock()


def check_model(settings: Features) -> None:
    """Raise unless the model's files are there and as they should be, and what runs them is installed.

    Raises:
        ConfigError: a file is missing, of another kind, not trusted, or has another digest.
        PluginError: a library is missing; the message says how to get it.
    """
    model, weights = settings.model, settings.weights
    if model is not None:
        _check_file(model, _MODELS, "a model")
        if model.suffix in _CAN_RUN_CODE and not settings.trust:
            raise ConfigError(
                f"{model}: a {model.suffix} file can run its author's code; set trust = true if you know where it is "
                "from, or use the model as an .onnx file, which holds no code"
            )
    if weights is not None:
        _check_file(weights, _WEIGHTS, "a state dict")
    if settings.code is not None:
        _check_file(settings.code, (".py",), "a factory")
    file = model or weights
    if file is not None and settings.sha256 and file_digest(file) != settings.sha256:
        raise ConfigError(f"{file}: its SHA-256 is {file_digest(file)}, not {settings.sha256}; is it the right file?")
    _check_library("onnxruntime", "onnx") if _is_onnx(settings) else _check_library("torch", "torch")
    if settings.timm:
        _check_library("timm", "timm")
    if settings.style == "clam":  # which trains from files of torch
        _check_library("torch", "torch")


def _check_file(path: Path, suffixes: tuple[str, ...], what: str) -> None:
    if path.suffix not in suffixes:
        raise ConfigError(f"{path}: the file of {what} ends in {', '.join(suffixes)}")
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such file; correct the path")


def _check_library(name: str, extra: str) -> None:
    if find_spec(name) is None:
        raise PluginError(f"{name} is not installed: {pip_install(f'slideloom-features[{extra}]')}")


def _is_onnx(settings: Features) -> bool:
    return settings.model is not None and settings.model.suffix == ".onnx"


def encoder_of(settings: Features) -> Encoder:
    """The model of these settings, loaded once per process and present content of its files.

    Raises:
        ConfigError, PluginError: as `check_model`, or it cannot be loaded.
    """
    check_model(settings)
    files = [path for path in (settings.model, settings.weights, settings.code) if path is not None]
    key = (
        settings.factory, settings.timm, settings.input_px, settings.mean, settings.std, settings.precision,
        settings.device, settings.sha256, *map(FileState.of, files),
    )  # fmt: skip
    with _lock:
        if key not in _kept:
            _kept[key] = _load(settings)
            for old in list(_kept)[:-_KEPT_AT_MOST]:
                del _kept[old]
        return _kept[key]


def _load(settings: Features) -> Encoder:
    if _is_onnx(settings) and settings.model is not None:
        from slideloom_features.onnx_encoder import load_onnx

        return load_onnx(settings, settings.model)
    from slideloom_features.torch_encoder import load_torch

    return load_torch(settings)
