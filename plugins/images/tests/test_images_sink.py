"""What the sink leaves on disk, when it succeeds and when it does not."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from slideloom import OutputError, Size, TileBatch, Tiles
from slideloom.base.temporary import forget_sweeps
from slideloom_images import Images
from slideloom_testing import batch_of, info_of, scene_of, stained, tiles_of
from slideloom_testing.contracts import SinkContract
from slideloom_testing.disks import full_disk, left_by_a_dead_process

DEFAULTS = Images()
SCENE = scene_of(tile_px=64, mpp=1.0)
HOME = Path("tiles") / "64px_64um"


class TestImages(SinkContract):
    settings = Images()


class TestPngImages(SinkContract):
    settings = Images(format="png", folder="png")


def batch(count: int = 5, *, slide: str = "slide") -> TileBatch:
    return batch_of([stained(Size(64, 64), seed=seed) for seed in range(count)], slide=slide)


def stored(out: Path, *batches: TileBatch, settings: Images = DEFAULTS, slide: str = "slide") -> list[Path]:
    sink = settings.build()
    writer = sink.open(info_of(slide), SCENE, out)
    for each in batches:
        writer.write(each.tiles, sink.encode(each))
    return list(writer.commit())


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_file_is_named_by_slide_and_centre_of_the_tile(tmp_path: Path) -> None:
    (made,) = stored(tmp_path, batch(5))

    assert made == tmp_path / HOME / "slide"
    # 4 columns of 200-px tiles: centres at 100, 300, 500, 700
    assert everything(made) == [
        "slide-100-100.jpg", "slide-100-300.jpg", "slide-300-100.jpg", "slide-500-100.jpg", "slide-700-100.jpg",
    ]  # fmt: skip


def test_png_keeps_every_pixel(tmp_path: Path) -> None:
    tiles = batch(1)

    (made,) = stored(tmp_path, tiles, settings=Images(format="png"))

    bgr = cv2.imread(str(made / "slide-100-100.png"))
    assert np.array_equal(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), tiles.rgb[0])


def test_quality_makes_files_larger(tmp_path: Path) -> None:
    sizes = [
        (stored(tmp_path / str(quality), batch(1), settings=Images(quality=quality))[0] / "slide-100-100.jpg")
        .stat()
        .st_size
        for quality in (50, 80, 100)
    ]

    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 3


def test_two_tiles_of_one_place_are_two_files(tmp_path: Path) -> None:
    one = tiles_of(1)
    same = Tiles([7], one.x, one.y, [7], [0], [-1], footprint=one.footprint)
    rgb = stained(Size(64, 64))

    (made,) = stored(tmp_path, batch_of([rgb], tiles=one), batch_of([rgb], tiles=same))

    assert everything(made) == ["slide-100-100-7.jpg", "slide-100-100.jpg"]


def test_a_second_run_with_fewer_tiles_leaves_none_of_the_first(tmp_path: Path) -> None:
    stored(tmp_path, batch(5))

    (made,) = stored(tmp_path, batch(2))

    assert everything(tmp_path) == [str(HOME / "slide" / name) for name in ("slide-100-100.jpg", "slide-300-100.jpg")]
    assert [path.name for path in made.parent.iterdir()] == ["slide"]


def test_a_slide_without_tiles_leaves_nothing_and_removes_an_older_result(tmp_path: Path) -> None:
    stored(tmp_path, batch(5))

    assert stored(tmp_path) == []
    assert list((tmp_path / HOME).iterdir()) == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    left = left_by_a_dead_process(tmp_path / HOME / "slide")
    left.mkdir(parents=True)
    (left / "slide-9-9.jpg").write_bytes(b"left over")

    (made,) = stored(tmp_path, batch(1))

    assert everything(tmp_path) == [str(HOME / "slide" / "slide-100-100.jpg")]
    assert [path.name for path in made.parent.iterdir()] == ["slide"]


def test_an_older_result_is_found_again_after_a_crash_between_both_renames(tmp_path: Path) -> None:
    (made,) = stored(tmp_path, batch(3))
    made.rename(left_by_a_dead_process(made, aside=True))
    forget_sweeps()  # the next process

    writer = DEFAULTS.build().open(info_of(), SCENE, tmp_path)
    writer.abort()

    assert len(everything(made)) == 3
    assert [path.name for path in made.parent.iterdir()] == ["slide"]


def test_a_folder_that_does_not_hold_what_was_written_is_not_published(tmp_path: Path) -> None:
    sink = DEFAULTS.build()
    writer = sink.open(info_of(), SCENE, tmp_path)
    writer.write(batch(3).tiles, sink.encode(batch(3)))
    (unfinished,) = (tmp_path / HOME).iterdir()
    next(unfinished.iterdir()).unlink()

    with pytest.raises(OutputError, match=r"2 files of \d+ bytes are there where 3 of \d+ were written"):
        writer.commit()

    assert everything(tmp_path) == []


@pytest.mark.parametrize("name", ["../evil", "a/../b", "a//b", "a\\b", "..", ".x.partial"])
def test_a_slide_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="rename the slide"):
        DEFAULTS.build().open(info_of(name), SCENE, tmp_path / "out")

    assert everything(tmp_path) == []


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "tiles").write_text("in the way")

    with pytest.raises(OutputError, match="another output folder"):
        DEFAULTS.build().open(info_of(), SCENE, tmp_path)


def test_a_full_disk_is_named_with_its_remedy_and_leaves_nothing(tmp_path: Path) -> None:
    sink = DEFAULTS.build()
    writer = sink.open(info_of(), SCENE, tmp_path)
    tiles = batch(2)

    with (
        full_disk(after_bytes=1000),
        pytest.raises(OutputError, match=r"no room left.*another output folder") as caught,
    ):
        writer.write(tiles.tiles, sink.encode(tiles))
    writer.abort()

    assert str(tmp_path / HOME) in str(caught.value)
    assert list((tmp_path / HOME).iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(OutputError, match="permissions"):
        DEFAULTS.build().open(info_of(), SCENE, tmp_path)
