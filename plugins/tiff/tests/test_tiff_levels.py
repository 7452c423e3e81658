"""Which images of a file are levels, and which files are refused though their tiles could be decoded."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slideloom import Rgb, Size, SlideError, open_slide
from slideloom_tiff.settings import TiffReader

LIBRARY = "Aperio Image Library v11.2.1\r\n"
APERIO = f"{LIBRARY}200x150 (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"


def sizes(path: Path) -> list[tuple[int, int]]:
    """Width and height of every level."""
    reader = TiffReader().build()
    assert reader.recognises(path)
    with reader.open(path) as slide:
        return [(level.size.width, level.size.height) for level in slide.info.levels]


def plain(width: int, height: int, value: int) -> Rgb:
    """An image of one colour."""
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize("kind", [0, 1, 9])
def test_a_tiled_label_or_macro_beside_the_pyramid_is_no_level(
    write_tiff: Any, level: Any, picture: Rgb, kind: int
) -> None:
    path = write_tiff(
        [
            level(picture, description=APERIO),
            level(picture[::2, ::2].copy(), description=f"{LIBRARY}200x150 -> 100x75"),
            level(plain(90, 80, 30), description=f"{LIBRARY}label 90x80", kind=kind),
            level(plain(190, 60, 60), description=f"{LIBRARY}macro 190x60", kind=kind),
        ]
    )

    assert sizes(path) == [(200, 150), (100, 75)]


def test_a_label_of_the_slides_own_proportions_is_known_by_its_name(write_tiff: Any, level: Any, picture: Rgb) -> None:
    label = level(plain(100, 75, 30), description=f"{LIBRARY}label 100x75", kind=1)

    assert sizes(write_tiff([level(picture, description=APERIO), label])) == [(200, 150)]


def test_an_aperio_slide_smaller_than_its_macro_image_is_read(write_tiff: Any, level: Any, picture: Rgb) -> None:
    macro = level(plain(400, 130, 60), description=f"{LIBRARY}macro 400x130", kind=9)

    assert sizes(write_tiff([level(picture, description=APERIO), macro])) == [(200, 150)]


@pytest.mark.parametrize(
    ("kind", "is_level"), [(0, False), (1, True), (3, True), (4, False), (5, False), (9, False)], ids=str
)
def test_a_smaller_image_of_a_plain_tiff_is_a_level_if_it_says_so(
    write_tiff: Any, level: Any, picture: Rgb, kind: int, is_level: bool
) -> None:
    path = write_tiff([level(picture), level(picture[::2, ::2].copy(), kind=kind)])

    assert sizes(path) == [(200, 150), (100, 75)][: 1 + is_level]


def test_a_reduced_image_of_other_proportions_is_no_level(write_tiff: Any, level: Any, picture: Rgb) -> None:
    path = write_tiff([level(picture), level(plain(77, 86, 30), kind=1), level(picture[::2, ::2].copy(), kind=1)])

    assert sizes(path) == [(200, 150), (100, 75)]


def test_levels_in_any_order_are_sorted_and_planes_of_one_size_counted_once(
    write_tiff: Any, level: Any, large_picture: Rgb
) -> None:
    halves = [large_picture[::step, ::step].copy() for step in (4, 2, 2)]
    path = write_tiff([level(large_picture), *(level(half, kind=1) for half in halves)])

    assert sizes(path) == [(1200, 1150), (600, 575), (300, 288)]


@pytest.mark.parametrize("kind", [0, 1])
def test_a_file_that_begins_with_a_smaller_image_is_left_to_other_readers(
    write_tiff: Any, level: Any, picture: Rgb, kind: int
) -> None:
    path = write_tiff([level(plain(90, 80, 30)), level(picture, kind=kind)])

    assert not TiffReader().build().recognises(path)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.info.reader == "vips"
        assert slide.info.size == Size(200, 150)


@pytest.mark.parametrize("orientation", range(9))
def test_an_image_to_be_shown_turned_is_refused_by_name(
    write_tiff: Any, level: Any, picture: Rgb, orientation: int
) -> None:
    path = write_tiff([level(picture, tags=((274, 3, (orientation,)),))])

    if orientation <= 1:  # 0 means nothing
        assert sizes(path) == [(200, 150)]
    else:
        with pytest.raises(SlideError, match=rf"a\.tif: its orientation tag says {orientation} .*vips autorot a\.tif"):
            open_slide(path, mpp=0.5)


def test_a_dicom_file_that_is_a_tiff_too_is_left_to_others(write_tiff: Any, level: Any, picture: Rgb) -> None:
    path = write_tiff([level(picture)])
    content = bytearray(path.read_bytes())
    content[128:132] = b"DICM"
    path.write_bytes(bytes(content))

    assert not TiffReader().build().recognises(path)


@pytest.mark.parametrize("side", [1, 8, 16384])
def test_tiles_that_nobody_writes_are_refused(write_tiff: Any, level: Any, picture: Rgb, side: int) -> None:
    path = write_tiff([level(picture)])
    content = path.read_bytes()
    entry = struct.pack("<HHIH", 322, 3, 1, 64)  # tile width
    assert entry in content
    path.write_bytes(content.replace(entry, struct.pack("<HHIH", 322, 3, 1, side)))

    assert not TiffReader().build().recognises(path)


def test_an_impossible_height_is_named(write_tiff: Any, level: Any, picture: Rgb) -> None:
    path = write_tiff([level(picture)], big=True)
    content = path.read_bytes()
    entry = struct.pack("<HHQQ", 257, 4, 1, 150)
    assert entry in content
    path.write_bytes(content.replace(entry, struct.pack("<HHQQ", 257, 16, 1, 2**64 - 74)))

    assert not TiffReader().build().recognises(path)
    for reader in ("tiff", None):
        with pytest.raises(SlideError, match=r"a\.tif: .*18446744073709551542 pixels high.*copy it again"):
            open_slide(path, mpp=0.5) if reader is None else TiffReader().build().open(path)


@pytest.mark.parametrize(("text", "mpp"), [("0.2500", 0.25), ("0,2500", 0.25), ("0.0", None), ("unknown", None)])
def test_the_resolution_may_have_a_decimal_comma(
    write_tiff: Any, level: Any, picture: Rgb, text: str, mpp: float | None
) -> None:
    path = write_tiff([level(picture, description=f"{LIBRARY}200x150|AppMag = 40|MPP = {text}")])

    with TiffReader().build().open(path) as slide:
        assert (slide.info.mpp.x if slide.info.mpp else None) == mpp


def test_a_recorded_mpp_that_cannot_be_is_shown(write_tiff: Any, level: Any, picture: Rgb) -> None:
    path = write_tiff([level(picture, description=APERIO.replace("MPP = 0.5", "MPP = 0.0"))])

    with pytest.raises(SlideError, match=r"a\.tif: no microns per pixel recorded \(it says aperio\.MPP = 0\.0"):
        open_slide(path)


def test_a_level_without_bytes_where_level_0_has_some_is_left_out(write_tiff: Any, level: Any, picture: Rgb) -> None:
    """Aperio's encoder has left out tiles of smaller levels, which would be shown as glass."""
    half, quarter = picture[::2, ::2].copy(), picture[::4, ::4].copy()

    whole = write_tiff([level(picture, description=APERIO), level(half), level(quarter)], name="whole.svs")
    holed = write_tiff([level(picture, description=APERIO), level(half, left_out=(1,)), level(quarter)], name="a.svs")
    # The right half of level 0, which is the second column of the next, was not scanned.
    part = level(picture, description=APERIO, left_out=(2, 3, 6, 7, 10, 11))
    blank = write_tiff([part, level(half, left_out=(1, 3)), level(quarter)], name="blank.svs")

    assert sizes(whole) == [(200, 150), (100, 75), (50, 38)]
    assert sizes(holed) == [(200, 150), (50, 38)]
    assert sizes(blank) == [(200, 150), (100, 75), (50, 38)]
