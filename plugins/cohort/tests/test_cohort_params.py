"""params.json: what a model was trained on comes back exactly, and other tiles are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from slideloom.base.errors import ConfigError
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.tiling import Tiling
from slideloom.plugins.shorthand import step_settings
from slideloom.settings.digest import digest_of
from slideloom_cli.main import main
from slideloom_cohort.params import Params, load_params, save_params, tiling_of
from slideloom_testing import batch_of

GAIN = """
import json
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar
import attrs, numpy as np
from slideloom import Normalized, Normalizer, Settings, hookimpl, option

@attrs.frozen
class Gain(Settings[Normalizer]):
    "Multiplies."
    name: ClassVar[str] = "gain"
    target: str = option("1.0", help="a number, or a params.json")
    cut: bool = option(False, help="cut")
    threads: int = option(1, help="n", affects_output=False)
    def build(self):
        if self.target.endswith(".json"):
            return GainNormalizer(json.loads(Path(self.target).read_text())["norm_fit"]["factor"])
        return GainNormalizer(float(self.target) / 3)

class GainNormalizer(Normalizer):
    def __init__(self, factor):
        self.factor = factor
    def fit_table(self):
        return {"factor": self.factor}
    def apply(self, batch):
        return Normalized((batch.rgb * self.factor).clip(0, 255).astype(np.uint8), np.ones(len(batch), bool))

@hookimpl
def slideloom_normalizers():
    return [Gain]
"""


@pytest.fixture
def gain(install_plugin: object) -> None:
    install_plugin("gain_plugin", GAIN)  # type: ignore[operator]


def test_the_normalizer_comes_back_exactly(gain: None, tmp_path: Path) -> None:
    settings = step_settings("normalizer", "gain", {"target": "2.0", "cut": True})
    path = save_params(tmp_path, tile_px=299, tile_um=302, normalizer=settings, outcomes=["site"])

    params = load_params(path)

    assert params.normalizer is not None
    assert params.normalizer.build().fit_table() == {"factor": 2 / 3}  # to the last bit
    assert params.normalizer.cut is True  # type: ignore[attr-defined]
    batch = batch_of(np.full((2, 4, 4, 3), 90, np.uint8))
    assert (params.normalizer.build().apply(batch).rgb == 60).all()
    assert (params.tile_px, params.tile_um) == (299, 302.0)
    assert params.table["outcomes"] == ["site"]


def test_the_layout_is_that_of_existing_projects(gain: None, tmp_path: Path) -> None:
    table = json.loads(save_params(tmp_path, tile_px=299, tile_um="10x", normalizer="gain").read_text())

    assert table["tile_px"] == 299
    assert table["tile_um"] == "10x"
    assert table["hp"] == {"normalizer": "gain", "normalizer_source": "1.0"}
    assert table["norm_fit"] == {"factor": 1 / 3}


def test_a_file_of_another_program_is_read(gain: None, tmp_path: Path) -> None:
    table = {
        "tile_px": 256,
        "tile_um": 256,
        "slideflow_version": "3.0.2",
        "hp": {"normalizer": "gain", "normalizer_source": "v3"},
        "norm_fit": {"factor": 0.25},
    }
    (tmp_path / "params.json").write_text(json.dumps(table))

    params = load_params(tmp_path)

    assert params.normalizer is not None
    assert params.normalizer.build().fit_table() == {"factor": 0.25}


def test_no_normalizer_stays_none(tmp_path: Path) -> None:
    assert load_params(save_params(tmp_path / "sub/p.json", tile_px=10, tile_um=5.5)).normalizer is None


@pytest.mark.parametrize(
    ("tiles", "normalizer", "differences"),
    [
        ((299, 302), ("gain", {"target": "2.0"}), []),
        ((299, 302), ("gain", {"target": "2.0", "threads": 3}), []),
        ((256, 302), ("gain", {"target": "2.0"}), ["tile_px: 299 for the model, 256 here"]),
        ((299, 256), ("gain", {"target": "2.0"}), ["tile_um: 302um for the model, 256um here"]),
        ((299, "10x"), ("gain", {"target": "2.0"}), ["tile_um: 302um for the model, 10x here"]),
        ((299, 302), ("gain", {"target": "2.1"}), ["normalizer: gain with another target"]),
        ((299, 302), ("gain", {"target": "2.0", "cut": True}), ["normalizer.cut: False for the model, True here"]),
        ((299, 302), None, ["normalizer: gain for the model, none here"]),
    ],
)
def test_every_difference_is_told(
    gain: None, tmp_path: Path, tiles: tuple[int, float | str], normalizer: object, differences: list[str]
) -> None:
    params = load_params(
        save_params(
            tmp_path, tile_px=299, tile_um=302, normalizer=step_settings("normalizer", "gain", {"target": "2.0"})
        )
    )
    here = None if normalizer is None else step_settings("normalizer", *normalizer)  # type: ignore[misc]

    assert params.differences(tiling_of(*tiles), here) == differences
    pipeline = Pipeline(tiles=tiling_of(*tiles), normalizer=here)
    if differences:
        with pytest.raises(ConfigError, match="trained on other tiles") as caught:
            params.check(pipeline)
        assert all(line in str(caught.value) for line in differences)
    else:
        params.check(pipeline)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("[]", "is not a params.json"),
        ('{"tile_px": 299}', "tile_px or tile_um is missing"),
        ('{"tile_px": 299, "tile_um": 302, "hp": {"normalizer": "magenta"}}', "cannot be made again: no normalizer"),
    ],
)
def test_a_file_that_is_none_is_named(gain: None, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "params.json").write_text(text)

    with pytest.raises(ConfigError, match=message) as caught:
        load_params(tmp_path)

    assert "params.json" in str(caught.value)
    with pytest.raises(ConfigError, match=r"name a params\.json or a model's folder"):
        load_params(tmp_path / "none.json")


def test_the_command_line_refuses_other_tiles(
    raw: object, tmp_path: Path, analytic: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_params(tmp_path / "model", tile_px=60, tile_um=75)
    words = ["extract", str(analytic()), "--filter", "none", "--sink", "raw", "--quiet", "--params", str(model)]

    assert main([*words, "--tile-px", "60", "--tile-um", "75", "--out", str(tmp_path / "a")]) == 0
    assert main([*words, "--tile-px", "60", "--tile-um", "80", "--out", str(tmp_path / "b")]) == 1
    assert "tile_um: 75um for the model, 80um here" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_params_can_be_shown(tmp_path: Path) -> None:
    params = load_params(save_params(tmp_path, tile_px=10, tile_um=5.0))

    assert isinstance(params, Params)
    assert "tile_px=10" in repr(params)


def test_a_whole_number_and_the_same_float_are_one_setting() -> None:
    assert digest_of(tiling_of(60, 75)) == digest_of(Tiling(size_px=60, size_um=75)) != digest_of(tiling_of(60, 76))
