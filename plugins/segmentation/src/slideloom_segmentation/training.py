"""Training: dice and cross-entropy, validation after every epoch, and checkpoints that resume exactly."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from slideloom import ConfigError, Regions, Rgb, Slide, open_slide, torch_device
from torch import Tensor
from torch.nn import functional

from slideloom_segmentation.checkpoint import check_identity, identity_of, read_checkpoint, store_checkpoint
from slideloom_segmentation.model import Facts, as_input, save_model
from slideloom_segmentation.networks import build_network
from slideloom_segmentation.sampling import LabelMap, Plot, augmented
from slideloom_segmentation.settings import SegmentConfig
from slideloom_segmentation.splitting import TrainingSplit, check_different, split


@frozen
class EpochReport:
    """The results of one epoch.

    Attributes:
        epoch: its number, from 1.
        epochs: number of epochs in the whole training.
        train_loss: mean over the epoch's steps.
        val_loss: mean over the validation patches.
        val_iou: intersection over union on the validation patches, mean over the classes except background.
        seconds: wall time.
    """

    epoch: int
    epochs: int
    train_loss: float
    val_loss: float
    val_iou: float
    seconds: float


def train(
    config: SegmentConfig,
    *,
    slides: Sequence[Slide | Path | str],
    regions: Sequence[Regions],
    out: Path,
    resume: bool = False,
    progress: Callable[[EpochReport], None] | None = None,
) -> Path:
    """Train a model and write it to `out`: weights of the best epoch, params.json, and the checkpoint.

    On a CPU with the same number of threads, the same seed gives the same weights.

    Args:
        config: how to train.
        slides: paths, or open slides with known mpp (which stay open).
        regions: of each slide, with labels if the config names any.
        out: a new or empty folder or, with `resume`, the folder of an interrupted training.
        resume: continue after the last finished epoch, as if never interrupted.
        progress: called after every epoch, when its checkpoint is on disk.

    Returns:
        The weights file, for `SegmentQc` and `SegmentRoi`.

    Raises:
        ConfigError: slides, regions and config do not fit together.
        OutputError: `out` has another model or training.
        SlideError: a slide cannot be read.
    """
    if len(slides) != len(regions):
        raise ConfigError(f"segment: {len(slides)} slides, but regions of {len(regions)}; give one Regions per slide")
    device = torch_device(config.device)
    before = read_checkpoint(config, out, resume=resume)
    with ExitStack() as opened:
        open_slides = [
            given if isinstance(given, Slide) else opened.enter_context(open_slide(given)) for given in slides
        ]
        check_different(open_slides)
        identity = identity_of(open_slides, regions)
        if before is not None:
            check_identity(before, identity, out)
        plots = [Plot.of(slide, found, config) for slide, found in zip(open_slides, regions, strict=True)]
        parts = split(_cached(plots, config.cache_mb * 1e6), config)
        trainer = _Trainer(config, parts, device)
        if before is not None:
            trainer.restore(before)
        out.mkdir(parents=True, exist_ok=True)
        for report in trainer.epochs():
            store_checkpoint(out, config, identity, trainer.state())
            if progress is not None:
                progress(report)
        return trainer.finish(out)


def loss_of(logits: Tensor, labels: Tensor, *, dice_weight: float) -> Tensor:
    """Cross-entropy plus `dice_weight` times the mean dice loss over the classes (the foreground, if binary).

    Args:
        logits: (B, 1, H, W) binary, or (B, classes, H, W).
        labels: (B, H, W) int64.
        dice_weight: at least 0.

    Source: Milletari et al., V-Net, 3DV 2016, for dice; here summed over the batch, without squares.
    """
    if logits.shape[1] == 1:
        truth = labels[:, None].clamp(max=1).float()
        entropy = functional.binary_cross_entropy_with_logits(logits, truth)
        chances = torch.sigmoid(logits)
    else:
        truth = functional.one_hot(labels, logits.shape[1]).permute(0, 3, 1, 2).contiguous().float()
        entropy = functional.cross_entropy(logits, labels)
        chances = torch.softmax(logits, dim=1)
    common = (chances * truth).sum(dim=(0, 2, 3))
    total = (chances + truth).sum(dim=(0, 2, 3))
    dice = 1 - (2 * common + 1) / (total + 1)  # adding 1 keeps a class that is not in the batch from dominating
    return entropy + dice_weight * dice.mean()


def iou_of(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Intersection over union per class from counts (truth, found); nan for a class that does not occur."""
    both = np.diag(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    with np.errstate(invalid="ignore"):
        shares: NDArray[np.float64] = both / np.where(either, either, np.nan)
    return shares


class _Trainer:
    """The complete state of a training, as stored in a checkpoint."""

    def __init__(self, config: SegmentConfig, parts: TrainingSplit, device: torch.device) -> None:
        self._config = config
        self._parts = parts
        self._device = device
        self._facts = Facts(
            arch=config.arch,
            width=config.width,
            classes=config.classes,
            is_binary=config.mode == "binary",
            mpp=config.mpp,
            patch_px=config.patch_px,
        )
        with torch.random.fork_rng(devices=[]):  # the caller's random state is not changed
            torch.manual_seed(config.seed)
            network = build_network(config.arch, width=config.width, outputs=self._facts.outputs)
        self._network = network.to(device)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=config.learning_rate)
        self._best = self._state()
        self._reports: list[EpochReport] = []

    def epochs(self) -> Iterator[EpochReport]:
        """Runs the remaining epochs."""
        for epoch in range(len(self._reports), self._config.epochs):
            started = time.perf_counter()
            train_loss = self._train(epoch)
            val_loss, val_iou = self._validate()
            # Of two equally good epochs, the later one was trained with a smaller learning rate.
            if val_iou >= max((report.val_iou for report in self._reports), default=0.0):
                self._best = self._state()
            seconds = time.perf_counter() - started
            self._reports.append(EpochReport(epoch + 1, self._config.epochs, train_loss, val_loss, val_iou, seconds))
            yield self._reports[-1]

    def state(self) -> dict[str, Any]:
        """Tensors, numbers and text that `restore` takes."""
        return {
            "reports": json.dumps([attrs.asdict(report) for report in self._reports]),
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "best": self._best,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint's state. Random numbers depend only on seed and epoch, so none are stored."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._best = state["best"]
        self._reports = [EpochReport(**report) for report in json.loads(state["reports"])]

    def finish(self, out: Path) -> Path:
        """Write the best epoch's model."""
        reports = [attrs.asdict(report) for report in self._reports]
        training = {
            "config": attrs.asdict(self._config),
            "validation": self._parts.text,
            "val_iou": max(report.val_iou for report in self._reports),
            "epochs": reports,
        }
        save_model(out, facts=self._facts, state=self._best, training=training)
        return out / "model.safetensors"

    def _train(self, epoch: int) -> float:
        config = self._config
        random = np.random.default_rng([config.seed, 1, epoch])
        steps = math.ceil(config.patches / config.batch)
        losses = []
        self._network.train()
        for step in range(steps):
            done = (epoch * steps + step) / (config.epochs * steps)
            for group in self._optimizer.param_groups:
                group["lr"] = config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
            count = min(config.batch, config.patches - step * config.batch)
            images, labels = self._tensors([self._random_patch(random) for _ in range(count)])
            loss = loss_of(self._network(images), labels, dice_weight=config.dice_weight)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # as torch ships it
            self._optimizer.step()
            losses.append(loss.item())
        return float(np.mean(losses))

    def _validate(self) -> tuple[float, float]:
        config, count = self._config, len(self._config.classes)
        places = self._parts.places
        confusion = np.zeros((count, count), np.int64)
        total = 0.0
        self._network.eval()
        for start in range(0, len(places), config.batch):
            here = places[start : start + config.batch]
            images, labels = self._tensors([plot.patch(x, y, config.patch_px) for plot, x, y in here])
            with torch.inference_mode():
                logits = self._network(images)
                total += loss_of(logits, labels, dice_weight=config.dice_weight).item() * len(here)
                found = (logits[:, 0] >= 0).long() if self._facts.is_binary else logits.argmax(dim=1)
            pairs = (labels * count + found).flatten().cpu().numpy()
            confusion += np.bincount(pairs, minlength=count * count).reshape(count, count)
        return total / len(places), float(iou_of(confusion)[1:].mean())  # `split` saw to it that every class is there

    def _random_patch(self, random: np.random.Generator) -> tuple[Rgb, LabelMap]:
        side, plots = self._config.patch_px, self._parts.train
        plot = plots[int(random.integers(len(plots)))]
        rgb, labels = plot.patch(*plot.random_place(side, random), side)
        return augmented(rgb, labels, random) if self._config.augment else (rgb, labels)

    def _tensors(self, patches: Sequence[tuple[Rgb, LabelMap]]) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(np.stack([rgb for rgb, _ in patches])).to(self._device)
        labels = torch.from_numpy(np.stack([labels for _, labels in patches])).to(self._device)
        return as_input(images), labels.long()

    def _state(self) -> dict[str, Tensor]:
        return {name: value.detach().cpu().clone() for name, value in self._network.state_dict().items()}


def _cached(plots: Sequence[Plot], budget: float) -> list[Plot]:
    """The plots in order, as many of them in memory as fit into `budget` bytes."""
    result = []
    for plot in plots:
        needed = 3 * plot.grid.size.area
        fits = needed <= budget
        budget -= needed if fits else 0
        result.append(plot.with_picture() if fits else plot)
    return result
