"""How a TIFF is stored, in words, and the orientations that are refused."""

from __future__ import annotations

from pathlib import Path

from slideloom import RemoteFile, SlideError

from slideloom_formats.tiff.directories import TiffError, TiffTag, read_tiff_directories

_CODECS = {
    1: "no compression", 5: "LZW", 6: "old JPEG", 7: "JPEG", 8: "deflate", 32773: "PackBits", 32946: "deflate",
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG",
    34925: "LZMA", 34933: "PNG", 34934: "JPEG XR", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL",
    52546: "JPEG XL",
}  # fmt: skip
# What it takes to show an image as its orientation tag wants it; 1 is upright, and other numbers mean nothing.
_TURNS = {
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored top to bottom",
    5: "mirrored and turned by 90 degrees to the left",
    6: "turned by 90 degrees to the right",
    7: "mirrored and turned by 90 degrees to the right",
    8: "turned by 90 degrees to the left",
}


def tiff_codec(path: Path) -> str | None:
    """How the first image of a TIFF is stored, such as "JPEG XL (50002)"; None if it is no TIFF, or damaged."""
    try:
        images = read_tiff_directories(path, (TiffTag.COMPRESSION, TiffTag.PLANAR))
        number = images[0].number(TiffTag.COMPRESSION, 1) if images else None
        planes = ", with its colours in separate planes" if images and images[0].number(TiffTag.PLANAR) == 2 else ""
    except (TiffError, OSError):
        return None
    return None if number is None else f"{codec_name(number)}{planes}"


def codec_name(compression: int) -> str:
    """A compression for messages, such as "JPEG XL (50002)"."""
    return f"{_CODECS.get(compression, 'a compression of its own')} ({compression})"


def check_orientation(path: Path | RemoteFile, orientation: int | None) -> None:
    """Refuse an image whose orientation tag asks for a rotated or mirrored view.

    Readers would disagree about where a pixel is, and regions drawn in a viewer would lie elsewhere.

    Args:
        path: the file, for the message.
        orientation: the tag's value, None if there is none.

    Raises:
        SlideError: the value is from 2 to 8.
    """
    if orientation in _TURNS:
        raise SlideError(
            f"{path.name}: its orientation tag says {orientation} ({_TURNS[orientation]}), and only upright images (1) "
            f"are read; write it upright: vips autorot {path.name} upright.tif[tile,pyramid,compression=jpeg,Q=95]"
        )
