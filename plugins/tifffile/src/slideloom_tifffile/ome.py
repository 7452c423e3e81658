"""Which directories of an OME-TIFF are the channels of the picture that is read.

Source: OME model 2016-06, TiffData: each element maps planes, counted in the order of DimensionOrder, to directories.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from xml.etree.ElementTree import Element

from slideloom import Size, option_given
from slideloom_formats.tiff import TiffDirectory, TiffTag, is_scene

from slideloom_tifffile.refusals import NotRead

_MOST_PLANES = 10_000  # the core reads as many directories
_NAMES = ({"red", "r"}, {"green", "g"}, {"blue", "b"})
_COLOURS = (0xFF0000, 0x00FF00, 0x0000FF)
_Place = tuple[int, int, int]  # channel, focal plane, point in time
_Picture = tuple[Element, Element]  # Image, Pixels


def planes_of(
    root: Element,
    images: Sequence[TiffDirectory],
    *,
    scene: int | None,
    channels: tuple[int, ...],
    plane: int | None,
) -> tuple[TiffDirectory, ...]:
    """The directories to show: one of grey or RGB, or three of red, green and blue.

    Args:
        root: of the OME-XML.
        images: the chain of directories.
        scene, channels, plane: what the user has chosen; see `TifffileReader`.

    Raises:
        NotRead: there is more than one picture to show, or not what was chosen; the message names the choices.
    """
    if len({uuid.get("FileName") for uuid in root.iterfind(".//{*}TiffData/{*}UUID")}) > 1:
        raise NotRead("it is one of several files of an OME-TIFF; write them as one, as with: bfconvert")
    pixels = _chosen_picture(root, images, scene)[1]
    samples = images[0].number(TiffTag.SAMPLES, 1) or 1
    found = _directories(pixels, samples)
    if _whole(pixels, "SizeT") > 1:
        raise NotRead(f"it is an OME-TIFF of {_whole(pixels, 'SizeT')} points in time; write one of them alone")
    depth = _whole(pixels, "SizeZ")
    if plane is None and depth > 1:
        raise NotRead(f"it is an OME-TIFF of {depth} focal planes; {_how('plane', 'N')} reads the one of this number")
    if plane is not None and plane >= depth:
        raise NotRead(f"it has focal planes 0 to {depth - 1}, and no {plane}")
    places = [(channel, plane or 0, 0) for channel in _chosen_channels(pixels, channels, samples)]
    missing = [place for place in places if found.get(place, len(images)) >= len(images)]
    if missing:
        raise NotRead(f"its OME-XML names no directory for channel {missing[0][0]}; write the file again")
    return tuple(images[found[place]] for place in places)


def _how(name: str, value: str) -> str:
    return option_given("slides", "reader", f"tifffile:{name}={value}")


def _chosen_picture(root: Element, images: Sequence[TiffDirectory], scene: int | None) -> _Picture:
    pictures = [(image, pixels) for image in root.iterfind("{*}Image") for pixels in image.iterfind("{*}Pixels")]
    listed = ", ".join(f"{i}: {_named(*picture)}" for i, picture in enumerate(islice(pictures, 8)))
    if scene is not None:
        if scene >= len(pictures):
            raise NotRead(f"it has no scene {scene}, but these: {listed}")
        return pictures[scene]
    largest = max((size for image in images if (size := image.size()) is not None), key=lambda size: size.area)
    base = next((picture for picture in pictures if _size_of(picture[1]) == (largest.width, largest.height)), None)
    if base is None:
        raise NotRead(f"its OME-XML describes no picture of {largest.width} x {largest.height} pixels")
    others = sum(is_scene(image, pixels, base[1]) for image, pixels in pictures if pixels is not base[1])
    if others:
        raise NotRead(f"it is an OME-TIFF of {others + 1} scenes ({listed}); {_how('scene', 'N')} reads one of them")
    return base


def _chosen_channels(pixels: Element, chosen: tuple[int, ...], samples: int) -> tuple[int, ...]:
    """The channels to show, of which each has a directory; (0,) if the only one has all colours."""
    count, names = _channel_count(pixels, samples), _channel_names(pixels)
    named = f" ({', '.join(name or 'unnamed' for name in names[:8])})" if any(names) else ""
    if chosen:
        if max(chosen) >= count:
            raise NotRead(f"it has channels 0 to {count - 1}{named}, and no {max(chosen)}")
        return chosen
    if count == 1:
        return (0,)
    found = _red_green_blue(pixels) if count == 3 else None
    if found is None:
        raise NotRead(
            f"it is an OME-TIFF of {count} channels{named}, which are not said to be red, green and blue; "
            f"{_how('channels', '[0,1,2]')} names those that are, and {_how('channels', '[N]')} shows one in grey"
        )
    return found


def _red_green_blue(pixels: Element) -> tuple[int, ...] | None:
    """The order of three channels that are called so; without any names, colours in this order will do.

    Colours beside names are those of a display: stains of fluorescence have them, too.
    """
    names = [name.lower() for name in _channel_names(pixels)]
    if any(names):
        order = [next((i for i, name in enumerate(names) if name in meant), -1) for meant in _NAMES]
        return tuple(order) if min(order) >= 0 else None
    colours = [_colour(channel) for channel in pixels.iterfind("{*}Channel")]
    return (0, 1, 2) if tuple(colours) == _COLOURS else None


def _colour(channel: Element) -> int | None:
    """A channel's colour, RGB in 24 bits; OME stores RGBA as a number with sign. None for a stain's."""
    if any(channel.get(name) for name in ("Fluor", "EmissionWavelength", "ExcitationWavelength")):
        return None
    try:
        return (int(channel.get("Color", "")) & 0xFFFFFFFF) >> 8
    except ValueError:
        return None


def _directories(pixels: Element, samples: int) -> dict[_Place, int]:
    """The number of the directory of each plane."""
    counts = {"C": _channel_count(pixels, samples), "Z": _whole(pixels, "SizeZ"), "T": _whole(pixels, "SizeT")}
    order = [letter for letter in pixels.get("DimensionOrder", "XYCZT") if letter in counts]
    total = counts["C"] * counts["Z"] * counts["T"]
    if total > _MOST_PLANES or sorted(order) != ["C", "T", "Z"]:
        raise NotRead(f"its OME-XML claims {total} planes in the order {pixels.get('DimensionOrder')}")
    found: dict[_Place, int] = {}
    for part in pixels.iterfind("{*}TiffData"):
        first = {letter: _whole(part, f"First{letter}", 0) for letter in counts}
        start, step = 0, 1
        for letter in order:
            start, step = start + first[letter] * step, step * counts[letter]
        count = _whole(part, "PlaneCount", 1 if part.get("IFD") is not None else total)
        for i in range(min(count, total - start)):
            left, at = start + i, {}
            for letter in order:
                left, at[letter] = divmod(left, counts[letter])
            found.setdefault((at["C"], at["Z"], at["T"]), _whole(part, "IFD", 0) + i)
    return found


def _channel_count(pixels: Element, samples: int) -> int:
    """Channels that have a directory each. One of several samples counts once, also if only the directory says so."""
    said = max((_whole(channel, "SamplesPerPixel") for channel in pixels.iterfind("{*}Channel")), default=1)
    return max(1, _whole(pixels, "SizeC") // max(1, said, samples))


def _channel_names(pixels: Element) -> list[str]:
    return [channel.get("Name") or "" for channel in pixels.iterfind("{*}Channel")]


def significant_bits(root: Element | None, size: Size) -> int | None:
    """How many bits of a sample the OME-XML says are used in the picture of this size; None if it does not."""
    for pixels in root.iterfind(".//{*}Pixels") if root is not None else ():
        if _size_of(pixels) == (size.width, size.height) and pixels.get("SignificantBits"):
            return _whole(pixels, "SignificantBits", 0) or None
    return None


def _size_of(pixels: Element) -> tuple[int, int]:
    return _whole(pixels, "SizeX", 0), _whole(pixels, "SizeY", 0)


def _whole(element: Element, name: str, default: int = 1) -> int:
    text = element.get(name) or ""
    return int(text) if text.isdecimal() and len(text) < 10 else default


def _named(image: Element, pixels: Element) -> str:
    width, height = _size_of(pixels)
    return f"{image.get('Name') or image.get('ID') or 'unnamed'} of {width} x {height}"
