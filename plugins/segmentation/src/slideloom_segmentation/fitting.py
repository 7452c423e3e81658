"""The training loop: steps, validation after every epoch, and a state that is stored and restored exactly."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from slideloom import ConfigError, Rgb
from torch import Tensor, nn

from slideloom_segmentation.logbook import EpochReport, Seen
from slideloom_segmentation.losses import balanced_weights, iou_of, loss_of
from slideloom_segmentation.model import Facts, as_input, save_model, stored_weights
from slideloom_segmentation.networks import build_network
from slideloom_segmentation.ranks import Ranks
from slideloom_segmentation.sampling import LabelMap, augmented
from slideloom_segmentation.settings import SegmentConfig
from slideloom_segmentation.splitting import TrainingSplit

_SHOWN = 4  # validation patches in the picture of an epoch


class Trainer:
    """The complete state of a training, as stored in a checkpoint.

    Args:
        config: how to train.
        parts: what to train on, and what is held out.
        device: to compute on.
        ranks: which of the training's processes this is.
    """

    def __init__(self, config: SegmentConfig, parts: TrainingSplit, device: torch.device, ranks: Ranks) -> None:
        self._config = config
        self._parts = parts
        self._device = device
        self._ranks = ranks
        self._facts = Facts(
            arch=config.arch,
            width=config.width,
            classes=config.classes,
            is_binary=config.mode == "binary",
            mpp=config.mpp,
            patch_px=config.patch_px,
        )
        network, self.started_from = _network(config, self._facts)
        self._network = network.to(device)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=config.learning_rate)
        self._class_weights: Tensor | None = None
        if config.class_weights == "balanced":
            weights = balanced_weights(parts.train, config)
            self._class_weights = torch.from_numpy(weights.astype(np.float32)).to(device)
        self._best = self._state()
        self._reports: list[EpochReport] = []
        self._seen: list[Seen] = []

    @property
    def reports(self) -> Sequence[EpochReport]:
        """Of all finished epochs."""
        return self._reports

    @property
    def seen(self) -> Sequence[Seen]:
        """A few validation patches as the last epoch's network found them."""
        return self._seen

    def epochs(self) -> Iterator[EpochReport]:
        """Runs the remaining epochs, fewer where none gets better."""
        for epoch in range(len(self._reports), self._config.epochs):
            if self._has_lost_patience():
                return
            started = time.perf_counter()
            train_loss, rate = self._train(epoch)
            val_loss, class_iou = self._validate()
            val_iou = float(np.mean(class_iou))
            # Of two equally good epochs, the later one was trained with a smaller learning rate.
            if val_iou >= max((report.val_iou for report in self._reports), default=0.0):
                self._best = self._state()
            self._reports.append(
                EpochReport(
                    epoch=epoch + 1,
                    epochs=self._config.epochs,
                    train_loss=train_loss,
                    val_loss=val_loss,
                    val_iou=val_iou,
                    class_iou=class_iou,
                    learning_rate=rate,
                    seconds=time.perf_counter() - started,
                )
            )
            yield self._reports[-1]

    def _has_lost_patience(self) -> bool:
        if self._config.patience is None or not self._reports:
            return False
        ious = [report.val_iou for report in self._reports]
        return len(ious) - 1 - ious.index(max(ious)) >= self._config.patience

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
        self._reports = [
            EpochReport(**{**report, "class_iou": tuple(report["class_iou"])})
            for report in json.loads(state["reports"])
        ]

    def finish(self, out: Path) -> None:
        """Write the best epoch's model."""
        config = {
            name: str(value) if isinstance(value, Path) else value for name, value in attrs.asdict(self._config).items()
        }
        training = {
            "config": config,
            "validation": self._parts.text,
            "val_iou": max(report.val_iou for report in self._reports),
            "epochs": [attrs.asdict(report) for report in self._reports],
            "processes": self._ranks.count,
            "started_from": self.started_from,
        }
        save_model(out, facts=self._facts, state=self._best, training=training)

    def _train(self, epoch: int) -> tuple[float, float]:
        """Mean loss of the epoch, and the learning rate of its last step."""
        config, ranks = self._config, self._ranks
        own = [] if ranks.count == 1 else [ranks.rank]
        random = np.random.default_rng([config.seed, 1, epoch, *own])
        steps = math.ceil(config.patches / config.batch)
        losses, rate = [], 0.0
        self._network.train()
        for step in range(steps):
            rate = learning_rate_at(config, step=epoch * steps + step, steps=config.epochs * steps)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            count = math.ceil(min(config.batch, config.patches - step * config.batch) / ranks.count)
            images, labels = self._tensors([self._random_patch(random) for _ in range(count)])
            loss = self._loss(self._logits(images), labels)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # as torch ships it
            ranks.average_gradients(self._network)
            self._optimizer.step()
            losses.append(loss.item())
        ranks.average_buffers(self._network)
        mean = ranks.total(np.array([np.mean(losses)]), self._device) / ranks.count
        return float(mean[0]), rate

    def _validate(self) -> tuple[float, tuple[float, ...]]:
        """Mean loss, and intersection over union of each class except background; keeps a few patches to show."""
        config, count, ranks = self._config, len(self._config.classes), self._ranks
        places = self._parts.places[ranks.rank :: ranks.count]
        shown = set(np.linspace(0, max(0, len(places) - 1), _SHOWN).round().astype(int).tolist())
        counts = np.zeros(count * count + 1)  # the confusion matrix, and the loss
        self._seen = []
        self._network.eval()
        for start in range(0, len(places), config.batch):
            here = places[start : start + config.batch]
            patches = [plot.patch(x, y, config.patch_px) for plot, x, y in here]
            images, labels = self._tensors(patches)
            with torch.inference_mode():
                logits = self._logits(images)
                counts[-1] += self._loss(logits, labels).item() * len(here)
                found = (logits[:, 0] >= 0).long() if self._facts.is_binary else logits.argmax(dim=1)
            pairs = (labels * count + found).flatten().cpu().numpy()
            counts[:-1] += np.bincount(pairs, minlength=count * count)
            classes = found.cpu().numpy().astype(np.uint8)
            self._seen += [Seen(*patches[n], classes[n]) for n in range(len(here)) if start + n in shown]
        counts = ranks.total(counts, self._device)
        confusion = counts[:-1].astype(np.int64).reshape(count, count)
        # `split` saw to it that every class is there.
        return float(counts[-1]) / len(self._parts.places), tuple(iou_of(confusion)[1:].tolist())

    def _logits(self, images: Tensor) -> Tensor:
        kind, is_mixed = self._device.type, self._config.precision == "mixed"
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=is_mixed):
            logits: Tensor = self._network(images)
        return logits

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return loss_of(logits, labels, dice_weight=self._config.dice_weight, class_weights=self._class_weights)

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


def learning_rate_at(config: SegmentConfig, *, step: int, steps: int) -> float:
    """The learning rate of a step, from 0: it rises while warming up, and then follows the schedule."""
    warm = round(config.warm_up * steps)
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - warm) / max(1, steps - warm)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _network(config: SegmentConfig, facts: Facts) -> tuple[nn.Module, str]:
    """The untrained network, and what it starts from in words.

    Raises:
        ConfigError: the model to start from is missing, damaged, or of another kind.
    """
    with torch.random.fork_rng(devices=[]):  # the caller's random state is not changed
        torch.manual_seed(config.seed)
        network = build_network(config.arch, width=config.width, outputs=facts.outputs)
    if config.start is None:
        return network, "random weights"
    facts_there, given = stored_weights(config.start)
    there = facts_there.get("arch"), facts_there.get("width")
    if there != (config.arch, config.width):
        raise ConfigError(
            f"{config.start}: a model of arch '{there[0]}' and width {there[1]} cannot be the start of one of arch "
            f"'{config.arch}' and width {config.width}; give the same"
        )
    own = network.state_dict()
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    network.load_state_dict({**own, **fitting})
    return network, f"{config.start}: {len(fitting)} of {len(own)} tensors"
