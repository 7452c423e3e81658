"""What the XML header of an iSyntax file says of its slide, checked.

Elements are known by the numbers of their attributes, which are those of DICOM and of private groups of Philips.

Source: Philips, "Pathology iSyntax image format", header; libisyntax.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from attrs import frozen
from slideloom import Resolution, Size, finite_number, is_plausible, odd_mpp

from slideloom_isyntax.code_blocks import SIDE

PAD = 3  # pixels that the wavelet transform adds at each side of each level
_END = b"\x04"  # behind the header
_PIECE = 1 << 20
_MOST_BYTES = 1 << 29  # of a header; one of 100,000 code blocks takes 7 MB
_MOST_LEVELS = 14
_MOST_TILES = 1 << 21  # of level 0, of 256 x 256 pixels

_Attribute = tuple[int, int]  # group and element
_VERSION, _IMAGES, _KIND = (0x301D, 0x1001), (0x301D, 0x1003), (0x301D, 0x1004)
_GENERAL, _DIMENSIONS, _SCALE_FACTOR = (0x301D, 0x2000), (0x301D, 0x2003), (0x301D, 0x2007)
_TEMPLATES, _RANGES, _RANGE = (0x301D, 0x2009), (0x301D, 0x200A), (0x301D, 0x200B)
_COMPRESSION, _BLOCKS, _BLOCK_HEADERS = (0x301D, 0x200F), (0x301D, 0x2014), (0x301D, 0x200D)
_PROFILE, _VALUES = (0x0028, 0x2000), (0x301D, 0x2008)
_NAMES = ("DataObject", "Attribute", "Array", "Name", "Group", "Element", "PMSVR", "ObjectType")
_MODEL, _DERIVATION = (0x0008, 0x1090), (0x0008, 0x2111)


class Damaged(ValueError):
    """What a file says cannot be. The message says what, as the beginning of a sentence."""


class Unread(ValueError):
    """A file of a kind that is not read. The message says which."""


@frozen
class Header:
    """A slide as its header describes it.

    Attributes:
        end: of the header, in bytes of the file.
        size: of level 0 in pixels.
        levels: how many there are.
        origin: x and y where the header's coordinates begin.
        tiles: columns and rows of 256 x 256 pixels of the coarsest level, with the padding around it.
        table: the code blocks, as `tables.places` reads them.
        mpp: microns per pixel along x and y, as texts.
        profile: the ICC profile in Base64, or "".
        properties: what else it says, as text.
    """

    end: int
    size: Size
    levels: int
    origin: tuple[int, int]
    tiles: Size
    table: bytes
    mpp: tuple[str, str]
    profile: str
    properties: dict[str, str]

    @property
    def resolution(self) -> Resolution | None:
        """Microns per pixel; None if they are missing or implausible."""
        x, y = (finite_number(text) for text in self.mpp)
        if x is None or y is None or not (is_plausible(x) and is_plausible(y)):
            return None
        return Resolution(x, y, "iSyntax scale factor")

    @property
    def odd_resolution(self) -> str:
        """What is recorded as microns per pixel and cannot be that; see `odd_mpp`."""
        return odd_mpp(
            {f"iSyntax scale factor, {axis}": text or None for axis, text in zip("XY", self.mpp, strict=True)}
        )

    def icc_profile(self) -> bytes | None:
        """The ICC profile of the colours.

        Raises:
            Damaged: it is no Base64.
        """
        return _decoded(self.profile, "its ICC profile") if self.profile else None


def read_header(path: Path) -> Header:
    """The header of a file.

    Raises:
        Damaged: it is damaged.
        Unread: it is of a kind that is not read.
        OSError: it cannot be read.
    """
    text = _header_bytes(path)
    if b"<!DOCTYPE" in text or b"<!ENTITY" in text:  # never part of a header, and a way to exhaust a parser's memory
        raise Unread("its header has a document type, which a scanner does not write and is not read")
    try:
        root = ElementTree.fromstring(text.rstrip(b"\0\r\n\t "))  # noqa: S314 - without entities, see above
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # LookupError: of an unknown encoding
        raise Damaged(f"its header is no XML ({error})") from error
    _name_plainly(root)
    version = _text(root, _VERSION) or "5"
    if _whole(version.partition(".")[0], "its version") >= 100:
        raise Unread(f"it is of the second version of iSyntax ({version})")
    slide = _slide(root)
    _check_kind(slide)
    general = next(_within(slide, _GENERAL), None)
    if general is None:
        raise Damaged("its header does not describe the slide's image")
    table = _text_within(slide, _BLOCKS)
    if not table and next(_within(slide, _BLOCK_HEADERS), None) is not None:
        raise Unread("its code blocks are listed one by one, and not in a table, which is what is read")
    (left, width), (top, height), (_, colors), (first, levels), *_ = _spans(general)
    if colors != 3 or first != 0 or not 1 <= levels <= _MOST_LEVELS:
        raise Damaged(f"its header says that it has {colors} colours and levels {first} to {first + levels - 1}")
    pad = 2 * ((PAD << levels) - PAD)
    tiles = Size(-(-width // (SIDE << levels)), -(-height // (SIDE << levels)))
    if min(width, height) <= pad or tiles.area << (2 * levels - 2) > _MOST_TILES:
        raise Damaged(f"its header says that it has {width} x {height} pixels with {pad} of padding")
    axes = list(_within(slide, _DIMENSIONS))
    _check_colors(axes)
    factors = [_text(one, _SCALE_FACTOR) or "" for one in axes]
    properties = {"philips.model": _text(root, _MODEL), "philips.derivation": _text_within(slide, _DERIVATION)}
    return Header(
        end=len(text) + 1,
        size=Size(width - pad, height - pad),
        levels=levels,
        origin=(left, top),
        tiles=tiles,
        table=_decoded(table, "its table of code blocks"),
        mpp=(factors[0], factors[1]) if len(factors) > 1 else ("", ""),
        profile=_text_within(slide, _PROFILE),
        properties={name: text for name, text in properties.items() if text},
    )


def _name_plainly(root: ElementTree.Element) -> None:
    """Give the elements and their attributes the format's names, without a namespace and in its letters.

    A tool that has written the header anew may have changed these. They mean the same, as numbers tell elements apart.
    """
    known = {name.casefold(): name for name in _NAMES}

    def plain(name: str) -> str:
        own = name.rpartition("}")[2]
        return known.get(own.casefold(), own)

    for element in root.iter():
        named = {plain(name): value for name, value in element.attrib.items()}
        if len(named) < len(element.attrib):
            raise Damaged("an element of its header has an attribute twice")
        element.tag, element.attrib = plain(element.tag), named


def _header_bytes(path: Path) -> bytes:
    found = bytearray()
    with path.open("rb") as file:
        while len(found) < _MOST_BYTES:
            piece = file.read(_PIECE)
            end = piece.find(_END)
            if end >= 0:
                return bytes(found + piece[:end])
            if not piece:
                break
            found += piece
    raise Damaged("its header has no end")


def _slide(root: ElementTree.Element) -> ElementTree.Element:
    slides = [image for image in _objects(root, _IMAGES) if _text(image, _KIND) == "WSI"]
    if len(slides) != 1:
        raise Damaged(f"its header describes {len(slides)} slides")
    return slides[0]


def _check_kind(slide: ElementTree.Element) -> None:
    """Refuse code blocks of another size or compression."""
    methods = {(element.text or "").strip() for element in slide.iter("Attribute") if _number(element) == _COMPRESSION}
    if methods != {"16"}:
        raise Unread(f"its compression method is {' and '.join(sorted(methods)) or 'not said'}, and 16 is read")
    sides = {
        length for template in _within(slide, _TEMPLATES) for _, length in _spans(template, are_steps_one=False)[:2]
    }
    if sides != {SIDE}:
        said = " and ".join(map(str, sorted(sides))) or "no size"
        raise Unread(f"its code blocks have {said} coefficients along a side, and {SIDE} are read")


def _check_colors(axes: list[ElementTree.Element]) -> None:
    """Refuse colours that are called otherwise than those that are read."""
    said = (_text(axes[2], _VALUES) or "") if len(axes) > 2 else ""
    if re.findall(r"\w+", said.casefold()) not in ([], ["y", "co", "cg"]):
        raise Unread(f"its colours are {said[:40]}, and Y, Co, Cg are read")


def _spans(described: ElementTree.Element, *, are_steps_one: bool = True) -> list[tuple[int, int]]:
    """First value and number of values along each of at least four axes: x, y, colour, scale, band.

    The coefficients of a code block may be counted in pixels of level 0, in steps of more than one.
    """
    found = []
    for one in _objects(described, _RANGES):
        text = _text(one, _RANGE) or ""
        if not re.fullmatch(r"-?\d{1,9}\s+[1-9]\d{0,8}\s+-?\d{1,9}", text):
            raise Damaged(f"its header has the range '{text[:40]}'")
        first, step, last = map(int, text.split())
        if are_steps_one and step != 1:
            raise Damaged(f"its header has the range '{text[:40]}'")
        found.append((first, (last - first) // step + 1))
    if len(found) < 4:
        raise Damaged(f"its header has {len(found)} ranges, not one for each axis")
    return found


def _objects(parent: ElementTree.Element, attribute: _Attribute) -> Iterator[ElementTree.Element]:
    """The objects that an attribute of an object holds."""
    for element in parent.findall("Attribute"):
        if _number(element) == attribute:
            yield from element.findall("Array/DataObject")


def _within(slide: ElementTree.Element, attribute: _Attribute) -> Iterator[ElementTree.Element]:
    """The same of an attribute that the slide has, or an object in it."""
    for element in slide.iter("Attribute"):
        if _number(element) == attribute:
            yield from element.findall("Array/DataObject")


def _text_within(slide: ElementTree.Element, attribute: _Attribute) -> str:
    found = (element.text or "" for element in slide.iter("Attribute") if _number(element) == attribute)
    return next(found, "").strip()


def _text(parent: ElementTree.Element, attribute: _Attribute) -> str | None:
    for element in parent.findall("Attribute"):
        if _number(element) == attribute:
            return (element.text or "").strip()
    return None


def _number(element: ElementTree.Element) -> _Attribute:
    return _whole(element.get("Group", ""), "a group", 16), _whole(element.get("Element", ""), "an element", 16)


def _whole(text: str, what: str, base: int = 10) -> int:
    try:
        return int(text, base)
    except ValueError as error:
        raise Damaged(f"{what} in its header is '{text[:40]}'") from error


def _decoded(text: str, what: str) -> bytes:
    """What Base64 stands for. Files may have spaces in it, and a slash too many at its end."""
    packed = "".join(text.split())
    if len(packed) % 4 == 1 and packed.endswith("/"):
        packed = packed[:-1]
    try:
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Damaged(f"{what} is no Base64 ({error})") from error
