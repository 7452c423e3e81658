"""Training: what it learns, that it repeats and resumes exactly, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from slideloom import ConfigError, OutputError, Region, Regions
from slideloom_segmentation import EpochReport, SegmentConfig, SegmentModel, train
from slideloom_segmentation.model_grid import ModelGrid
from slideloom_testing.contracts.base import global_random_state_untouched

SMALL = SegmentConfig(
    mode="multiclass", labels=("stroma", "tumor"), width=4, mpp=32.0, patch_px=32, epochs=3, patches=16, device="cpu"
)


def ious(model: SegmentModel, section, truth, seed: int) -> list[float]:
    """Intersection over union of each class on the whole of a section."""
    slide, regions = section(seed)
    found = model.class_map(slide)
    grid = ModelGrid.of(slide.info, model.facts.mpp)
    wanted = truth(regions, grid.size, scale=grid.scale_x)
    assert found.shape == wanted.shape
    return [((found == n) & (wanted == n)).sum() / ((found == n) | (wanted == n)).sum() for n in range(3)]


def run(config: SegmentConfig, section, out: Path, *, seeds: tuple[int, ...] = (1, 2), **options) -> Path:
    sections = [section(seed) for seed in seeds]
    slides, regions = [slide for slide, _ in sections], [regions for _, regions in sections]
    return train(config, slides=slides, regions=regions, out=out, **options)


def losses(folder: Path) -> list[float]:
    params = json.loads((folder / "params.json").read_text())
    return [epoch["train_loss"] for epoch in params["training"]["epochs"]]


@pytest.mark.parametrize("seed", [11, 12])
def test_a_unet_finds_both_tissues_on_a_section_it_has_not_seen(trained: Path, section, truth, seed: int) -> None:
    shares = ious(SegmentModel.load(trained), section, truth, seed)

    assert min(shares) > 0.85
    assert np.mean(shares[1:]) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["fpn", "deeplabv3plus"])
def test_the_other_networks_learn_it_too(arch: str, section, truth, tmp_path: Path) -> None:
    config = attrs.evolve(SMALL, arch=arch, width=8, mpp=16.0, patch_px=32, epochs=8, patches=160, learning_rate=5e-3)

    run(config, section, tmp_path / arch, seeds=(1, 2, 3))

    assert np.mean(ious(SegmentModel.load(tmp_path / arch), section, truth, 11)[1:]) > 0.85


def test_params_say_what_was_trained_on_what(trained: Path) -> None:
    params = json.loads((trained / "params.json").read_text())

    assert params["classes"] == ["background", "stroma", "tumor"]
    assert (params["arch"], params["mpp"], params["patch_px"]) == ("unet", 16.0, 32)
    assert params["training"]["config"]["seed"] == 0
    assert params["training"]["validation"].startswith("by slide: section")
    assert len(params["training"]["epochs"]) == 8
    assert params["training"]["val_iou"] == max(epoch["val_iou"] for epoch in params["training"]["epochs"])


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(section, tmp_path: Path) -> None:
    first = run(SMALL, section, tmp_path / "a").read_bytes()

    assert run(SMALL, section, tmp_path / "b").read_bytes() == first
    assert run(attrs.evolve(SMALL, seed=1), section, tmp_path / "c").read_bytes() != first


def test_slides_kept_in_memory_train_as_slides_read_by_patch(section, tmp_path: Path) -> None:
    # 32 um is a whole number of level-0 pixels here, so both read the same pixels.
    cached = run(SMALL, section, tmp_path / "a").read_bytes()

    assert run(attrs.evolve(SMALL, cache_mb=0), section, tmp_path / "b").read_bytes() == cached


@pytest.mark.parametrize("after", [1, 2])
def test_a_training_cut_off_and_resumed_ends_as_one_never_cut_off(section, tmp_path: Path, after: int) -> None:
    class PowerCut(Exception):
        pass

    def cut(report: EpochReport) -> None:
        if report.epoch == after:
            raise PowerCut

    whole = load_file(run(SMALL, section, tmp_path / "whole"))
    with pytest.raises(PowerCut):
        run(SMALL, section, tmp_path / "cut", progress=cut)
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    seen: list[int] = []
    resumed = load_file(
        run(SMALL, section, tmp_path / "cut", resume=True, progress=lambda report: seen.append(report.epoch))
    )

    assert seen == list(range(after + 1, 4))
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)
    losses = [
        [
            epoch["train_loss"]
            for epoch in json.loads((tmp_path / name / "params.json").read_text())["training"]["epochs"]
        ]
        for name in ("whole", "cut")
    ]
    assert losses[0] == losses[1]


def test_training_leaves_the_random_state_of_others_alone(section, tmp_path: Path) -> None:
    before = torch.get_rng_state()

    with global_random_state_untouched():
        run(attrs.evolve(SMALL, epochs=1), section, tmp_path / "a")

    assert torch.equal(torch.get_rng_state(), before)


def test_a_single_slide_is_validated_on_its_other_half_and_says_so(section, tmp_path: Path) -> None:
    run(attrs.evolve(SMALL, epochs=1), section, tmp_path / "a", seeds=(1,))

    text = json.loads((tmp_path / "a" / "params.json").read_text())["training"]["validation"]
    assert text.startswith("the other half of the only slide")


def test_binary_means_the_named_labels_against_everything_else(section, truth, tmp_path: Path) -> None:
    config = SegmentConfig(
        labels=("tumor",), width=8, mpp=16.0, patch_px=64, epochs=5, patches=128, learning_rate=5e-3, device="cpu"
    )
    reports: list[EpochReport] = []
    run(config, section, tmp_path / "a", seeds=(1, 2, 3), progress=reports.append)
    model = SegmentModel.load(tmp_path / "a")
    slide, regions = section(11)
    grid = ModelGrid.of(slide.info, 16.0)

    found = model.class_map(slide)

    wanted = truth(regions, grid.size, scale=grid.scale_x) == 2
    assert model.facts.classes == ("background", "tumor")
    assert ((found == 1) & wanted).sum() / ((found == 1) | wanted).sum() > 0.8
    assert [report.epoch for report in reports] == [1, 2, 3, 4, 5]
    assert reports[-1].train_loss < reports[0].train_loss


def refused(section, out: Path, *, config: SegmentConfig = SMALL, change: Callable[[Regions], Regions]) -> str:
    slide, regions = section(1)
    with pytest.raises(ConfigError) as caught:
        train(config, slides=[slide, section(2)[0]], regions=[change(regions)] * 2, out=out)
    assert not out.exists()
    return str(caught.value)


def test_mistakes_in_the_labels_are_told_before_anything_is_written(section, tmp_path: Path) -> None:
    def renamed(regions: Regions) -> Regions:
        return Regions(items=tuple(Region(item.name, item.shape, "Tumour") for item in regions.items))

    assert "section1.json: no region" in refused(section, tmp_path / "a", change=lambda _: Regions())
    assert "is 'stroma'" in refused(section, tmp_path / "a", change=renamed)


def test_an_occupied_folder_is_left_alone(section, tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("years of work")

    with pytest.raises(OutputError, match="not an empty folder"):
        run(SMALL, section, tmp_path)
    with pytest.raises(ConfigError, match="no checkpoint to resume from"):
        run(SMALL, section, tmp_path, resume=True)

    assert (tmp_path / "thesis.doc").read_text() == "years of work"


def test_resuming_with_other_options_names_the_difference(section, tmp_path: Path) -> None:
    run(attrs.evolve(SMALL, epochs=1), section, tmp_path / "a")

    with pytest.raises(ConfigError, match="epochs was 1, not 3"):
        run(SMALL, section, tmp_path / "a", resume=True)


def test_a_damaged_checkpoint_is_named(section, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"half a checkpoint")

    with pytest.raises(ConfigError, match=r"checkpoint\.pt: cannot be read"):
        run(SMALL, section, tmp_path, resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "multiclass"}, "labels are needed by mode multiclass"),
        ({"labels": ("tumor", "tumor")}, "different names"),
        ({"labels": ("background",)}, "other than 'background'"),
        ({"patch_px": 100}, "multiple of 16"),
        ({"mpp": 0.0}, "above 0"),
    ],
)
def test_a_wrong_option_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=message):
        SegmentConfig(**options)
