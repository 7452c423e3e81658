"""Models of every framework behind one call: (B, H, W, 3) in, an array out."""

from __future__ import annotations

import sys
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from slideloom import ConfigError, PluginError, torch_device

Layout = Literal["auto", "channels-first", "channels-last"]
Device = str  # "auto", "cpu", "cuda", "cuda:1", "mps"
SUFFIXES = (".pt", ".pt2", ".onnx", ".keras")
T = TypeVar("T")

_KEPT_AT_MOST = 8  # models; a notebook that tries many must not run out of memory
_kept: dict[Hashable, object] = {}
_kept_lock = threading.RLock()  # a model's `load` may build another


def once(key: Hashable, make: Callable[[], T]) -> T:
    """The value made for this key before in this process, else a new one; the oldest of many are forgotten."""
    with _kept_lock:
        if key not in _kept:
            _kept[key] = make()
            for old in list(_kept)[:-_KEPT_AT_MOST]:
                del _kept[old]
        return _kept[key]  # type: ignore[return-value]  # what `make` of this key returned


def framework(name: str, *, extra: str) -> Any:  # Any: a module that may not be installed
    """An optional package.

    Raises:
        PluginError: it is not installed; the message names the extra that brings it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # it is there, but something it needs is not
        raise PluginError(f"{name} is not installed; pip install slideloom-deepfocus[{extra}]") from error


class Predictor(ABC):
    """One model, called by one thread at a time.

    Attributes:
        channels_last: True if the model wants (B, H, W, 3), False for (B, 3, H, W).
        fixed_batch: the batch size the model is tied to, or None.
    """

    channels_last: bool = True
    fixed_batch: int | None = None

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, tiles: NDArray[np.generic]) -> NDArray[np.generic]:
        """The model's output for (B, H, W, 3)."""
        ordered = tiles if self.channels_last else np.ascontiguousarray(np.moveaxis(tiles, -1, 1))
        with self._lock:
            return self._run(ordered)

    @abstractmethod
    def _run(self, tiles: NDArray[np.generic]) -> NDArray[np.generic]: ...


class FunctionPredictor(Predictor):
    """Any callable."""

    def __init__(self, function: Callable[[NDArray[np.generic]], Any], layout: Layout) -> None:
        super().__init__()
        self._function = function
        self.channels_last = layout != "channels-first"

    def _run(self, tiles: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.asarray(self._function(tiles))


class TorchPredictor(Predictor):
    """A torch module, scripted, exported or plain."""

    def __init__(self, module: Any, *, layout: Layout, device: Device, fixed_batch: int | None = None) -> None:
        super().__init__()
        self._torch = framework("torch", extra="torch")
        self._device = torch_device(device)
        self._module = module.to(self._device)
        self.channels_last = layout == "channels-last"
        self.fixed_batch = fixed_batch

    def _run(self, tiles: NDArray[np.generic]) -> NDArray[np.generic]:
        torch = self._torch
        with torch.inference_mode():
            output = self._module(torch.from_numpy(np.ascontiguousarray(tiles)).to(self._device))
        array: NDArray[np.generic] = _only(output).float().cpu().numpy()
        return array


class KerasPredictor(Predictor):
    """A Keras model."""

    def __init__(self, model: Any, *, layout: Layout) -> None:
        super().__init__()
        self._model = model
        self.channels_last = layout != "channels-first"

    def _run(self, tiles: NDArray[np.generic]) -> NDArray[np.generic]:
        keras = framework("keras", extra="tensorflow")
        array: NDArray[np.generic] = np.asarray(keras.ops.convert_to_numpy(_only(self._model(tiles, training=False))))
        return array


class OnnxPredictor(Predictor):
    """An ONNX model in onnxruntime."""

    def __init__(self, path: Path, *, layout: Layout, device: Device) -> None:
        super().__init__()
        runtime = framework("onnxruntime", extra="onnx")
        wanted = ["CPUExecutionProvider"]
        if device != "cpu":
            available = runtime.get_available_providers()
            wanted = [name for name in ("CUDAExecutionProvider", *wanted) if name in available]
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=wanted)
        except Exception as error:  # onnxruntime's own errors have no common base but Exception
            raise ConfigError(f"{path}: onnxruntime cannot load it ({error})") from error
        self._input = self._session.get_inputs()[0]
        shape = self._input.shape
        is_first = len(shape) == 4 and shape[1] == 3 and shape[3] != 3
        self.channels_last = layout == "channels-last" or (layout == "auto" and not is_first)
        self.fixed_batch = shape[0] if isinstance(shape[0], int) else None

    def _run(self, tiles: NDArray[np.generic]) -> NDArray[np.generic]:
        array: NDArray[np.generic] = self._session.run(None, {self._input.name: tiles})[0]
        return array


def predictor(model: object, *, layout: Layout, device: Device) -> Predictor:
    """A `Predictor` for a model file, a torch module, a Keras model or any callable.

    Raises:
        ConfigError: the file is missing, unreadable, or of a kind that is not supported; or `model` cannot be called.
        PluginError: the framework it needs is not installed.
    """
    if isinstance(model, Predictor):
        return model
    if isinstance(model, str | Path):
        return _from_file(Path(model), layout=layout, device=device)
    # A module object exists only if its framework is imported already, so nothing is imported to find out.
    torch, keras = sys.modules.get("torch"), sys.modules.get("keras")
    if torch is not None and isinstance(model, torch.nn.Module):
        return TorchPredictor(model.eval(), layout=layout, device=device)
    if keras is not None and isinstance(model, keras.Model):
        return KerasPredictor(model, layout=layout)
    if callable(model):
        return FunctionPredictor(model, layout)
    raise ConfigError(f"a model is a callable, a torch module, a Keras model or a file, not {type(model).__name__}")


def _from_file(path: Path, *, layout: Layout, device: Device) -> Predictor:
    if not path.is_file():
        raise ConfigError(f"{path}: no such model file")
    if path.suffix == ".onnx":
        return OnnxPredictor(path, layout=layout, device=device)
    if path.suffix == ".keras":
        return KerasPredictor(_keras_model(path), layout=layout)
    if path.suffix == ".pt2":
        return _exported(path, layout=layout, device=device)
    if path.suffix == ".pt":
        return TorchPredictor(_scripted(path), layout=layout, device=device)
    raise ConfigError(f"{path}: a model file ends in {', '.join(SUFFIXES)}")


def _scripted(path: Path) -> Any:
    """A TorchScript module. Its file cannot run Python, but it can use every torch operator: trust its source."""
    torch = framework("torch", extra="torch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers .pt2, but such files exist
            return torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"{path}: not a TorchScript file ({reason}); weights alone are not enough: save the whole model with "
            "torch.jit.trace(...).save or torch.export.save"
        ) from error


def _exported(path: Path, *, layout: Layout, device: Device) -> Predictor:
    torch = framework("torch", extra="torch")
    try:
        program = torch.export.load(str(path))
    except Exception as error:  # torch.export raises whatever its parts raise on a damaged file
        raise ConfigError(f"{path}: torch.export cannot load it ({error})") from error
    names = set(program.graph_signature.user_inputs)
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    first = shapes[0][0] if shapes and len(shapes[0]) else None
    fixed = first if isinstance(first, int) else None  # a symbol if the batch was exported as dynamic
    return TorchPredictor(program.module(), layout=layout, device=device, fixed_batch=fixed)


def _keras_model(path: Path) -> Any:
    keras = framework("keras", extra="tensorflow")
    try:
        # safe_mode refuses Lambda layers, which would run code from the file
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, OSError, TypeError) as error:
        raise ConfigError(f"{path}: Keras cannot load it ({str(error).splitlines()[0]})") from error


def _only(output: Any) -> Any:
    """The output, or the first of several."""
    return output[0] if isinstance(output, tuple | list) else output
