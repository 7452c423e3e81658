"""Reading: in order, at random, without an index, from other writers, and when damaged."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from slideloom import TileStores
from slideloom.base.geometry import Size
from slideloom_testing import SettingsContract, batch_of, info_of, scene_of, stained
from slideloom_tfrecord import DamagedRecord, TFRecordFile, TFRecords, read_records
from slideloom_tfrecord.example import bytes_entry, int_entry, varint
from slideloom_tfrecord.framing import framed
from slideloom_tfrecord.settings import TFRecordFiles


@pytest.fixture
def path(tmp_path: Path) -> Path:
    sink = TFRecords().build()
    tiles = batch_of([stained(Size(48, 48), seed=seed) for seed in range(8)])
    writer = sink.open(info_of(), scene_of(), tmp_path)
    writer.write(tiles.tiles, sink.encode(tiles))
    return next(iter(writer.commit()))


def example(*entries: bytes) -> bytes:
    contents = b"".join(entries)
    return b"\x0a" + varint(len(contents)) + contents


def test_any_record_can_be_had_at_once(path: Path) -> None:
    in_order = list(read_records(path))

    with TFRecordFile(path) as tiles:
        assert len(tiles) == 8
        assert tiles[5] == in_order[5]
        assert tiles[-1] == in_order[7]
        assert list(tiles) == in_order
        assert tiles.locations is not None
        assert tiles.locations.tolist() == [[record.loc_x, record.loc_y] for record in in_order]
        with pytest.raises(IndexError, match="no record 8"):
            tiles[8]


def test_a_file_without_an_index_reads_the_same(path: Path) -> None:
    with_index = TFRecordFile(path)
    path.with_name("slide.index.npz").unlink()

    without = TFRecordFile(path)

    assert list(without) == list(with_index)
    assert np.array_equal(without.locations, with_index.locations)


@pytest.mark.parametrize("kind", ["features", "old", "damaged", "shuffled"])
def test_an_index_that_does_not_fit_is_not_used(path: Path, kind: str) -> None:
    index = path.with_name("slide.index.npz")
    spans = np.load(index)["arr_0"]
    in_order = list(read_records(path))
    if kind == "features":  # beside feature files, arr_0 holds locations
        np.savez(index, arr_0=np.load(index)["locations"])
    elif kind == "old":
        np.savez(index, arr_0=spans[:-1])
    elif kind == "damaged":
        index.write_bytes(index.read_bytes()[:50])
    else:
        np.savez(index, arr_0=spans[::-1], locations=np.zeros((8, 2), np.int64))

    assert list(TFRecordFile(path)) == in_order


def npz(*, members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An index whose two arrays have this content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("arr_0.npy", members)
        archive.writestr("locations.npy", members)
    return buffer.getvalue()


def npy(description: str, content: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00v\x00" + description.ljust(117).encode() + b"\n" + content


def described(kind: str, shape: str) -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"


DAMAGED = {
    "empty": b"",
    "a byte": b"P",
    "npy": npy(described("<i8", "(8, 2)"), bytes(128)),
    "pickle": b"\x80\x04\x95\x05\x00.",
    "no array in it": npz(members=b""),
    "huge": npz(members=npy(described("<i8", "(99999999999999, 2)"))),
    "objects": npz(members=npy(described("|O", "(2, 2)"), b"cos\nsystem\n(S':'\ntR.")),
    "complex": npz(members=npy(described("<c16", "(1, 2)"), bytes(32))),
    "text": npz(members=npy(described("|S8", "(1, 2)"), b"12345678abcdefgh")),
    "nan": npz(members=npy(described("<f8", "(1, 2)"), np.full(2, np.nan).tobytes())),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_index_is_not_used_and_the_file_itself_is_asked(path: Path, content: bytes) -> None:
    in_order = list(read_records(path))
    path.with_name("slide.index.npz").write_bytes(content)

    assert list(TFRecordFile(path)) == in_order


def test_an_index_with_a_byte_changed_gives_the_records_all_the_same(path: Path) -> None:
    in_order, index = list(read_records(path)), path.with_name("slide.index.npz")
    good = index.read_bytes()

    for place in range(0, len(good), 3):
        value = good[place] ^ (0x01 if place % 2 else 0xFF)
        index.write_bytes(good[:place] + bytes([value]) + good[place + 1 :])
        assert list(TFRecordFile(path)) == in_order, f"byte {place} as {value}"


def test_an_index_of_another_tool_with_empty_locations_is_used(path: Path) -> None:
    index = path.with_name("slide.index.npz")
    np.savez(index, arr_0=np.load(index)["arr_0"], locations=np.array([]))

    tiles = TFRecordFile(path)

    assert list(tiles) == list(read_records(path))
    assert tiles.locations is not None
    assert tiles.locations.shape == (8, 2)


def test_a_file_without_locations_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.tfrecords"
    path.write_bytes(framed(example(bytes_entry("slide", b"old"), bytes_entry("image_raw", b"jpeg"))))

    (record,) = read_records(path)

    assert (record.image_raw, record.slide, record.loc_x, record.loc_y) == (b"jpeg", "old", None, None)
    assert TFRecordFile(path)[0] == record
    assert TFRecordFile(path).locations is None


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "none.tfrecords"
    path.touch()

    assert list(read_records(path)) == []
    assert len(TFRecordFile(path)) == 0
    assert list(TFRecordFile(path)) == []


def test_a_damaged_image_is_named_by_file_and_record(path: Path) -> None:
    start, total = np.load(path.with_name("slide.index.npz"))["arr_0"][3].tolist()
    contents = bytearray(path.read_bytes())
    contents[start + total - 40] ^= 1
    path.write_bytes(contents)

    with pytest.raises(DamagedRecord, match=r"slide\.tfrecords: record 3 is damaged: the data's CRC"):
        list(read_records(path))
    with pytest.raises(DamagedRecord, match=r"slide\.tfrecords: record 3 is damaged: the data's CRC"):
        TFRecordFile(path)[3]
    assert TFRecordFile(path)[4].slide == "slide"
    assert len(list(read_records(path, verify=False))) == 8


@pytest.mark.parametrize("left", [5, 14, 500, -1, -4])
def test_a_file_cut_short_is_named_by_file_and_record(path: Path, left: int) -> None:
    start = int(np.load(path.with_name("slide.index.npz"))["arr_0"][7, 0])
    contents = path.read_bytes()
    path.write_bytes(contents[: start + left] if left > 0 else contents[:left])

    for read in (lambda: list(read_records(path)), lambda: TFRecordFile(path)):
        with pytest.raises(DamagedRecord, match=r"slide\.tfrecords: record 7 is damaged: the file ends within it"):
            read()


def test_a_length_that_was_changed_does_not_make_the_reader_ask_for_it(path: Path) -> None:
    contents = bytearray(path.read_bytes())
    contents[:8] = struct.pack("<Q", 1 << 60)
    path.write_bytes(contents)
    path.with_name("slide.index.npz").unlink()

    for read in (lambda: list(read_records(path)), lambda: TFRecordFile(path)):
        with pytest.raises(DamagedRecord, match="record 0 is damaged: the length's CRC"):
            read()


@pytest.mark.parametrize("image", [b"", b"no image"])
def test_a_record_without_an_image_is_named_by_the_store(tmp_path: Path, image: bytes) -> None:
    path = tmp_path / "a.tfrecords"
    path.write_bytes(framed(example(bytes_entry("slide", b"a"), bytes_entry("image_raw", image)), b""))

    with (
        closing(TFRecordFiles().build().open(path)) as store,
        pytest.raises(DamagedRecord, match=r"a\.tfrecords: record 0 is damaged: its image cannot be decoded"),
    ):
        store.read(0)


def test_a_record_that_is_no_tile_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.tfrecords"
    path.write_bytes(framed(example(int_entry("label", 3))))

    with pytest.raises(DamagedRecord, match=r"record 0 .*no bytes feature 'image_raw'"):
        list(read_records(path))


def test_a_file_object_can_be_pickled_and_shared_by_threads(path: Path) -> None:
    tiles = TFRecordFile(path)
    expected = list(tiles)
    copy = pickle.loads(pickle.dumps(tiles))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(copy.__getitem__, list(range(8)) * 5))

    assert found == expected * 5
    tiles.close()
    copy.close()


@pytest.mark.skipif(not hasattr(os, "pread"), reason="reads are under the lock")
def test_a_file_may_be_closed_while_it_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = TFRecordFile(path)
    expected = tiles[3]
    read, numbers = os.pread, []

    def closed_first(number: int, count: int, start: int) -> bytes:
        tiles.close()
        with path.open("rb") as other:  # would get the number of the closed file
            assert other.fileno() != number
        numbers.append(number)
        return read(number, count, start)

    monkeypatch.setattr(os, "pread", closed_first)

    assert tiles[3] == expected
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(numbers[0])  # closed as soon as the read was done
    assert tiles[3] == expected  # opened again
    tiles.close()


def test_threads_read_while_another_closes_again_and_again(path: Path) -> None:
    tiles = TFRecordFile(path)
    expected = list(tiles)

    def close(_turn: int) -> None:
        tiles.close()

    with ThreadPoolExecutor(4) as pool:
        closings = [pool.submit(close, turn) for turn in range(200)]
        found = list(pool.map(tiles.__getitem__, list(range(8)) * 40))
        for closing in closings:
            closing.result()

    assert found == expected * 40
    tiles.close()


class TestTFRecordFiles(SettingsContract):
    settings = TFRecordFiles()
    kind = TileStores
