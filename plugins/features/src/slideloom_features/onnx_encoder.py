"""ONNX models, run by onnxruntime."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnxruntime
from slideloom import ConfigError, RgbBatch, file_digest

from slideloom_features.encoder import Encoder, declared, transform_of
from slideloom_features.settings import Features

_log = logging.getLogger(__name__)

_CPU, _CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
Provider = str | tuple[str, dict[str, int]]


class OnnxEncoder(Encoder):
    """A session of onnxruntime."""

    def __init__(self, session: Any, **known: Any) -> None:  # Any: onnxruntime has no types
        super().__init__(**known)
        self._session = session
        self._input = session.get_inputs()[0].name

    def _run(self, rgb: RgbBatch) -> Any:
        answers = self._session.run(None, {self._input: self.transform.scaled(rgb)})
        return answers[0] if len(answers) == 1 else answers


def load_onnx(settings: Features, path: Path) -> Encoder:
    """The model in an ONNX file.

    Raises:
        ConfigError: it cannot be loaded, or on this device not, or its input is no batch of pictures.
    """
    if settings.precision == "half":
        raise ConfigError(f"{path.name}: precision = 'half' is for PyTorch; store the ONNX file itself in float16")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    wanted = providers(settings.device, onnxruntime.get_available_providers())
    try:
        # From its bytes, so that all weights are in the file whose digest is taken, and none in a file beside it.
        session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=wanted)
    except Exception as error:  # onnxruntime's own errors have no common base except Exception
        said = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"{path}: onnxruntime cannot load it ({said}); the file must hold all weights itself "
            "(external_data=False in torch.onnx.export)"
        ) from error
    session.disable_fallback()  # to the CPU, in the midst of a slide
    refuse_fallback(wanted, session.get_providers(), device=settings.device, of=path.name)
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ConfigError(f"{path}: takes {len(inputs)} inputs, where one is wanted")
    batch, side = declared(list(inputs[0].shape), of=path.name)
    return OnnxEncoder(
        session,
        told=path.name,
        sha256=file_digest(path),
        fixed_batch=batch,
        transform=transform_of(settings, side=side),
    )


def providers(device: str, available: Sequence[str]) -> list[Provider]:
    """What onnxruntime should compute with.

    Raises:
        ConfigError: the device is unknown, or this onnxruntime cannot use it.
    """
    if device == "cpu" or (device == "auto" and _CUDA not in available):
        return [_CPU]
    match = re.fullmatch(r"cuda(?::(\d+))?", "cuda" if device == "auto" else device)
    if match is None or _CUDA not in available:
        raise ConfigError(
            f'device {device!r} cannot be used by this onnxruntime; use "auto" or "cpu", or install '
            'onnxruntime-gpu for "cuda"'
        )
    # It would else round what goes into products and convolutions to 10 bits.
    return [(_CUDA, {"device_id": int(match[1] or 0), "use_tf32": 0}), _CPU]


def refuse_fallback(wanted: Sequence[Provider], found: Sequence[str], *, device: str, of: str) -> None:
    """Tell that a model runs on the CPU because onnxruntime could not start CUDA, of which it says nothing itself.

    Args:
        wanted: the providers that the session was asked for.
        found: those it has.
        device: as asked for; "auto" may be the CPU, with a warning.
        of: the model in messages.

    Raises:
        ConfigError: CUDA was asked for by name.
    """
    if len(wanted) == 1 or _CUDA in found:  # the CPU always stands last
        return
    said = f"{of}: onnxruntime has CUDA but cannot start it, as where there is no GPU or a library of CUDA is missing"
    if device != "auto":
        raise ConfigError(f'{said}; see its installation page for those it needs, or use device = "cpu"')
    _log.warning("%s; the model runs on the CPU", said)
