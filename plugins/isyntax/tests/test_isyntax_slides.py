"""iSyntax slides of known pixels: levels, glass that is left out, damage, and what libisyntax makes of them."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from slideloom import (
    Point,
    Rgb,
    Size,
    SlideError,
    Slides,
    UnsupportedSlide,
    open_slide,
    pipeline_from_table,
    run_pipeline,
)
from slideloom_isyntax import ISyntaxReader
from slideloom_testing.contracts import ReaderContract
from slideloom_testing.isyntax import MadeISyntax, padding, write_coefficients, write_isyntax, ycocg


def picture(width: int = 1300, height: int = 900) -> Rgb:
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1)
    return (smooth * 0.8 + np.random.default_rng(7).integers(0, 20, smooth.shape)).astype(np.uint8)


def pixels(path: Path, level: int = 0) -> Rgb:
    with open_slide(path) as slide:
        assert slide.info.reader == "isyntax"
        return slide.read(Point(0, 0), level, slide.info.levels[level].size)


def low_band(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """The next level along x, by the formulas of 5/3 with floor: low n belongs to pixel 2n + 2."""
    wide = np.pad(plane, ((0, 0), (0, 6)), mode="edge")
    odd, even = wide[:, 1::2], wide[:, 0::2]
    count = plane.shape[1] // 2
    high = [odd[:, n] - np.floor((even[:, n] + even[:, n + 1]) / 2) for n in range(count + 2)]
    return np.stack([even[:, n + 1] + np.floor((high[n] + high[n + 1] + 2) / 4) for n in range(count)], axis=1)


def level_by_formula(rgb: Rgb, levels: int, level: int) -> Rgb:
    """A level as the format's definition has it, from the pixels of level 0."""
    pad, side = padding(levels), 128 << levels
    more = [-(-(length + 2 * pad) // side) * side - length - pad for length in rgb.shape[:2]]
    planes = np.pad(ycocg(rgb), ((0, 0), (pad, more[0]), (pad, more[1])), mode="edge").astype(np.float64)
    for _ in range(level):
        planes = np.stack([low_band(low_band(plane.T).T) for plane in planes])
    y, orange, green = np.abs(planes[0]), planes[1], planes[2]
    rest = y - np.floor(green / 2)
    blue = rest - np.floor(orange / 2)
    whole = np.clip(np.stack([blue + orange, rest + green, blue], axis=-1), 0, 255).astype(np.uint8)
    first = 3 * 2 ** (levels - level) - 2
    return whole[first : first + (rgb.shape[0] >> level), first : first + (rgb.shape[1] >> level)]


class TestISyntaxReaderContract(ReaderContract):
    settings = ISyntaxReader()

    @pytest.fixture(autouse=True)
    def _slide(self, tmp_path: Path) -> None:
        y, x = np.mgrid[:600, :700]
        smooth = np.stack([x * 255 // 700, y * 255 // 600, (x + y) // 8], axis=-1).astype(np.uint8)
        self.slide_path = write_isyntax(tmp_path / "a.isyntax", smooth)


@pytest.mark.parametrize(("size", "levels"), [((700, 500), 3), ((1300, 401), 1), ((333, 777), 2), ((65, 64), 4)])
def test_pixels_come_out_as_they_were_written(tmp_path: Path, size: tuple[int, int], levels: int) -> None:
    rgb = picture(*size)
    path = write_isyntax(tmp_path / "a.isyntax", rgb, MadeISyntax(levels=levels))

    with open_slide(path) as slide:
        assert slide.info.size == Size(*size)
        assert [level.size for level in slide.info.levels] == [
            Size(size[0] >> level, size[1] >> level) for level in range(levels)
        ]
        assert [level.downsample for level in slide.info.levels] == [2**level for level in range(levels)]
    assert np.array_equal(pixels(path), rgb)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_level_is_the_low_band_of_the_one_before(tmp_path: Path, level: int) -> None:
    rgb = picture(900, 700)
    path = write_isyntax(tmp_path / "a.isyntax", rgb, MadeISyntax(levels=4))

    assert np.array_equal(pixels(path, level), level_by_formula(rgb, 4, level))


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_levels_lie_over_each_other(tmp_path: Path, level: int) -> None:
    # Along a ramp of 1 grey level in 4 pixels, half a pixel of the level more or less is 2^level / 8 grey levels.
    x = np.arange(1000) // 4
    rgb = np.repeat(np.repeat(x[None, :, None], 600, axis=0), 3, axis=2).astype(np.uint8)
    path = write_isyntax(tmp_path / "a.isyntax", rgb, MadeISyntax(levels=5))
    small = pixels(path, level).astype(float)
    middle = (np.arange(small.shape[1]) + 0.5) * 2**level / 4 - 0.5

    assert np.abs(small[10:-10, 10:-10, 0] - middle[10:-10]).max() <= 2**level / 8 + 1


def test_what_the_header_says_is_told(tmp_path: Path) -> None:
    made = MadeISyntax(mpp=("0.25", "0.2501"), icc_profile=b"profile" * 30, images={"LABELIMAGE": b"jpeg"})
    path = write_isyntax(tmp_path / "a.isyntax", picture(300, 200), made)

    with open_slide(path) as slide:
        assert slide.info.mpp is not None
        assert (slide.info.mpp.x, slide.info.mpp.y, slide.info.mpp.source) == (0.25, 0.2501, "iSyntax scale factor")
        assert slide.info.vendor == "philips"
        assert slide.info.properties["philips.model"] == "UFS Scanner"
        assert slide.icc_profile() == b"profile" * 30
        assert "made" not in str(slide.info)  # the barcode


def test_what_the_slide_or_its_general_header_has_is_the_same(tmp_path: Path) -> None:
    rgb = picture(300, 200)
    path = write_isyntax(tmp_path / "a.isyntax", rgb, MadeISyntax(is_nested=True, icc_profile=b"profile"))

    assert np.array_equal(pixels(path), rgb)
    with open_slide(path) as slide:
        assert slide.icc_profile() == b"profile"


@pytest.mark.parametrize(
    "change",
    [
        lambda xml: xml.replace(b">0 1 127<", b">0 2 254<"),
        lambda xml: re.sub(rb'(<Attribute) (Name="\w+") (Group="\w+") (Element="\w+") (PMSVR="\w+")>',
                           rb"\1 \5\n \4 \3 \2 >", xml),
        lambda xml: re.sub(rb"0x[0-9A-F]{4}", lambda found: found[0].lower(), xml),
        lambda xml: re.sub(rb">([\w+/=]{400,})<", lambda found: b">\r\n" + found[1][:76] + b"\n" + found[1][76:] + b"<",
                           xml),
        lambda xml: re.sub(rb'(<Attribute Name="PIM_DP_UFS_BARCODE"[^>]*)>[^<]*</Attribute>', rb"\1/>", xml),
        lambda xml: xml + b"\n" * 2_000_000,
        lambda xml: xml.replace(b"<DataObject ", b'<DataObject xmlns="http://a.example/isyntax" ', 1),
        lambda xml: re.sub(rb"<(/?)(?=[A-Z])", rb"<\1p:", xml).replace(b" ", b' xmlns:p="http://a.example" ', 1),
        lambda xml: re.sub(rb"(</?|(?<=\s))(\w+)(?=[\s=>/])(?=[^<>]*>)", lambda found: found[0].lower(), xml),
    ],
    ids=["steps", "order", "case", "lines", "no-barcode", "padded", "namespace", "prefix", "lower"],
)  # fmt: skip
def test_the_form_of_a_header_does_not_matter(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    rgb = picture(300, 200)
    path = write_isyntax(tmp_path / "a.isyntax", rgb, MadeISyntax(images={"LABELIMAGE": b"jpeg" * 3000}))
    content = path.read_bytes()
    begin = at_seek_table(content) - 3
    declaration, mark, header = content[:begin].rpartition(b"?>")
    xml = declaration + mark + change(header)
    assert xml != content[:begin]
    rest = bytearray(content[begin:])
    for at in range(11 + 16, 11 + struct.unpack_from("<I", rest, 7)[0], 40):
        (offset,) = struct.unpack_from("<Q", rest, at)
        struct.pack_into("<Q", rest, at, offset + len(xml) - begin if offset else 0)
    path.write_bytes(xml + rest)

    assert np.array_equal(pixels(path), rgb)


def test_colours_of_another_kind_are_refused_by_their_names(tmp_path: Path) -> None:
    path = changed(
        write_isyntax(tmp_path / "a.isyntax", picture(300, 200)),
        lambda content: content.replace(b"&quot;Y&quot; &quot;Co&quot; &quot;Cg&quot;", b"R G B"),
    )

    with pytest.raises(
        SlideError, match=r"a\.isyntax: its colours are R G B, and Y, Co, Cg are read; export it as TIFF"
    ):
        open_slide(path)


def test_a_header_that_lists_code_blocks_one_by_one_is_refused_as_another_kind(tmp_path: Path) -> None:
    block = b'Name="UFS_IMAGE_BLOCK_HEADERS" Group="0x301D" Element="0x200D" PMSVR="IDataObjectArray"'
    listed = b"<Attribute " + block + b'><Array><DataObject ObjectType="UFSImageBlockHeader"/></Array></Attribute>'
    path = changed(
        write_isyntax(tmp_path / "a.isyntax", picture(300, 200)),
        lambda content: re.sub(rb'<Attribute Name="UFS_IMAGE_BLOCK_HEADER_TABLE".*?</Attribute>', listed, content),
    )

    with pytest.raises(SlideError, match=r"a\.isyntax: its code blocks are listed one by one.*export it as TIFF"):
        open_slide(path)


@pytest.mark.parametrize("mpp", ["0", "-0.25", "nan", "2500", "text"])
def test_an_impossible_resolution_is_shown_as_what_it_is(tmp_path: Path, mpp: str) -> None:
    path = write_isyntax(tmp_path / "a.isyntax", picture(300, 200), MadeISyntax(mpp=(mpp, mpp)))

    with open_slide(path, mpp=0.25) as slide:
        assert f"iSyntax scale factor, X = {mpp}" in slide.info.odd_mpp


def test_glass_that_is_left_out_is_white(tmp_path: Path) -> None:
    # Tiles of the coarsest level have 512 pixels of level 0, of which 9 are padding.
    rgb = picture(1100, 700)
    rgb[:540, :540] = 255
    path = write_isyntax(tmp_path / "a.isyntax", rgb, MadeISyntax(levels=2, left_out=[(0, 0)]))

    assert np.array_equal(pixels(path), rgb)
    assert np.array_equal(pixels(path, 1), level_by_formula(rgb, 2, 1))
    with open_slide(path) as slide:
        assert (slide.read(Point(-50, -50), 0, Size(60, 60)) == 255).all()


def test_tiles_without_their_coarser_levels_are_unreadable_unless_they_hold_nothing(tmp_path: Path) -> None:
    # Of levels 0 to 2, code blocks are stored together; tiles of level 3 have 2048 pixels of level 0, of which 45 are
    # padding.
    rgb = picture(2500, 300)
    for first, is_refused in ((0, True), (2100, False)):
        rgb[:, :first] = 255
        made = MadeISyntax(levels=4, without_coarsest=[(0, 0)])
        path = write_isyntax(tmp_path / "a.isyntax", rgb, made)
        with open_slide(path) as slide:
            assert np.array_equal(slide.read(Point(2100, 0), 0, Size(400, 300)), rgb[:, 2100:])
            if is_refused:
                with pytest.raises(SlideError, match=r"a\.isyntax: the tile of level 0 .* coarser levels have none"):
                    slide.read(Point(900, 0), 0, Size(400, 300))
            else:
                assert (slide.read(Point(900, 0), 0, Size(400, 300)) == 255).all()


def test_colours_beyond_rgb_become_the_nearest(tmp_path: Path) -> None:
    planes = np.zeros((3, 300, 300), np.int32)
    planes[0, :150], planes[0, 150:] = 2, 253
    planes[1, :150], planes[1, 150:] = 20, 20  # red 10 more, blue 10 less than the rest
    path = write_coefficients(tmp_path / "a.isyntax", planes, MadeISyntax(levels=1))

    shown = pixels(path)

    assert (shown[:140] == (12, 2, 0)).all()
    assert (shown[160:] == (255, 253, 243)).all()


def test_several_threads_read_the_same_as_one(tmp_path: Path) -> None:
    rgb = picture()
    path = write_isyntax(tmp_path / "a.isyntax", rgb, MadeISyntax(levels=2))
    places = [Point(x, y) for y in range(0, 850, 170) for x in range(0, 1250, 240)]
    with open_slide(path, slides=Slides(reader="isyntax:cache_mb=1")) as slide, ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda place: slide.read(place, 0, Size(40, 40)), places))

    for place, tile in zip(places, found, strict=True):
        assert np.array_equal(tile, rgb[place.y : place.y + 40, place.x : place.x + 40])


def changed(path: Path, change: Callable[[bytes], bytes]) -> Path:
    content = path.read_bytes()
    path.write_bytes(change(content))
    assert path.read_bytes() != content
    return path


def without_block(content: bytes, number: int = 40) -> bytes:
    """The same file, but that its header has lost a code block."""
    found = re.search(rb'"0x2014"[^>]*>([^<]*)<', content)
    assert found is not None
    table = base64.b64decode(found[1])[4:]
    table = table[: number * 48] + table[(number + 1) * 48 :]
    packed = base64.b64encode(struct.pack("<I", len(table)) + table)
    return content[: found.start(1)] + packed + content[found.end(1) :]


def at_seek_table(content: bytes) -> int:
    return content.index(b"\x04") + 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: content[:-500], "its code blocks reach from byte"),
        (lambda content: content.replace(b"\x04", b" ", 1)[:3000], "its header has no end"),
        (lambda content: content.replace(b"</DataObject>", b"</DataObjec>", 1), "its header is no XML"),
        (lambda content: content.replace(b"UTF-8", b"UT9-8", 1), "its header is no XML"),
        (lambda content: content.replace(b' Group="0x301D"', b' Group="0x301D" group="0x301D"', 1), "attribute twice"),
        (lambda content: content.replace(b">-500 1 ", b">-500 2 ", 1), "has the range '-500 2"),
        (lambda content: content.replace(b">-500 1 ", b">-400 1 ", 1), "lies at x = .*, where no tile is"),
        (lambda content: content.replace(b">WSI<", b">WSJ<"), "its header describes 0 slides"),
        (without_block, "code blocks of some colours|its seek table has 1 code blocks that its header has not"),
        (lambda content: content[: at_seek_table(content)] + bytes(8) + content[at_seek_table(content) + 8 :],
         "it has no seek table"),
        (lambda content: content[: at_seek_table(content) + 8 + 16] + b"\xff" * 8
         + content[at_seek_table(content) + 8 + 24 :], "its code blocks reach from byte"),
        (lambda content: content[: at_seek_table(content) + 8 + 16] + bytes(8)
         + content[at_seek_table(content) + 8 + 24 :], "its seek table has 0 .* and has not 1 others"),
        (lambda content: content[: at_seek_table(content) + 8 + 8] + bytes(4)
         + content[at_seek_table(content) + 8 + 12 :], "its seek table has other tags"),
    ],
    ids=["cut", "no-end", "xml", "encoding", "twice", "step", "moved", "no-slide", "lost-block", "no-seek-table",
         "beyond", "zeroed", "tags"],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, change: Callable[[bytes], bytes], said: str) -> None:
    path = changed(write_isyntax(tmp_path / "a.isyntax", picture(600, 400)), change)

    with pytest.raises(SlideError, match=rf"a\.isyntax: (.*{said}).*copy it again from its source"):
        open_slide(path)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"PIM_DP_UFS_INTERFACE_VERSION": "100.5"}, r"it is of the second version of iSyntax \(100.5\)"),
        ({"UFS_IMAGE_BLOCK_COMPRESSION_METHOD": "19"}, "its compression method is 19, and 16 is read"),
    ],
)
def test_another_kind_is_refused_with_what_converts_it(tmp_path: Path, attributes: dict[str, str], said: str) -> None:
    path = write_isyntax(tmp_path / "a.isyntax", picture(300, 200), MadeISyntax(attributes=attributes))

    with pytest.raises(SlideError, match=rf"a\.isyntax: {said}; export it as TIFF with Philips' software"):
        open_slide(path)


def test_a_header_with_a_document_type_is_refused_as_another_kind(tmp_path: Path) -> None:
    path = changed(
        write_isyntax(tmp_path / "a.isyntax", picture(300, 200)),
        lambda content: content.replace(b'<?xml version="1.0" encoding="UTF-8" ?>', b"<!DOCTYPE a>"),
    )

    with pytest.raises(SlideError, match=r"a\.isyntax: its header has a document type, .*; export it as TIFF"):
        open_slide(path)


def test_a_file_that_does_not_begin_as_iSyntax_is_no_slide(tmp_path: Path) -> None:
    path = changed(write_isyntax(tmp_path / "a.isyntax", picture(300, 200)), lambda content: bytes(600) + content[600:])

    with pytest.raises(UnsupportedSlide, match=r"a\.isyntax: no reader recognises it"):
        open_slide(path)


def test_tiles_with_a_damaged_code_block_are_unreadable_and_the_run_counts_them(tmp_path: Path) -> None:
    path = write_isyntax(tmp_path / "a.isyntax", picture(2000, 500), MadeISyntax(levels=1))
    content = bytearray(path.read_bytes())
    begin = at_seek_table(content) + 8
    # Number 4 of the high bands of the first colour: the tile from 4 * 256 - 3 on, in the first row.
    at, length = struct.unpack_from("<Q8xQ", content, begin + 4 * 40 + 16)
    content[at + 6 : at + length] = bytes(length - 6)
    path.write_bytes(content)
    table = {"slideloom": 1, "filter": [], "tiles": {"size_px": 250, "size_um": 62.5}, "sink": [{"use": "images"}]}

    (report,) = run_pipeline(pipeline_from_table(table, where="test"), [path], tmp_path / "out").slides

    # 8 x 2 tiles. Pixels 1021 to 1276 need the block, and some beside them: those of the squares of 512 pixels from 512
    # to 1535. Tiles 2 to 6 of each row touch them.
    assert (report.reader, report.planned, report.written, report.unreadable) == ("isyntax", 16, 6, 10)


def libisyntax() -> Any:
    """Another decoder, which has read scanners' files. In some builds it rounds colours down, and wraps below 0."""
    return pytest.importorskip("isyntax", reason="needs pip install pyisyntax").ISyntax


def test_libisyntax_shows_the_same_but_for_its_rounding(tmp_path: Path) -> None:
    rgb = np.maximum(picture(700, 500), 3)
    path = write_isyntax(tmp_path / "a.isyntax", rgb)

    with libisyntax().open(path) as slide:
        shown = slide.read_region(0, 0, 700, 500, 0)[..., :3]
        assert slide.dimensions == (700, 500)
        assert slide.mpp_x == 0.25

    assert np.abs(shown.astype(int) - pixels(path)).max() <= 2


def test_libisyntax_shows_the_same_where_chroma_is_even(tmp_path: Path) -> None:
    planes = ycocg(picture(700, 500))
    planes[0] = planes[0] // 2 + 60
    planes[1:] = planes[1:] // 8 * 2
    path = write_coefficients(tmp_path / "a.isyntax", planes)

    with libisyntax().open(path) as slide:
        shown = slide.read_region(0, 0, 700, 500, 0)[..., :3]

    assert np.array_equal(shown, pixels(path))
