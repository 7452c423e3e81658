"""Draws docs/images/stain-methods.png: a source, a target, and the source after each stain method.

    python docs/figures/stain_methods.py SOURCE TARGET [OUT]

SOURCE and TARGET are images; the repository's picture shows the two H&E fields that torchstain ships as sample data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from slideloom import StainNormalizer

SIDE = 400
OUT = Path(__file__).resolve().parent.parent / "images" / "stain-methods.png"


def read_rgb(path: Path) -> np.ndarray:
    """The top left 400 x 400 pixels of an image file, or as much as there is."""
    found = cv2.imread(str(path))
    if found is None:
        raise SystemExit(f"{path}: not an image")
    return np.ascontiguousarray(found[:SIDE, :SIDE, ::-1])


def panels(source: np.ndarray, target: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Titles and images, row by row."""
    names = (
        "macenko", "macenko-fast", "reinhard", "reinhard-fast", "reinhard-mask", "reinhard-fast-mask",
        "reinhard-tissue", "reinhard-fast-tissue", "vahadane",
    )  # fmt: skip
    shown = [("source", source), ("target", target)]
    shown.extend((f"{name}, to the target", StainNormalizer(name).fit(target).transform(source)) for name in names)
    for name, preset in (("macenko", "v3"), ("reinhard-fast", "v3"), ("vahadane", "v2")):
        shown.append((f"{name}, preset {preset}", StainNormalizer(name).fit(preset).transform(source)))
    augmented = StainNormalizer("macenko", seed=1).fit(target)
    shown.append(("macenko, drawn around the target", augmented.transform(source, augment=True, index=1)))
    shown.extend((f"own staining, varied ({index})", augmented.augment(source, index)) for index in (1, 2, 3))
    shown.append(("hsv-augment", StainNormalizer("hsv-augment", seed=1).augment(source, 1)))
    return shown


def draw(shown: list[tuple[str, np.ndarray]], out: Path) -> None:
    """Four images to a row, in 256 colours, which keeps the file small."""
    rows = -(-len(shown) // 4)
    figure, axes = plt.subplots(rows, 4, figsize=(10, 2.7 * rows), dpi=72, layout="constrained")
    for axis, (title, image) in zip(axes.flat, shown, strict=False):
        axis.imshow(image)
        axis.set_title(title, fontsize=10)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.canvas.draw()
    drawn = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    drawn.quantize(256, dither=Image.Dither.NONE).save(out, optimize=True)
    plt.close(figure)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    chosen = parser.parse_args()
    draw(panels(read_rgb(chosen.source), read_rgb(chosen.target)), chosen.out)


if __name__ == "__main__":
    main()
