"""Models that PyTorch runs: from a factory, from timm, TorchScript and torch.export."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from slideloom import ConfigError, RgbBatch, computing, file_digest, torch_device

from slideloom_features.encoder import Encoder, declared, transform_of
from slideloom_features.settings import Features
from slideloom_features.transform import Transform

_NAMED = 3  # weights that a message lists
_HALF = {"cuda": torch.float16, "mps": torch.float16}


class TorchEncoder(Encoder):
    """A torch module on a device."""

    def __init__(
        self, module: torch.nn.Module, *, device: str, precision: Literal["full", "half"], **known: Any
    ) -> None:  # Any: as `Encoder`
        super().__init__(**known)
        self._device = torch_device(device)
        self._module = module.to(self._device)
        self._precision = precision
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32, device=self._device).view(1, 3, 1, 1)
            for values in (self.transform.mean, self.transform.std)
        )

    def _run(self, rgb: RgbBatch) -> Any:
        with torch.inference_mode(), computing(self._device), self._casting():
            pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(self._device).permute(0, 3, 1, 2)
            answer = self._module(((pixels.float() / 255 - self._mean) / self._std).contiguous())
        # ONNX and torch.export give a tuple, also of one.
        only = answer[0] if isinstance(answer, tuple | list) and len(answer) == 1 else answer
        return only.float().cpu().numpy() if isinstance(only, torch.Tensor) else only

    def _casting(self) -> AbstractContextManager[Any]:
        if self._precision == "full":
            return nullcontext()
        kind = self._device.type
        return torch.autocast(kind, dtype=_HALF.get(kind, torch.bfloat16))


def load_torch(settings: Features) -> Encoder:
    """The model that the settings name.

    Raises:
        ConfigError: it cannot be loaded, or has another digest than the settings say.
    """
    if settings.model is not None:
        module, batch, side = _from_file(settings.model)
        known = {"told": settings.model.name, "sha256": file_digest(settings.model), "fixed_batch": batch}
        transform = transform_of(settings, side=side)
    else:
        module, transform = _timm(settings) if settings.timm else (_made(settings), transform_of(settings, side=None))
        if settings.factory and settings.weights is None:
            _check_repeats(module, settings)
        known = {"told": settings.timm or settings.factory, "sha256": _give_weights(module, settings)}
    if settings.sha256 and known["sha256"] != settings.sha256:
        raise ConfigError(
            f"{known['told']}: its SHA-256 is {known['sha256']}, not {settings.sha256}; is it the right one?"
        )
    return TorchEncoder(module, device=settings.device, precision=settings.precision, transform=transform, **known)


def _from_file(path: Path) -> tuple[torch.nn.Module, int | None, int | None]:
    """The model in a file, and the batch size and side of its input, as far as it declares them."""
    if path.suffix == ".pt2":
        return _exported(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers .pt2, but .pt files exist
            module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
            return module.eval(), None, None
    except RuntimeError as error:
        raise ConfigError(
            f"{path}: not a TorchScript file ({str(error).splitlines()[0]}); if it is a state dict, give it as weights "
            "with a factory that makes the model"
        ) from error


def _exported(path: Path) -> tuple[torch.nn.Module, int | None, int | None]:
    try:
        program = torch.export.load(str(path))
    except Exception as error:  # torch.export raises whatever its parts raise on a damaged file
        raise ConfigError(f"{path}: torch.export cannot load it ({error})") from error
    names = set(program.graph_signature.user_inputs)
    shapes = [node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(shapes) != 1:
        raise ConfigError(f"{path}: takes {len(shapes)} inputs, where one is wanted")
    # A size that may vary is a symbol, and no int.
    return program.module(), *declared([size if type(size) is int else None for size in shapes[0]], of=path.name)


def _made(settings: Features) -> torch.nn.Module:
    """What the factory returns."""
    function = _function_in(settings.code, settings.factory) if settings.code else _function_named(settings.factory)
    module = function()
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(
            f"factory {settings.factory}: returned {type(module).__name__}, where a torch module is wanted"
        )
    return module.eval()


def _check_repeats(module: torch.nn.Module, settings: Features) -> None:
    """Refuse a factory that starts with random weights: each process would have a model of its own.

    Raises:
        ConfigError: another call gives other weights.
    """
    if state_digest(_made(settings).state_dict()) != state_digest(module.state_dict()):
        raise ConfigError(
            f"factory {settings.factory}: gives other weights each time it is called, so slides would have features of "
            "different models; give weights, or let it load them"
        )


def _function_named(text: str) -> Callable[[], Any]:
    module, _, name = text.partition(":")
    try:
        found: Callable[[], Any] = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"factory {text}: {error}; install the package that has it, or name its file with the option code"
        ) from error
    return found


def _function_in(path: Path, name: str) -> Callable[[], Any]:
    spec = spec_from_file_location(f"slideloom_factory_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python file")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        found: Callable[[], Any] = getattr(module, name)
    except AttributeError as error:
        raise ConfigError(f"{path}: has no function {name}") from error
    return found


def _timm(settings: Features) -> tuple[torch.nn.Module, Transform]:
    """A model of timm without its classifier, and its own transform where the settings do not say another."""
    timm = import_module("timm")
    try:
        module = timm.create_model(settings.timm, pretrained=settings.weights is None, num_classes=0).eval()
    except Exception as error:  # timm, and the hub's client below it, raise whatever they like
        raise ConfigError(
            f"timm {settings.timm}: {str(error).strip() or type(error).__name__}; if the hub asks for a token, log in "
            "with its own command, or give weights"
        ) from error
    told = timm.data.resolve_model_data_config(module)
    return module, Transform(
        settings.input_px or told["input_size"][-1],
        settings.mean or tuple(told["mean"]),
        settings.std or tuple(told["std"]),
    )


def _give_weights(module: torch.nn.Module, settings: Features) -> str:
    """Load the state dict, if there is one; the SHA-256 (hex) of its file, else of the state dict that is there."""
    if settings.weights is None:
        return state_digest(module.state_dict())
    path = settings.weights
    try:
        state = _state_in(path)
    except Exception as error:  # a damaged file may raise anything
        raise ConfigError(
            f"{path}: no state dict can be read from it ({str(error).splitlines()[0]}); store tensors only, best as "
            ".safetensors"
        ) from error
    try:
        found = module.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes differ
        raise ConfigError(
            f"{path}: {str(error).splitlines()[-1].strip()}; is it the state dict of this model?"
        ) from error
    problems = [
        f"{kind} {', '.join(names[:_NAMED])}{f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''}"
        for kind, names in (("lacks", found.missing_keys), ("has too much:", found.unexpected_keys))
        if names
    ]
    if problems:
        raise ConfigError(f"{path}: {'; '.join(problems)}; is it the state dict of this model?")
    return file_digest(path)


def _state_in(path: Path) -> Mapping[str, torch.Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError("it holds something else than names and tensors")
    return state


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) of names, types, shapes and values, whatever their order."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()
