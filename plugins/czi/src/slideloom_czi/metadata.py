"""What a CZI file says of itself, checked.

Source: ZEISS, "CZI file format: CZI metadata" (Scaling, Instrument, Dimensions).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slideloom import Resolution, finite_number, is_plausible, odd_mpp

Described = Any  # Any: dictionaries, lists and texts, as XML holds them


def resolution(described: Described) -> Resolution | None:
    """Microns per pixel, from the scaling in metres; None if it is missing or implausible."""
    x, y = (_microns(described, axis) for axis in "XY")
    if x is None or y is None or not (is_plausible(x) and is_plausible(y)):
        return None
    return Resolution(x, y, "CZI scaling")


def odd_resolution(described: Described) -> str:
    """What is recorded as microns per pixel and cannot be that; see `odd_mpp`."""
    found = {f"CZI scaling, {axis}": _microns(described, axis) for axis in "XY"}
    return odd_mpp({name: None if value is None else f"{value:g}" for name, value in found.items()})


def objective_power(described: Described) -> float | None:
    """Such as 20.0, or None."""
    for objective in _below(described, "Metadata", "Information", "Instrument", "Objectives", "Objective"):
        power = finite_number(_text(objective, "NominalMagnification"))
        if power is not None and power > 0:
            return power
    return None


def channel_names(described: Described) -> list[str]:
    """What the channels are called, in their order."""
    found = _below(described, "Metadata", "Information", "Image", "Dimensions", "Channels", "Channel")
    return [_text(channel, "@Name") or "" for channel in found]


def scene_names(described: Described) -> dict[int, str]:
    """What scenes are called, by number."""
    found = _below(described, "Metadata", "Information", "Image", "Dimensions", "S", "Scenes", "Scene")
    numbers = ((finite_number(_text(scene, "@Index")), _text(scene, "@Name") or "") for scene in found)
    return {int(number): name for number, name in numbers if number is not None}


def _microns(described: Described, axis: str) -> float | None:
    for distance in _below(described, "Metadata", "Scaling", "Items", "Distance"):
        if _text(distance, "@Id") == axis:
            metres = finite_number(_text(distance, "Value"))
            return None if metres is None else metres * 1e6
    return None


def _below(described: Described, *path: str) -> Iterator[Described]:
    """Every element at the end of a path of names, whether one element is there or a list of them."""
    found = [described.get("ImageDocument")] if isinstance(described, dict) else []
    for name in path:
        inner = [each[name] for each in found if isinstance(each, dict) and name in each]
        found = [item for each in inner for item in (each if isinstance(each, list) else [each])]
    yield from found


def _text(element: Described, name: str) -> str | None:
    value = element.get(name) if isinstance(element, dict) else None
    return value if isinstance(value, str) else None
