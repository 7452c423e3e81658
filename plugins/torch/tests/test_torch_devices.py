"""The choice of a PyTorch device."""

from __future__ import annotations

import subprocess
import sys

import pytest
from slideloom import ConfigError, torch_device
from slideloom_torch import devices

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


def test_a_named_device_is_taken() -> None:
    assert torch_device("cpu") == torch.device("cpu")


def test_auto_takes_a_graphics_processor_where_there_is_one() -> None:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}

    assert torch_device("auto").type == next(kind for kind, is_here in available.items() if is_here)


@pytest.mark.parametrize(("number", "expected"), [(0, "cuda:0"), (1, "cuda:1"), (5, "cuda:1")])
def test_worker_processes_share_the_graphics_processors(
    number: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(devices, "worker_number", lambda: number)

    assert str(devices.usual_device()) == expected


def test_a_graphics_processor_that_cannot_compute_is_an_error_and_never_replaced_by_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "usual_device", lambda: torch.device("meta"))  # has tensors, and computes nothing

    with pytest.raises(ConfigError, match=r"device 'auto', which is meta here, cannot be used .*; use \"cpu\""):
        torch_device("auto")


def test_a_process_forked_from_one_that_uses_the_graphics_processor_says_how_to_start_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object, **__: object) -> None:  # in the words of PyTorch
        raise RuntimeError("Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, ...")

    monkeypatch.setattr(torch, "ones", refused)

    with pytest.raises(ConfigError, match=r'multiprocessing_context="spawn", or use "cpu"'):
        torch_device("cuda:0")


def test_a_device_that_pytorch_does_not_know_is_refused_with_those_it_knows() -> None:
    with pytest.raises(ConfigError, match='device \'tpu9\' is unknown; use "auto", "cpu"'):
        torch_device("tpu9")


@pytest.mark.parametrize("name", ["cuda:99", "hpu", "meta"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"device '{name}' cannot be used on this machine \(.+\); use \"auto\""):
        torch_device(name)


def test_without_pytorch_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import slideloom\n"
        "try: slideloom.torch_device('cpu')\n"
        "except slideloom.ConfigError as error: print(error)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("device 'cpu' needs PyTorch: pip install 'slideloom[torch]'")
