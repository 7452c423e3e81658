"""Run by Lightning's launcher in two processes: trains by DDP, goes on from a checkpoint, and notes what it is given.

python lightning_script.py PROJECT FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import lightning
import slideloom as sl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint


class Model(lightning.LightningModule):
    """The least that can be trained; notes the tiles of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.seen: list[list[str]] = []

    def on_train_epoch_start(self) -> None:
        self.seen.append([])

    def training_step(self, batch: Any, _number: int) -> Any:
        images, info = batch
        places = zip(info["slide"], info["loc_x"].tolist(), info["loc_y"].tolist(), strict=True)
        self.seen[-1] += ["/".join(map(str, place)) for place in places]
        return self.layer(images.float().mean((2, 3)) / 255).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main(project: str, folder: Path) -> None:
    torch.set_num_threads(1)
    dataset = sl.Project(project).dataset(64, 64)
    for kind in ("map", "iterable"):
        model, checkpoint = Model(), folder / f"{kind}.ckpt"
        for epochs in (2, 3):
            loader = dataset.torch(8, info=True, seed=4, augment="flip", iterable=kind == "iterable")
            trainer = lightning.Trainer(
                accelerator="cpu", devices=2, strategy="ddp", max_epochs=epochs, logger=False,
                callbacks=[ModelCheckpoint(folder, kind if epochs == 2 else f"{kind} again")],
                enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder,
            )  # fmt: skip
            trainer.fit(model, loader, ckpt_path=checkpoint if epochs == 3 else None)
        (folder / f"{kind}-{trainer.global_rank}.json").write_text(json.dumps(model.seen))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
