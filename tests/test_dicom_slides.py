"""DICOM slides from folder to tiles: each once, all of its levels, and no label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from slideloom import (
    Pipeline,
    Point,
    Rgb,
    Size,
    SlideError,
    Slides,
    find_slides,
    open_slide,
    pipeline_from_table,
    run_pipeline,
)
from slideloom_testing.dicom import Instance, write_dicom


def picture(width: int = 600, height: int = 400) -> Rgb:
    """Another colour everywhere."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x % 256, y % 256, (x // 256) * 16 + y // 256], axis=-1).astype(np.uint8)


LEVELS = [picture(), picture()[::2, ::2], picture()[::4, ::4]]
LABEL = np.full((90, 90, 3), 30, np.uint8)


def write_slide(folder: Path, *, suffix: str = ".dcm", **about: object) -> Path:
    """Three levels, label and overview; returns the file of the largest level."""
    folder.mkdir(parents=True, exist_ok=True)
    images = [*((level, "VOLUME") for level in LEVELS), (LABEL, "LABEL"), (LABEL, "OVERVIEW")]
    for number, (pixels, kind) in enumerate(images):
        instance = Instance(**{"number": number, "kind": kind, **about})  # type: ignore[arg-type]
        write_dicom(folder / f"{number}{suffix}", pixels, instance)
    return folder / f"0{suffix}"


@pytest.mark.parametrize("suffix", [".dcm", "", ".7"])
def test_any_file_of_a_series_opens_the_slide_with_all_its_levels(tmp_path: Path, suffix: str) -> None:
    write_slide(tmp_path, suffix=suffix)

    for number in range(5):
        with open_slide(tmp_path / f"{number}{suffix}") as slide:
            assert [level.downsample for level in slide.info.levels] == [1, 2, 4]
            assert (slide.info.mpp.x, slide.info.mpp.y) == (0.5, 0.5)  # type: ignore[union-attr]
            for level, expected in enumerate(LEVELS):
                assert np.array_equal(slide.read(Point(0, 0), level, slide.info.levels[level].size), expected)


def pipeline(**run: object) -> Pipeline:
    table = {
        "slideloom": 1,
        "filter": [],
        "tiles": {"size_px": 50, "size_um": 50},
        "sink": [{"use": "images"}],
        "run": run,
    }
    return pipeline_from_table(table, where="test")


@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_a_folder_of_one_slide_gives_its_tiles_once_and_the_same_ones_through_a_buffer(
    tmp_path: Path, suffix: str
) -> None:
    write_slide(tmp_path / "in", suffix=suffix)
    found = {}
    for place in ("plain", "buffered"):
        chosen = pipeline(buffer=str(tmp_path / "buffer")) if place == "buffered" else pipeline()
        (report,) = run_pipeline(chosen, find_slides([str(tmp_path / "in")]), tmp_path / place).slides
        assert (report.slide, report.status, report.written) == ("0", "done", 6 * 4)
        tiles = sorted((tmp_path / place).rglob("*.png")) + sorted((tmp_path / place).rglob("*.jpg"))
        found[place] = {tile.name: tile.read_bytes() for tile in tiles}

    assert len(found["plain"]) == 24
    assert found["plain"] == found["buffered"]


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"optical_paths": 2}, r"2 optical paths"),
        ({"syntax": "1.2.840.10008.1.2.4.80"}, r"stored as JPEG-LS \(transfer syntax .*\.80\).*gdcmconv"),
        ({"syntax": "1.2.840.10008.1.2.2"}, r"big-endian numbers"),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.91.1"}, r"no image of a whole slide"),
        ({"kind": "LABEL"}, r"label or overview images only"),
    ],
    ids=["channels", "JPEG-LS", "big-endian", "annotations", "label only"],
)  # fmt: skip
def test_what_cannot_be_shown_is_refused_by_name(tmp_path: Path, about: dict[str, object], words: str) -> None:
    path = write_slide(tmp_path, **about)

    with pytest.raises(SlideError, match=rf"0\.dcm: .*{words}"):
        open_slide(path, slides=Slides(avoid_readers=("dicom",)))


def test_two_images_of_one_size_are_refused(tmp_path: Path) -> None:
    path = write_slide(tmp_path)
    write_dicom(tmp_path / "plane.dcm", picture()[::-1].copy(), Instance(number=9))

    with pytest.raises(SlideError, match=r"0\.dcm: its DICOM series holds 2 images of 600 x 400 pixels"):
        open_slide(path)


def test_an_image_of_other_proportions_is_no_level(tmp_path: Path) -> None:
    path = write_slide(tmp_path)
    write_dicom(tmp_path / "square.dcm", picture(200, 200), Instance(number=9))

    with open_slide(path) as slide:
        assert [level.size for level in slide.info.levels] == [Size(600, 400), Size(300, 200), Size(150, 100)]


def test_a_mirax_file_without_its_data_is_not_tiled_as_the_small_picture_that_it_is(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "a.mrxs"
    Image.fromarray(picture()).save(path, "JPEG")

    with pytest.raises(SlideError, match=r"a\.mrxs: its data folder a with Slidedat\.ini is not beside it"):
        open_slide(path, mpp=0.5)
