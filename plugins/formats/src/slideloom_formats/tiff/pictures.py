"""Whether a TIFF is one RGB picture of a slide: what its samples mean, and what it holds beside it.

Readers show one picture of three 8-bit channels. Files of fluorescence channels, focal planes, scenes or other numbers
than intensities would be shown too, nearly black or with a channel alone, so they are refused by what they hold.

Source: TIFF 6.0 (Adobe 1992); OME model 2016-06; ImageJ's TiffDecoder for its description; PerkinElmer's QPTIFF.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from slideloom import Size, finite_number, same_proportions

from slideloom_formats.ome_xml import ome_xml
from slideloom_formats.tiff.directories import TiffDirectory, TiffError, TiffTag, read_tiff_directories
from slideloom_formats.tiff.sizes import SIZE_TAGS, size_fault

PICTURE_TAGS = SIZE_TAGS | {TiffTag.EXTRA_SAMPLES, TiffTag.SAMPLE_FORMAT}

PICTURE_TAGS = SIZE_TAGS | {TiffTag.EXTRA_SAMPLES, TiffTag.SAMPLE_FORMAT}
_REDUCED, _MASK, _MACRO = 1, 4, 8  # bits of the subfile type; 8 is Aperio's mark of macro images
_RGB, _BLACK_IS_ZERO = 2, 1
# Samples of a pixel by photometric interpretation: white or black is zero, RGB, palette, CMYK, YCbCr.
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_UNSIGNED, _UNDEFINED = 1, 4
_FORMATS = {2: "signed whole numbers", 3: "floating-point numbers", 5: "complex numbers", 6: "complex numbers"}
_BITS = {1, 2, 4, 8, 16}
_TRANSPARENCY = {1, 2}  # of extra samples: premultiplied, and not
_ASIDE_WORDS = ("label", "macro", "overview", "thumbnail", "barcode", "preview")  # in names of OME images
_SAME_SCALE = 1.02  # two scenes of one scan differ less in their pixels' size
_AS_LARGE = 0.5  # of the slide's area; label and macro images are smaller
_Picture = tuple[ElementTree.Element, ElementTree.Element]  # <Image> and its <Pixels>
_TO_CHANNEL = "export the channel, plane or scene that you want as an RGB TIFF of its own (QuPath, Fiji or bfconvert)"


def tiff_obstacle(path: Path) -> str | None:
    """Why a TIFF is not one RGB picture, and what to do; None if it is.

    Also None for any other file, and for a damaged one.
    """
    try:
        return obstacle_in(read_tiff_directories(path, PICTURE_TAGS))
    except (TiffError, OSError):
        return None


def obstacle_in(images: Sequence[TiffDirectory]) -> str | None:
    """`tiff_obstacle` for directories that were read with `PICTURE_TAGS`.

    Raises:
        TiffError: a number in them is impossible.
    """
    pictures = [image for image in images if not is_aside(image)]
    sized = [(image, size) for image in pictures if (size := image.size()) is not None]
    if not sized:
        return None
    base, size = max(sized, key=lambda item: item[1].area)  # the first of equals
    others = [item for item in sized if item[0] is not base]
    return (
        _empty(base, size)
        or size_fault(pictures, base)
        or sample_obstacle(base)
        or _described(base, images[0])
        or _others(base, size, others, images[0])
    )


def is_aside(image: TiffDirectory) -> bool:
    """True for an image that says that it is no picture of the slide: a mask, or a label or macro image of Aperio's.

    Aperio names these in the second line of their descriptions.
    """
    first, _, rest = image.text(TiffTag.DESCRIPTION).partition("\n")
    is_named = first.startswith("Aperio") and rest.startswith(("label", "macro"))
    return is_named or bool((image.number(TiffTag.SUBFILE_TYPE) or 0) & (_MASK | _MACRO))


def _empty(image: TiffDirectory, size: Size) -> str | None:
    """What is wrong if no tile has a byte; some may have none, because scanners leave out empty glass."""
    counts = np.concatenate([image.numbers(TiffTag.TILE_BYTES), image.numbers(TiffTag.STRIP_BYTES)])
    if counts.any() or not len(counts):
        return None
    return (
        f"its picture of {size.width} x {size.height} pixels has no bytes: its {len(counts)} tiles or strips are all "
        "empty; copy the file again from its source"
    )


def sample_obstacle(image: TiffDirectory) -> str | None:
    """Why the numbers that make a pixel of an image are not read as RGB, and what to do; None if they can be.

    Raises:
        TiffError: one of the tags is not a number.
    """
    colours = image.number(TiffTag.PHOTOMETRIC)
    count = image.number(TiffTag.SAMPLES, 1) or 1
    bits = set(image.numbers(TiffTag.BITS).tolist()) or {1}
    formats = set(image.numbers(TiffTag.SAMPLE_FORMAT).tolist()) - {_UNSIGNED, _UNDEFINED}
    if formats:
        number = min(formats)
        kind = _FORMATS.get(number, f"of an unknown kind ({number})")
        return f"its samples are {kind}, not intensities from 0 on; write it as 8-bit RGB"
    if not bits <= _BITS or len(bits) > 1:
        return f"its samples have {_listed(bits)} bits, and 1, 2, 4, 8 and 16 are read; write it as 8-bit RGB"
    if count > 1 and not image.numbers(TiffTag.BITS).size:  # by the standard 1 bit, which no picture in colours has
        return f"it does not say how many bits its {count} samples per pixel have (BitsPerSample); write it as RGB"
    if colours is None:
        unsaid = f"it does not say what its {count} samples per pixel are (it has no PhotometricInterpretation)"
        return f"{unsaid}; write it as RGB" if count > 1 else None
    if colours not in _COLOURS:
        return (
            f"its colours are stored in a way that is not read (PhotometricInterpretation {colours}); write it as RGB"
        )
    extra = count - _COLOURS[colours]
    if extra < 0 or extra > 1:
        channels = f"{count} channels" if colours in (0, _BLACK_IS_ZERO, _RGB) else f"{count} samples per pixel"
        return f"it holds {channels}, not an RGB picture; {_TO_CHANNEL}"
    meaning = image.number(TiffTag.EXTRA_SAMPLES, 0)
    if extra and meaning not in _TRANSPARENCY:
        return (
            f"its last of {count} channels is not said to be transparency (ExtraSamples {meaning}); write the others "
            f"alone, as with: vips extract_band IN OUT.tif[tile,pyramid,compression=jpeg,Q=95] 0 --n {count - 1}"
        )
    return None


def _described(base: TiffDirectory, first: TiffDirectory) -> str | None:
    """What the description of ImageJ or of a PerkinElmer scanner says the file holds."""
    text = base.text(TiffTag.DESCRIPTION) or first.text(TiffTag.DESCRIPTION)
    if text.startswith("ImageJ="):
        return _imagej(text)
    if "<PerkinElmer-QPI" in text[:500] and base.number(TiffTag.PHOTOMETRIC) in (0, _BLACK_IS_ZERO):
        name = _named_in(text)
        return f"it is a QPTIFF of fluorescence channels{f' ({name} is the first)' if name else ''}; {_TO_CHANNEL}"
    return None


def _imagej(text: str) -> str | None:
    counts = {
        name: int(value) for name, value in re.findall(r"^(channels|slices|frames|images)=(\d{1,9})\r?$", text, re.M)
    }
    named = [f"{counts[name]} {name}" for name in ("channels", "slices", "frames") if counts.get(name, 1) > 1]
    most = max(counts.values(), default=1)
    if not named and most > 1:
        named = [f"{most} pictures"]
    return f"it is an ImageJ stack of {' and '.join(named)}; {_TO_CHANNEL}" if named else None


def _named_in(description: str) -> str:
    found = re.search(r"<(?:Name|Biomarker)>([^<]{1,80})</", description)
    return found.group(1) if found else ""


def _ome(pictures: Sequence[_Picture], ours: _Picture, samples: int) -> str | None:
    """What an OME-TIFF holds beside one RGB plane of its picture `ours`."""
    image, pixels = ours
    holds = []
    channels = _whole(pixels, "SizeC") // samples
    if channels > 1:
        names = [name for channel in pixels.iterfind("{*}Channel") if (name := channel.get("Name"))]
        holds.append(f"{channels} channels" + (f" ({', '.join(names[:8])})" if names else ""))
    holds += [
        f"{count} {word}"
        for axis, word in (("Z", "focal planes"), ("T", "points in time"))
        if (count := _whole(pixels, f"Size{axis}")) > 1
    ]
    scenes = [_named(other, part) for other, part in pictures if part is not pixels and is_scene(other, part, pixels)]
    if scenes:
        holds.append(f"{len(scenes) + 1} scenes ({', '.join([_named(image, pixels), *scenes][:8])})")
    return f"it is an OME-TIFF of {' and '.join(holds)}; {_TO_CHANNEL}" if holds else None


def is_scene(image: ElementTree.Element, pixels: ElementTree.Element, base: ElementTree.Element) -> bool:
    """True for another scanned area, not a level of the slide stored as an image, and not its label or macro.

    Args:
        image: an `Image` of OME-XML.
        pixels: its `Pixels`.
        base: the `Pixels` of the slide.
    """
    if any(word in (image.get("Name") or "").lower() for word in _ASIDE_WORDS):
        return False
    width, height = _size_of(pixels)
    full_width, full_height = _size_of(base)
    if min(width, height, full_width, full_height) < 1:
        return False
    scale, full = finite_number(pixels.get("PhysicalSizeX")), finite_number(base.get("PhysicalSizeX"))
    if scale and full and pixels.get("PhysicalSizeXUnit") == base.get("PhysicalSizeXUnit"):
        ratio = max(scale, full) / min(scale, full)
        return 0 < ratio < _SAME_SCALE and not _is_tiny(width * height, full_width * full_height)
    if same_proportions(Size(full_width, full_height), Size(width, height)) and width < full_width:
        return False
    return width * height > _AS_LARGE * full_width * full_height


def _is_tiny(area: int, full: int) -> bool:
    return area * 1000 < full


def _size_of(pixels: ElementTree.Element) -> tuple[int, int]:
    return _whole(pixels, "SizeX", 0), _whole(pixels, "SizeY", 0)


def _whole(element: ElementTree.Element, name: str, default: int = 1) -> int:
    text = element.get(name) or ""
    return int(text) if text.isdecimal() and len(text) < 10 else default


def _named(image: ElementTree.Element, pixels: ElementTree.Element) -> str:
    width, height = _size_of(pixels)
    return f"{image.get('Name') or image.get('ID') or 'unnamed'}: {width} x {height}"


def _others(
    base: TiffDirectory, size: Size, others: Sequence[tuple[TiffDirectory, Size]], first: TiffDirectory
) -> str | None:
    """What is no level, label or macro among the other images of the file."""
    root = ome_xml(first.text(TiffTag.DESCRIPTION))
    if root is not None:
        pictures = [(image, pixels) for image in root.iterfind("{*}Image") for pixels in image.iterfind("{*}Pixels")]
        for item in pictures:
            if _size_of(item[1]) == (size.width, size.height):
                return _ome(pictures, item, base.number(TiffTag.SAMPLES, 1) or 1)
    if TiffTag.NDPI_FORMAT in base:  # its focal planes are images of one size, and OpenSlide knows which is which
        return None
    if planes := [image for image, other in others if other == size]:
        names = [name for image in (base, *planes) if (name := _named_in(image.text(TiffTag.DESCRIPTION)))]
        named = f" ({', '.join(names[:8])})" if names else ""
        return (
            f"it holds {len(planes) + 1} pictures of one size{named}, such as channels or focal planes; {_TO_CHANNEL}"
        )
    for image, other in others:
        kind = image.number(TiffTag.SUBFILE_TYPE) or 0
        if not kind & _REDUCED and other.area > _AS_LARGE * size.area:
            return (
                f"it holds another picture of {other.width} x {other.height} pixels beside its largest; {_TO_CHANNEL}"
            )
    return None


def _listed(numbers: set[int]) -> str:
    return " and ".join(str(number) for number in sorted(numbers))
