"""DICOM files of slides: which series a file is part of, and which of a series' files stands for the slide.

Only the data elements before the pixels are read, and of them those that are asked for.

Source: DICOM PS3.5 section 7 (data elements), PS3.10 section 7 (files), PS3.3 A.32.8 (whole-slide images).
"""

from __future__ import annotations

import struct
from collections import Counter
from functools import lru_cache, partial
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, TypeVar

from attrs import field, frozen
from slideloom import RemotePath, RemoteState, Unlisted, in_parallel

_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_IMPLICIT, _DEFLATED, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"
# Uncompressed, JPEG and JPEG 2000: those that OpenSlide decodes. Of the others some are known by name. PS3.6 table A-1.
_DECODED = {
    "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
}  # fmt: skip
_SYNTAXES = {
    "1.2.840.10008.1.2.4.57": "lossless JPEG", "1.2.840.10008.1.2.4.70": "lossless JPEG",
    "1.2.840.10008.1.2.4.80": "JPEG-LS", "1.2.840.10008.1.2.4.81": "JPEG-LS",
    "1.2.840.10008.1.2.4.110": "JPEG XL", "1.2.840.10008.1.2.4.111": "JPEG XL", "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.4.201": "HTJ2K", "1.2.840.10008.1.2.4.202": "HTJ2K", "1.2.840.10008.1.2.4.203": "HTJ2K",
    "1.2.840.10008.1.2.5": "RLE", _IMPLICIT: "implicit VR", _DEFLATED: "deflate", _BIG_ENDIAN: "big-endian numbers",
}  # fmt: skip
_SOP_CLASS, _SYNTAX, _IMAGE_TYPE, _SERIES = 0x00020002, 0x00020010, 0x00080008, 0x0020000E
_INSTANCE, _CONCATENATION = 0x00080018, 0x00209161
_BITS, _COLUMNS, _ROWS, _PATHS = 0x00280100, 0x00480006, 0x00480007, 0x00480302
SAMPLES, FRAMES, FRAME_ROWS, FRAME_COLUMNS, BITS = 0x00280002, 0x00280008, 0x00280010, 0x00280011, _BITS
_WANTED = {
    _SOP_CLASS, _SYNTAX, _IMAGE_TYPE, _SERIES, _INSTANCE, _CONCATENATION, _BITS, _COLUMNS, _ROWS, _PATHS,
    SAMPLES, FRAMES, FRAME_ROWS, FRAME_COLUMNS,
}  # fmt: skip
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNKNOWN_LENGTH = 0xFFFFFFFF
# Value representations whose length takes 4 bytes after 2 that are not used.
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_MOST_VALUE = 1024  # bytes of a wanted value
_MOST_ELEMENTS = 100_000  # those before the pixels of a slide are hundreds
_DEEPEST = 16  # sequences within sequences
_REMOTE_BLOCK = 1 << 12  # bytes of a file at an address that are asked for at once
_PathT = TypeVar("_PathT", Path, RemotePath)


@frozen
class DicomFile:
    """What a DICOM file says of itself.

    Attributes:
        series: UID of its series.
        instance: UID of its image, which copies of the file have, too.
        is_slide: an image of a whole slide, not an annotation or an image of another kind.
        kind: "VOLUME" for a level of the slide; "LABEL", "OVERVIEW", "THUMBNAIL".
        syntax: transfer syntax, as a UID.
        bits: allocated for a sample.
        width, height: of the whole image in pixels; 0 if it does not say.
        optical_paths: number of channels or kinds of light.
        concatenation: UID of the image that it is a part of; "" if it is whole.
    """

    series: str
    instance: str
    is_slide: bool
    kind: str
    syntax: str
    bits: int
    width: int
    height: int
    optical_paths: int
    concatenation: str


def read_dicom(path: Path | RemotePath) -> DicomFile | None:
    """What a DICOM file says of itself; None for any other file, and for one that is damaged or cannot be read.

    Raises:
        SlideError: a file at an address cannot be read.
    """
    if isinstance(path, RemotePath):
        return path.once("dicom", partial(_read_at, path))
    try:
        state = path.stat()
        if not S_ISREG(state.st_mode):
            return None
        return _read(path, (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino))
    except OSError:
        return None


def series_in(path: _PathT) -> list[_PathT]:
    """All files of a DICOM file's series in its folder, sorted by name; none if it is not DICOM or names no series.

    Raises:
        Unlisted: nobody tells which files lie in a folder at an address.
        SlideError: such a file cannot be read.
    """
    own = read_dicom(path)
    if own is None or not own.series:
        return []
    beside = _beside(path)
    found = in_parallel(read_dicom, beside) if isinstance(path, RemotePath) else map(read_dicom, beside)
    return [
        file
        for file, other in zip(beside, found, strict=True)
        if file == path or (other is not None and other.series == own.series)
    ]


def _beside(path: _PathT) -> list[_PathT]:
    """All files and folders in a file's folder, sorted by name."""
    try:
        found = sorted(path.parent.iterdir())
    except OSError:  # files may be opened there, and not listed
        found = [path]
        if isinstance(path, RemotePath):
            found = []
    if isinstance(path, RemotePath) and path not in found:
        raise Unlisted(f"{path.parent}: its list of files lacks {path.name}, so it tells nothing; copy the folder")
    return found


def stands_for_series(path: _PathT) -> _PathT | None:
    """The file that stands for the slide of this one's series: of its levels the largest, and of those the first.

    None if this is not an image of a whole slide, or if its folder holds no level of the slide.
    """
    own = read_dicom(path)
    if own is None or not own.is_slide:
        return None
    levels = [
        (found.width * found.height, file)
        for file in series_in(path)
        if (found := read_dicom(file)) is not None and found.is_slide and found.kind == "VOLUME"
    ]
    return max(levels, key=lambda level: level[0])[1] if levels else None


def not_a_dicom_slide(path: Path) -> str | None:
    """Why there is no slide to be read from the series of a DICOM file, and what to do; None if there may be one."""
    own = read_dicom(path)
    if own is None:
        return None
    if own.syntax in (_DEFLATED, _BIG_ENDIAN):  # which nothing but the first group is read of
        return _undecoded(own.syntax)
    if not own.is_slide:
        return "it is a DICOM file, but no image of a whole slide; name the slide's file, or leave this one out"
    if not _levels(path):
        return "its DICOM series holds label or overview images only, in this folder; name a file of the slide's series"
    return None


def dicom_obstacle(path: Path) -> str | None:
    """Why a DICOM file's slide cannot be shown as 8-bit RGB without a decoder of its own, and what to do.

    None if nothing tells so.
    """
    obstacle = not_a_dicom_slide(path)
    if obstacle is not None or read_dicom(path) is None:
        return obstacle
    found = _levels(path)
    for level in found:
        if level.optical_paths > 1:
            return f"its DICOM series has {level.optical_paths} optical paths (channels or stains); export one as RGB"
        if level.bits > 8:
            return f"its DICOM samples have {level.bits} bits, and 8 are read; convert it to 8-bit RGB"
        if level.syntax not in _DECODED:
            return _undecoded(level.syntax)
    whole = {level.instance: (level.width, level.height) for level in found if not level.concatenation}
    sizes = Counter(whole.values())
    if sizes and max(sizes.values()) > 1:
        (width, height), count = sizes.most_common(1)[0]
        return (
            f"its DICOM series holds {count} images of {width} x {height} pixels, such as focal planes or channels; "
            "keep one of them in the folder"
        )
    return None


def _levels(path: Path) -> list[DicomFile]:
    """The levels in a file's series, from its folder."""
    return [level for file in series_in(path) if (level := read_dicom(file)) is not None and level.kind == "VOLUME"]


def _undecoded(syntax: str) -> str:
    name = _SYNTAXES.get(syntax, "something else")
    return (
        f"its DICOM pixels are stored as {name} (transfer syntax {syntax}), and JPEG, JPEG 2000 and uncompressed ones "
        "are read: convert each file, as with: gdcmconv --raw IN OUT"
    )


@lru_cache(maxsize=4096)
def _read(path: Path, _state: tuple[int, ...]) -> DicomFile | None:
    """`read_dicom` of a file as it is in this state: each slide of a folder asks for all of them."""
    with path.open("rb") as file:
        return _described(file)


@frozen
class _Head:
    """A file at an address as it is in one version."""

    key: str
    state: RemoteState
    path: RemotePath = field(eq=False)


def _read_at(path: RemotePath) -> DicomFile | None:
    state = path.state()
    if state is None:
        return None
    head = _Head(path.key, state, path)
    # Where nobody tells a version, the file may have another content the next time.
    return _read_head(head) if state.version else _read_head.__wrapped__(head)


@lru_cache(maxsize=4096)
def _read_head(head: _Head) -> DicomFile | None:
    """As `_read`: each slide of a folder that is opened asks for all of its files."""
    try:
        with head.path.open("rb", _REMOTE_BLOCK) as file:
            return _described(file)
    except FileNotFoundError:
        return None


def _described(file: BinaryIO) -> DicomFile | None:
    """What a file that was opened says of itself."""
    if file.read(132)[128:] != b"DICM":
        return None
    try:
        values = Elements(file).values()
    except (struct.error, ValueError):  # cut, or damaged
        return None
    kinds = _text(values.get(_IMAGE_TYPE)).split("\\")
    return DicomFile(
        series=_text(values.get(_SERIES)),
        instance=_text(values.get(_INSTANCE)),
        is_slide=_text(values.get(_SOP_CLASS)) == _WHOLE_SLIDE,
        kind=kinds[2].strip() if len(kinds) > 2 else "",
        syntax=_text(values.get(_SYNTAX)),
        bits=_number(values.get(_BITS)),
        width=_number(values.get(_COLUMNS)),
        height=_number(values.get(_ROWS)),
        optical_paths=_number(values.get(_PATHS)) or 1,
        concatenation=_text(values.get(_CONCATENATION)),
    )


def _text(value: bytes | None) -> str:
    return (value or b"").decode("ascii", "replace").strip("\0 ")


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "little")


class Elements:
    """Walks the data elements of a file that is open behind its "DICM"."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_ELEMENTS
        self._is_explicit = True  # as the first group always is
        self._next: int | None = None  # tag of the element that follows the values

    def values(self) -> dict[int, bytes]:
        """The wanted values, as far as the file's structure is known."""
        found: dict[int, bytes] = {}
        is_described = False  # True behind the first group, which tells how the others are encoded
        while (tag := self._next_tag()) is not None and tag <= max(_WANTED):
            if tag >> 16 > 2 and not is_described:
                is_described = True
                syntax = _text(found.get(_SYNTAX))
                if syntax in (_DEFLATED, _BIG_ENDIAN):
                    break
                self._is_explicit = syntax != _IMPLICIT
            kind, length = self._head()
            if tag in _WANTED and length <= _MOST_VALUE:
                found[tag] = self._file.read(length)
            else:
                self._skip(kind, length, depth=0)
        return found

    def reach(self, wanted: int) -> int | None:
        """Length of the element with a tag beyond those of `values`, with the file at its value; None if it is missing.

        To be called after `values`.
        """
        while self._next is not None and self._next < wanted:
            self._skip(*self._head(), depth=0)
            self._next_tag()
        return self._head()[1] if self._next == wanted else None

    def skip_all(self) -> None:
        """Skip elements up to the end of the file, from the next one on.

        Raises:
            ValueError, struct.error: there is something else than elements, in the order of their tags.
        """
        last = 0
        while (tag := self._next_tag()) is not None:
            if tag <= last:
                raise ValueError("no element where one must be")
            last = tag
            self._skip(*self._head(), depth=0)

    def _next_tag(self) -> int | None:
        self._next = self._tag()
        return self._next

    def _tag(self) -> int | None:
        self._left -= 1
        if self._left < 0:
            raise ValueError("too many elements")
        raw = self._file.read(4)
        if not raw:
            return None
        group, element = struct.unpack("<HH", raw)
        return int(group << 16 | element)

    def _head(self) -> tuple[bytes, int]:
        """Value representation, empty if it is implicit, and length of the value."""
        raw = self._file.read(4)
        if not self._is_explicit:
            return b"", int(struct.unpack("<I", raw)[0])
        kind = raw[:2]
        if kind in _LONG:
            return kind, int(struct.unpack("<I", self._file.read(4))[0])
        return kind, int(struct.unpack("<H", raw[2:])[0])

    def _skip(self, kind: bytes, length: int, *, depth: int) -> None:
        if length != _UNKNOWN_LENGTH:
            self._file.seek(length, 1)
            return
        if depth == _DEEPEST:
            raise ValueError("sequences are nested too deeply")
        was_explicit = self._is_explicit
        self._is_explicit = was_explicit and kind != b"UN"  # PS3.5 6.2.2: a sequence of unknown kind is implicit
        while (tag := self._tag()) != _SEQUENCE_END:
            length = int(struct.unpack("<I", self._file.read(4))[0])
            if tag != _ITEM:
                raise ValueError("no item where one must be")
            if length != _UNKNOWN_LENGTH:
                self._file.seek(length, 1)
                continue
            while (inner := self._tag()) != _ITEM_END:
                if inner is None:
                    raise ValueError("the file ends within an item")
                self._skip(*self._head(), depth=depth + 1)
            self._file.seek(4, 1)
        self._file.seek(4, 1)
        self._is_explicit = was_explicit
