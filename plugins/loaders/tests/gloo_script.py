"""One of two processes that train together over gloo: notes what it is given, then trains a classifier with the other.

python gloo_script.py PROJECT FOLDER RANK
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import slideloom as sl
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel


def places_of(info: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Slide and location of each tile of a batch."""
    return list(zip(info["slide"], info["loc_x"].tolist(), info["loc_y"].tolist(), strict=True))


def main(project: str, folder: Path, rank: int) -> None:
    """What each of the two does."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/sync", rank=rank, world_size=2)
    dataset = sl.Project(project).dataset(64, 64)
    seen = {}
    for name, options in (("map", {}), ("iterable", {"iterable": True}), ("workers", {"num_workers": 1})):
        loader = dataset.torch(16, info=True, seed=1, **options)
        seen[name] = [[places_of(batch[-1]) for batch in loader] for _ in range(2)]

    train, held = dataset.filter(slides=["one", "two"]), dataset.filter(slides=["three"])
    loader = train.torch(16, labels="roi", augment="flip,rotate", balance="label")
    classes = loader.dataset.classes
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 5, stride=2), torch.nn.GroupNorm(4, 16), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 24, 5, stride=2), torch.nn.GroupNorm(4, 24), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(24, len(classes)),
    )  # fmt: skip
    model = DistributedDataParallel(network)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(8):
        for images, targets in loader:
            loss = torch.nn.functional.cross_entropy(model(images / 127.5 - 1), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    counts = torch.zeros(2)
    with torch.no_grad():
        for images, targets in held.torch(64, labels="roi", classes=classes, shuffle=False):
            counts += torch.tensor([(network(images / 127.5 - 1).argmax(1) == targets).sum(), len(targets)])
    dist.all_reduce(counts)
    weights = torch.cat([value.flatten() for value in network.parameters()])
    told = {"seen": seen, "right": counts.tolist(), "weights": weights.tolist()}
    (folder / f"{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
