"""Checked values from OpenSlide's properties."""

from __future__ import annotations

from collections.abc import Mapping

from slideloom import Box, Resolution, finite_number, is_plausible, odd_mpp

_MICRONS_PER_UNIT = {"inch": 25400.0, "centimeter": 10000.0}
_PERSONAL = ("barcode", "patient", "accession")
_WHITE = (255, 255, 255)


def resolution(properties: Mapping[str, str]) -> Resolution | None:
    """Microns per pixel of level 0 according to OpenSlide, or None if one is missing or implausible."""
    x = finite_number(properties.get("openslide.mpp-x"))
    y = finite_number(properties.get("openslide.mpp-y"))
    if x is None or y is None or not (is_plausible(x) and is_plausible(y)):
        return None
    return Resolution(x, y, "openslide.mpp-x/-y")


def odd_resolution(properties: Mapping[str, str]) -> str:
    """What is recorded as microns per pixel and cannot be that; see `odd_mpp`."""
    if tiff_resolution(properties) is not None:  # which OpenSlide's own repeats
        return odd_mpp({"aperio.MPP": properties.get("aperio.MPP")})
    own = {name: properties.get(name) for name in ("openslide.mpp-x", "openslide.mpp-y")}
    # Of an Aperio slide, OpenSlide leaves out what it cannot read.
    found = odd_mpp(own if any(own.values()) else {"aperio.MPP": properties.get("aperio.MPP")})
    return found or _odd_tags(properties)


def _odd_tags(properties: Mapping[str, str]) -> str:
    """The TIFF resolution tags that hold no number of pixels above 0."""
    found = {name: properties.get(f"tiff.{name}") for name in ("XResolution", "YResolution")}
    numbers = {name: finite_number(text) for name, text in found.items() if text is not None}
    return ", ".join(f"{name} = {found[name]}" for name, number in numbers.items() if number is None or number <= 0)


def tiff_resolution(properties: Mapping[str, str]) -> Resolution | None:
    """Microns per pixel by the TIFF resolution tags, or None.

    The unit inch means 25400 / resolution, centimetre 10000 / resolution, and no unit tag means inch. The unit "none"
    or a resolution of 0 gives no value (TIFF 6.0, section 8, ResolutionUnit).
    """
    x = finite_number(properties.get("tiff.XResolution"))
    y = finite_number(properties.get("tiff.YResolution"))
    unit = _MICRONS_PER_UNIT.get(properties.get("tiff.ResolutionUnit", "inch"))
    if unit is None or x is None or y is None or x <= 0 or y <= 0:
        return None
    return Resolution(unit / x, unit / y, "TIFF resolution")


def objective_power(properties: Mapping[str, str]) -> float | None:
    """Such as 20.0, or None."""
    power = finite_number(properties.get("openslide.objective-power"))
    return power if power is not None and power > 0 else None


def bounds(properties: Mapping[str, str]) -> Box | None:
    """The scanned area in level-0 pixels, or None if none is recorded."""
    x, y, width, height = (
        finite_number(properties.get(f"openslide.bounds-{key}")) for key in ("x", "y", "width", "height")
    )
    if x is None or y is None or width is None or height is None or width <= 0 or height <= 0:
        return None
    return Box(x, y, width, height)


def background(properties: Mapping[str, str]) -> tuple[int, int, int]:
    """Colour where there is no image; white unless the slide says otherwise."""
    text = properties.get("openslide.background-color", "")
    try:
        red, green, blue = bytes.fromhex(text)
    except ValueError:
        return _WHITE
    return red, green, blue


def readable(properties: Mapping[str, str]) -> dict[str, str]:
    """All that have a value. By a name that is no UTF-8, as in a damaged description, OpenSlide finds none."""
    return {name: value for name in properties if (value := properties.get(name)) is not None}


def public(properties: Mapping[str, str]) -> dict[str, str]:
    """Every property except those that name the patient or the specimen, such as the label's barcode."""
    return {key: value for key, value in properties.items() if not any(word in key.lower() for word in _PERSONAL)}
