"""What others need to know of a slide that fails, without what could identify a patient.

Names of files, labels, dates and free text are left out: what is printed comes from a list of what is technical, not
from all but a list of what is private.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slideloom.base.addresses import redacted
from slideloom.base.errors import ConfigError, SlideloomError
from slideloom.base.geometry import Box, Size
from slideloom.pipeline.pipeline import Slides
from slideloom.planning.opening import open_without_mpp
from slideloom.plugins.discovery import registry
from slideloom.slides.resolution import finite_number
from slideloom.slides.slide import Slide
from slideloom_formats.tiff import TiffDirectory, TiffError, TiffTag, codec_name, read_tiff_directories

from slideloom_cli.info import slide_facts

# fmt: off
_EXTENSIONS = {
    ".bif", ".czi", ".dcm", ".i2syntax", ".isyntax", ".jp2", ".jpeg", ".jpg", ".mrxs", ".ndpi", ".ndpis", ".png",
    ".qptiff", ".scn", ".svs", ".svslide", ".tif", ".tiff", ".vms", ".vmu", ".vsi", ".zarr", ".zip",
}
_TIFFS = {".bif", ".ndpi", ".qptiff", ".scn", ".svs", ".tif", ".tiff"}
# fmt: on
# The last word of a property's name, for properties that say how the image is stored and how large its pixels are.
_TECHNICAL = re.compile(
    r"(mpp([-_ ]?[xy])?|appmag|objective[-_ ]?power|magnification|sourcelens|[xy]resolution|resolutionunit"
    r"|(micrometer|pixel)_?(size|spacing)[a-z_]*|height|width|downsample|level-count|bounds-[a-z]+|orientation"
    r"|compression|photometric[a-z]*|stripewidth)",
    re.IGNORECASE,
)
_TAGS = (
    TiffTag.SUBFILE_TYPE, TiffTag.WIDTH, TiffTag.HEIGHT, TiffTag.BITS, TiffTag.COMPRESSION, TiffTag.PHOTOMETRIC,
    TiffTag.SAMPLES, TiffTag.PLANAR, TiffTag.TILE_WIDTH, TiffTag.TILE_HEIGHT, TiffTag.ORIENTATION,
    TiffTag.SAMPLE_FORMAT,
)  # fmt: skip
_MOST_IMAGES = 40
_SIDE = 256  # of what is read for a trial, in pixels


def slide_report(path: Path, *, with_names: bool) -> dict[str, Any]:
    """Facts of a slide for others: its file, what each reader says, its levels, and whether they can be read.

    Args:
        path: of the slide.
        with_names: also its name and all properties, which may identify a patient.

    Raises:
        ConfigError: there is no such file.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file")
    report: dict[str, Any] = {"file": _file_facts(path), "readers": dict(_recognising(path))}
    directories = _directories(path)
    if directories:
        report["TIFF images"] = directories
    try:
        with open_without_mpp(path, Slides()) as slide:
            report |= _open_facts(slide, with_names=with_names)
    except SlideloomError as error:
        report["cannot be opened"] = _nameless(str(error), path)
    if with_names:
        report["path"] = str(path)
    return report


def _file_facts(path: Path) -> str:
    extension = path.suffix.lower()
    shown = extension if extension in _EXTENSIONS else "an unusual extension" if extension else "no extension"
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        return f"folder, {shown}, {len(files)} files, {sum(file.stat().st_size for file in files)} bytes"
    with path.open("rb") as file:
        start = file.read(8)
    return f"{shown}, {path.stat().st_size} bytes, starts with {start.hex(' ')}"


def _recognising(path: Path) -> Iterator[tuple[str, str]]:
    """What each reader answers to the question whether this is a slide of its kind."""
    for cls in registry().all("reader"):
        try:
            yield cls.name, "recognises it" if cls().build().recognises(path) else "does not recognise it"
        except Exception as error:  # a plugin's own code
            yield cls.name, f"{type(error).__name__}: {_nameless(str(error), path)}"


def _open_facts(slide: Slide, *, with_names: bool) -> dict[str, Any]:
    facts = slide_facts(slide)
    properties: dict[str, str] = facts.pop("properties")
    for private in ("slide", "path"):
        facts.pop(private)
    told = {name: value for name, value in properties.items() if with_names or _is_technical(name, value)}
    facts["levels read"] = [_trial(slide, level) for level in range(len(slide.info.levels))]
    facts["properties"] = told
    if len(told) < len(properties):
        facts["left out"] = f"{len(properties) - len(told)} properties that may hold names, dates or labels"
    return facts


def _is_technical(name: str, value: str) -> bool:
    word = re.split(r"[.\]]", name)[-1].strip()
    return _TECHNICAL.fullmatch(word) is not None and (finite_number(value) is not None or len(value) <= 16)


def _trial(slide: Slide, level: int) -> str:
    """What comes of reading the middle of a level."""
    size = slide.info.levels[level].size
    part = Size(min(_SIDE, size.width), min(_SIDE, size.height))
    left, top = (size.width - part.width) // 2, (size.height - part.height) // 2
    down = slide.info.levels[level]
    box = Box(left * down.downsample_x, top * down.downsample_y,
              (left + part.width) * down.downsample_x, (top + part.height) * down.downsample_y)  # fmt: skip
    try:
        rgb = slide.read_at(box, part)
    except SlideloomError as error:
        return f"{level}: {_nameless(str(error), Path(str(slide.info.path)))}"
    return f"{level}: its middle is readable, mean colour {tuple(round(float(mean)) for mean in rgb.mean((0, 1)))}"


def _directories(path: Path) -> list[str]:
    """The images of a TIFF, as their tags describe them; none if it is no TIFF."""
    if path.is_dir():
        return []
    try:
        found = read_tiff_directories(path, _TAGS)
    except TiffError as error:
        return [_nameless(str(error), path)] if path.suffix.lower() in _TIFFS else []
    told = [f"{number}: {_image_facts(image)}" for number, image in enumerate(found[:_MOST_IMAGES])]
    return told + ([f"and {len(found) - _MOST_IMAGES} more"] if len(found) > _MOST_IMAGES else [])


def _image_facts(image: TiffDirectory) -> str:
    try:
        size, tile = image.size(), image.tile_size()
        parts = [
            f"{size.width} x {size.height}" if size else "no size",
            f"tiles {tile.width} x {tile.height}" if tile else "strips",
            codec_name(image.number(TiffTag.COMPRESSION, 1) or 1),
            f"photometric {image.number(TiffTag.PHOTOMETRIC)}",
            f"{image.number(TiffTag.SAMPLES, 1)} x {image.number(TiffTag.BITS, 1)} bits",
        ]
        for name, tag in (("planar", TiffTag.PLANAR), ("orientation", TiffTag.ORIENTATION)):
            number = image.number(tag, 1)
            parts += [f"{name} {number}"] if number != 1 else []
        return ", ".join(parts)
    except TiffError as error:
        return str(error)


def _nameless(text: str, path: Path) -> str:
    """A message without the slide's name and folder."""
    for private in sorted({str(path), str(path.absolute()), str(path.parent), path.name, path.stem}, key=len)[::-1]:
        if len(private) > 1:
            text = text.replace(private, "SLIDE")
    return redacted(text)
