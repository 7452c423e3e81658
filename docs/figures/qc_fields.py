"""Draws what `tissue` and `pen` find on pictures: each beside the regions drawn by eye, if wanted before and after.

    python docs/figures/qc_fields.py PICTURES OUT [--before EARLIER] [--maps FILE]

PICTURES is a folder with the fields of docs/explanation/qc-on-many-labs.md, or one image or slide. OUT gets a PNG for
each picture, all of them as sheets.pdf, and the masks (masks.npz). EARLIER is the OUT of another version of slideloom,
which then stands in the middle: run this file there, too. Tissue is outlined in green, ink is magenta, and the rest is
pale. Regions drawn by eye are outlined in green (tissue), yellow (faint tissue), white (glass), grey (lines on glass)
and magenta (ink). FILE gets maps alone of all pictures, without any pixel of them: what was drawn by eye, what the
earlier version found, and what this one finds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw
from slideloom import open_slide
from slideloom_qc import Pen, Tissue
from slideloom_testing import PixelsSlide, scene_of

REGIONS = Path(__file__).resolve().parents[2] / "plugins" / "qc" / "tests" / "field_regions.json"
MARKS = {
    "tissue": (0, 190, 90), "faint": (255, 220, 0), "glass": (255, 255, 255), "line": (150, 150, 150),
    "ink": (255, 0, 220),
}  # fmt: skip
SIDE, TITLE_PX, GAP_PX = 640, 22, 8
MAP_SIDE, MAP_COLUMNS, UNKNOWN = 132, 3, (226, 226, 226)
SLIDE_MPP = 4.0  # slides are looked at as pictures of this many microns per pixel


def read(path: Path, mpp: float | None) -> tuple[np.ndarray, float]:
    """A picture and its microns per pixel; a slide is read at 4."""
    if mpp is None:
        with open_slide(path) as slide:
            wide = round(max(slide.info.size.width, slide.info.size.height) * slide.info.mpp.mean / SLIDE_MPP)
            rgb = np.array(slide.thumbnail(max_px=wide))
            return rgb, slide.info.size.width * slide.info.mpp.mean / rgb.shape[1]
    found = cv2.imread(str(path))
    if found is None:
        raise SystemExit(f"{path}: not an image")
    return np.ascontiguousarray(found[..., ::-1]), mpp


def judged(rgb: np.ndarray, mpp: float) -> dict[str, np.ndarray]:
    """Where there is tissue, and where ink."""
    slide = PixelsSlide(rgb, mpp=mpp)
    return {
        "tissue": ~Tissue().build().assess(slide, scene_of()).mask,
        "ink": Pen().build().assess(slide, scene_of()).mask,
    }


def tinted(rgb: np.ndarray, masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """The picture with what is neither tissue nor ink paled, tissue outlined and ink in its colour."""
    shown, size = rgb.astype(np.float32), rgb.shape[1::-1]
    tissue, ink = (cv2.resize(masks[kind].astype(np.uint8), size, interpolation=0) > 0 for kind in ("tissue", "ink"))
    shown[~tissue & ~ink] = 0.35 * shown[~tissue & ~ink] + 0.65 * 255
    shown[ink] = 0.3 * shown[ink] + 0.7 * np.array(MARKS["ink"])
    found = np.round(shown).astype(np.uint8)
    outlines, _ = cv2.findContours(tissue.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(found, outlines, -1, MARKS["tissue"], max(1, round(max(size) / 500)))
    return found


def outline(points: list[Any]) -> np.ndarray:
    """(n, 2) int32 corners of a region that was drawn by eye: of a polygon, or of a box."""
    if isinstance(points[0], list):
        return np.array(points, np.int32)
    left, top, right, bottom = points
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.int32)


def marked(rgb: np.ndarray, regions: Mapping[str, Any]) -> np.ndarray:
    """The picture with the regions drawn by eye."""
    found = rgb.copy()
    for kind, colour in MARKS.items():
        for corners in map(outline, regions.get(kind, ())):
            for width, line in ((5, (20, 20, 20)), (2, colour)):
                cv2.polylines(found, [corners], True, line, max(1, round(max(rgb.shape) / 1000 * width)))
    return found


def regions_map(shape: tuple[int, int], regions: Mapping[str, Any]) -> np.ndarray:
    """(h, w, 3) the regions drawn by eye, filled; the rest, on which nobody decided, is grey."""
    found = np.full((*shape, 3), UNKNOWN, np.uint8)
    for kind in ("tissue", "faint", "glass", "line", "ink"):
        for corners in map(outline, regions.get(kind, ())):
            cv2.fillPoly(found, [corners], MARKS[kind])
    return found


def masks_map(shape: tuple[int, int], masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """(h, w, 3) what was found: tissue and ink in their colours, and white."""
    found = np.full((*shape, 3), 255, np.uint8)
    for kind in ("tissue", "ink"):
        found[cv2.resize(masks[kind].astype(np.uint8), shape[::-1], interpolation=cv2.INTER_NEAREST) > 0] = MARKS[kind]
    return found


def maps_sheet(maps: Mapping[str, list[np.ndarray]]) -> Image.Image:
    """The maps of all pictures, three pictures in a row, each under its name."""
    across = max(len(own) for own in maps.values())
    step_x, step_y = across * (MAP_SIDE + 4) + 3 * GAP_PX, MAP_SIDE + TITLE_PX + GAP_PX
    rows = -(-len(maps) // MAP_COLUMNS)
    found = Image.new("RGB", (MAP_COLUMNS * step_x, rows * step_y), (246, 246, 246))
    draw = ImageDraw.Draw(found)
    for number, (name, own) in enumerate(maps.items()):
        left, top = number % MAP_COLUMNS * step_x + GAP_PX, number // MAP_COLUMNS * step_y
        draw.text((left, top + 6), name, fill=(20, 20, 20))
        for place, one in enumerate(own):
            picture = Image.fromarray(one)
            picture.thumbnail((MAP_SIDE, MAP_SIDE), Image.Resampling.BOX, reducing_gap=None)
            found.paste(picture, (left + place * (MAP_SIDE + 4), top + TITLE_PX))
    return found


def sheet(panels: Mapping[str, np.ndarray], name: str) -> Image.Image:
    """Pictures of one size side by side, each with its title."""
    height, width, _ = next(iter(panels.values())).shape
    size = max(1, round(width * SIDE / max(height, width))), max(1, round(height * SIDE / max(height, width)))
    step = size[0] + GAP_PX
    found = Image.new("RGB", (len(panels) * step - GAP_PX, size[1] + 2 * TITLE_PX), "white")
    draw = ImageDraw.Draw(found)
    draw.text((2, 4), name, fill=(20, 20, 20))
    for number, (title, rgb) in enumerate(panels.items()):
        draw.text((number * step + 2, TITLE_PX + 4), title, fill=(20, 20, 20))
        found.paste(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS), (number * step, 2 * TITLE_PX))
    return found


def pictures(given: Path) -> dict[str, tuple[Path, Mapping[str, Any]]]:
    """The path and the regions of each picture to draw, by name."""
    regions = json.loads(REGIONS.read_text(encoding="utf-8"))
    if given.is_file():
        return {given.name: (given, regions.get(given.name, {}))}
    found = {name: (path, about) for name, about in regions.items() if (path := given / name).is_file()}
    if not found:
        raise SystemExit(f"{given}: holds none of the pictures that {REGIONS.name} names")
    return found


def main() -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--before", type=Path, help="what this made with another version")
    parser.add_argument("--maps", type=Path, help="a PNG of the maps alone")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    earlier = np.load(chosen.before / "masks.npz") if chosen.before else {}
    kept: dict[str, np.ndarray] = {}
    sheets, maps = [], {}
    for name, (path, regions) in pictures(chosen.pictures).items():
        rgb, mpp = read(path, regions.get("mpp"))
        now = judged(rgb, mpp)
        kept.update({f"{name}:{kind}": mask for kind, mask in now.items()})
        panels = {f"{mpp:g} um per pixel": marked(rgb, regions)}
        maps[path.stem] = [regions_map(rgb.shape[:2], regions)]
        if f"{name}:tissue" in earlier:
            before = {kind: earlier[f"{name}:{kind}"] for kind in now}
            panels["before"] = tinted(rgb, before)
            maps[path.stem] += [masks_map(rgb.shape[:2], before)]
        maps[path.stem] += [masks_map(rgb.shape[:2], now)]
        sheets.append(sheet({**panels, "tissue and pen": tinted(rgb, now)}, name))
        sheets[-1].save(chosen.out / f"{path.stem}.png")
    np.savez_compressed(chosen.out / "masks.npz", **kept)
    if chosen.maps:
        maps_sheet(maps).save(chosen.maps, optimize=True)
    sheets[0].save(chosen.out / "sheets.pdf", save_all=True, append_images=sheets[1:])


if __name__ == "__main__":
    main()
