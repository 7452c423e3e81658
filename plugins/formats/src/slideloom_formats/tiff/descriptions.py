"""Checked values from what TIFF files say of themselves: microns per pixel, objective power, vendor."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from attrs import frozen
from slideloom import Resolution, Size, finite_number, is_plausible, odd_mpp

from slideloom_formats.ome_xml import is_ome_xml, ome_xml
from slideloom_formats.tiff.directories import TiffDirectory, TiffTag

# OME schema 2016-06, UnitsLength; the micro sign exists twice in Unicode.
_MICRONS = {
    "pm": 1e-6, "Å": 1e-4, "nm": 1e-3, "µm": 1.0, "\u03bcm": 1.0, "um": 1.0, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6,
    "in": 25400.0,
}  # fmt: skip
_INCH = 2
_MICRONS_OF_UNIT = {_INCH: 25400.0, 3: 10000.0}  # of the resolution unit; 3 is the centimetre, 1 is none
_IMAGEJ_MICRONS = {"micron": 1.0, "microns": 1.0, "micrometer": 1.0, "inch": 25400.0}


@frozen
class TiffDescription:
    """The information in an image description.

    Attributes:
        vendor: "aperio", "ome" or "".
        mpp: microns per pixel, or None.
        odd_mpp: what is recorded as such and cannot be it, or "".
        objective_power: such as 20.0, or None.
    """

    vendor: str = ""
    mpp: Resolution | None = None
    odd_mpp: str = ""
    objective_power: float | None = None


def described(text: str, *, size: Size) -> TiffDescription:
    """The information in the description of an image of this size; empty if its kind is unknown."""
    if text.startswith("Aperio"):
        return _aperio(text)
    if is_ome_xml(text):
        return _ome(text, size)
    return TiffDescription()


def _aperio(text: str) -> TiffDescription:
    values = dict(re.findall(r"\|\s*([^=|]+?)\s*=\s*([^|;]*?)\s*(?=[|;]|$)", text))
    # The comma is the decimal one of the scanner's locale.
    mpp, power = (finite_number(values.get(key, "").replace(",", ".")) for key in ("MPP", "AppMag"))
    found = Resolution(mpp, mpp, "Aperio MPP") if mpp is not None and is_plausible(mpp) else None
    odd = odd_mpp({"aperio.MPP": values.get("MPP")})
    return TiffDescription(
        vendor="aperio", mpp=found, odd_mpp=odd, objective_power=power if power and power > 0 else None
    )


def _ome(text: str, size: Size) -> TiffDescription:
    """The <Pixels> with the size of the image: an OME file may also describe label and macro."""
    root = ome_xml(text)
    if root is None:  # damaged
        return TiffDescription(vendor="ome")
    for pixels in root.iterfind(".//{*}Pixels"):
        if (pixels.get("SizeX"), pixels.get("SizeY")) == (str(size.width), str(size.height)):
            x, y = (_length(pixels, axis) for axis in ("X", "Y"))
            mpp = None
            if x is not None and y is not None and is_plausible(x) and is_plausible(y):
                mpp = Resolution(x, y, "OME PhysicalSizeX/Y")
            power = next(
                (finite_number(found.get("NominalMagnification")) for found in root.iterfind(".//{*}Objective")), None
            )
            return TiffDescription(
                vendor="ome", mpp=mpp, odd_mpp="" if mpp else _odd_length(pixels), objective_power=power
            )
    return TiffDescription(vendor="ome")


def _odd_length(pixels: Element) -> str:
    """What is recorded as a pixel's size, with its unit, where it gives none."""
    names = [f"PhysicalSize{axis}" for axis in ("X", "Y") if pixels.get(f"PhysicalSize{axis}") is not None]
    return ", ".join(f"{name} = {pixels.get(name, '')} {pixels.get(f'{name}Unit', 'µm')}" for name in names)


def imagej_resolution(text: str, x: float | None, y: float | None) -> Resolution | None:
    """Microns per pixel that ImageJ records: pixels per unit in the resolution tags, and the unit in its description.

    Args:
        text: the description.
        x, y: the resolution tags; None if they are missing.
    """
    found = re.search(r"^unit=(.{1,12}?)\r?$", text, re.M) if text.startswith("ImageJ=") else None
    if found is None or not x or not y:
        return None
    unit = found.group(1).encode().decode("unicode_escape") if "\\u" in found.group(1) else found.group(1)
    scale = _MICRONS.get(unit, _IMAGEJ_MICRONS.get(unit.lower()))
    if scale is None or not (is_plausible(scale / x) and is_plausible(scale / y)):
        return None
    return Resolution(scale / x, scale / y, f"ImageJ, {unit}")


def tiff_resolution(image: TiffDirectory) -> Resolution | None:
    """Microns per pixel from the TIFF resolution tags, or None. Without a unit the tags are per inch (TIFF 6.0)."""
    unit = _MICRONS_OF_UNIT.get(image.number(TiffTag.UNIT, _INCH) or _INCH)
    x, y = image.rational(TiffTag.X_RESOLUTION), image.rational(TiffTag.Y_RESOLUTION)
    if unit is None or not x or not y or x <= 0 or y <= 0:
        return None
    return Resolution(unit / x, unit / y, "TIFF resolution")


def odd_tiff_resolution(image: TiffDirectory) -> str:
    """What the resolution tags hold if that is no number of pixels above 0, as "XResolution = 0"; "" otherwise."""
    tags = {"XResolution": TiffTag.X_RESOLUTION, "YResolution": TiffTag.Y_RESOLUTION}
    found = {name: image.rational(tag) for name, tag in tags.items() if tag in image}
    return ", ".join(
        f"{name} = {'nothing' if value is None else f'{value:g}'}"
        for name, value in found.items()
        if value is None or value <= 0
    )


def _length(pixels: Element, axis: str) -> float | None:
    value = finite_number(pixels.get(f"PhysicalSize{axis}"))
    scale = _MICRONS.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
    return value * scale if value is not None and scale is not None else None
