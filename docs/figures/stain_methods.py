"""Draws docs/images/stain-methods.png: a source, a target, and the source after each stain method.

    python docs/figures/stain_methods.py SLIDE [TARGET] [--out OUT]

SLIDE and TARGET are slides or images; of a slide, the middle of it is shown at 1 um per pixel. The repository's picture
shows OpenSlide's CMU-1-Small-Region, which is CC0. Without TARGET, tissue of our generator is the target.
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
from slideloom import Box, Size, StainNormalizer, open_slide
from slideloom_testing.tissue import DemoSlide

SIDE = 400
OUT = Path(__file__).resolve().parent.parent / "images" / "stain-methods.png"


def read_rgb(path: Path) -> np.ndarray:
    """The top left 400 x 400 pixels of an image file or, at 1 um per pixel, the middle of a slide."""
    found = cv2.imread(str(path)) if path.suffix in (".png", ".jpg", ".jpeg") else None
    if found is not None:
        return np.ascontiguousarray(found[:SIDE, :SIDE, ::-1])
    with open_slide(path) as slide:
        size, side = slide.info.size, SIDE / slide.info.mpp.x
        return slide.read_at(Box((size.width - side) / 2, (size.height - side) / 2, side, side), Size(SIDE, SIDE))


def generated() -> np.ndarray:
    """400 x 400 pixels of generated tissue at 1 um per pixel, those with least glass."""
    drawn = DemoSlide(Size(3600, 2400), mpp=1.0, seed=5)
    tissue = drawn.truth.mask("tissue", downsample=8).astype(np.float32)
    for part in ("pen", "fold", "blur"):
        tissue[drawn.truth.mask(part, downsample=8)] = 0
    share = cv2.boxFilter(tissue, -1, (SIDE // 8, SIDE // 8), anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    top, left = np.unravel_index(share.argmax(), share.shape)
    return drawn.block(int(left) * 8, int(top) * 8, Size(SIDE, SIDE))


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
    parser.add_argument("slide", type=Path)
    parser.add_argument("target", type=Path, nargs="?")
    parser.add_argument("--out", type=Path, default=OUT)
    chosen = parser.parse_args()
    target = read_rgb(chosen.target) if chosen.target else generated()
    draw(panels(read_rgb(chosen.slide), target), chosen.out)


if __name__ == "__main__":
    main()
