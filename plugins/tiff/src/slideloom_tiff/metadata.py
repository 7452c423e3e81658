"""Metadata of an SVS or TIFF: properties, microns per pixel, objective power."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Resolution, finite_number, is_plausible
from slideloom_formats.tiff import TiffDirectory, TiffTag

_PERSONAL = ("barcode", "patient", "accession")


def properties(images: Sequence[TiffDirectory]) -> dict[str, str]:
    """The first image's description and tags under OpenSlide's names, without anything that identifies the patient."""
    first = images[0]
    found = {}
    description = first.text(TiffTag.DESCRIPTION)
    if description:
        found["tiff.ImageDescription"] = description
        if description.startswith("Aperio"):
            for part in description.split("|")[1:]:
                key, equals, value = part.partition("=")
                if equals:
                    found[f"aperio.{key.strip()}"] = value.strip()
    for name, number in (("Make", TiffTag.MAKE), ("Software", TiffTag.SOFTWARE)):
        if first.text(number):
            found[f"tiff.{name}"] = first.text(number)
    personal = [key for key in found if any(word in key.lower() for word in _PERSONAL)]
    for key in personal:
        del found[key]
    if personal or any(word in description.lower() for word in _PERSONAL):
        found.pop("tiff.ImageDescription", None)
    return found


def resolution(found: dict[str, str]) -> Resolution | None:
    """Microns per pixel from the `MPP` of an SVS, also with a decimal comma; None if it is missing or implausible."""
    value = finite_number(found.get("aperio.MPP", "").replace(",", "."))
    return Resolution(value, value, "aperio.MPP") if value is not None and is_plausible(value) else None


def objective_power(found: dict[str, str]) -> float | None:
    """Objective power of an SVS, such as 20.0; None if it is missing."""
    value = finite_number(found.get("aperio.AppMag"))
    return value if value is not None and value > 0 else None
