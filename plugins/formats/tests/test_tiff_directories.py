"""The walk along a TIFF's directories: what is read is right, and what cannot be true is refused in little memory."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from slideloom import Size
from slideloom_formats.tiff import TiffError, TiffTag, is_cut_tiff, read_tiff_directories, tiff_fault

# Of each field type its struct format; 5 is a pair.
FORMATS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "I", 6: "b", 7: "s", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d"} | {
    13: "I", 16: "Q", 17: "q", 18: "Q"
}  # fmt: skip
Tag = tuple[int, int, Any]  # number, field type, values: bytes, or whole numbers
IMAGE: tuple[Tag, ...] = ((256, 4, (300,)), (257, 3, (200,)))


def nowhere(starts: list[int]) -> int:
    return 0


def tiff(
    directories: Sequence[Sequence[Tag]],
    *,
    order: str = "<",
    big: bool = False,
    last: Callable[[list[int]], int] = nowhere,
) -> bytes:
    """A TIFF of these directories; `last` says from where they begin what the last one calls the next."""
    word, room = ("Q", 8) if big else ("I", 4)
    body = bytearray(b"II" if order == "<" else b"MM")
    body += struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0)
    link, starts = (8, []) if big else (4, [])
    for tags in directories:
        entries = b""
        for number, kind, values in tags:
            if isinstance(values, bytes):
                raw, count = values, len(values)
            else:
                raw = struct.pack(f"{order}{len(values)}{FORMATS[kind]}", *values)
                count = len(values) // (2 if kind in (5, 10) else 1)
            place = raw.ljust(room, b"\0") if len(raw) <= room else struct.pack(order + word, len(body))
            if len(raw) > room:
                body += raw
            entries += struct.pack(order + "HH" + word, number, kind, count) + place
        starts.append(len(body))
        body[link : link + room] = struct.pack(order + word, len(body))
        body += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries + bytes(room)
        link = len(body) - room
    body[link : link + room] = struct.pack(order + word, last(starts))
    return bytes(body)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes a TIFF as `tiff` makes it, or these bytes."""

    def write(content: bytes | Sequence[Sequence[Tag]], **options: Any) -> Path:
        path = tmp_path / "a.tif"
        path.write_bytes(content if isinstance(content, bytes) else tiff(content, **options))
        return path

    return write


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_values_of_every_type_are_read(written: Callable[..., Path], order: str, big: bool) -> None:
    tags: list[Tag] = [
        (254, 1, (1,)), (256, 4, (70000,)), (257, 3, (513,)), (258, 3, (8, 8, 8)), (270, 2, b"Aperio \xc3\xa4\0rest"),
        (282, 5, (20000, 3)), (283, 10, (-5, 2)), (324, 16, (1, 2**40)), (325, 9, (-1, 2)), (347, 7, b"\xff\xd8tables"),
    ]  # fmt: skip
    first, second = read_tiff_directories(written([tags, IMAGE], order=order, big=big), TiffTag)

    assert first.number(TiffTag.SUBFILE_TYPE) == 1
    assert first.size() == Size(70000, 513)
    assert first.numbers(TiffTag.BITS).tolist() == [8, 8, 8]
    assert first.text(TiffTag.DESCRIPTION) == "Aperio ä"
    assert first.rational(TiffTag.X_RESOLUTION) == pytest.approx(20000 / 3)
    assert first.rational(TiffTag.Y_RESOLUTION) == -2.5
    assert first.numbers(TiffTag.TILE_OFFSETS).tolist() == [1, 2**40]
    assert first.numbers(TiffTag.TILE_BYTES, most=1).tolist() == [-1]
    assert first.raw(TiffTag.JPEG_TABLES) == b"\xff\xd8tables"
    assert second.size() == Size(300, 200)
    assert (second.number(TiffTag.SAMPLES), second.number(TiffTag.SAMPLES, 1)) == (None, 1)
    assert (second.text(TiffTag.MAKE), second.raw(TiffTag.XMP), second.rational(TiffTag.UNIT)) == ("", b"", None)
    assert second.tile_size() is None


def test_only_the_tags_asked_for_are_read_and_the_others_known_to_be_there(written: Callable[..., Path]) -> None:
    (directory,) = read_tiff_directories(written([[*IMAGE, (305, 2, b"maker\0"), (65000, 4, (1,))]]), [TiffTag.WIDTH])

    assert directory.number(TiffTag.WIDTH) == 300
    assert directory.number(TiffTag.HEIGHT) is None
    assert TiffTag.SOFTWARE in directory
    assert TiffTag.XMP not in directory


def test_a_tag_of_a_type_that_nobody_knows_is_passed_over(written: Callable[..., Path]) -> None:
    content = bytearray(tiff([IMAGE]))
    at = content.rfind(struct.pack("<HH", 257, 3))
    content[at : at + 4] = struct.pack("<HH", 257, 99)
    (directory,) = read_tiff_directories(written(bytes(content)), TiffTag)

    assert directory.size() is None


@pytest.mark.parametrize("kind", [11, 5])
def test_numbers_that_are_not_whole_are_refused_by_tag(written: Callable[..., Path], kind: int) -> None:
    (directory,) = read_tiff_directories(written([[(256, kind, (1, 1)), IMAGE[1]]]), TiffTag)

    with pytest.raises(TiffError, match=rf"tag 256 of the directory at \d+ does not hold whole numbers .*type {kind}"):
        directory.size()


@pytest.mark.parametrize("kind", [1, 2, 6, 7])
def test_places_of_tiles_are_not_single_bytes(written: Callable[..., Path], kind: int) -> None:
    (image,) = read_tiff_directories(written([[*IMAGE, (324, 4, (8, 9))]]), TiffTag)
    raw = image.values[324][1]

    assert image.numbers(324).tolist() == [8, 9]
    with pytest.raises(TiffError, match=rf"tag 324 .* does not hold whole numbers .*type {kind}"):
        evolve(image, values={324: (kind, raw)}).numbers(324)


@pytest.mark.parametrize("tag", [258, 259, 262, 277, 284, 339, 530])
def test_what_explains_samples_is_no_default_where_its_type_is_unknown(written: Callable[..., Path], tag: int) -> None:
    path = written([[*IMAGE, (tag, 3, (2,))]])
    content = bytearray(path.read_bytes())
    at = content.index(struct.pack("<HHI", tag, 3, 1))
    content[at + 2 : at + 4] = (65000).to_bytes(2, "little")
    path.write_bytes(content)

    with pytest.raises(TiffError, match=f"tag {tag} .* has field type 65000"):
        read_tiff_directories(path, TiffTag)


def test_of_a_tag_that_stands_twice_the_first_counts_as_for_other_readers(written: Callable[..., Path]) -> None:
    (image,) = read_tiff_directories(written([[*IMAGE, (256, 4, (2,))]]), (TiffTag.WIDTH, TiffTag.HEIGHT))

    assert image.size() == Size(300, 200)


def test_the_places_of_directories_and_links_lead_through_the_chain(written: Callable[..., Path]) -> None:
    path = written([IMAGE, IMAGE, IMAGE], order=">", big=True)
    content = path.read_bytes()
    found = read_tiff_directories(path)

    links = [struct.unpack_from(">Q", content, at)[0] for at in (8, *(directory.next_at for directory in found))]
    assert links == [*(directory.at for directory in found), 0]


def test_a_large_ndpi_is_followed_by_links_of_64_bits(tmp_path: Path) -> None:
    """Hamamatsu's classic TIFFs of more than 4 GiB; the file has a hole, so it takes no room on the disk."""
    path = tmp_path / "a.ndpi"
    first, second = 2**32 + 100, 2**32 + 5000
    with path.open("wb") as file:
        file.write(b"II" + struct.pack("<HQ", 42, first))
        for at, following in ((first, second), (second, 0)):
            file.seek(at)
            entries = struct.pack("<HHIIHHII", 256, 4, 1, at - 2**32, 65420, 4, 1, 1)
            file.write(struct.pack("<H", 2) + entries + struct.pack("<Q", following))

    assert [directory.number(TiffTag.WIDTH) for directory in read_tiff_directories(path, TiffTag)] == [100, 5000]
    assert tiff_fault(path) is None


BOMB = bytes(4 << 20)


def many_tags() -> bytes:
    body = b"II*\0" + struct.pack("<I", 8 + len(BOMB)) + BOMB
    entries = b"".join(struct.pack("<HHII", 1000 + i, 7, len(BOMB), 8) for i in range(5000))
    return body + struct.pack("<H", 5000) + entries + bytes(4)


def shared_text() -> bytes:
    """1000 directories whose descriptions are one block of a megabyte."""
    body = bytearray(b"II*\0" + struct.pack("<I", 8 + (1 << 20)) + bytes(1 << 20))
    for i in range(1000):
        following = len(body) + 18 if i < 999 else 0
        body += struct.pack("<HHHIII", 1, 270, 7, 1 << 20, 8, following)
    return bytes(body)


def too_many_values() -> bytes:
    claim = struct.pack("<HHI", 324, 4, 2**31)
    return tiff([[*IMAGE, (324, 4, (1, 2, 3))]]).replace(struct.pack("<HHI", 324, 4, 3), claim)


DAMAGED = {
    "circle of one": (lambda: tiff([[*IMAGE, (65000, 7, BOMB)]], last=lambda starts: starts[0]), "comes back to"),
    "circle of two": (lambda: tiff([IMAGE, IMAGE], last=lambda starts: starts[0]), "comes back to the one at"),
    "5000 tags on one block": (many_tags, r"claims 5000 tags, more than 4096"),
    "one text a thousand times": (shared_text, r"tag 270 .* all tags together more than 32 MiB"),
    "a text of 4 MiB": (lambda: tiff([[*IMAGE, (270, 2, BOMB)]]), "claims a text of 4194304 bytes, more than 1048576"),
    "more values than bytes": (too_many_values, r"tag 324 .* claims 2147483648 values from 8 on, but the file ends at"),
    "more tags than bytes": (
        lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63) + bytes(400),
        r"the file ends at 424, within the directory at 16 of 9223372036854775808 tags",
    ),
    "20,000 directories": (lambda: tiff([[]] * 20_000), "more than 10000 directories"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_what_cannot_be_true_is_refused_with_its_value(written: Callable[..., Path], case: str) -> None:
    make, message = DAMAGED[case]
    path = written(make())

    with pytest.raises(TiffError, match=message):
        read_tiff_directories(path, TiffTag)


@pytest.mark.parametrize(
    ("tag", "value", "message"),
    [
        (257, 2**64 - 74, "claims to be 18446744073709551542 pixels high"),
        (256, 0, "claims to be 0 pixels wide"),
        (322, 2**31, "claims to be 2147483648 pixels wide"),
    ],
)
def test_an_image_of_impossible_size_is_a_fault_that_names_it(
    written: Callable[..., Path], tag: int, value: int, message: str
) -> None:
    sides = {256: 300, 257: 200, 322: 64, 323: 64, tag: value}
    path = written([[(number, 16, (side,)) for number, side in sides.items()]], big=True)

    assert message in str(tiff_fault(path))
    assert not is_cut_tiff(path)


def test_a_place_beyond_2_to_the_63_is_no_negative_one(written: Callable[..., Path]) -> None:
    path = written([[*IMAGE, (324, 16, (2**64 - 74, 5))]], big=True)

    (directory,) = read_tiff_directories(path, TiffTag)

    assert directory.numbers(TiffTag.TILE_OFFSETS).tolist() == [2**63 - 1, 5]


@pytest.mark.parametrize(
    "content", [b"", b"II*\0", b"\x89PNG" + bytes(60), b"II\x07\0" + bytes(60), tiff([IMAGE]), tiff([IMAGE], big=True)]
)
def test_other_files_and_whole_ones_have_no_fault(written: Callable[..., Path], tmp_path: Path, content: bytes) -> None:
    assert tiff_fault(written(content)) is None
    assert tiff_fault(tmp_path / "missing.tif") is None
    assert tiff_fault(tmp_path) is None


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_takes_little_memory(written: Callable[..., Path], case: str) -> None:
    path = written(DAMAGED[case][0]())
    tracemalloc.start()
    with pytest.raises(TiffError):
        read_tiff_directories(path, TiffTag)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 100e6


@pytest.mark.parametrize("seed", range(20))
def test_changed_bytes_give_a_tiff_error_or_directories(written: Callable[..., Path], seed: int) -> None:
    rng = np.random.default_rng(seed)
    tags: list[Tag] = [*IMAGE, (258, 3, (8, 8, 8)), (324, 4, tuple(range(40))), (270, 2, b"text\0")]
    whole = tiff([tags, IMAGE], big=seed % 2 > 0)
    for _ in range(100):
        content = bytearray(whole)
        for place in rng.integers(2, len(content), rng.integers(1, 6)):
            content[place] = rng.integers(0, 256)
        path = written(bytes(content))
        try:
            for directory in read_tiff_directories(path, TiffTag):
                directory.size()
                directory.numbers(TiffTag.TILE_OFFSETS)
                directory.text(TiffTag.DESCRIPTION)
        except TiffError:
            pass
