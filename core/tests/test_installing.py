"""What messages say of how to install something."""

from pathlib import Path

import pytest
from slideloom.base import installing
from slideloom.base.installing import pip_install


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer on which PyTorch is not installed."""
    monkeypatch.setattr(installing, "find_spec", lambda _: None)


@pytest.mark.parametrize(
    ("what", "command"),
    [
        ("slideloom-qc", "pip install slideloom-qc"),
        ("slideloom[dask]", "pip install 'slideloom[dask]'"),
        ("numpy<3", "pip install 'numpy<3'"),
    ],
)
def test_what_a_shell_would_take_for_a_pattern_is_quoted(what: str, command: str) -> None:
    assert pip_install(what) == command


@pytest.mark.usefixtures("without_torch")
@pytest.mark.parametrize(
    ("system", "has_gpu", "is_told"),
    [("linux", False, True), ("linux", True, False), ("darwin", False, False), ("win32", False, False)],
)
def test_the_small_build_of_pytorch_is_told_where_pip_would_bring_the_large_one(
    system: str, has_gpu: bool, is_told: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr(installing, "_NVIDIA", tmp_path if has_gpu else tmp_path / "none")

    assert ("CPU build" in pip_install("slideloom[torch]")) == is_told
    assert pip_install("slideloom[torch]").startswith("pip install 'slideloom[torch]'")


def test_who_has_pytorch_is_told_nothing_of_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "find_spec", lambda name: name)

    assert pip_install("slideloom-segmentation[torch]") == "pip install 'slideloom-segmentation[torch]'"
