"""Models in files."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from plugins.features.tests.stored_features import module_of


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Stores `Colours` as TorchScript, by torch.export or as ONNX; `fixed` holds it to one batch size and side."""
    folder = tmp_path_factory.mktemp("models")

    def write(suffix: str, *, fixed: tuple[int, int] | None = None) -> Path:
        path = folder / f"colours{'-fixed' if fixed else ''}{suffix}"
        if path.exists():
            return path
        example = torch.zeros((fixed or (2, 64))[0], 3, *[(fixed or (2, 64))[1]] * 2)
        axes = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates two of its three ways
            if suffix == ".pt":
                torch.jit.trace(module_of(), example).save(path)
            elif suffix == ".pt2":
                torch.export.save(
                    torch.export.export(module_of(), (example,), dynamic_shapes=None if fixed else (axes,)), path
                )
            else:
                named = {0: "batch", 2: "height", 3: "width"}
                torch.onnx.export(
                    module_of(), (example,), path, dynamo=False, input_names=["pixels"],
                    dynamic_axes=None if fixed else {"pixels": named},
                )  # fmt: skip
        return path

    return write
