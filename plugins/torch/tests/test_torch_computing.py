"""Models compute in float32, whatever the program allows its own networks; and memory that runs out says what to do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from slideloom import computing

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
CPU = torch.device("cpu")


def newer() -> list[Any]:
    """Operations that have a setting by its newer name, in this PyTorch."""
    cuda, cudnn, cpu = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    return [cuda.matmul, cudnn.conv, cudnn.rnn, cpu.matmul, cpu.conv, cpu.rnn] if hasattr(cudnn, "conv") else []


def settings() -> list[object]:
    """Those of matrix products and convolutions, by their older names and, where there are any, their newer ones."""
    backend = torch.backends.cudnn
    found: list[object] = [one.fp32_precision for one in newer()]
    for older in (torch.get_float32_matmul_precision, lambda: backend.allow_tf32):
        try:
            found.append(older())
        except RuntimeError:  # PyTorch refuses to tell where the two names say different things
            found.append("mixed")
    return found


def is_exact() -> bool:
    return not {"tf32", "high", "medium", "bf16", True}.intersection(settings())


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    """The settings of a new process, afterwards."""
    yield
    torch.set_float32_matmul_precision("highest")
    if newer():
        torch.backends.fp32_precision = "none"
    for operation in newer():
        operation.fp32_precision = "none"
    torch.backends.cudnn.allow_tf32 = True


def by_newer_name() -> None:
    if not hasattr(torch.backends.cudnn, "conv"):
        pytest.skip("this PyTorch has no newer names")
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def on_the_cpu() -> None:
    by_newer_name()
    for operation in newer()[3:]:
        operation.fp32_precision = "bf16"


def for_everything() -> None:
    by_newer_name()
    torch.backends.fp32_precision = "tf32"


@pytest.mark.parametrize(
    "allow",
    [
        lambda: None,  # PyTorch's own: convolutions are rounded
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_float32_matmul_precision("high"),
        by_newer_name,
        on_the_cpu,
        for_everything,
    ],
)
def test_float32_is_float32_within_and_what_it_was_afterwards(allow: Callable[[], None]) -> None:
    allow()
    before = settings()
    assert not is_exact()

    with computing(CPU):
        within = is_exact()

    assert within
    assert settings() == before


def test_settings_stay_exact_until_the_last_of_several_threads_has_left() -> None:
    torch.set_float32_matmul_precision("high")
    before, entered, leave = settings(), threading.Event(), threading.Event()

    def other() -> None:
        with computing(CPU):
            entered.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with computing(CPU):
        thread.start()
        entered.wait()
    assert is_exact()
    leave.set()
    thread.join()

    assert settings() == before


def test_a_block_that_need_not_be_exact_leaves_the_settings_as_they_are() -> None:
    torch.set_float32_matmul_precision("high")
    before = settings()

    with computing(CPU, exact=False), torch.no_grad():
        assert settings() == before
        with computing(CPU):
            assert is_exact()

    assert settings() == before


def test_settings_are_restored_after_an_error() -> None:
    before = settings()

    with pytest.raises(ValueError, match="no such layer"), computing(CPU):
        raise ValueError("no such layer")

    assert settings() == before


def test_products_within_are_not_those_of_autocast() -> None:
    third = torch.full((8, 8), 1 / 3)

    with torch.autocast("cpu", dtype=torch.bfloat16), computing(CPU):
        product = third @ third

    assert product.dtype == torch.float32
    assert torch.allclose(product, torch.full((8, 8), 8 / 9), rtol=1e-6)


def test_memory_that_runs_out_names_the_device_and_what_to_set() -> None:
    said = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which ..."

    with pytest.raises(torch.cuda.OutOfMemoryError) as caught, computing(CPU):
        raise torch.cuda.OutOfMemoryError(said)

    assert str(caught.value) == (
        "cpu has too little memory (CUDA out of memory. Tried to allocate 20.00 GiB); set a smaller batch, or let "
        "fewer processes share the device"
    )
