"""Shards: their names and bytes, what a reader makes of them, and what is left after an error."""

from __future__ import annotations

import json
import tarfile
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from attrs import evolve
from hypothesis import given, strategies as st
from slideloom import Companion, OutputError, Size, TileBatch, Tiles
from slideloom_testing import batch_of, info_of, scene_of, stained, tiles_of
from slideloom_testing.contracts import SinkContract
from slideloom_testing.disks import full_disk, left_by_a_dead_process
from slideloom_webdataset import WebDataset
from slideloom_webdataset.keys import safe_name

DEFAULTS = WebDataset()
SCENE = scene_of(tile_px=64, mpp=1.01)
HOME = Path("webdataset") / SCENE.geometry.label


class TestWebDataset(SinkContract):
    settings = WebDataset()


class TestSmallShards(SinkContract):
    settings = WebDataset(shard_tiles=2, format="png")


def batch(count: int = 5) -> TileBatch:
    labels = [("tumor", None)[number % 2] for number in range(count)]
    return batch_of([stained(Size(64, 64), seed=seed) for seed in range(count)], labels=labels)


def stored(out: Path, *batches: TileBatch, settings: WebDataset = DEFAULTS, slide: str = "slide") -> list[Path]:
    sink = settings.build()
    writer = sink.open(info_of(slide), SCENE, out)
    for each in batches:
        writer.write(each.tiles, sink.encode(each))
    return list(writer.commit())


def entries(shard: Path) -> dict[str, bytes]:
    with tarfile.open(shard) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}


def test_a_tile_is_an_image_and_a_json_file_side_by_side(tmp_path: Path) -> None:
    (shard,) = stored(tmp_path, batch(2))

    found = entries(shard)

    assert shard == tmp_path / HOME / "slide-000000.tar"
    assert list(found) == ["slide_100_100.jpg", "slide_100_100.json", "slide_300_100.jpg", "slide_300_100.json"]
    assert json.loads(found["slide_300_100.json"]) == {
        "slide": "slide", "loc_x": 300, "loc_y": 100, "grid_x": 1, "grid_y": 0, "mpp": 1.01, "label": None,
    }  # fmt: skip
    assert json.loads(found["slide_100_100.json"])["label"] == "tumor"


def test_png_keeps_every_pixel(tmp_path: Path) -> None:
    tiles = batch(1)

    (shard,) = stored(tmp_path, tiles, settings=WebDataset(format="png"))

    bgr = cv2.imdecode(np.frombuffer(entries(shard)["slide_100_100.png"], np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(bgr[..., ::-1], tiles.rgb[0])


def test_entries_are_ustar_without_times_and_owners(tmp_path: Path) -> None:
    (shard,) = stored(tmp_path, batch(3))

    assert shard.read_bytes()[257:263] == b"ustar\0"
    with tarfile.open(shard) as tar:
        for entry in tar:
            assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) == (0, 0, 0, "", "")
            assert entry.mode == 0o444
            assert entry.isreg()


@pytest.mark.parametrize(("count", "shards"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
def test_a_shard_holds_at_most_so_many_tiles(tmp_path: Path, count: int, shards: int) -> None:
    made = stored(tmp_path, batch(count), settings=WebDataset(shard_tiles=3))

    assert [path.name for path in made] == [f"slide-{number:06d}.tar" for number in range(shards)]
    held = [len(entries(path)) // 2 for path in made]
    assert sum(held) == count
    assert max(held) <= 3


def test_a_second_run_with_fewer_shards_leaves_none_of_the_first(tmp_path: Path) -> None:
    small = WebDataset(shard_tiles=1)
    stored(tmp_path, batch(4), settings=small)
    stored(tmp_path, batch(2), settings=small, slide="slide-000001")  # another slide whose name begins the same

    made = stored(tmp_path, batch(2), settings=small)

    kept = sorted(path.name for path in (tmp_path / HOME).iterdir())
    assert [path.name for path in made] == ["slide-000000.tar", "slide-000001.tar"]
    assert kept == [
        "slide-000000.tar", "slide-000001-000000.tar", "slide-000001-000001.tar", "slide-000001.tar",
    ]  # fmt: skip


def test_a_slide_without_tiles_leaves_nothing_and_removes_an_older_result(tmp_path: Path) -> None:
    stored(tmp_path, batch(4))

    assert stored(tmp_path) == []
    assert list((tmp_path / HOME).iterdir()) == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / HOME).mkdir(parents=True)
    left_by_a_dead_process(tmp_path / HOME / "slide-000004.tar").write_bytes(b"left over")

    stored(tmp_path, batch(1))

    assert [path.name for path in (tmp_path / HOME).iterdir()] == ["slide-000000.tar"]


def test_a_shard_that_does_not_hold_what_was_written_is_not_published(tmp_path: Path) -> None:
    sink = DEFAULTS.build()
    writer = sink.open(info_of(), SCENE, tmp_path)
    writer.write(batch(3).tiles, sink.encode(batch(3)))
    (unfinished,) = (tmp_path / HOME).iterdir()
    unfinished.write_bytes(bytes(1 << 20))

    with pytest.raises(OutputError, match=r"holds 1048576 bytes where \d+ were written"):
        writer.commit()

    assert list((tmp_path / HOME).iterdir()) == []


def test_a_shard_that_another_run_has_added_meanwhile_stays_and_is_named(tmp_path: Path) -> None:
    stored(tmp_path, batch(2))
    sink = DEFAULTS.build()
    writer = sink.open(info_of(), SCENE, tmp_path)
    writer.write(batch(3).tiles, sink.encode(batch(3)))
    stranger = tmp_path / HOME / "slide-000001.tar"
    stranger.write_bytes(b"of another run")

    with pytest.raises(OutputError, match=r"slide-000001\.tar: another run has written it meanwhile"):
        writer.commit()

    assert sorted(path.name for path in stranger.parent.iterdir()) == ["slide-000000.tar", "slide-000001.tar"]


def test_two_tiles_of_one_place_have_keys_of_their_own(tmp_path: Path) -> None:
    one = tiles_of(1)
    same = Tiles([7], one.x, one.y, [7], [0], [-1], footprint=one.footprint)
    rgb = stained(Size(64, 64))

    (shard,) = stored(tmp_path, batch_of([rgb], tiles=one), batch_of([rgb], tiles=same))

    assert [name for name in entries(shard) if name.endswith("jpg")] == ["slide_100_100.jpg", "slide_100_100_7.jpg"]


@given(st.text(min_size=1, max_size=300))
def test_a_safe_name_has_no_dot_no_separator_and_fits_a_tar_header(slide: str) -> None:
    safe = safe_name(slide.encode(errors="replace").decode())

    assert not set(safe) & set("./\\ {}%\0")
    assert not safe.startswith("__")
    assert len(safe.encode()) <= 69


def test_slides_that_differ_in_dots_only_stay_apart() -> None:
    assert safe_name("a_b-1") == "a_b-1"
    names = {safe_name(slide) for slide in ("a.b", "a_b", "a b", "a..b", "x" * 100, "x" * 101)}
    assert len(names) == 6
    assert safe_name("a.b").startswith("a_b-")


def test_a_long_name_with_dots_keeps_its_truth_in_the_json(tmp_path: Path) -> None:
    slide = "TCGA-CR-7395-01A-01-TS1." + "9A7F0B2E-" * 20

    (shard,) = stored(tmp_path, batch(1), slide=slide)

    (about,) = (json.loads(contents) for name, contents in entries(shard).items() if name.endswith("json"))
    assert about["slide"] == slide
    assert all(name.count(".") == 1 for name in entries(shard))


def test_a_slide_name_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    (shard,) = stored(tmp_path, batch(1), slide="../../evil")

    assert shard.parent == tmp_path / HOME
    assert [path.name for path in tmp_path.iterdir()] == ["webdataset"]


def test_a_full_disk_is_named_with_its_remedy_and_leaves_nothing(tmp_path: Path) -> None:
    sink = WebDataset(format="png").build()
    writer = sink.open(info_of(), SCENE, tmp_path)
    tiles = batch(20)
    writer.write(tiles.tiles, sink.encode(tiles))

    with (
        full_disk(after_bytes=50_000),
        pytest.raises(OutputError, match=r"no room left.*another output folder") as caught,
    ):
        writer.commit()

    assert str(tmp_path / HOME) in str(caught.value)
    assert list((tmp_path / HOME).iterdir()) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's and webdataset's own
def test_the_webdataset_library_reads_the_shards(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        webdataset = pytest.importorskip("webdataset")
    tiles = batch(5)
    shards = stored(tmp_path, tiles, settings=WebDataset(shard_tiles=2, format="png"), slide="Präparat 1.a")

    samples = list(webdataset.WebDataset([str(path) for path in shards], shardshuffle=False).decode("rgb8"))

    assert len(samples) == 5
    for number, (sample, rgb) in enumerate(zip(samples, tiles.rgb, strict=True)):
        assert sample["json"]["slide"] == "Präparat 1.a"
        assert sample["json"]["loc_x"] == 100 + 200 * (number % 4)
        assert np.array_equal(sample["png"], rgb)


def test_a_long_name_with_a_long_companion_is_kept_whole(tmp_path: Path) -> None:
    """A plain tar header has room for 100 bytes."""
    name = "context_12345.678um"
    tiles = evolve(batch(2), companions={name: np.zeros((2, 8, 8, 3), np.uint8)})
    scene = evolve(SCENE, companions=(Companion(name, 8, 1.0),))
    sink = WebDataset().build()
    writer = sink.open(info_of("TCGA-AA-3872-01Z-00-DX1.eb3732ee-40e3-4ff0-a42b-d6a85cfbab6a"), scene, tmp_path)
    moved = evolve(tiles.tiles, x=tiles.tiles.x + 1_000_000, y=tiles.tiles.y + 1_000_000)
    writer.write(moved, sink.encode(evolve(tiles, tiles=moved)))
    (shard,) = writer.commit()

    found = entries(shard)
    assert len(found) == 6
    assert max(map(len, found)) > 100
    assert sum(key.endswith(f".{name}.jpg") for key in found) == 2
