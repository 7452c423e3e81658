"""How a training goes on and what tells of it: learning rate, weights, patience, logs, pictures, several processes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import attrs
import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from slideloom import ConfigError
from slideloom_segmentation import EpochReport, SegmentConfig, SegmentModel, train
from slideloom_segmentation.fitting import learning_rate_at
from slideloom_segmentation.logbook import Seen, picture_of
from slideloom_segmentation.losses import balanced_weights, loss_of
from slideloom_segmentation.sampling import Plot

SMALL = SegmentConfig(
    mode="multiclass", labels=("stroma", "tumor"), width=4, mpp=32.0, patch_px=32, epochs=3, patches=16, device="cpu"
)


def run(config: SegmentConfig, section, out: Path, **options) -> Path:
    sections = [section(seed) for seed in (1, 2)]
    slides, regions = [slide for slide, _ in sections], [regions for _, regions in sections]
    return train(config, slides=slides, regions=regions, out=out, **options)


def rates(steps: int, **options: object) -> list[float]:
    config = SegmentConfig(learning_rate=0.01, **options)
    return [learning_rate_at(config, step=step, steps=steps) for step in range(steps)]


def test_the_learning_rate_rises_while_warming_up_and_falls_along_a_cosine() -> None:
    assert rates(8) == pytest.approx([0.005 * (1 + np.cos(np.pi * n / 8)) for n in range(8)])
    assert rates(8, warm_up=0.25)[:2] == pytest.approx([0.005, 0.01])
    assert rates(8, warm_up=0.25)[2:] == pytest.approx([0.005 * (1 + np.cos(np.pi * n / 6)) for n in range(6)])
    assert rates(4, warm_up=0.5, schedule="constant") == pytest.approx([0.005, 0.01, 0.01, 0.01])


def test_weights_of_classes_multiply_the_entropy_of_their_pixels() -> None:
    logits = torch.tensor([[[[2.0, -1.0]]]])
    labels = torch.tensor([[[1, 0]]])
    rare, common = np.log1p(np.exp(-2.0)), np.log1p(np.exp(-1.0))

    loss = loss_of(logits, labels, dice_weight=0.0, class_weights=torch.tensor([1.0, 3.0]))

    assert float(loss) == pytest.approx((3 * rare + 1 * common) / 4)


def test_balanced_weights_are_the_median_share_by_each_share(section) -> None:
    plots = [Plot.of(slide, regions, SMALL) for slide, regions in (section(1), section(2))]

    weights = balanced_weights(plots, SMALL)

    random, counts = np.random.default_rng([0, 3]), np.zeros(3)
    for _ in range(128):
        plot = plots[int(random.integers(2))]
        labels = plot.labels(*plot.random_place(32, random), 32)
        counts += [(labels == number).sum() for number in range(3)]
    assert weights == pytest.approx(np.median(counts) / counts)


def test_training_stops_where_no_epoch_gets_better_and_resumes_to_the_same_end(section, tmp_path: Path) -> None:
    # A learning rate of next to nothing: after the first epoch, nothing gets better by more than chance.
    config = attrs.evolve(SMALL, learning_rate=1e-12, epochs=30, patience=2)

    run(config, section, tmp_path / "a")
    run(config, section, tmp_path / "a", resume=True)

    epochs = json.loads((tmp_path / "a" / "params.json").read_text())["training"]["epochs"]
    ious = [epoch["val_iou"] for epoch in epochs]
    assert 3 <= len(ious) < 30
    assert len(ious) - 1 - ious.index(max(ious)) == 2


def test_a_training_can_start_from_a_model_and_says_so(section, trained: Path, tmp_path: Path) -> None:
    config = attrs.evolve(SMALL, width=8, mpp=16.0, patch_px=64, epochs=1, learning_rate=1e-6, start=trained)
    reports: list[EpochReport] = []

    run(config, section, tmp_path / "a", progress=reports.append)

    assert reports[0].val_iou > 0.85
    started = json.loads((tmp_path / "a" / "params.json").read_text())["training"]["started_from"]
    count = len(load_file(trained / "model.safetensors"))
    assert started == f"{trained / 'model.safetensors'}: {count} of {count} tensors"
    with pytest.raises(ConfigError, match="width 8 cannot be the start of one of arch 'unet' and width 4"):
        run(attrs.evolve(SMALL, start=trained), section, tmp_path / "b")
    with pytest.raises(ConfigError, match="no such model"):
        run(attrs.evolve(SMALL, start=tmp_path / "nowhere"), section, tmp_path / "c")


def test_resuming_from_another_start_is_refused(section, trained: Path, tmp_path: Path) -> None:
    config = attrs.evolve(SMALL, width=8, epochs=1)
    run(config, section, tmp_path / "a")

    with pytest.raises(ConfigError, match=r"start was None, not 'model\.safetensors with sha256 [0-9a-f]{16}'"):
        run(attrs.evolve(config, start=trained), section, tmp_path / "a", resume=True)


def test_mixed_precision_learns_as_full_precision_does(section, tmp_path: Path) -> None:
    config = attrs.evolve(SMALL, width=8, mpp=16.0, patch_px=64, patches=48, learning_rate=5e-3)
    reports: dict[str, list[EpochReport]] = {"full": [], "mixed": []}

    for precision, told in reports.items():
        run(attrs.evolve(config, precision=precision), section, tmp_path / precision, progress=told.append)

    full, mixed = (told[-1].train_loss for told in reports.values())
    assert mixed != full
    assert mixed == pytest.approx(full, rel=0.05)
    weights = load_file(tmp_path / "mixed" / "model.safetensors")
    assert {value.dtype for value in weights.values()} <= {torch.float32, torch.int64}


def test_a_table_and_a_picture_tell_of_every_epoch(section, tmp_path: Path) -> None:
    reports: list[EpochReport] = []
    run(SMALL, section, tmp_path / "a", progress=reports.append)

    with (tmp_path / "a" / "epochs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    for row, report in zip(rows, reports, strict=True):
        assert float(row["val_iou"]) == pytest.approx(report.val_iou, abs=1e-6)
        assert float(row["iou_stroma"]) == pytest.approx(report.class_iou[0], abs=1e-6)
        assert np.mean(report.class_iou) == pytest.approx(report.val_iou)
    pictures = sorted((tmp_path / "a" / "validation").iterdir())
    assert [path.name for path in pictures] == ["epoch-001.png", "epoch-002.png", "epoch-003.png"]
    image = cv2.imread(str(pictures[0]))
    assert image.shape == (4 * (32 + 6) - 6, 3 * 32 + 2 * 6, 3)


def test_a_picture_shows_pixels_regions_and_what_was_found() -> None:
    rgb = np.full((4, 4, 3), 200, np.uint8)
    truth, found = np.zeros((2, 4, 4), np.uint8)
    truth[0], found[1] = 1, 2

    picture = picture_of([Seen(rgb, truth, found)])

    tinted = [np.rint(200 * 0.55 + np.array(colour) * 0.45) for colour in ((213, 94, 0), (0, 114, 178))]
    assert (picture[:, :4] == 200).all()
    assert (picture[:, 4:10] == 255).all()
    assert (picture[0, 10:14] == tinted[0]).all()
    assert (picture[1:, 10:14] == 200).all()
    assert (picture[1, 20:24] == tinted[1]).all()


def test_tensorboard_gets_the_numbers_of_every_epoch(section, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reports: list[EpochReport] = []
    run(attrs.evolve(SMALL, tensorboard=True), section, tmp_path / "a", progress=reports.append)

    events = EventAccumulator(str(tmp_path / "a" / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/train")] == [
        (report.epoch, pytest.approx(report.train_loss)) for report in reports
    ]
    assert len(events.Images("validation")) == 3


def test_two_processes_train_one_model(start_process, tmp_path: Path) -> None:
    script, out = Path(__file__).with_name("gloo_script.py"), tmp_path / "model"
    workers = [
        start_process(
            [sys.executable, str(script), str(tmp_path / "sync"), str(out), str(rank)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    printed = [worker.communicate()[0] for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0], printed
    training = json.loads((out / "params.json").read_text())["training"]
    assert training["processes"] == 2
    assert training["val_iou"] > 0.9
    assert SegmentModel.load(out, device="cpu").facts.classes == ("background", "foreground")


@pytest.mark.slow
def test_the_command_trains_under_torchrun_as_the_docs_have_it(demo_slide, tmp_path: Path) -> None:
    out = tmp_path / "model"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", "--"]
    options = ["--mpp", "8", "--patch-px", "64", "--width", "4", "--epochs", "1", "--patches", "8", "--device", "cpu"]
    command = [sys.executable, "-m", "slideloom", "segment", "train", str(demo_slide.path), "--out", str(out)]

    done = subprocess.run(
        [sys.executable, *launcher, *command, "--regions", str(demo_slide.rois), *options],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(out / "model.safetensors")]  # said once, by the first process
    assert json.loads((out / "params.json").read_text())["training"]["processes"] == 2


def test_a_training_of_two_processes_is_not_resumed_by_one(section, tmp_path: Path) -> None:
    run(attrs.evolve(SMALL, epochs=1), section, tmp_path / "a")
    path = tmp_path / "a" / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    torch.save({**state, "config": state["config"].replace('"processes": 1', '"processes": 2')}, path)

    with pytest.raises(ConfigError, match="processes was 2, not 1"):
        run(attrs.evolve(SMALL, epochs=1), section, tmp_path / "a", resume=True)
