"""What an OME-Zarr image says of itself, checked: axes, levels, microns per pixel, channels.

Source: OME-Zarr 0.4 and 0.5, "axes", "multiscales", "omero"; UDUNITS-2 for names of units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from slideloom import Resolution, is_plausible, odd_mpp
from slideloom_formats.ome_xml import ome_xml

_MICRONS = {
    "angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "micron": 1.0, "um": 1.0, "µm": 1.0, "μm": 1.0, "nm": 1e-3,
    "millimeter": 1e3, "mm": 1e3, "centimeter": 1e4, "cm": 1e4, "meter": 1e6, "m": 1e6, "inch": 25400.0,
}  # fmt: skip
_ASIDE = ("label", "macro", "overview", "thumbnail", "barcode", "preview")  # in names of images
# What the channels of a colour picture are called, if anything.
_COLOUR_NAME = re.compile(
    r"|red|green|blue|r|g|b|rgb|tl brightfield|brightfield|(channel|ch|c|rgb)?[ _:-]*\d+(:\d+)?", re.I
)


@frozen
class Multiscale:
    """An image in several sizes.

    Attributes:
        axes: their names, in the order of the arrays' dimensions.
        units: of each axis, or "".
        levels: name of each array and its scale along each axis, the largest array first.
        channels: what each is called, where it is said.
    """

    axes: tuple[str, ...]
    units: tuple[str, ...]
    levels: tuple[tuple[str, tuple[float, ...] | None], ...]
    channels: tuple[str, ...]

    def along(self, axis: str) -> int | None:
        """The dimension of an axis; None if there is none."""
        return self.axes.index(axis) if axis in self.axes else None


def multiscale(attributes: Mapping[str, Any]) -> Multiscale:  # Any: what JSON holds
    """The image that a group says it is.

    Raises:
        ValueError: what it says makes no sense.
    """
    try:
        (stated, *_) = attributes["multiscales"]
        axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in stated["axes"]]
        names = tuple(str(axis["name"]).lower() for axis in axes)
        units = tuple(str(axis.get("unit") or "").strip() for axis in axes)
        outer = _scale(stated.get("coordinateTransformations"), len(names))
        levels = tuple(
            (str(level["path"]), _times(_scale(level.get("coordinateTransformations"), len(names)), outer))
            for level in stated["datasets"]
        )
        channels = tuple(
            str(channel.get("label") or "") for channel in (attributes.get("omero") or {}).get("channels", ())
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"its multiscales cannot be understood ({type(error).__name__}: {error})") from error
    if len(set(names)) != len(names) or not {"y", "x"} <= set(names) <= {"t", "c", "z", "y", "x"}:
        raise ValueError(f"its axes are {', '.join(names)}, and of t, c, z, y and x, at least y and x are needed")
    if not levels:
        raise ValueError("it has no array")
    return Multiscale(names, units, levels, channels)


def _scale(transformations: Sequence[Mapping[str, Any]] | None, count: int) -> tuple[float, ...] | None:
    for each in transformations or ():
        if each["type"] == "scale":
            scale = tuple(float(value) for value in each["scale"])
            if len(scale) != count:
                raise ValueError(f"a scale has {len(scale)} values for {count} axes")
            return scale
    return None


def _times(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if one is None or other is None:
        return one if other is None else other
    return tuple(a * b for a, b in zip(one, other, strict=True))


def resolution(image: Multiscale) -> Resolution | None:
    """Microns per pixel of level 0; None without a scale, without a known unit, or if it is implausible."""
    found = _microns(image)
    if found is None or not all(is_plausible(value) for value in found):
        return None
    return Resolution(*found, "OME-Zarr scale")


def odd_resolution(image: Multiscale) -> str:
    """What is recorded as microns per pixel and cannot be that; see `odd_mpp`."""
    scale = image.levels[0][1]
    if scale is None:
        return ""
    found = _microns(image)
    recorded: dict[str, str | None] = {}
    for number, axis in enumerate(("x", "y")):
        unit = image.units[image.axes.index(axis)]
        stated = f"{scale[image.axes.index(axis)]:g} {unit or 'of no unit'}"
        recorded[f"OME-Zarr scale, {axis}"] = stated if found is None else f"{found[number]:g}"
    return odd_mpp(recorded)


def _microns(image: Multiscale) -> tuple[float, float] | None:
    scale = image.levels[0][1]
    factors = [_MICRONS.get(image.units[image.axes.index(axis)].lower()) for axis in ("x", "y")]
    if scale is None or factors[0] is None or factors[1] is None:
        return None
    return scale[image.axes.index("x")] * factors[0], scale[image.axes.index("y")] * factors[1]


def are_colours(channels: Sequence[str]) -> bool:
    """False if channels have names that are not of colours, such as of dyes."""
    return all(_COLOUR_NAME.fullmatch(name.strip()) for name in channels)


def image_names(document: bytes) -> list[str]:
    """The names of the images that an OME-XML document describes, in its order; none if it is damaged."""
    root = ome_xml(document.decode("utf-8", "replace"))
    if root is None:
        return []
    return [item.get("Name", "") for item in root.iter() if item.tag.rpartition("}")[2] == "Image"]


def is_aside(name: str) -> bool:
    """True for the name of a label or macro image."""
    return any(word in name.lower() for word in _ASIDE)
