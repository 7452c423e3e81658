"""Where a slide's microns per pixel come from, in a fixed order, and what to say when nothing gives them."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from slideloom.base.errors import ConfigError, MissingResolution
from slideloom.base.files import FileState
from slideloom.slides.info import Resolution, SlideInfo

# Files that were never near a scanner carry 72 or 300 dots per inch; no slide is scanned this coarsely or finely.
PLAUSIBLE_MPP = (0.01, 20.0)


def find_resolution(
    info: SlideInfo,
    *,
    mpp: float | None = None,
    mpp_by_slide: Mapping[str, Resolution] | None = None,
    allow_objective_power: bool = False,
) -> Resolution:
    """Microns per pixel of level 0.

    In this order: the user's value for this slide, the user's value for all, the slide's properties, TIFF resolution
    tags, 10 / objective power if allowed.

    Raises:
        MissingResolution: none of them; the text names the remedies.
        ConfigError: the user's value is none that a slide may have.
    """
    if mpp is not None and not is_plausible(mpp):
        raise ConfigError(f"mpp must be from {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]} um per pixel, not {mpp!r}")
    for name in (info.name, info.path.name):  # a list may name slides or their files
        if mpp_by_slide and name in mpp_by_slide:
            return mpp_by_slide[name]
    if mpp is not None:
        return Resolution(mpp, mpp, "override for all slides")
    if info.mpp is not None:
        return info.mpp
    implausible = ""
    if info.tiff_mpp is not None:
        if is_plausible(info.tiff_mpp.x) and is_plausible(info.tiff_mpp.y):
            return info.tiff_mpp
        implausible = f" (its TIFF resolution tags say {info.tiff_mpp.x:g} um, which no scanner has)"
    if allow_objective_power and info.objective_power:
        value = 10.0 / info.objective_power
        return Resolution(value, value, f"objective power {info.objective_power:g}x")
    power = ""
    if info.objective_power:
        value = 10 / info.objective_power
        power = f", or allow_objective_power = true to take {value:g} from its {info.objective_power:g}x"
    raise MissingResolution(
        f"{info.path.name}: no microns per pixel recorded{implausible}; give them with --mpp VALUE, "
        f"--mpp-file CSV (columns slide,mpp), or slides.mpp in the pipeline file{power}"
    )


def is_plausible(mpp: float) -> bool:
    """True for a number of microns per pixel that a slide may have."""
    return math.isfinite(mpp) and PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]


def finite_number(text: str | None) -> float | None:
    """The number that a property of a slide holds as text; None for none, for words, infinity and "nan"."""
    try:
        value = float(text) if text is not None and "_" not in text else math.nan  # 1_000 is a number in Python alone
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_mpp_file(path: Path) -> Mapping[str, Resolution]:
    """Microns per pixel by slide name or file name, from a CSV with the columns slide,mpp (or slide,mpp_x,mpp_y).

    Each slide of a run asks for the file; it is parsed once per process as long as it stays as it is.

    Raises:
        ConfigError: the file is missing or a line is wrong; the text names line, value and remedy.
    """
    return _parsed(FileState.of(path))


@lru_cache(maxsize=4)
def _parsed(state: FileState) -> Mapping[str, Resolution]:
    path = state.path
    found: dict[str, Resolution] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            if "slide" not in columns or not {"mpp", "mpp_x"} & set(columns):
                raise ConfigError(f"{path}: needs the columns slide,mpp; has {', '.join(columns) or 'none'}")
            for row in reader:
                slide, resolution = _resolution_of(row, where=f"{path}, line {reader.line_num}", source=path.name)
                if slide in found:
                    raise ConfigError(
                        f"{path}, line {reader.line_num}: slide {slide} is listed twice; keep one of its lines"
                    )
                found[slide] = resolution
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(
            f"{path}: cannot be read as CSV: {error}; give a UTF-8 file with the columns slide,mpp"
        ) from error
    return MappingProxyType(found)


def _resolution_of(row: Mapping[str, str | None], *, where: str, source: str) -> tuple[str, Resolution]:
    """Slide and microns per pixel of one line."""
    slide = (row.get("slide") or "").strip()
    x = row.get("mpp_x") or row.get("mpp")
    y = row.get("mpp_y") or x
    if not slide or not x or not y:
        raise ConfigError(f"{where}: slide or mpp is empty; fill it in, or delete the line")
    try:
        resolution = Resolution(float(x), float(y), f"override in {source}")
    except ValueError:
        raise ConfigError(
            f"{where}: mpp of {slide} is not a number: {x!r}; write microns per pixel such as 0.25"
        ) from None
    if not (is_plausible(resolution.x) and is_plausible(resolution.y)):
        raise ConfigError(
            f"{where}: mpp of {slide} is {x}, outside {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]} um; "
            "write microns per pixel such as 0.25"
        )
    return slide, resolution
