"""CZI slides of known pixels, written with pylibCZIrw: scenes, channels, focal planes, damage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pylibCZIrw import czi
from slideloom import Point, Rgb, Size, SlideError, Slides, open_slide, pipeline_from_table, run_pipeline
from slideloom_czi import CziReader
from slideloom_testing.contracts import ReaderContract

PART = 500


def picture(width: int = 1300, height: int = 1100) -> Rgb:
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1)
    return (smooth * 0.8 + np.random.default_rng(7).integers(0, 50, smooth.shape)).astype(np.uint8)


def write(
    path: Path,
    planes: Mapping[tuple[int, int], NDArray[Any]] | None = None,
    *,
    scenes: Sequence[tuple[int, int]] = ((0, 0),),
    compression: str = "zstd0:",
    names: Mapping[int, str] | None = None,
    scale: float = 0.25e-6,
) -> Path:
    """Write a CZI.

    Args:
        path: of the file.
        planes: images by channel and focal plane, (h, w, 3) or (h, w).
        scenes: top left corner of each; a later scene shows the images darker by 40.
        compression: for pylibCZIrw.
        names: of channels.
        scale: metres per pixel.
    """
    with czi.create_czi(str(path), exist_ok=True, compression_options=compression) as document:
        for scene, (left, top) in enumerate(scenes):
            for (channel, plane), image in (planes or {(0, 0): picture()}).items():
                shown = np.maximum(image, 40 * scene) - 40 * scene
                for y in range(0, image.shape[0], PART):
                    for x in range(0, image.shape[1], PART):
                        part = shown[y : y + PART, x : x + PART]
                        stored = part[..., ::-1] if part.ndim == 3 else part[..., None]
                        document.write(
                            data=np.ascontiguousarray(stored),
                            location=(left + x, top + y),
                            plane={"C": channel, "Z": plane, "T": 0},
                            scene=scene,
                        )
        document.write_metadata("slide", channel_names=dict(names or {}), scale_x=scale, scale_y=scale)
    return path


def pixels(path: Path, reader: str | None = None) -> Rgb:
    with open_slide(path, slides=Slides(reader=reader)) as slide:
        assert slide.info.reader == "czi"
        return slide.read(Point(0, 0), 0, slide.info.size)


class TestCziReaderContract(ReaderContract):
    settings = CziReader()

    @pytest.fixture(autouse=True)
    def _slide(self, tmp_path: Path) -> None:
        self.slide_path = write(tmp_path / "a.czi", {(0, 0): picture(700, 600)})


@pytest.mark.parametrize("compression", ["uncompressed:", "zstd0:", "zstd1:"])
def test_pixels_come_out_as_they_were_written_from_the_corner_of_the_scene(tmp_path: Path, compression: str) -> None:
    path = write(tmp_path / "a.czi", compression=compression, scenes=[(-3000, 7000)])

    with open_slide(path) as slide:
        assert slide.info.size == Size(1300, 1100)
        assert slide.info.mpp is not None
        assert (slide.info.mpp.x, slide.info.mpp.source) == (pytest.approx(0.25), "CZI scaling")
    assert np.array_equal(pixels(path), picture())


def test_several_scenes_are_refused_by_name_and_one_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.czi", scenes=[(0, 0), (5000, 100)])

    with pytest.raises(SlideError, match=r"a\.czi: holds 2 scenes: 0 of 1300 x 1100 pixels, 1 of .*czi:scene=0"):
        open_slide(path)
    assert np.array_equal(pixels(path, "czi:scene=0"), picture())
    assert np.array_equal(pixels(path, "czi:scene=1"), np.maximum(picture(), 40) - 40)
    with pytest.raises(SlideError, match=r"has no scene 2; it has 0 of"):
        open_slide(path, slides=Slides(reader="czi:scene=2"))


def test_what_no_tile_covers_is_white(tmp_path: Path) -> None:
    path = write(tmp_path / "a.czi", {(0, 0): picture(400, 400)})
    with czi.create_czi(str(path), exist_ok=True) as document:
        for x, y in ((0, 0), (600, 300)):
            document.write(data=np.zeros((100, 100, 3), np.uint8), location=(x, y), scene=0)
        document.write_metadata("slide", scale_x=0.25e-6, scale_y=0.25e-6)
    expected = np.full((400, 700, 3), 255, np.uint8)
    expected[:100, :100] = expected[300:, 600:] = 0

    assert np.array_equal(pixels(path), expected)


def test_grey_channels_are_refused_by_name_and_one_can_be_shown_on_black(tmp_path: Path) -> None:
    one, other = picture()[..., 0], picture()[..., 1]
    path = write(tmp_path / "a.czi", {(0, 0): one, (1, 0): other}, names={0: "DAPI", 1: "Cy5"})

    with pytest.raises(SlideError, match=r"a\.czi: holds channels 0 \(DAPI\), 1 \(Cy5\), not an RGB .*czi:channel=0"):
        open_slide(path)
    assert np.array_equal(pixels(path, "czi:channel=1"), np.repeat(other[..., None], 3, axis=-1))


def test_16_bits_are_scaled_from_the_chosen_range(tmp_path: Path) -> None:
    image = np.random.default_rng(3).integers(0, 65536, (300, 400)).astype(np.uint16)
    path = write(tmp_path / "a.czi", {(0, 0): image})

    assert np.array_equal(pixels(path, "czi:channel=0")[..., 0], np.round(image / 257))
    expected = np.floor(np.clip((image - 1000.0) / 3000, 0, 1) * 255 + 0.5)
    assert np.array_equal(pixels(path, "czi:channel=0,low=1000,high=4000")[..., 0], expected)


def test_several_focal_planes_are_refused_and_one_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.czi", {(0, 0): picture(), (0, 1): 255 - picture()})

    with pytest.raises(SlideError, match=r"a\.czi: holds 2 focal planes; choose one: reader='czi:plane=0' to plane=1"):
        open_slide(path)
    assert np.array_equal(pixels(path, "czi:plane=1"), 255 - picture())
    with pytest.raises(SlideError, match="has no focal plane 2"):
        open_slide(path, slides=Slides(reader="czi:plane=2"))


def test_a_damaged_tile_is_unreadable_and_the_run_counts_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.czi", {(0, 0): picture(2500, 500)})
    content = bytearray(path.read_bytes())
    starts = [at for at in range(0, len(content), 32) if content[at : at + 14] == b"ZISRAWSUBBLOCK"]
    frame = content.index(b"\x28\xb5\x2f\xfd", starts[4])  # where the Zstandard data of the last subblock begins
    content[frame : frame + 2000] = bytes(2000)
    path.write_bytes(content)
    table = {"slideloom": 1, "filter": [], "tiles": {"size_px": 250, "size_um": 62.5}, "sink": [{"use": "images"}]}

    (report,) = run_pipeline(pipeline_from_table(table, where="test"), [path], tmp_path / "out").slides

    # 10 x 2 tiles. The damaged part, from 2000 on, reaches into the squares from 1536 and from 2048 on: tiles 6 to 9.
    assert (report.reader, report.planned, report.written, report.unreadable) == ("czi", 20, 12, 8)
