"""Store the fields with their labels, and sections of our tissue generator, in one file for `train.py`.

usage: python pack.py --fields FOLDER --out fields.npz [--sections 4]

FOLDER holds the pictures that marks.json names. Needs slideloom-testing, whose generator draws the sections.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from fields import BACKGROUND, BLUR, FOLD, IGNORE, PEN, TISSUE, Field, load_fields
from slideloom import Size
from slideloom_testing.tissue import DemoSlide

GENERATED = "generated"
_FINE_MPP, _MPP = 1.0, 4.0  # drawn at, and stored at


def generated(seed: int) -> Field:
    """A section of the tissue generator with its pen stroke, fold and blur; 3.6 x 2.4 mm."""
    slide = DemoSlide(Size(3600, 2400), mpp=_FINE_MPP, seed=seed)
    fine = slide.block(0, 0, slide.size)
    shrink = round(_MPP / _FINE_MPP)
    rgb = cv2.resize(fine, (fine.shape[1] // shrink, fine.shape[0] // shrink), interpolation=cv2.INTER_AREA)
    masks = {part: slide.truth.mask(part, downsample=shrink) for part in ("tissue", "fold", "pen", "blur")}
    labels = np.where(masks["tissue"], TISSUE, BACKGROUND).astype(np.uint8)
    # Its defocus is weaker than what the model is to find.
    labels[masks["blur"] & masks["tissue"]] = IGNORE if slide.truth.blur_radius_px < 2.2 * shrink else BLUR
    labels[masks["fold"] & masks["tissue"]] = FOLD
    labels[masks["pen"]] = PEN
    rim = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    labels[rim] = IGNORE
    return Field(f"generated-{seed}", GENERATED, rgb, labels, _MPP, True)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sections", type=int, default=4)
    chosen = parser.parse_args()
    every = [*load_fields(chosen.fields), *(generated(seed) for seed in range(100, 100 + chosen.sections))]
    arrays: dict[str, np.ndarray] = {}
    about = []
    for number, field in enumerate(every):
        for kind, pixels in (("rgb", field.rgb[..., ::-1]), ("labels", field.labels)):
            _, stored = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])
            arrays[f"{kind}-{number}"] = stored
        about.append({"name": field.name, "origin": field.origin, "mpp": field.mpp, "may_train": field.may_train})
    np.savez(chosen.out, about=np.array(json.dumps(about)), **arrays)


if __name__ == "__main__":
    main()
