"""Real fields with labels: what is tissue by its density, and what is an artifact by marks made by eye.

The marks stand in `marks.json`: for each file its scale, its origin, and rules that label pixels within a box, such as
"green": greener than red. Pixels about which one may be of two minds are ignored in training and in figures.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES = ("tissue", "background", "fold", "bubble", "pen", "dust", "out-of-focus")
TISSUE, BACKGROUND, FOLD, BUBBLE, PEN, DUST, BLUR = range(len(CLASSES))
IGNORE = 255
MARKS = Path(__file__).with_name("marks.json")
FINEST_MPP = 2.0  # fields are stored no finer than this; the model looks at 4 um

Rgb = NDArray[np.uint8]
Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Field:
    """A field with its labels.

    Attributes:
        name: of its file.
        origin: fields of one origin stay on one side of every split.
        rgb: (h, w, 3) uint8.
        labels: (h, w) uint8, numbers of `CLASSES` or `IGNORE`.
        mpp: microns per pixel; of thumbnails coarser than the model, which are used as they are.
        may_train: False if its licence allows tests only.
    """

    name: str
    origin: str
    rgb: Rgb
    labels: Labels
    mpp: float
    may_train: bool


def load_fields(folder: Path) -> list[Field]:
    """All marked fields of a folder of images, in the order of their names."""
    marks = json.loads(MARKS.read_text(encoding="utf-8"))
    return [_field(folder / name, mark) for name, mark in sorted(marks["fields"].items())]


def packed(path: Path) -> list[Field]:
    """The fields in a file of `pack.py`."""
    with np.load(path, allow_pickle=False) as arrays:
        found = []
        for number, about in enumerate(json.loads(str(arrays["about"]))):
            rgb = cv2.imdecode(arrays[f"rgb-{number}"], cv2.IMREAD_COLOR)[..., ::-1]
            labels = cv2.imdecode(arrays[f"labels-{number}"], cv2.IMREAD_GRAYSCALE)
            found.append(Field(rgb=np.ascontiguousarray(rgb), labels=labels, **about))
    return found


def _field(path: Path, mark: dict) -> Field:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise SystemExit(f"{path}: no such picture; get the fields that marks.json names")
    rgb, mpp = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), float(mark["mpp"])
    if mpp < FINEST_MPP:
        # Labels are made at the field's own scale up to a micron; finer adds nothing at 4 um.
        shrink = mpp / max(mpp, 1.0)
        rgb, marked = _shrunk(rgb, shrink), max(mpp, 1.0)
    else:
        shrink, marked = 1.0, mpp
    labels = _labels(rgb, mark, scale=shrink, mpp=marked)
    if marked < FINEST_MPP:
        rgb, labels = _shrunk(rgb, marked / FINEST_MPP), _coarser(labels, marked / FINEST_MPP)
    return Field(path.name, mark["origin"], rgb, labels, max(mpp, FINEST_MPP), mark.get("may_train", True))


def _shrunk(rgb: Rgb, factor: float) -> Rgb:
    size = max(1, round(rgb.shape[1] * factor)), max(1, round(rgb.shape[0] * factor))
    return rgb if factor == 1 else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def _coarser(labels: Labels, factor: float) -> Labels:
    size = max(1, round(labels.shape[1] * factor)), max(1, round(labels.shape[0] * factor))
    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)


def _labels(rgb: Rgb, mark: dict, *, scale: float, mpp: float) -> Labels:
    labels = np.full(rgb.shape[:2], TISSUE, np.uint8) if mark.get("full") else _by_density(rgb, mark, mpp=mpp)
    if mark.get("full"):
        density = _density(rgb, np.array([245.0, 245.0, 245.0]))
        labels[cv2.GaussianBlur(density, (0, 0), max(1.0, 8 / mpp)) < 0.05] = IGNORE  # lumina
    for rule in mark.get("rules", ()):
        left, top, right, bottom = rule.get("box", [0, 0, 10**6, 10**6])
        rows = slice(round(top * scale), round(bottom * scale))
        columns = slice(round(left * scale), round(right * scale))
        if "polygon" in rule:
            inside = np.zeros(labels.shape, np.uint8)
            points = np.round(np.array(rule["polygon"]) * scale).astype(np.int32)
            cv2.fillPoly(inside, [points], 1)
            found = inside[rows, columns] > 0
        else:
            found = np.ones(labels[rows, columns].shape, bool)
        found &= _found(rgb[rows, columns], rule)
        value = IGNORE if rule["class"] == "ignore" else CLASSES.index(rule["class"])
        part = labels[rows, columns]
        if rule.get("rim"):
            wide = cv2.dilate(found.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=rule["rim"]) > 0
            part[wide & ~found] = IGNORE
        part[found] = value
    return labels


def _by_density(rgb: Rgb, mark: dict, *, mpp: float) -> Labels:
    """Tissue and background by optical density against the field's own glass, and ignored between the two."""
    if "glass" in mark:
        glass = np.array(mark["glass"], np.float64)
    else:
        grey = rgb.mean(axis=-1)
        glass = np.median(rgb[grey >= np.quantile(grey, 0.95)], axis=0).astype(np.float64)
    density = cv2.GaussianBlur(_density(rgb, glass), (0, 0), max(0.8, 6 / mpp))
    low, high = mark.get("density", [0.02, 0.05])
    tissue = (density > high).astype(np.uint8)
    # Gaps up to 40 um belong to the tissue around them; larger ones, such as fat cells, are left undecided.
    small = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_odd(40 / mpp), _odd(40 / mpp)))
    large = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_odd(160 / mpp), _odd(160 / mpp)))
    closed, unsure = (_closed(tissue, kernel) for kernel in (small, large))
    labels = np.where(closed, TISSUE, np.where(unsure | (density > low), IGNORE, BACKGROUND)).astype(np.uint8)
    rim = cv2.morphologyEx(closed.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    labels[rim] = IGNORE
    return labels


def _closed(mask: NDArray[np.uint8], kernel: NDArray[np.uint8]) -> NDArray[np.bool_]:
    margin = max(kernel.shape)
    wide = cv2.copyMakeBorder(mask, margin, margin, margin, margin, cv2.BORDER_REFLECT)
    return cv2.morphologyEx(wide, cv2.MORPH_CLOSE, kernel)[margin:-margin, margin:-margin] > 0


def _odd(length: float) -> int:
    return max(1, round(length)) | 1


def _density(rgb: Rgb, glass: NDArray[np.float64]) -> NDArray[np.float32]:
    """Mean optical density (log10) of the three channels."""
    light = np.clip(rgb.astype(np.float32), 1, None) / glass.astype(np.float32)
    return np.maximum(-np.log10(light), 0).mean(axis=-1)


def _found(rgb: Rgb, rule: dict) -> NDArray[np.bool_]:
    """(h, w) True where a rule's inequalities hold, on the picture blurred by `blur` pixels."""
    wide = rgb.astype(np.float32)
    if rule.get("blur"):
        wide = cv2.GaussianBlur(wide, (0, 0), rule["blur"])
    red, green, blue = np.moveaxis(wide, -1, 0)
    values = {
        "red": red, "green": green, "blue": blue, "green-red": green - red, "red-green": red - green,
        "red-blue": red - blue, "blue-red": blue - red, "grey": wide.mean(axis=-1), "max": wide.max(axis=-1),
        "min": wide.min(axis=-1),
    }  # fmt: skip
    found = np.ones(rgb.shape[:2], bool)
    for name, (low, high) in rule.get("where", {}).items():
        found &= (values[name] >= low) & (values[name] <= high)
    return found
