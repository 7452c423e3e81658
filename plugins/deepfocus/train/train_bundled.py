"""Train the bundled DeepFocus weights on real tissue with planted defocus, and measure them on a slide held out.

usage: python train_bundled.py --data FOLDER --out WEIGHTS.safetensors --report REPORT.json [--tiles 24000] [--epochs 3]

FOLDER (by default the one that SLIDELOOM_TEST_DATA names) holds
  tcga-cr-7395-01a-01-ts1.svs   TCGA open data; records no mpp, taken as 1.0 from the size of its nuclei
  stain_source.png, stain_target.png   torchstain's sample fields; taken as 1.0 mpp in the same way
  cmu-1-small-region.svs        OpenSlide's test data (CC0); 0.499 mpp
The first three train, the CMU slide is held out; `--reverse` swaps the sides. Nothing is downloaded.

One thread and a fixed seed: on one machine, two runs give the same file. Needs torch, safetensors, opencv, openslide.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from pathlib import Path

import cv2
import numpy as np
import openslide
import torch
from attrs import frozen
from numpy.typing import NDArray
from safetensors.numpy import save_file
from slideloom_deepfocus.layers import TILE_PX
from slideloom_deepfocus.torch_network import DeepFocusNet, arrays_of

MPP = 1.0
SHARP_UM = (0.0, 0.5)  # radius of the defocus disk that still counts as in focus
BLURRED_UM = (2.0, 12.0)  # and that counts as out of focus; between the two nothing is trained
LEVELS_UM = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
GLASS_SHARE = 0.08  # of the training tiles; always labelled as in focus
Rgb = NDArray[np.uint8]
Linear = NDArray[np.float32]

log = logging.getLogger("train_bundled")


@frozen
class Source:
    """One image: pixels, their size in microns, and whether it was a whole slide."""

    name: str
    rgb: Rgb
    mpp: float


def load(folder: Path) -> dict[str, list[Source]]:
    """The sources by side."""
    return {
        "tcga+stain": [
            Source("tcga", slide_pixels(folder / "tcga-cr-7395-01a-01-ts1.svs"), 1.0),
            Source("stain_source", png_pixels(folder / "stain_source.png"), 1.0),
            Source("stain_target", png_pixels(folder / "stain_target.png"), 1.0),
        ],
        "cmu": [Source("cmu", slide_pixels(folder / "cmu-1-small-region.svs"), 0.499)],
    }


def slide_pixels(path: Path) -> Rgb:
    """Level 0, flattened onto white."""
    with openslide.OpenSlide(path) as slide:
        rgba = np.asarray(slide.read_region((0, 0), 0, slide.dimensions)).astype(np.float32)
    alpha = rgba[..., 3:] / 255
    flat: Rgb = np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return flat


def png_pixels(path: Path) -> Rgb:
    """A picture, RGB."""
    rgb: Rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return rgb


def disk(radius_px: float) -> Linear:
    """The defocus kernel of geometric optics: an even disk, each pixel weighted by the share that the disk covers."""
    reach, fine = int(np.ceil(radius_px)), 9
    at = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    covered = (at[:, None] ** 2 + at[None, :] ** 2 <= radius_px**2).astype(np.float32)
    kernel: Linear = covered.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).mean(axis=(1, 3))
    total = kernel.sum()
    return kernel / total if total > 0 else np.ones((1, 1), np.float32)


def defocused(rgb: Linear, radius_px: float) -> Linear:
    """`rgb` (0-1, sRGB taken as gamma 2.2) out of focus: light adds up before the camera's gamma."""
    if radius_px < 0.05:
        return rgb
    light = np.power(rgb, 2.2)
    blurred = cv2.filter2D(light, -1, disk(radius_px), borderType=cv2.BORDER_REFLECT_101)
    result: Linear = np.power(np.clip(blurred, 0, 1), 1 / 2.2)
    return result


def jpeg(rgb: Rgb, quality: int) -> Rgb:
    """`rgb` after JPEG compression."""
    _, code = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    result: Rgb = cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1]
    return result


def restained(rgb: Linear, rng: np.random.Generator) -> Linear:
    """Other stain strengths and colours: optical density through a matrix near one."""
    density = -np.log(np.maximum(rgb, 1 / 255))
    mix = np.eye(3) * rng.uniform(0.75, 1.25, 3) + rng.uniform(-0.12, 0.12, (3, 3))
    strength = np.exp(rng.uniform(np.log(0.45), np.log(1.4)))
    result: Linear = np.exp(-np.maximum(density @ (mix.T * strength), 0)) * rng.uniform(0.88, 1.0, 3)
    return np.clip(result, 0, 1).astype(np.float32)


def scanned(rgb: Linear, rng: np.random.Generator) -> Rgb:
    """What a scanner does after the optics: noise, perhaps sharpening, JPEG."""
    noisy = rgb * 255 + rng.normal(0, rng.uniform(0, 4), rgb.shape)
    if rng.random() < 0.5:
        soft = cv2.GaussianBlur(noisy, (0, 0), rng.uniform(0.7, 1.5))
        noisy = noisy + rng.uniform(0.2, 1.0) * (noisy - soft)
    return jpeg(np.clip(np.round(noisy), 0, 255).astype(np.uint8), int(rng.integers(60, 96)))


def tissue_share(rgb: Rgb) -> float:
    """Share of pixels with colour or darkness."""
    small = cv2.resize(rgb, (16, 16), interpolation=cv2.INTER_AREA).astype(np.int16)
    return float((((small.max(-1) - small.min(-1)) >= 18) | (small.mean(-1) < 190)).mean())


def cut(source: Source, rng: np.random.Generator, *, margin_um: float) -> tuple[Rgb, int]:
    """A random square of (tile + 2 margins) at the source's resolution, and its margin in pixels."""
    margin = int(np.ceil(margin_um / source.mpp))
    side = int(np.ceil(TILE_PX * MPP / source.mpp * 1.2)) + 2 * margin
    y, x = (int(rng.integers(0, extent - side + 1)) for extent in source.rgb.shape[:2])
    return source.rgb[y : y + side, x : x + side], margin


def training_tile(source: Source, rng: np.random.Generator, *, label: int, is_glass: bool) -> Rgb:
    """(64, 64, 3) at MPP, degraded as a scanner would."""
    while True:
        square, margin = cut(source, rng, margin_um=14)
        share = tissue_share(square[margin:-margin, margin:-margin])
        if (share < 0.02) if is_glass else (share >= 0.2):
            break
    blurred = bool(rng.random() < 0.5) if is_glass else bool(label)
    low, high = BLURRED_UM if blurred else SHARP_UM
    radius_um = np.exp(rng.uniform(np.log(low), np.log(high))) if blurred else rng.uniform(low, high)
    zoom = rng.uniform(0.85, 1.15)  # the mpp of the sources is a guess
    coloured = restained(square.astype(np.float32) / 255, rng)
    if rng.random() < 0.5:  # the sources are softer than what other scanners deliver in focus
        soft = cv2.GaussianBlur(coloured, (0, 0), rng.uniform(0.7, 1.3))
        coloured = np.clip(coloured + rng.uniform(0.3, 1.6) * (coloured - soft), 0, 1)
    size = round(square.shape[0] * source.mpp / MPP * zoom)
    if source.mpp < MPP:  # blur before shrinking, as in a slide
        image = defocused(coloured, radius_um / source.mpp / zoom)
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    else:
        image = cv2.resize(coloured, (size, size), interpolation=cv2.INTER_CUBIC if zoom > 1 else cv2.INTER_AREA)
        image = defocused(np.clip(image, 0, 1), radius_um / MPP)
    first = (size - TILE_PX) // 2 // 2
    y, x = (int(rng.integers(first, size - TILE_PX - first + 1)) for _ in range(2))
    around = scanned(image[max(0, y - 8) : y + TILE_PX + 8, max(0, x - 8) : x + TILE_PX + 8], rng)
    tile = around[min(y, 8) : min(y, 8) + TILE_PX, min(x, 8) : min(x, 8) + TILE_PX]
    return np.rot90(tile[:, :: int(rng.choice([-1, 1]))], int(rng.integers(4))).copy()


def training_set(sources: list[Source], count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """(N, 64, 64, 3) and (N,) labels: 1 is out of focus."""
    rng = np.random.default_rng(seed)
    area = np.array([min(source.rgb.size, 12_000_000) for source in sources], float)
    slides = [source for source in sources if not source.name.startswith("stain")]
    tiles, labels = np.empty((count, TILE_PX, TILE_PX, 3), np.uint8), np.empty(count, np.int64)
    for i in range(count):
        is_glass = rng.random() < GLASS_SHARE
        label = 0 if is_glass else int(rng.random() < 0.52)
        pool = slides if is_glass else sources
        weights = np.ones(len(pool)) if is_glass else area / area.sum()
        source = pool[int(rng.choice(len(pool), p=weights / weights.sum()))]
        tiles[i], labels[i] = training_tile(source, rng, label=label, is_glass=is_glass), label
    return tiles, labels


def batch_of(tiles: NDArray[np.uint8]) -> torch.Tensor:
    """Network input: 0-1 less the mean of each tile."""
    values = torch.from_numpy(tiles.astype(np.float32) / 255).permute(0, 3, 1, 2)
    centred = values - values.mean(dim=(1, 2, 3), keepdim=True)
    return centred.contiguous(memory_format=torch.channels_last)


def train(tiles: NDArray[np.uint8], labels: NDArray[np.int64], *, epochs: int, seed: int) -> DeepFocusNet:
    """The trained network."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = DeepFocusNet().to(memory_format=torch.channels_last)
    for norm in [*net.conv_norms, *net.dense_norms]:
        norm.momentum = 0.02  # the running figures are what prediction uses
    batch, steps = 64, epochs * (len(tiles) // 64)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps)
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=0.02)
    net.train()
    step, started, running = 0, time.monotonic(), 0.7
    for _epoch in range(epochs):
        order = rng.permutation(len(tiles))
        for start in range(0, len(order) - batch + 1, batch):
            which = order[start : start + batch]
            flipped = tiles[which][:, :: int(rng.choice([-1, 1])), :: int(rng.choice([-1, 1]))]
            with torch.autocast("cpu", torch.bfloat16):
                logits = net(batch_of(np.ascontiguousarray(flipped)))
            loss = loss_of(logits.float(), torch.from_numpy(labels[which]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            step, running = step + 1, 0.98 * running + 0.02 * loss.item()
            if step % 100 == 0:
                log.info("step %d of %d, loss %.4f, %.0f s", step, steps, running, time.monotonic() - started)
    return net.eval()


def scores(net: DeepFocusNet, tiles: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Probability of being out of focus."""
    with torch.inference_mode():
        found = [net(batch_of(tiles[start : start + 64]))[:, 1] for start in range(0, len(tiles), 64)]
    return torch.cat(found).double().numpy() if found else np.empty(0)


def held_out_tiles(source: Source, radius_um: float, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Tiles of the whole image on a grid, defocused, JPEG at quality 60-95; and the tissue share of each."""
    rng = np.random.default_rng(seed)
    image = defocused(source.rgb.astype(np.float32) / 255, radius_um / source.mpp)
    height, width = (round(extent * source.mpp / MPP) for extent in source.rgb.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    sharp = cv2.resize(source.rgb, (width, height), interpolation=cv2.INTER_AREA)
    eight = np.clip(np.round(small * 255), 0, 255).astype(np.uint8)
    tiles, shares = [], []
    for y in range(0, height - TILE_PX + 1, TILE_PX):
        for x in range(0, width - TILE_PX + 1, TILE_PX):
            tiles.append(jpeg(eight[y : y + TILE_PX, x : x + TILE_PX], int(rng.integers(60, 96))))
            shares.append(tissue_share(sharp[y : y + TILE_PX, x : x + TILE_PX]))
    return np.stack(tiles), np.array(shares)


def auroc(negative: NDArray[np.float64], positive: NDArray[np.float64]) -> float:
    """Probability that a positive outranks a negative; ties count half."""
    below = (positive[:, None] > negative[None, :]).mean()
    return float(below + 0.5 * (positive[:, None] == negative[None, :]).mean())


def measure(net: DeepFocusNet, sources: list[Source], *, at_most: int = 600) -> dict[str, object]:
    """AUROC and share called out of focus, by radius, on tissue of the sources; and on their glass.

    Args:
        net: what is measured.
        sources: all tiles of each, or every n-th of a large one, so that at most `at_most` remain.
        at_most: tiles per source and radius.
    """
    by_level: dict[float, list[NDArray[np.float64]]] = {level: [] for level in (0.0, *LEVELS_UM)}
    glass = []
    for source in sources:
        for level, found in by_level.items():
            tiles, shares = held_out_tiles(source, level, seed=7)
            every = -(-len(tiles) // at_most)
            tiles, shares = tiles[::every], shares[::every]
            score = scores(net, tiles)
            found.append(score[shares >= 0.2])
            glass.append(score[shares < 0.02])
    joined = {level: np.concatenate(found) for level, found in by_level.items()}
    empty = np.concatenate(glass)
    return {
        "tissue_tiles": len(joined[0.0]),
        "glass_tiles": len(empty),
        "glass_called_blurred": round(float((empty > 0.5).mean()), 4) if len(empty) else None,
        "sharp_called_blurred": round(float((joined[0.0] > 0.5).mean()), 4),
        "by_radius_um": {
            str(level): {
                "auroc": round(auroc(joined[0.0], joined[level]), 4),
                "called_blurred": round(float((joined[level] > 0.5).mean()), 4),
            }
            for level in LEVELS_UM
        },
    }


def main() -> None:
    """Train one side, measure on the other, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("SLIDELOOM_TEST_DATA"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--tiles", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reverse", action="store_true", help="train on the CMU slide and hold out the others")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.data is None:
        parser.error("give --data or set SLIDELOOM_TEST_DATA to the folder with the slides")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sides = load(Path(args.data))
    learn, hold = ("cmu", "tcga+stain") if args.reverse else ("tcga+stain", "cmu")
    started = time.monotonic()
    tiles, labels = training_set(sides[learn], args.tiles, args.seed)
    log.info("%d tiles in %.0f s, %.0f%% out of focus", len(tiles), time.monotonic() - started, 100 * labels.mean())
    net = train(tiles, labels, epochs=args.epochs, seed=args.seed)
    half = {name: array.astype(np.float16) for name, array in arrays_of(net).items()}
    save_file(half, args.out, metadata={"layout": "deepfocus", "centre": "tile", "mpp": str(MPP)})
    # What is measured is what is shipped: 16-bit weights.
    from slideloom_deepfocus.torch_network import network

    shipped = network({name: array.astype(np.float32) for name, array in half.items()})
    shipped.to(memory_format=torch.channels_last)
    held_out = measure(shipped, sides[hold])
    log.info("held out, %s: %s", hold, json.dumps(held_out, indent=1))
    report = {
        "trained_on": learn, "tiles": args.tiles, "epochs": args.epochs, "seed": args.seed,
        "seconds": round(time.monotonic() - started), "held_out": {hold: held_out},
        "seen": {learn: measure(shipped, sides[learn])},
    }  # fmt: skip
    args.report.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
