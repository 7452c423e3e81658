"""Makes a model compute on a GPU as it would on a CPU, and tells what to do where memory runs out."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_turn = threading.Lock()
_inside: list[object] = []  # the blocks that are running, in any thread
_undo: list[Callable[[], None]] = []  # what the last of them to end restores
_warned: list[bool] = []  # not empty once PyTorch has warned


@contextmanager
def computing(device: torch.device, *, exact: bool = True) -> Iterator[None]:
    """Within it, float32 is computed in float32, and memory that runs out is an error with the remedy.

    PyTorch lets a GPU round what goes into convolutions to 10 bits (TF32), and into matrix products if the program
    asked for it (`torch.set_float32_matmul_precision`) or is inside `torch.autocast`. Results would be off by a
    thousandth, in which a tile may pass a threshold that it does not pass on a CPU. A program can also ask for 7 bits
    on CPUs that have bfloat16 (`torch.backends.mkldnn`). These settings belong to the whole process: they are restored
    when no thread is within such a block any more. A block may turn autocast on inside.

    Args:
        device: what computes.
        exact: False leaves TF32 as the program has it, for results that are rounded to 8 bits anyway.

    Raises:
        torch.cuda.OutOfMemoryError: there is too little memory on the device; the message says what to set.
    """
    import torch  # by then something computes with it: who imports this function need not have it

    with _exact_products() if exact else nullcontext(), _no_autocast(device):
        try:
            yield
        except torch.cuda.OutOfMemoryError as error:
            said = str(error).splitlines()[0].partition(". GPU")[0]
            raise torch.cuda.OutOfMemoryError(
                f"{device} has too little memory ({said}); set a smaller batch, or let fewer processes share the device"
            ) from error


def _no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    import torch

    # Older releases of PyTorch know no autocast on others.
    return torch.autocast(device.type, enabled=False) if device.type in ("cuda", "cpu") else nullcontext()


@contextmanager
def _exact_products() -> Iterator[None]:
    me = object()
    with _turn:
        if not _inside:
            with _first_warning_unheard():
                _undo.append(_exact())
        _inside.append(me)
    try:
        yield
    finally:
        with _turn:
            _inside.remove(me)
            while not _inside and _undo:
                _undo.pop()()


@contextmanager
def _first_warning_unheard() -> Iterator[None]:
    """PyTorch 2.9 and some later ones say, once, that the older names of these settings will go."""
    if _warned:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
    _warned.append(True)


def _exact() -> Callable[[], None]:
    """Exact matrix products, convolutions and recurrent layers from now on; returns what restores the settings."""
    import torch

    backend: Any = torch.backends.cudnn  # Any: torch's stubs lack the newer names
    # An older name also sets some newer ones, those of CPUs among them, so these are read first and restored last.
    newer = [(operation, operation.fp32_precision) for operation in _operations()]
    older = [
        _set(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
        _set(lambda: backend.allow_tf32, lambda value: setattr(backend, "allow_tf32", value), False),
    ]
    for operation, _ in newer:
        operation.fp32_precision = "ieee"

    def restore() -> None:
        for undo in older:
            undo()
        for operation, precision in newer:
            operation.fp32_precision = precision

    return restore


def _operations() -> list[Any]:
    """What has a precision of its own by the newer name, `fp32_precision`, since PyTorch 2.9 (Any: as above)."""
    import torch

    cuda, cudnn, cpu = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    owners = ((cuda, "matmul"), *((backend, name) for backend in (cudnn, cpu) for name in ("matmul", "conv", "rnn")))
    operations = [getattr(backend, name, None) for backend, name in owners]
    return [operation for operation in operations if hasattr(operation, "fp32_precision")]


def _set(get: Callable[[], Any], put: Callable[[Any], None], exact: Any) -> Callable[[], None]:
    """Give a setting its exact value by its older name (Any: each has a kind of value of its own).

    Args:
        get, put: `get` raises where the program has used the newer name for something else.
        exact: the value.

    Returns:
        What restores it.
    """
    try:
        older = get()
    except RuntimeError:
        return lambda: None
    put(exact)
    return lambda: put(older)
