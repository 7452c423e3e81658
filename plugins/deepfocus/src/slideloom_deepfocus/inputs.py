"""What a model declares about its input (shape, axis order), and the processors that ONNX may use."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any, Literal, Self

from attrs import frozen
from slideloom import ConfigError

from slideloom_deepfocus.naming import ModelError

_log = logging.getLogger(__name__)

Layout = Literal["auto", "channels-first", "channels-last"]
_AXES = 4
_CHANNELS = 3


@frozen
class InputShape:
    """The shape of a model's input, as far as the model declares it.

    Attributes:
        sizes: batch and three axes, None where a size may vary; empty if nothing is known.
    """

    sizes: tuple[int | None, ...] = ()

    @classmethod
    def of(cls, sizes: Any) -> Self:
        """The shape from a framework's own description; axes that are not integers may vary. Any: each has its own."""
        if not isinstance(sizes, Sequence) or len(sizes) != _AXES:
            return cls()
        return cls(tuple(size if isinstance(size, int) and size > 0 else None for size in sizes))

    @property
    def batch(self) -> int | None:
        """The fixed batch size of the model, or None."""
        return self.sizes[0] if self.sizes else None

    def is_channels_last(self, layout: Layout, *, usual: bool) -> bool:
        """True if the model expects (B, H, W, 3), False for (B, 3, H, W).

        Args:
            layout: as requested; "auto" depends on the shape.
            usual: the result if the shape does not tell.

        Raises:
            ConfigError: the shape contradicts `layout`.
        """
        first, last = (self.sizes[axis] == _CHANNELS for axis in (1, -1)) if self.sizes else (False, False)
        if layout == "auto":
            return last if first != last else usual
        is_last = layout == "channels-last"
        if first != last and last is not is_last:
            wanted = "channels-last" if last else "channels-first"
            raise ConfigError(
                f"layout = {layout!r}, but the model's input is {self.text}, {wanted}; leave layout at 'auto'"
            )
        return is_last

    def check_tile(self, tile_px: int, *, channels_last: bool) -> None:
        """Check that the model accepts tiles of this size.

        Raises:
            ModelError: it declares another size or another number of channels.
        """
        if not self.sizes:
            return
        given = (self.sizes[0], tile_px, tile_px, _CHANNELS) if channels_last else (
            self.sizes[0], _CHANNELS, tile_px, tile_px,
        )  # fmt: skip
        if any(size is not None and size != here for size, here in zip(self.sizes, given, strict=True)):
            raise ModelError(
                f"the model's input is {self.text}, but tile_px = {tile_px} and {_CHANNELS} channels make it "
                f"{InputShape(given).text}; set tile_px to the size it was trained with"
            )

    @property
    def text(self) -> str:
        """Such as "(?, 3, 64, 64)"."""
        return f"({', '.join('?' if size is None else str(size) for size in self.sizes)})"


def onnx_providers(device: str, available: Sequence[str]) -> list[str | tuple[str, dict[str, int]]]:
    """The providers that onnxruntime should use.

    Args:
        device: "auto" (CUDA if available), "cpu", "cuda" or "cuda:1".
        available: the providers of the installed onnxruntime.

    Raises:
        ConfigError: the device is unknown, or this onnxruntime cannot use it.
    """
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    if device == "cpu" or (device == "auto" and cuda not in available):
        return [cpu]
    match = re.fullmatch(r"cuda(?::(\d+))?", "cuda" if device == "auto" else device)
    if match is None or cuda not in available:
        known = ", ".join(name.removesuffix("ExecutionProvider").lower() for name in available)
        raise ConfigError(
            f'device {device!r} cannot be used by this onnxruntime, which has {known}; use "auto" or "cpu", or '
            'install onnxruntime-gpu for "cuda"'
        )
    # It would else round what goes into products and convolutions to 10 bits.
    return [(cuda, {"device_id": int(match[1] or 0), "use_tf32": 0}), cpu]


def refuse_fallback(wanted: Sequence[object], found: Sequence[str], *, device: str, of: str) -> None:
    """Tell that a model runs on the CPU because onnxruntime could not start CUDA, of which it says nothing itself.

    Args:
        wanted: the providers that the session was asked for.
        found: those it has.
        device: as asked for; "auto" may be the CPU, with a warning.
        of: the model in messages.

    Raises:
        ConfigError: CUDA was asked for by name.
    """
    if len(wanted) == 1 or "CUDAExecutionProvider" in found:  # the CPU always stands last
        return
    said = f"{of}: onnxruntime has CUDA but cannot start it, as where there is no GPU or a library of CUDA is missing"
    if device != "auto":
        raise ConfigError(f'{said}; see its installation page for those it needs, or use device = "cpu"')
    _log.warning("%s; the model runs on the CPU", said)
