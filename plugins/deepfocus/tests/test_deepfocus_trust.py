"""A file that can run code is loaded only where somebody said that it may."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
from slideloom import ConfigError
from slideloom_deepfocus import StridedModel

torch = pytest.importorskip("torch")


class Mean(torch.nn.Module):  # type: ignore[name-defined,misc]
    """The mean of a tile."""

    def forward(self, tiles: Any) -> Any:
        return tiles.mean((1, 2, 3))


class Touches:
    """Unpickled, it makes a file: stands for whatever else it could do."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._trace,)


def malicious(path: Path, trace: Path) -> Path:
    """An exported model whose loading makes the file `trace`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(Mean(), (torch.zeros(2, 3, 8, 8),)), path)
    payload = io.BytesIO()
    torch.save(Touches(trace), payload)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert any("sample_inputs" in name for name in parts)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, payload.getvalue() if "sample_inputs" in name else content)
    return path


def test_code_in_an_exported_model_does_not_run_unless_it_is_trusted(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    path = malicious(tmp_path / "model.pt2", trace)

    with pytest.raises(ConfigError, match=r"model\.pt2: a \.pt2 file can run its author's code; set trust = true if"):
        StridedModel(model=path).build()

    assert not trace.exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_unless_it_is_trusted_and_each_time_anew(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.jit.trace(Mean().eval(), torch.zeros(2, 3, 8, 8)).save(path)

    for _ in range(2):  # a model that is kept from before is not handed out either
        with pytest.raises(ConfigError, match=r"model\.pt: a \.pt file can run its author's code; set trust = true if"):
            StridedModel(model=path, device="cpu").build()
        StridedModel(model=path, device="cpu", trust=True).build()
