"""A common interface to models of every framework: (B, H, W, 3) in, an array out."""

from __future__ import annotations

import sys
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from slideloom import ConfigError, PluginError, computing, pip_install, torch_device

from slideloom_deepfocus.inputs import InputShape, Layout, onnx_providers, refuse_fallback
from slideloom_deepfocus.naming import ModelError
from slideloom_deepfocus.scoring import as_array

Device = str  # "auto", "cpu", "cuda", "cuda:1", "mps"
SUFFIXES = (".pt", ".pt2", ".onnx", ".keras")
CAN_RUN_CODE = (".pt", ".pt2")  # torch.export.load unpickles, TorchScript is a program
# What runs a file, and the extra that installs it.
_RUN_BY = {
    ".pt": ("torch", "torch"),
    ".pt2": ("torch", "torch"),
    ".onnx": ("onnxruntime", "onnx"),
    ".keras": ("keras", "tensorflow"),
}
T = TypeVar("T")

_KEPT_AT_MOST = 8  # models; a notebook that tries many must not run out of memory
_kept: dict[Hashable, object] = {}
_kept_lock = threading.RLock()  # a model's `load` may build another


def once(key: Hashable, make: Callable[[], T]) -> T:
    """The value made earlier in this process for this key, else a new one; the oldest values are dropped."""
    with _kept_lock:
        if key not in _kept:
            _kept[key] = make()
            for old in list(_kept)[:-_KEPT_AT_MOST]:
                del _kept[old]
        return _kept[key]  # type: ignore[return-value]  # what `make` of this key returned


def framework(name: str, *, extra: str) -> Any:  # Any: a module that may not be installed
    """An optional package.

    Raises:
        PluginError: it is not installed; the message names the extra that installs it.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # it is installed, but something it needs is not
        raise PluginError(f"{name} is not installed: {pip_install(f'slideloom-deepfocus[{extra}]')}") from error


class Predictor(ABC):
    """A model, called by one thread at a time.

    Attributes:
        channels_last: True if the model expects (B, H, W, 3), False for (B, 3, H, W).
        shape: of the model's input, as far as it is known.
    """

    channels_last: bool = True
    shape: InputShape = InputShape()

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def fixed_batch(self) -> int | None:
        """The fixed batch size of the model, or None."""
        return self.shape.batch

    def check_tile(self, tile_px: int) -> None:
        """Check that the model accepts tiles of this size.

        Raises:
            ModelError: it declares another size.
        """
        self.shape.check_tile(tile_px, channels_last=self.channels_last)

    def __call__(self, tiles: NDArray[np.generic]) -> NDArray[np.generic]:
        """The model's output for (B, H, W, 3).

        Raises:
            ModelError: it fails, or returns something other than an array of numbers.
        """
        ordered = tiles if self.channels_last else np.ascontiguousarray(np.moveaxis(tiles, -1, 1))
        try:
            with self._lock:
                answer = self._run(ordered)
        except Exception as error:  # a model may raise anything
            lines = (str(error).strip() or type(error).__name__).splitlines()
            # TorchScript reports the location first and the error last.
            reason = lines[-1] if "TorchScript interpreter" in lines[0] else lines[0]
            raise ModelError(
                f"the model fails on an input of shape {ordered.shape} {ordered.dtype} ({type(error).__name__}: "
                f"{reason}){self.remedy(error)}"
            ) from error
        return as_array(answer)

    def remedy(self, error: Exception) -> str:
        """What to do about an error of the model, to be appended to the message; "" if that says it."""
        order = "channels-last" if self.channels_last else "channels-first"
        return f"; if it wants other tiles or another order, set tile_px, preprocess or layout (now {order})"

    @abstractmethod
    def _run(self, tiles: NDArray[np.generic]) -> Any: ...  # Any: whatever a model returns


class FunctionPredictor(Predictor):
    """Any callable."""

    def __init__(self, function: Callable[[NDArray[np.generic]], Any], layout: Layout) -> None:
        super().__init__()
        self._function = function
        self.channels_last = layout != "channels-first"

    def _run(self, tiles: NDArray[np.generic]) -> Any:
        return self._function(tiles)


class TorchPredictor(Predictor):
    """A torch module, scripted, exported or plain."""

    def __init__(self, module: Any, *, layout: Layout, device: Device, shape: InputShape | None = None) -> None:
        super().__init__()
        self._torch = framework("torch", extra="torch")
        self._device = torch_device(device)
        self._module = module.to(self._device)
        self.shape = shape or InputShape()
        self.channels_last = self.shape.is_channels_last(layout, usual=False)

    def _run(self, tiles: NDArray[np.generic]) -> Any:
        torch = self._torch
        with torch.inference_mode(), computing(self._device):
            output = _only(self._module(torch.from_numpy(np.ascontiguousarray(tiles)).to(self._device)))
            return output.float().cpu().numpy() if isinstance(output, torch.Tensor) else output

    def remedy(self, error: Exception) -> str:
        """See `Predictor.remedy`; `computing` tells what to do where memory runs out."""
        return "" if isinstance(error, self._torch.cuda.OutOfMemoryError) else super().remedy(error)


class KerasPredictor(Predictor):
    """A Keras model."""

    def __init__(self, model: Any, *, layout: Layout) -> None:
        super().__init__()
        self._model = model
        self.shape = InputShape.of(getattr(model, "input_shape", None))
        self.channels_last = self.shape.is_channels_last(layout, usual=True)

    def _run(self, tiles: NDArray[np.generic]) -> Any:
        keras = framework("keras", extra="tensorflow")
        output = _only(self._model(tiles, training=False))
        return keras.ops.convert_to_numpy(output) if keras.ops.is_tensor(output) else output


class OnnxPredictor(Predictor):
    """An ONNX model in onnxruntime."""

    def __init__(self, path: Path, *, layout: Layout, device: Device) -> None:
        super().__init__()
        runtime = framework("onnxruntime", extra="onnx")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        wanted = onnx_providers(device, runtime.get_available_providers())
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=wanted)
        except Exception as error:  # onnxruntime's own errors have no common base except Exception
            raise ConfigError(f"{path}: onnxruntime cannot load it ({error})") from error
        self._session.disable_fallback()  # to the CPU, in the midst of a slide
        refuse_fallback(wanted, self._session.get_providers(), device=device, of=path.name)
        self._input = self._session.get_inputs()[0]
        self.shape = InputShape.of(self._input.shape)
        self.channels_last = self.shape.is_channels_last(layout, usual=True)

    def _run(self, tiles: NDArray[np.generic]) -> Any:
        return self._session.run(None, {self._input.name: tiles})[0]


def predictor(model: object, *, layout: Layout, device: Device, trust: bool = False) -> Predictor:
    """A `Predictor` for a model file, a torch module, a Keras model or any callable.

    Args:
        model: see `StridedModelQC`.
        layout: axis order of its input.
        device: device to compute on.
        trust: load a file even if it can run code.

    Raises:
        ConfigError: the file is missing, unreadable, not trusted, or of an unsupported kind; `model` is not callable;
            or layout or device do not match it.
        PluginError: the framework it needs is not installed.
    """
    if isinstance(model, Predictor):
        return model
    if isinstance(model, str | Path):
        return _from_file(Path(model), layout=layout, device=device, trust=trust)
    # A module object exists only if its framework is already imported, so checking imports nothing.
    torch, keras = sys.modules.get("torch"), sys.modules.get("keras")
    if torch is not None and isinstance(model, torch.nn.Module):
        return TorchPredictor(model.eval(), layout=layout, device=device)
    if keras is not None and isinstance(model, keras.Model):
        return KerasPredictor(model, layout=layout)
    if callable(model):
        return FunctionPredictor(model, layout)
    raise ConfigError(f"a model is a callable, a torch module, a Keras model or a file, not {type(model).__name__}")


def check_file(path: Path, *, trust: bool) -> None:
    """Raise unless there is a model file that may be loaded, and what runs it is installed.

    Raises:
        ConfigError, PluginError: as `predictor`.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such model file")
    if path.suffix in CAN_RUN_CODE and not trust:
        raise ConfigError(
            f"{path}: a {path.suffix} file can run its author's code; set trust = true if you know where it is "
            "from, or use the model as an .onnx file, which holds no code"
        )
    if path.suffix not in _RUN_BY:
        raise ConfigError(f"{path}: a model file ends in {', '.join(SUFFIXES)}")
    name, extra = _RUN_BY[path.suffix]
    if find_spec(name) is None:
        raise PluginError(f"{name} is not installed: {pip_install(f'slideloom-deepfocus[{extra}]')}")


def _from_file(path: Path, *, layout: Layout, device: Device, trust: bool) -> Predictor:
    check_file(path, trust=trust)
    if path.suffix == ".onnx":
        return OnnxPredictor(path, layout=layout, device=device)
    if path.suffix == ".keras":
        return KerasPredictor(_keras_model(path), layout=layout)
    if path.suffix == ".pt2":
        return _exported(path, layout=layout, device=device)
    return TorchPredictor(_scripted(path), layout=layout, device=device)


def _scripted(path: Path) -> Any:
    """A TorchScript module. Its file is a program for torch's interpreter, which has operators that write files."""
    torch = framework("torch", extra="torch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers .pt2, but .pt files exist
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
    shape = InputShape.of(shapes[0] if shapes else None)
    return TorchPredictor(program.module(), layout=layout, device=device, shape=shape)


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
