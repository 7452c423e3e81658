"""Files as TRIDENT and CLAM read them, and what is left after an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from slideloom import OutputError, Resolution, Size, SlideInfo, TileBatch, TileGeometry, levels_from_sizes
from slideloom.steps.scene import Scene
from slideloom_hdf5 import HDF5
from slideloom_hdf5.conventions import nominal_magnification
from slideloom_testing import batch_of, info_of, scene_of, stained, tiles_of
from slideloom_testing.contracts import SinkContract
from slideloom_testing.disks import full_disk, left_by_a_dead_process

DEFAULTS = HDF5()


class TestTridentCoords(SinkContract):
    settings = HDF5()


class TestClamCoordsWithImages(SinkContract):
    settings = HDF5(style="clam", images=True)


def info(name: str = "slide", *, mpp: float = 0.25) -> SlideInfo:
    levels = levels_from_sizes([Size(20000, 16000), Size(5000, 4000), Size(1250, 1000)])
    return SlideInfo(
        path=Path(f"{name}.svs"), name=name, reader="none", levels=levels, mpp=Resolution(mpp, mpp, "test")
    )


def scene(*, tile_px: int, footprint: int, level: int, mpp: float, label: str, stride: int | None = None) -> Scene:
    sizes = Size(footprint, footprint), Size(stride or footprint, stride or footprint)
    return Scene(TileGeometry(tile_px, tile_px * mpp, *sizes, level=level, mpp=mpp, label=label))


# 256 px at 1.0 um, slide 0.25 um: 1024 level-0 pixels, exactly 256 pixels of level 1 (x4)
ON_LEVEL = scene(tile_px=256, footprint=1024, level=1, mpp=1.0, label="256px_256um")
# 299 px at 302 um on 0.25 um: int(302 / 0.25) = 1208 level-0 pixels, 302 pixels of level 1
BETWEEN_LEVELS = scene(tile_px=299, footprint=1208, level=1, mpp=302 / 299, label="299px_302um")


def batch(count: int = 5, *, px: int = 256) -> TileBatch:
    field = stained(Size(px + count, px), seed=2)
    tiles = tiles_of(count, footprint=Size(1024, 1024))
    return batch_of([np.ascontiguousarray(field[:, k : k + px]) for k in range(count)], tiles=tiles)


def stored(
    out: Path, *batches: TileBatch, settings: HDF5 = DEFAULTS, scene: Scene = ON_LEVEL, slide: SlideInfo | None = None
) -> list[Path]:
    sink = settings.build()
    writer = sink.open(slide or info(), scene, out)
    for each in batches:
        writer.write(each.tiles, sink.encode(each))
    return list(writer.commit())


def attributes(path: Path) -> dict[str, Any]:
    with h5py.File(path, "r") as file:
        return dict(file["coords"].attrs)


def as_trident_reads(path: Path) -> int:
    """Level-0 width of a patch, by the formula of TRIDENT's patcher."""
    found = attributes(path)
    own, wanted = 10 / found["level0_magnification"], 10 / found["target_magnification"]
    return round(found["patch_size"] * (wanted / own))


def as_clam_reads(path: Path) -> float:
    """Level-0 width of a patch: CLAM reads `patch_size` pixels of `patch_level`."""
    found = attributes(path)
    return float(found["patch_size"] * found["downsample"][0])


def test_coords_are_level_0_top_left(tmp_path: Path) -> None:
    (path,) = stored(tmp_path, batch(5))

    with h5py.File(path, "r") as file:
        coords = file["coords"]
        assert list(file) == ["coords"]
        assert coords.dtype == np.int64
        assert coords.chunks == (1, 2)
        assert coords.maxshape == (None, 2)
        assert coords[:].tolist() == [[0, 0], [1024, 0], [2048, 0], [3072, 0], [0, 1024]]


def test_trident_finds_its_names_and_all_its_attributes(tmp_path: Path) -> None:
    (path,) = stored(tmp_path, batch())

    assert path == tmp_path / "hdf5" / "10x_256px_0px_overlap" / "patches" / "slide_patches.h5"
    expected = {
        "patch_size": 256, "patch_size_level0": 1024, "level0_magnification": 40, "target_magnification": 10,
        "overlap": 0, "name": "slide", "savetodir": "hdf5/10x_256px_0px_overlap",
        "level0_width": 20000, "level0_height": 16000,
    }  # fmt: skip
    assert expected.items() <= {k: v for k, v in attributes(path).items() if not isinstance(v, np.ndarray)}.items()


def test_clam_finds_its_names_and_all_its_attributes(tmp_path: Path) -> None:
    (path,) = stored(tmp_path, batch(), settings=HDF5(style="clam"))

    found = attributes(path)
    assert path == tmp_path / "hdf5" / "256px_256um" / "patches" / "slide.h5"
    assert (found["patch_size"], found["patch_level"], found["name"]) == (256, 1, "slide")
    assert found["save_path"] == "hdf5/256px_256um"
    assert found["downsample"].tolist() == [4.0, 4.0]
    assert found["level_dim"].tolist() == found["downsampled_level_dim"].tolist() == [5000, 4000]
    # TRIDENT takes CLAM's meaning of patch_size only where these are missing
    assert "level0_magnification" not in found
    assert "target_magnification" not in found


@pytest.mark.parametrize("style", ["trident", "clam"])
def test_a_tile_of_a_stored_level_is_the_same_square_for_both_tools(tmp_path: Path, style: str) -> None:
    (path,) = stored(tmp_path, batch(), settings=HDF5(style=style))

    assert as_clam_reads(path) == 1024
    assert "right for TRIDENT and CLAM" in attributes(path)["note"]


@pytest.mark.parametrize(
    ("mpp", "footprint"), [(0.25, 1208), (0.2325, 1298), (0.499, 605), (0.17, 1776), (1.0, 302), (6.0, 50), (0.1, 3020)]
)
def test_trident_reads_exactly_the_footprint_on_any_scanner(tmp_path: Path, mpp: float, footprint: int) -> None:
    asked = scene(tile_px=299, footprint=footprint, level=0, mpp=302 / 299, label="299px_302um")

    (path,) = stored(tmp_path, batch(1), scene=asked, slide=info(mpp=mpp))

    assert as_trident_reads(path) == footprint == attributes(path)["patch_size_level0"]
    assert path.parent.parent.name == "10x_299px_0px_overlap"


def test_clam_reads_the_footprint_of_a_tile_between_levels_in_its_own_style(tmp_path: Path) -> None:
    (path,) = stored(tmp_path, batch(), settings=HDF5(style="clam"), scene=BETWEEN_LEVELS)

    assert attributes(path)["patch_size"] == 302
    assert as_clam_reads(path) == 1208


def test_a_clash_of_both_meanings_is_written_down(tmp_path: Path) -> None:
    (path,) = stored(tmp_path, batch(), scene=BETWEEN_LEVELS)

    found = attributes(path)
    assert found["patch_size"] == 299
    assert "CLAM" in found["note"]
    assert "302" in found["note"]
    assert found["level0_mpp"] == 0.25
    assert found["target_mpp"] == pytest.approx(302 / 299)


def test_a_whole_magnification_stays_a_whole_number(tmp_path: Path) -> None:
    (path,) = stored(tmp_path, batch())

    assert attributes(path)["target_magnification"].dtype == np.int64


def test_overlap_counts_pixels_of_a_tile(tmp_path: Path) -> None:
    half = scene(tile_px=256, footprint=1024, stride=512, level=1, mpp=1.0, label="256px_10x")

    (path,) = stored(tmp_path, batch(), scene=half)

    assert attributes(path)["overlap"] == 128
    assert path.parent.parent.name == "10x_256px_128px_overlap"


@pytest.mark.parametrize(
    ("mpp", "magnification"),
    [(0.12, 80), (0.17, 60), (0.25, 40), (0.3, 20), (0.499, 20), (0.6, 10), (1.0, 10), (2.0, 5), (4.0, 2.5)],
)
def test_magnifications_are_named_as_trident_names_them(mpp: float, magnification: float) -> None:
    assert nominal_magnification(mpp) == magnification


def test_images_are_stored_pixel_by_pixel(tmp_path: Path) -> None:
    tiles = batch(3)

    (path,) = stored(tmp_path, tiles, settings=HDF5(images=True))

    with h5py.File(path, "r") as file:
        images = file["imgs"]
        assert images.dtype == np.uint8
        assert images.chunks == (1, 256, 256, 3)
        assert images.maxshape == (None, 256, 256, 3)
        assert images.attrs["wsi_name"] == "slide"
        assert np.array_equal(images[:], tiles.rgb)
        assert len(file["coords"]) == 3


def test_a_slide_without_tiles_leaves_nothing_and_removes_an_older_result(tmp_path: Path) -> None:
    (path,) = stored(tmp_path, batch())

    assert stored(tmp_path) == []
    assert list(path.parent.iterdir()) == []


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    final = tmp_path / "hdf5" / "10x_256px_0px_overlap" / "patches" / "slide_patches.h5"
    final.parent.mkdir(parents=True)
    left = left_by_a_dead_process(final)
    left.write_bytes(b"left over")

    (path,) = stored(tmp_path, batch())

    assert [entry.name for entry in path.parent.iterdir()] == ["slide_patches.h5"]


def test_a_file_that_does_not_hold_what_was_written_is_not_published(tmp_path: Path) -> None:
    (other,) = stored(tmp_path / "other", batch(3))
    sink = DEFAULTS.build()
    writer = sink.open(info(), ON_LEVEL, tmp_path)
    writer.write(batch(5).tiles, sink.encode(batch(5)))
    (unfinished,) = (path for path in tmp_path.rglob(".*") if path.is_file())
    other.replace(unfinished)

    with pytest.raises(OutputError, match=r"holds \{'coords': 3\} where 5 tiles were written"):
        writer.commit()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["../evil", "a/../b", "a//b", "a\\b"])
def test_a_slide_name_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="rename the slide"):
        DEFAULTS.build().open(info_of(name), scene_of(), tmp_path / "out")


def test_a_disk_that_fills_up_while_tiles_come_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    sink = HDF5(images=True).build()
    writer = sink.open(info(), ON_LEVEL, tmp_path)
    tiles = batch(8)

    with (
        full_disk(after_bytes=500_000),
        pytest.raises(OutputError, match=r"no room left.*another output folder") as caught,
    ):
        writer.write(tiles.tiles, sink.encode(tiles))
    writer.abort()
    writer.abort()

    assert str(tmp_path / "hdf5") in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_disk_that_fills_up_at_commit_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    writer = DEFAULTS.build().open(info(), ON_LEVEL, tmp_path)
    writer.write(tiles_of(3000), [None] * 3000)

    with full_disk(after_bytes=20_000), pytest.raises(OutputError, match="no room left"):
        writer.commit()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("room", [0, 3000, 40_000, 250_000, 900_000])
def test_a_full_disk_never_takes_the_process_down(tmp_path: Path, room: int) -> None:
    """The HDF5 library itself does when it cannot write the end of a file: so it must not come to know."""
    sink, tiles = HDF5(images=True).build(), batch(5)

    with full_disk(after_bytes=room), pytest.raises(OutputError, match="no room left"):  # noqa: PT012 - either call
        writer = sink.open(info(), ON_LEVEL, tmp_path)
        writer.write(tiles.tiles, sink.encode(tiles))
        writer.commit()

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_after_a_full_disk_the_next_slide_is_stored(tmp_path: Path) -> None:
    """The HDF5 library keeps open files in mind; a failed one must not disturb later ones."""
    sink, tiles = HDF5(images=True).build(), batch(8)
    for _ in range(3):
        writer = sink.open(info(), ON_LEVEL, tmp_path)
        with full_disk(after_bytes=300_000), pytest.raises(OutputError):
            writer.write(tiles.tiles, sink.encode(tiles))
        writer.abort()

    (path,) = stored(tmp_path, batch(2), settings=HDF5(images=True))

    with h5py.File(path, "r") as file:
        assert np.array_equal(file["imgs"][:], batch(2).rgb)
