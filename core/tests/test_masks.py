"""Masks: shares by area, unions, blur burden, files."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from shapely.geometry import box as polygon
from shapely.ops import unary_union
from slideloom import Box, Level, Mask, OutputError, QcResult, Size, SlideError, SlideInfo, Tiles
from slideloom.planning.burden import blur_burden
from slideloom.planning.mask_files import load_mask, mask_from_npz, npz_bytes, save_mask
from slideloom.planning.masks import masked_share, union_mask


def tiles_at(places: list[tuple[int, int]], width: int, height: int | None = None) -> Tiles:
    x, y = np.array(places, np.int64).reshape(-1, 2).T
    count = np.arange(len(x))
    footprint = Size(width, width if height is None else height)
    return Tiles(count, x, y, count, count * 0, count * 0 - 1, footprint=footprint)


def npy(description: str, content: bytes) -> bytes:
    """A .npy file by hand."""
    return b"\x93NUMPY\x01\x00v\x00" + description.ljust(117).encode() + b"\n" + content


DAMAGED_NPY = {
    "empty": b"",
    "of another kind": b"PK\x03\x04",
    "an object": npy("{'descr': '|O', 'fortran_order': False, 'shape': (7, 5), }", b"cos\nsystem\n(S'true'\ntR."),
    "huge": npy("{'descr': '|b1', 'fortran_order': False, 'shape': (999999999999, 2), }", b""),
    "cut": npy("{'descr': '|b1', 'fortran_order': False, 'shape': (7, 5), }", b"\0" * 34),
    "numbers": npy("{'descr': '<i8', 'fortran_order': False, 'shape': (7, 5), }", b"\0" * 280),
    "a header that is none": npy("{'descr': }", b""),
    "of a version to come": b"\x93NUMPY\x09\x00v\x00",
}


def slide_of(width: int, height: int) -> SlideInfo:
    return SlideInfo(Path("a.svs"), "a", "none", (Level(Size(width, height), 1.0, 1.0),))


def share_by_polygons(mask: Mask, covered: Box, tile: Box, slide: Size) -> float:
    """The definition, with shapely: masked area over area inside the slide."""
    inside = polygon(tile.x, tile.y, tile.right, tile.bottom).intersection(polygon(0, 0, slide.width, slide.height))
    if inside.area == 0:
        return 1.0
    pixel_x, pixel_y = covered.width / mask.shape[1], covered.height / mask.shape[0]
    bad = [
        polygon(
            *(covered.x + x * pixel_x, covered.y + y * pixel_y),
            covered.x + (x + 1) * pixel_x,
            covered.y + (y + 1) * pixel_y,
        )
        for y, x in np.argwhere(mask)
    ]
    return float(unary_union(bad).intersection(inside).area / inside.area) if bad else 0.0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_share_is_the_polygon_area_for_any_mask_extent_and_tile(data: st.DataObject) -> None:
    slide = Size(data.draw(st.integers(20, 300)), data.draw(st.integers(20, 300)))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    mask = random.random((data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9)))) < 0.5
    extent = data.draw(
        st.none() | st.builds(Box, st.floats(-30, 99), st.floats(-30, 99), st.floats(5, 250), st.floats(5, 250))
    )
    places = data.draw(st.lists(st.tuples(st.integers(-90, 330), st.integers(-90, 330)), min_size=1, max_size=5))
    tiles = tiles_at(places, data.draw(st.integers(1, 90)), data.draw(st.integers(1, 90)))
    covered = extent or Box(0, 0, slide.width, slide.height)

    share = masked_share(mask, extent, tiles, slide)

    expected = [share_by_polygons(mask, covered, tile, slide) for tile in tiles.boxes()]
    assert share == pytest.approx(expected, abs=1e-9)


def test_each_axis_has_its_own_ratio() -> None:
    mask = np.zeros((2, 10), np.bool_)
    mask[1, :] = True  # the lower half of a slide of 100 x 1000
    tiles = tiles_at([(0, 450), (0, 400), (0, 0), (0, 900)], 100)

    assert masked_share(mask, None, tiles, Size(100, 1000)).tolist() == [0.5, 0.0, 0.0, 1.0]


def test_an_edge_tile_is_judged_by_its_part_inside_the_slide() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[:, 9] = True

    share = masked_share(mask, None, tiles_at([(80, 0), (90, 0), (100, 0), (-40, 0)], 50), Size(100, 100))

    assert share.tolist() == [0.5, 1.0, 1.0, 0.0]


def test_a_share_that_equals_the_threshold_is_not_above_it() -> None:
    mask = np.zeros((10, 10), np.bool_)
    mask[:6] = True
    tiles = tiles_at([(x, 0) for x in range(0, 1500, 7)], 21, 997)

    assert not np.any(masked_share(mask, None, tiles, Size(1999, 997)) > 0.6)


def test_shares_of_a_hundred_thousand_tiles_are_those_of_the_mask() -> None:
    random = np.random.default_rng(0)
    mask = random.random((3000, 3000)) < 0.4
    tiles = tiles_at([tuple(place) for place in random.integers(0, 99_000, (100_000, 2))], 1024)

    share = masked_share(mask, None, tiles, Size(100_000, 100_000))

    assert share.mean() == pytest.approx(0.4, abs=0.01)


def test_a_mask_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one pixel"):
        masked_share(np.zeros((0, 4), np.bool_), None, tiles_at([(0, 0)], 4), Size(9, 9))


def test_the_union_takes_pixels_that_one_result_covers_by_half() -> None:
    left = QcResult(np.array([[True, False]]), "blur")
    bottom = QcResult(np.array([[False], [True]]), "background")
    corner = QcResult(np.ones((1, 1), np.bool_), "artifact", extent=Box(0, 0, 20, 25))  # 0.5 and 0.49 of a pixel below

    union = union_mask([left, bottom], Size(100, 100), (3, 3))
    assert union.astype(int).tolist() == [[1, 1, 0], [1, 1, 1], [1, 1, 1]]
    assert union_mask([bottom, left], Size(100, 100), (3, 3)).tolist() == union.tolist()
    assert union_mask([corner], Size(100, 100), (2, 1)).sum() == 0
    assert union_mask([corner], Size(100, 100), (2, 2)).sum() == 0
    assert union_mask([corner], Size(100, 100), (2, 5)).tolist()[0] == [True, False, False, False, False]
    assert not union_mask([], Size(9, 9), (2, 2)).any()


def test_joining_a_large_mask_takes_less_than_a_copy_of_it() -> None:
    result = QcResult(np.random.default_rng(0).random((2000, 3000)) < 0.5, "blur")

    tracemalloc.start()
    union_mask([result], Size(30_000, 20_000), (100, 150))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < result.mask.size


class TestBlurBurden:
    size = Size(100, 100)
    glass = QcResult(np.array([[False, False, False, True]]), "background")  # the right quarter
    blur = QcResult(np.array([[True, False, False, False, True]]), "blur")  # the left fifth, and glass
    grid = tiles_at([(x, y) for y in range(0, 100, 10) for x in range(0, 100, 10)], 10)

    def test_it_is_blurred_tissue_over_tissue(self) -> None:
        # The finer mask has 5 columns; at their centres glass is the last one, so tissue is the first four.
        assert blur_burden([self.blur], [self.glass], self.grid, self.size) == pytest.approx(0.25)

    def test_only_tiles_below_the_filter_threshold_count(self) -> None:
        tiles = tiles_at([(0, 0), (70, 0)], 30)  # the second holds a third of tissue
        assert blur_burden([self.blur], [self.glass], tiles, self.size) == pytest.approx(20 / 30)
        assert blur_burden([self.blur], [self.glass], tiles, self.size, filter_threshold=0.7) == pytest.approx(20 / 40)

    def test_the_order_of_results_does_not_matter(self) -> None:
        more = QcResult(np.array([[False], [True]]), "blur")
        one = blur_burden([self.blur, more], [self.glass], self.grid, self.size)
        other = blur_burden([more, self.blur], [self.glass], self.grid, self.size)
        assert one == other == pytest.approx(0.25 + 0.75 / 2)

    def test_the_masks_are_left_as_they_are(self) -> None:
        random = np.random.default_rng(0)
        for shapes in (((10, 10), (5, 5)), ((5, 5), (10, 10)), ((10, 10), (10, 10))):
            results = [QcResult(random.random(shape) < 0.5, "blur") for shape in shapes]
            before = [result.mask.copy() for result in results]
            blur_burden(results[:1], results[1:], self.grid, self.size)
            assert all(np.array_equal(result.mask, mask) for result, mask in zip(results, before, strict=True))

    def test_it_is_none_where_it_cannot_be_known(self) -> None:
        all_glass = QcResult(np.ones((1, 1), np.bool_), "background")
        assert blur_burden([], [self.glass], self.grid, self.size) is None
        assert blur_burden([self.blur], [], self.grid, self.size) is None
        assert blur_burden([self.blur], [all_glass], self.grid, self.size) is None
        assert blur_burden([self.blur], [self.glass], tiles_at([], 10), self.size) is None

    def test_a_mask_of_part_of_the_slide_counts_where_it_lies(self) -> None:
        part = QcResult(np.ones((4, 4), np.bool_), "blur", extent=Box(0, 0, 25, 50))
        clear = QcResult(np.zeros((1, 1), np.bool_), "background")
        assert blur_burden([part], [clear], self.grid, self.size) == pytest.approx(1 / 8)

    @pytest.mark.parametrize("seed", range(8))
    def test_masks_of_other_sizes_and_extents_are_read_at_the_centres_of_the_finest(self, seed: int) -> None:
        random, size = np.random.default_rng(seed), Size(120, 90)
        finest = QcResult(random.random((18, 24)) < 0.3, "background")  # pixels of 5 x 5
        others = [
            QcResult(random.random((7, 11)) < 0.4, "background", extent=Box(-20, 13, 100, 50)),
            QcResult(random.random((4, 5)) < 0.6, "blur", extent=Box(31, -9, 99.5, 60)),
            QcResult(random.random((3, 17)) < 0.2, "blur"),
        ]

        def masked(kind: str, x: float, y: float) -> bool:
            for result in (finest, *others):
                box, (rows, columns) = result.extent or Box(0, 0, 120, 90), result.mask.shape
                row, column = (y - box.y) / box.height * rows, (x - box.x) / box.width * columns
                holds = result.kind == kind and 0 <= row < rows and 0 <= column < columns
                if holds and result.mask[int(row), int(column)]:
                    return True
            return False

        centres = [(x + 2.5, y + 2.5) for y in range(0, 90, 5) for x in range(0, 120, 5)]
        tissue = [place for place in centres if not masked("background", *place)]
        expected = sum(masked("blur", *place) for place in tissue) / len(tissue)

        tiles = tiles_at([(x, y) for y in range(0, 90, 30) for x in range(0, 120, 30)], 30)
        found = blur_burden(others[1:], [finest, others[0]], tiles, size, filter_threshold=1.0)
        assert found == pytest.approx(expected)
        assert 0.2 < expected < 0.9


class TestFiles:
    result = QcResult(
        np.random.default_rng(1).random((7, 5)) < 0.5,
        "artifact",
        extent=Box(10, 20, 50.5, 70),
        metrics={"masked": 0.5, "unknown": float("nan")},
        notes=("a note",),
    )

    def test_a_saved_mask_comes_back_whole(self, tmp_path: Path) -> None:
        slide = slide_of(200, 100)
        path, beside = save_mask(self.result, tmp_path / "new" / "a.b.pen.npy", slide=slide)

        back = load_mask(path, slide=slide)

        assert np.array_equal(back.mask, self.result.mask)
        assert (back.kind, back.extent, back.notes) == ("artifact", self.result.extent, ("a note",))
        assert back.metrics["masked"] == 0.5
        assert np.isnan(back.metrics["unknown"])
        record = json.loads(beside.read_text())
        assert beside.name == "a.b.pen.json"
        assert record["scale"] == [50.5 / 5, 10.0]
        assert record["size"] == [200, 100]
        assert sorted(file.name for file in path.parent.iterdir()) == ["a.b.pen.json", "a.b.pen.npy"]

    def test_a_mask_of_a_slide_of_another_size_is_refused(self, tmp_path: Path) -> None:
        path, _ = save_mask(self.result, tmp_path / "a.npy", slide=slide_of(200, 100))
        with pytest.raises(SlideError, match=r"a\.npy: made for a slide of 200 x 100, but a\.svs is 200 x 101"):
            load_mask(path, slide=slide_of(200, 101))

    @pytest.mark.parametrize(
        ("suffix", "content"),
        [
            (".npy", b"junk"),
            (".npy", b""),
            (".json", b"{}"),
            (".json", b"[1]"),
            (".json", b"no json"),
            (".json", b"\xff"),
        ],
    )
    def test_a_damaged_file_is_refused_by_name(self, tmp_path: Path, suffix: str, content: bytes) -> None:
        path, _ = save_mask(self.result, tmp_path / "a.npy", slide=slide_of(200, 100))
        path.with_suffix(suffix).write_bytes(content)
        with pytest.raises(SlideError, match=r"a\.(npy|json): .*run the quality control again"):
            load_mask(path)

    @pytest.mark.parametrize("content", DAMAGED_NPY.values(), ids=DAMAGED_NPY)
    def test_a_damaged_mask_without_checksum_is_refused_by_name(self, tmp_path: Path, content: bytes) -> None:
        path, beside = save_mask(self.result, tmp_path / "a.npy", slide=slide_of(200, 100))
        record = json.loads(beside.read_text())
        del record["crc32"]
        beside.write_text(json.dumps(record))
        path.write_bytes(content)
        with pytest.raises(SlideError, match=r"a\.npy: the saved mask is damaged .*run the quality control again"):
            load_mask(path)

    @pytest.mark.parametrize(
        "change",
        [
            {"extent": [0, 0, 0, 0]},
            {"extent": [0, 0, float("inf"), 5]},
            {"extent": [float("nan"), 0, 5, 5]},
            {"extent": [1, 2]},
            {"size": [float("inf"), 5]},
            {"size": None},
            {"metrics": [1]},
        ],
        ids=str,
    )
    def test_a_description_of_nothing_is_refused_by_name(self, tmp_path: Path, change: dict[str, Any]) -> None:
        path, beside = save_mask(self.result, tmp_path / "a.npy", slide=slide_of(200, 100))
        beside.write_text(json.dumps({**json.loads(beside.read_text()), **change}))
        with pytest.raises(SlideError, match=r"a\.npy: the saved mask is damaged .*run the quality control again"):
            load_mask(path)

    def test_a_description_that_is_nested_without_end_is_refused_by_name(self, tmp_path: Path) -> None:
        path, beside = save_mask(self.result, tmp_path / "a.npy", slide=slide_of(200, 100))
        beside.write_text("[" * 200_000)
        with pytest.raises(SlideError, match=r"a\.json: not the description of a mask"):
            load_mask(path)

    def test_a_packed_mask_comes_back_whole_or_not_at_all(self) -> None:
        content = npz_bytes(self.result.mask)
        assert np.array_equal(mask_from_npz(content), self.result.mask)
        with np.load(io.BytesIO(content)) as arrays:
            packed = arrays["packed"]
        short, long, empty = io.BytesIO(), io.BytesIO(), io.BytesIO()
        np.savez(short, packed=packed[:-1], shape=np.array((7, 5)))
        np.savez(long, packed=packed, shape=np.array((1 << 40, 1 << 20)))
        with zipfile.ZipFile(empty, "w") as archive:
            archive.writestr("packed.npy", b"")
            archive.writestr("shape.npy", b"")
        for damaged in (short, long, empty):
            with pytest.raises(ValueError, match="is not a packed mask"):
                mask_from_npz(damaged.getvalue())
        for cut in range(0, len(content), 7):
            with pytest.raises(ValueError, match="is not a packed mask"):
                mask_from_npz(content[:cut])

    def test_pixels_of_another_run_are_noticed(self, tmp_path: Path) -> None:
        path, _ = save_mask(self.result, tmp_path / "a.npy", slide=slide_of(200, 100))
        np.save(path, ~self.result.mask)
        with pytest.raises(SlideError, match="belongs to other pixels"):
            load_mask(path)

    def test_a_mask_changed_by_hand_is_taken_without_the_checksum(self, tmp_path: Path) -> None:
        path, beside = save_mask(self.result, tmp_path / "a.npy", slide=slide_of(200, 100))
        np.save(path, ~self.result.mask)
        record = json.loads(beside.read_text())
        del record["crc32"]
        beside.write_text(json.dumps(record))
        assert np.array_equal(load_mask(path).mask, ~self.result.mask)

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="file: "):
            save_mask(self.result, tmp_path / "file" / "a.npy", slide=slide_of(200, 100))

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SlideError, match=r"a\.npy: the saved mask cannot be read"):
            load_mask(tmp_path / "a.npy")
